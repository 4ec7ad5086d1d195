//! The person's config.toml.
