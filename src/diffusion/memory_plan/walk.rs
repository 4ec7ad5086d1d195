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

/// Largest transformed band of a 3×3 convolution on the CPU, and the channels that a thread does of it at a time.
const CPU_BAND: u64 = 24 << 20;
const CPU_OUTPUTS: u64 = 32;
const CPU_DEPTH: u64 = 160;
/// Largest block of packed columns, or of results, of a matrix product on the CPU; products of few rows keep the
/// latter.
const CPU_PANELS: u64 = 16 << 20;
const CPU_FEW_ROWS: u64 = 192;
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
    /// Workspaces of the CPU's ops, which are kept from call to call.
    pool: Vec<u64>,
}

impl<'a> Walk<'a> {
    pub fn new(fused: bool, dtype: DType, limits: &'a OpLimits, site: &'a Site) -> Self {
        Self { fused, size: dtype.size_in_bytes() as u64, limits, site, held: 0, peak: 0, pool: Vec::new() }
    }

    /// Begins with the workspaces that the network before has left.
    pub fn after(mut self, before: &Self) -> Self {
        self.pool.clone_from(&before.pool);
        self
    }

    /// The most that was held at once.
    pub fn peak(&self) -> u64 {
        self.peak.max(self.kept())
    }

    fn kept(&self) -> u64 {
        self.pool.iter().sum()
    }

    /// A new tensor of so many values.
    fn hold(&mut self, values: u64) {
        self.held += values * self.size;
        self.spike(0);
    }

    fn drop(&mut self, values: u64) {
        self.held -= values * self.size;
    }

    /// Bytes that an op needs while it runs.
    fn spike(&mut self, bytes: u64) {
        self.peak = self.peak.max(self.held + bytes + self.kept());
    }

    /// Workspaces that a CPU op has at the same time: each takes the smallest idle one that is large enough, else
    /// the largest one grows.
    fn workspaces(&mut self, wanted: impl IntoIterator<Item = u64>) {
        let mut taken = Vec::new();
        for bytes in wanted {
            self.pool.sort_unstable();
            let at = self.pool.partition_point(|idle| *idle < bytes).min(self.pool.len().saturating_sub(1));
            let idle = if self.pool.is_empty() { 0 } else { self.pool.remove(at) };
            taken.push(idle.max(bytes));
        }
        self.pool.extend(taken);
    }

    /// A matrix product on the CPU: `rows` of `depth` times `columns`.
    fn product(&mut self, rows: u64, columns: u64, depth: u64) {
        if !self.fused {
            return;
        }
        let block = if rows <= CPU_FEW_ROWS { rows } else { depth };
        self.workspaces([CPU_PANELS.min(block * columns * 4)]);
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
        if self.fused {
            // 36 places for each 16 pixels; threads keep weights, and sums where the depth is cut
            let band = CPU_BAND.min(inputs * pixels * 4 * 36 / 16);
            let weights = 36 * CPU_OUTPUTS * inputs.min(CPU_DEPTH) * 4;
            let sums = if inputs > CPU_DEPTH { band * CPU_OUTPUTS / inputs } else { weights / 4 };
            let threads = self.site.threads;
            self.workspaces([band].into_iter().chain([weights, sums].repeat(threads)));
            self.hold(outputs * pixels);
        } else {
            self.conv_from_columns(inputs, outputs, pixels);
        }
    }

    /// The same with a stride: a matrix product of gathered columns everywhere.
    fn conv_down(&mut self, inputs: u64, outputs: u64, pixels: u64) {
        if self.fused {
            self.product(outputs, pixels, 9 * inputs);
            self.hold(outputs * pixels);
        } else {
            self.conv_from_columns(inputs, outputs, pixels);
        }
    }

    fn conv_from_columns(&mut self, inputs: u64, outputs: u64, pixels: u64) {
        let result = outputs * pixels;
        let columns = inputs * 9 * pixels * self.size;
        let columns = columns.min(self.limits.conv_bytes as u64);
        let columns = if self.site.rounds_up { columns.next_power_of_two() } else { columns };
        // the result of the product, and the same in the order of pictures
        self.spike(columns + 2 * result * self.size);
        self.hold(result);
    }

    /// `x` is held already; leaves the result beside it.
    fn resnet(&mut self, inputs: u64, outputs: u64, pixels: u64) {
        let (input, output) = (inputs * pixels, outputs * pixels);
        self.norm(input);
        self.conv(inputs, outputs, pixels);
        self.drop(input);
        self.norm(output);
        self.drop(output);
        let shortcut = if inputs == outputs { 0 } else { output };
        if shortcut > 0 {
            self.product(outputs, pixels, inputs);
        }
        self.hold(shortcut);
        self.conv(outputs, outputs, pixels);
        if !self.fused {
            self.spike(output * self.size);
        }
        self.drop(output + shortcut);
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
        } else if heads > 1 {
            // keys and values head by head, one picture at a time
            self.workspaces([keys * width * 4; 2]);
        }
        self.hold(result);
    }

    /// A transformer over `rows · pixels` rows of `channels`: `x` is held, the result is left beside it.
    fn transformer(&mut self, channels: u64, heads: u64, rows: u64, pixels: u64) {
        let one = channels * rows * pixels;
        let text = rows * TOKENS * channels;
        self.norm(one);
        self.product(pixels, channels, channels);
        self.hold(one);
        self.drop(one);
        // one block: hidden (held), normed, then attention to itself
        self.norm(one);
        self.product(rows * pixels, channels, channels);
        self.hold(3 * one);
        self.attention((rows, heads), (pixels, pixels), channels);
        self.drop(3 * one);
        self.hold(one);
        self.drop(3 * one);
        // to the text
        self.norm(one);
        self.hold(one + 2 * text);
        self.attention((rows, heads), (pixels, TOKENS), channels);
        self.drop(one + 2 * text);
        self.hold(one);
        self.drop(3 * one);
        // feed-forward of four times the width, gated
        self.norm(one);
        if !self.fused {
            self.spike((8 + 4 + 4) * one * self.size);
        }
        self.product(rows * pixels, 8 * channels, channels);
        self.hold(4 * one);
        self.drop(one);
        self.product(rows * pixels, channels, 4 * channels);
        self.hold(one);
        self.drop(5 * one);
        // out, to pixels
        self.product(channels, pixels, channels);
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
                self.conv_down(now, now, pixels(level + 1));
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

    /// The middle of the VAE: `x` is held and stays so, the result is left beside it.
    fn vae_middle(&mut self, channels: u64, pixels: u64, attends: bool) {
        let one = channels * pixels;
        self.resnet(channels, channels, pixels);
        if attends {
            self.norm(one);
            self.product(pixels, channels, channels);
            self.hold(3 * one);
            self.attention((1, 1), (pixels, pixels), channels);
            self.product(channels, pixels, channels);
            self.hold(one);
            self.drop(6 * one);
        }
        self.resnet(channels, channels, pixels);
        self.drop(one);
    }

    /// One decoding by the VAE, in tiles where there are to be tiles.
    pub fn vae_decoder(&mut self, config: &VaeConfig, (h, w): (usize, usize), tiling: Option<&Tiling>) {
        let scale = config.scale_factor();
        // the picture itself: as it comes, in f32, and on the host
        let picture = (3 * h * scale * w * scale) as u64 * 4;
        let tiling = tiling.filter(|tiling| tiling.applies(h, w));
        let (th, tw) = match tiling {
            Some(tiling) => (h.min(tiling.latent_size), w.min(tiling.latent_size)),
            None => (h, w),
        };
        let channels: Vec<u64> = config.block_out_channels.iter().rev().map(|c| *c as u64).collect();
        let mut pixels = (th * tw) as u64;
        let mut now = channels[0];
        self.conv(config.latent_channels as u64, now, pixels);
        self.vae_middle(now, pixels, config.mid_block_add_attention);
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
        self.peak = self.peak.max(self.kept() + 2 * picture);
        if tiling.is_some() {
            self.peak += 2 * picture;
        }
    }

    /// A picture of `h` times `w` latent pixels through the VAE's encoder. Of its `mapped` bytes of weights, almost
    /// all are first read where the tensors are small already.
    pub fn vae_encoder(&mut self, config: &VaeConfig, (h, w): (usize, usize), mapped: u64) {
        let scale = config.scale_factor();
        let mut pixels = (h * scale * w * scale) as u64;
        let picture = config.in_channels as u64 * pixels;
        // as f32, then with its channels apart, while the bytes are still there
        self.held += picture;
        self.hold(2 * picture);
        self.drop(picture);
        let channels: Vec<u64> = config.block_out_channels.iter().map(|c| *c as u64).collect();
        let mut now = channels[0];
        self.conv(config.in_channels as u64, now, pixels);
        for (level, &outputs) in channels.iter().enumerate() {
            if level == channels.len() / 2 {
                self.held += mapped;
            }
            for _ in 0..config.layers_per_block {
                self.resnet(now, outputs, pixels);
                self.drop(now * pixels);
                now = outputs;
            }
            if level + 1 < channels.len() {
                // a row and a column of zeros at the end, which takes two copies
                self.hold(2 * now * pixels);
                self.drop(now * pixels);
                self.conv_down(now, now, pixels / 4);
                self.drop(2 * now * pixels);
                pixels /= 4;
            }
        }
        self.vae_middle(now, pixels, config.mid_block_add_attention);
        self.drop(now * pixels);
        self.norm(now * pixels);
        self.conv(now, 2 * config.latent_channels as u64, pixels);
    }

    /// One prompt through a text encoder.
    pub fn text_encoder(&mut self, config: &ClipTextConfig) {
        let width = config.hidden_size as u64;
        // every hidden state is kept, and the widest layer is the MLP's
        let kept = (config.num_hidden_layers as u64 + 2) * TOKENS * width;
        let layer = TOKENS * (6 * width + 2 * config.intermediate_size as u64);
        let scores = config.num_attention_heads as u64 * TOKENS * TOKENS;
        self.product(TOKENS, config.intermediate_size as u64, width);
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
        // the last hidden state, its norm and the picture
        let large = pixels * (config.scale_factor() * config.scale_factor()) as u64;
        assert_eq!(walk.held, 4 * large * (2 * first + 3));

        let mut walk = Walk::new(true, DType::F32, &limits, &site);
        walk.vae_encoder(&config, (8, 8), 1000);
        // the pixels as bytes and as floats, the last hidden state, its norm and the moments
        let last = config.block_out_channels[config.block_out_channels.len() - 1] as u64;
        let moments = 2 * config.latent_channels as u64;
        assert_eq!(walk.held, 1000 + 3 * large + 4 * (3 * large + pixels * (2 * last + moments)));
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
