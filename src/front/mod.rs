//! The other ways in: generate, pipe, plain, replay, doctor.
