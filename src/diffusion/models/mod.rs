//! The networks, by their Hugging Face weight names and diffusers' configs.
//!
//! Nothing here knows a checkpoint, a scheduler or a prompt: a config decides every shape, and whatever a config
//! says that is not implemented is an error before the first weight is read.

pub mod autoencoder_kl;
pub mod clip;
pub mod component_config;
pub mod resnet;
pub mod unet;
