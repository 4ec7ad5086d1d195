//! The networks on paper: their forward passes with [`Ops`] in the place of `nn`.
//!
//! Follows `models` line by line: a [`Shadow`] lives for as long as the tensor there does.

use super::ops::{Ops, Shadow};
use crate::diffusion::models::autoencoder_kl::{Tiling, VaeConfig};
use crate::diffusion::models::clip::ClipTextConfig;
use crate::diffusion::models::component_config::PerBlock;
use crate::diffusion::models::unet::{DownBlockType, MidBlockType, UNetConfig, UpBlockType};
use crate::diffusion::nn::{Activation, Heads};

/// Tokens of a prompt.
const TOKENS: u64 = 77;

/// One run of the UNet over `rows` rows.
pub(super) fn unet(on: &Ops<'_>, config: &UNetConfig, rows: u64, (h, w): (usize, usize)) -> Shadow {
    let channels: Vec<u64> = config.block_out_channels.iter().map(|c| *c as u64).collect();
    let last = channels.len() - 1;
    let layers = |level: usize| *per_block(&config.layers_per_block, level);
    let size = |level: usize| (h.div_ceil(1 << level) as u64, w.div_ceil(1 << level) as u64);
    let resnet = |x: &Shadow, level: usize| resnet(on, x, channels[level], config.act_fn, true);
    let transformer = |x: &Shadow, level: usize| {
        let heads = *per_block(&config.attention_head_dim, level);
        let context = *per_block(&config.cross_attention_dim, level) as u64;
        transformer(on, x, &on.heads(heads, x.channels), &on.given(rows, context, (TOKENS, 1)))
    };
    let sample = on.given(rows, config.in_channels as u64, size(0));
    let mut hidden = on.conv(&sample, channels[0], config.conv_in_kernel as u64, size(0), 0);
    let mut skips = vec![hidden.clone()];
    for level in 0..=last {
        for _ in 0..layers(level) {
            hidden = resnet(&hidden, level);
            if config.down_block_types[level] == DownBlockType::CrossAttnDownBlock2D {
                hidden = transformer(&hidden, level);
            }
            skips.push(hidden.clone());
        }
        if level < last {
            hidden = on.conv(&hidden, channels[level], 3, size(level + 1), 0);
            skips.push(hidden.clone());
        }
    }
    if let Some(mid) = config.mid_block_type {
        hidden = resnet(&hidden, last);
        if mid == MidBlockType::UNetMidBlock2DCrossAttn {
            hidden = transformer(&hidden, last);
            hidden = resnet(&hidden, last);
        }
    }
    for (i, block) in config.up_block_types.iter().enumerate() {
        let level = last - i;
        for _ in 0..=layers(level) {
            if let Some(skip) = skips.pop() {
                hidden = on.join(&hidden, &skip);
            }
            hidden = resnet(&hidden, level);
            if *block == UpBlockType::CrossAttnUpBlock2D {
                hidden = transformer(&hidden, level);
            }
        }
        if level > 0 {
            hidden = on.conv(&hidden, channels[level], 3, size(level - 1), 0);
        }
    }
    let normed = on.norm_act(&hidden, config.act_fn);
    on.conv(&normed, config.out_channels as u64, config.conv_out_kernel as u64, size(0), 0)
}

/// `timed`: a time embedding is added to the first convolution.
fn resnet(on: &Ops<'_>, x: &Shadow, outputs: u64, act: Activation, timed: bool) -> Shadow {
    let mut hidden = on.conv(&on.norm_act(x, act), outputs, 3, x.size, usize::from(timed));
    hidden = on.norm_act(&hidden, act);
    let _shortcut = (x.channels != outputs).then(|| on.conv(x, outputs, 1, x.size, 0));
    on.conv(&hidden, outputs, 3, x.size, 1)
}

/// One block of a transformer stands for all of them: each takes the place of the one before.
fn transformer(on: &Ops<'_>, x: &Shadow, heads: &Heads, text: &Shadow) -> Shadow {
    let mut hidden = on.linear_from_pixels(&on.group_norm(x), x.channels);
    hidden = {
        let normed = on.layer_norm(&hidden);
        attention_add(on, &normed, &normed, heads)
    };
    hidden = attention_add(on, &on.layer_norm(&hidden), text, heads);
    hidden = {
        // four times the width, gated
        let wide = on.linear_geglu(&on.layer_norm(&hidden), 4 * x.channels);
        on.linear(&wide, x.channels, true, true)
    };
    on.linear_to_pixels_add(&hidden, x.channels, x.size)
}

fn attention_add(on: &Ops<'_>, x: &Shadow, context: &Shadow, heads: &Heads) -> Shadow {
    let attended = {
        let project = |x: &Shadow| on.linear(x, heads.width() as u64, false, false);
        let (q, k, _v) = (project(x), project(context), project(context));
        on.attention(&q, &k, heads)
    };
    on.linear(&attended, x.channels, true, true)
}

/// The middle of the VAE.
fn vae_middle(on: &Ops<'_>, x: &Shadow, config: &VaeConfig) -> Shadow {
    let resnet = |x: &Shadow| resnet(on, x, x.channels, config.act_fn, false);
    let mut hidden = resnet(x);
    if config.mid_block_add_attention {
        hidden = {
            let normed = on.group_norm(&hidden);
            let project = || on.linear_from_pixels(&normed, x.channels);
            let (q, k, _v) = (project(), project(), project());
            let width = x.channels as usize;
            let attended = on.attention(&q, &k, &Heads { count: 1, size: width, padded: width });
            on.linear_to_pixels_add(&attended, x.channels, x.size)
        };
    }
    resnet(&hidden)
}

/// One decoding by the VAE, in tiles where there are to be tiles; returns the bytes that are held at most.
pub(super) fn vae_decoder(
    on: &Ops<'_>,
    config: &VaeConfig,
    (h, w): (usize, usize),
    tiling: Option<&Tiling>,
) -> u64 {
    let scale = config.scale_factor();
    // the picture itself: as it comes, in f32, and on the host
    let picture = (3 * h * scale * w * scale) as u64 * 4;
    let tiling = tiling.filter(|tiling| tiling.applies(h, w));
    let (h, w) = match tiling {
        Some(tiling) => (h.min(tiling.latent_size), w.min(tiling.latent_size)),
        None => (h, w),
    };
    let channels: Vec<u64> = config.block_out_channels.iter().rev().map(|c| *c as u64).collect();
    let latents = on.given(1, config.latent_channels as u64, (h as u64, w as u64));
    let mut hidden = on.conv(&latents, channels[0], 3, latents.size, 0);
    hidden = vae_middle(on, &hidden, config);
    for (level, &outputs) in channels.iter().enumerate() {
        for _ in 0..=config.layers_per_block {
            hidden = resnet(on, &hidden, outputs, config.act_fn, false);
        }
        if level + 1 < channels.len() {
            hidden = on.conv(&hidden, outputs, 3, (2 * hidden.size.0, 2 * hidden.size.1), 0);
        }
    }
    drop(on.conv(&on.norm_act(&hidden, config.act_fn), config.out_channels as u64, 3, hidden.size, 0));
    drop(hidden);
    drop(on.heap.take(2 * picture));
    on.heap.peak() + if tiling.is_some() { 2 * picture } else { 0 }
}

/// A picture of `h` times `w` latent pixels through the VAE's encoder. Of its `mapped` bytes of weights, almost all
/// are first read where the tensors are small already.
pub(super) fn vae_encoder(on: &Ops<'_>, config: &VaeConfig, (h, w): (usize, usize), mapped: u64) {
    let scale = config.scale_factor();
    let size = ((h * scale) as u64, (w * scale) as u64);
    // as f32, then with its channels apart, while the bytes are still there
    let _bytes = on.heap.take(config.in_channels as u64 * size.0 * size.1);
    let picture = {
        let interleaved = on.tensor(1, config.in_channels as u64, size);
        on.like(&interleaved)
    };
    let channels: Vec<u64> = config.block_out_channels.iter().map(|c| *c as u64).collect();
    let mut hidden = on.conv(&picture, channels[0], 3, size, 0);
    let mut weights = None;
    for (level, &outputs) in channels.iter().enumerate() {
        if level == channels.len() / 2 {
            weights = Some(on.heap.take(mapped));
        }
        for _ in 0..config.layers_per_block {
            hidden = resnet(on, &hidden, outputs, config.act_fn, false);
        }
        if level + 1 < channels.len() {
            // a row and a column of zeros at the end, which takes two copies
            let padded = {
                let higher = on.like(&hidden);
                on.like(&higher)
            };
            hidden = on.conv(&padded, outputs, 3, (hidden.size.0 / 2, hidden.size.1 / 2), 0);
        }
    }
    hidden = vae_middle(on, &hidden, config);
    let moments = 2 * config.latent_channels as u64;
    drop(on.conv(&on.norm_act(&hidden, config.act_fn), moments, 3, hidden.size, 0));
    drop(weights);
}

/// One prompt through a text encoder.
pub(super) fn text_encoder(on: &Ops<'_>, config: &ClipTextConfig) {
    let width = config.hidden_size as u64;
    // every hidden state is kept, and the widest layer is the MLP's
    let kept = (config.num_hidden_layers as u64 + 2) * TOKENS * width;
    let layer = TOKENS * (6 * width + 2 * config.intermediate_size as u64);
    let scores = config.num_attention_heads as u64 * TOKENS * TOKENS;
    drop(on.linear(&on.given(1, width, (TOKENS, 1)), config.intermediate_size as u64, true, false));
    drop(on.heap.take((kept + layer + 2 * scores) * on.value()));
}

fn per_block<T>(values: &PerBlock<T>, index: usize) -> &T {
    match values {
        PerBlock::One(value) => value,
        PerBlock::Each(values) => &values[index.min(values.len() - 1)],
    }
}

#[cfg(test)]
mod tests;
