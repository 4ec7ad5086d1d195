//! The pipeline: tensors in, tensors out. No threads, channels, terminal or network.
