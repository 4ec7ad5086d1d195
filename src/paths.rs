//! Where things lie on disk, and the environment variables that decide it.
