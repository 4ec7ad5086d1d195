//! A walk through the networks as their forward passes go, with the bytes that are held on the way.
//!
//! Follows `models` and `nn` op by op: what is alive at the same time there is counted at the same time here.

use candle_core::DType;

use super::Site;
use crate::diffusion::models::autoencoder_kl::{Tiling, VaeConfig};
use crate::diffusion::models::clip::ClipTextConfig;
use crate::diffusion::models::component_config::PerBlock;
use crate::diffusion::models::unet::{DownBlockType, MidBlockType, UNetConfig, UpBlockType};
use crate::diffusion::nn::OpLimits;

/// Largest transformed band of a 3×3 convolution on the CPU, and what each thread keeps beside it.
const CPU_BAND: u64 = 24 << 20;
const CPU_THREAD: u64 = 4 << 20;
/// Bytes of band per byte of input: 36 places for each 16 pixels.
const CPU_BAND_SHARE: f64 = 36. / 16.;
/// Tokens of a prompt.
const TOKENS: u64 = 77;
/// f32 copies that a group normalisation holds at once where it is done by single ops.
const NORM_COPIES: u64 = 5;

/// Bytes that are held now, and the most that were.
pub(super) struct Walk<'a> {
    fused: bool,
    size: u64,
    limits: &'a OpLimits,
    site: &'a Site,
    held: u64,
    peak: u64,
    /// What the CPU's ops keep from call to call.
    scratch: u64,
}

impl<'a> Walk<'a> {
    pub fn new(fused: bool, dtype: DType, limits: &'a OpLimits, site: &'a Site) -> Self {
        Self { fused, size: dtype.size_in_bytes() as u64, limits, site, held: 0, peak: 0, scratch: 0 }
    }

    /// The most that was held at once.
    pub fn peak(&self) -> u64 {
        self.peak + self.scratch
    }

    /// A new tensor of so many values.
    fn hold(&mut self, values: u64) {
        self.held += values * self.size;
        self.peak = self.peak.max(self.held);
    }

    fn drop(&mut self, values: u64) {
        self.held -= values * self.size;
    }

    /// Bytes that an op needs while it runs.
    fn spike(&mut self, bytes: u64) {
        self.peak = self.peak.max(self.held + bytes);
    }

    /// A norm, with or without activation, leaves as many values as went in.
    fn norm(&mut self, values: u64) {
        if !self.fused {
            self.spike(NORM_COPIES * 4 * values + values * self.size);
        }
        self.hold(values);
    }

    /// A 3×3 convolution to `pixels` pixels leaves `outputs · pixels` values.
    fn conv(&mut self, inputs: u64, outputs: u64, pixels: u64) {
        let result = outputs * pixels;
        if self.fused {
            let band = (inputs * pixels * 4) as f64 * CPU_BAND_SHARE;
            let threads = self.site.threads as u64 * CPU_THREAD.min(36 * 4 * 4 * inputs * 32);
            self.scratch = self.scratch.max(CPU_BAND.min(band as u64) + threads);
        } else {
            let columns = inputs * 9 * pixels * self.size;
            let columns = columns.min(self.limits.conv_bytes as u64);
            let columns = if self.site.rounds_up { columns.next_power_of_two() } else { columns };
            // the result of the product, and the same in the order of pictures
            self.spike(columns + 2 * result * self.size);
        }
        self.hold(result);
    }

    /// `x` is held already; leaves the result beside it.
    fn resnet(&mut self, inputs: u64, outputs: u64, pixels: u64) {
        let (input, output) = (inputs * pixels, outputs * pixels);
        self.norm(input);
        self.conv(inputs, outputs, pixels);
        self.norm(output);
        self.drop(output);
        let shortcut = if inputs == outputs { 0 } else { output };
        self.hold(shortcut);
        self.conv(outputs, outputs, pixels);
        if !self.fused {
            self.spike(output * self.size);
        }
        self.drop(input + output + shortcut);
    }

    /// Attention of `queries` rows to `keys`, all of `width`; leaves the result beside its inputs.
    fn attention(&mut self, (rows, heads): (u64, u64), (queries, keys): (u64, u64), width: u64) {
        let result = rows * queries * width;
        if !self.fused {
            let size = if self.limits.upcast_attention { 4 } else { self.size };
            let block = (rows * heads * queries * keys * size).min(self.limits.attention_bytes as u64);
            // queries, keys and values by heads; scores before and after the softmax; blocks and their whole
            let copies = (2 * result + 2 * rows * keys * width) * size;
            self.spike(copies + 2 * block + 2 * result * size);
        }
        self.hold(result);
    }

    /// A transformer over `rows · pixels` rows of `channels`: `x` is held, the result is left beside it.
    fn transformer(&mut self, channels: u64, heads: u64, rows: u64, pixels: u64) {
        let one = channels * rows * pixels;
        let text = rows * TOKENS * channels;
        self.norm(one);
        self.hold(one);
        self.drop(one);
        // one block: hidden (held), normed, then attention to itself
        self.norm(one);
        self.hold(3 * one);
        self.attention((rows, heads), (pixels, pixels), channels);
        self.hold(one);
        self.drop(4 * one);
        // to the text
        self.norm(one);
        self.hold(one + 2 * text);
        self.attention((rows, heads), (pixels, TOKENS), channels);
        self.hold(one);
        self.drop(3 * one + 2 * text);
        // feed-forward of four times the width, gated
        self.norm(one);
        if !self.fused {
            self.spike((8 + 4 + 4) * one * self.size);
        }
        self.hold(4 * one);
        self.hold(one);
        self.drop(5 * one);
        // hidden, normed and both states go; the result of the block takes hidden's place
        self.drop(4 * one);
        // out, to pixels
        self.hold(one);
        self.drop(one);
    }

    /// One run of the UNet over `rows` rows.
    pub fn unet(&mut self, config: &UNetConfig, rows: u64, (h, w): (usize, usize)) {
        let channels: Vec<u64> = config.block_out_channels.iter().map(|c| *c as u64).collect();
        let last = channels.len() - 1;
        let layers = |level: usize| *per_block(&config.layers_per_block, level);
        let heads = |level: usize| *per_block(&config.attention_head_dim, level) as u64;
        let pixels = |level: usize| rows * (h.div_ceil(1 << level) * w.div_ceil(1 << level)) as u64;
        let mut skips = Vec::new();
        // `hidden` and the newest skip are the same tensor: skips are held, hidden is not counted again.
        self.conv(config.in_channels as u64, channels[0], pixels(0));
        skips.push((channels[0], pixels(0)));
        let mut now = channels[0];
        for level in 0..=last {
            let attends = config.down_block_types[level] == DownBlockType::CrossAttnDownBlock2D;
            for _ in 0..layers(level) {
                self.resnet(now, channels[level], pixels(level));
                now = channels[level];
                if attends {
                    // its result stays, the resnet's goes
                    self.transformer(now, heads(level), rows, pixels(level) / rows);
                    self.drop(now * pixels(level));
                }
                skips.push((now, pixels(level)));
            }
            if level < last {
                self.conv(now, now, pixels(level + 1));
                skips.push((now, pixels(level + 1)));
            }
        }
        let bottom = pixels(last);
        if let Some(mid) = config.mid_block_type {
            self.resnet(now, now, bottom);
            if mid == MidBlockType::UNetMidBlock2DCrossAttn {
                self.transformer(now, heads(last), rows, bottom / rows);
                self.drop(now * bottom);
                self.resnet(now, now, bottom);
                self.drop(now * bottom);
            }
        } else {
            self.hold(now * bottom);
        }
        // From here on `hidden` is a tensor of its own.
        for (i, block) in config.up_block_types.iter().enumerate() {
            let level = last - i;
            for _ in 0..=layers(level) {
                let Some((skip, skip_pixels)) = skips.pop() else { return };
                let joined = now + skip;
                self.hold(joined * pixels(level));
                self.drop(now * pixels(level) + skip * skip_pixels);
                self.resnet(joined, channels[level], pixels(level));
                self.drop(joined * pixels(level));
                now = channels[level];
                if *block == UpBlockType::CrossAttnUpBlock2D {
                    self.transformer(now, heads(level), rows, pixels(level) / rows);
                    self.drop(now * pixels(level));
                }
            }
            if level > 0 {
                if !self.fused {
                    self.spike(now * pixels(level - 1) * self.size);
                }
                self.conv(now, now, pixels(level - 1));
                self.drop(now * pixels(level));
            }
        }
        self.norm(now * pixels(0));
        self.conv(now, config.out_channels as u64, pixels(0));
    }

    /// One decoding by the VAE, in tiles where there are to be tiles.
    pub fn vae_decoder(&mut self, config: &VaeConfig, (h, w): (usize, usize), tiling: Option<&Tiling>) {
        let scale = config.scale_factor();
        // the picture itself: as it comes, in f32, and on the host
        let picture = (3 * h * scale * w * scale) as u64 * 4;
        let (th, tw) = match tiling.filter(|tiling| tiling.applies(h, w)) {
            Some(tiling) => (h.min(tiling.latent_size), w.min(tiling.latent_size)),
            None => (h, w),
        };
        let channels: Vec<u64> = config.block_out_channels.iter().rev().map(|c| *c as u64).collect();
        let mut pixels = (th * tw) as u64;
        let mut now = channels[0];
        self.conv(config.latent_channels as u64, now, pixels);
        // `conv_in`'s result lives as long as the middle block runs.
        self.resnet(now, now, pixels);
        if config.mid_block_add_attention {
            let one = now * pixels;
            self.norm(one);
            self.hold(3 * one);
            self.attention((1, 1), (pixels, pixels), now);
            self.hold(one);
            self.drop(6 * one);
        }
        self.resnet(now, now, pixels);
        self.drop(now * pixels);
        for (level, &outputs) in channels.iter().enumerate() {
            for _ in 0..=config.layers_per_block {
                self.resnet(now, outputs, pixels);
                self.drop(now * pixels);
                now = outputs;
            }
            if level + 1 < channels.len() {
                if !self.fused {
                    self.spike(now * 4 * pixels * self.size);
                }
                self.conv(now, now, 4 * pixels);
                self.drop(now * pixels);
                pixels *= 4;
            }
        }
        self.norm(now * pixels);
        self.conv(now, config.out_channels as u64, pixels);
        self.peak = self.peak.max(2 * picture);
        if tiling.is_some() {
            self.peak += 2 * picture;
        }
    }

    /// One prompt through a text encoder.
    pub fn text_encoder(&mut self, config: &ClipTextConfig) {
        let width = config.hidden_size as u64;
        // every hidden state is kept, and the widest layer is the MLP's
        let kept = (config.num_hidden_layers as u64 + 2) * TOKENS * width;
        let layer = TOKENS * (6 * width + 2 * config.intermediate_size as u64);
        let scores = config.num_attention_heads as u64 * TOKENS * TOKENS;
        self.spike((kept + layer + 2 * scores) * self.size);
    }
}

fn per_block<T>(values: &PerBlock<T>, index: usize) -> &T {
    match values {
        PerBlock::One(value) => value,
        PerBlock::Each(values) => &values[index.min(values.len() - 1)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site { dtype: DType::F32, cpu: true, rounds_up: false, threads: 2, base: 0 }
    }

    #[test]
    fn what_is_left_at_the_end_is_what_a_forward_pass_still_holds() {
        let (site, limits) = (site(), OpLimits::default());
        let mut walk = Walk::new(true, DType::F32, &limits, &site);
        walk.hold(10);
        walk.transformer(2, 1, 1, 5);
        assert_eq!(walk.held, 4 * 20, "input and result");
        walk.resnet(2, 4, 5);
        assert_eq!(walk.held, 4 * (20 + 20), "input, transformer's result, resnet's");

        let mut walk = Walk::new(true, DType::F32, &limits, &site);
        let config = UNetConfig::default();
        walk.unet(&config, 2, (16, 16));
        // no skip is left: the last hidden state, its norm and the output
        assert_eq!(walk.held, 4 * 2 * 256 * (320 + 320 + 4));
        assert!(walk.peak() > walk.held);

        let mut walk = Walk::new(true, DType::F32, &limits, &site);
        let config = VaeConfig::default();
        walk.vae_decoder(&config, (8, 8), None);
        let (first, pixels) = (config.block_out_channels[0] as u64, 64);
        // `conv_in`'s result, the last hidden state, its norm and the picture
        assert_eq!(walk.held, 4 * pixels * (first + 2 * first + 3));
    }

    #[test]
    fn a_limit_bounds_the_workspace_of_unfused_ops() {
        let site = Site { cpu: false, ..site() };
        let peak = |limits: OpLimits| {
            let mut walk = Walk::new(false, DType::F32, &limits, &site);
            walk.unet(&UNetConfig::default(), 2, (64, 64));
            walk.peak()
        };
        let whole =
            peak(OpLimits { attention_bytes: usize::MAX, conv_bytes: usize::MAX, ..OpLimits::default() });
        let sliced = peak(OpLimits { attention_bytes: 1 << 20, conv_bytes: 1 << 20, ..OpLimits::default() });
        // 2 · 8 heads of 4096² scores, before and after the softmax
        assert!(whole - sliced > 1 << 30, "{whole} {sliced}");
    }
}
