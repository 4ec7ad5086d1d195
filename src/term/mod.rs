//! The terminal: input, live region, graphics protocols.
