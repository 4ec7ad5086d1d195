//! Colours by meaning, from TOML files.
