//! From a model's name to its files: local folders, the Python cache, the Hub, the embedded model.
