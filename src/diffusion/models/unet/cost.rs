//! What one run of a UNet costs on an Apple GPU, on paper: kernels that are started and bytes that they move.
//!
//! Follows the forward pass op by op and prices each op twice: as `nn` does it on Metal, and as candle-transformers
//! 0.11.1 does it with candle's ops on Metal. Every kernel counts each tensor that it reads or writes once, whatever a
//! cache makes of it. The handful of ops on a single row (the timestep's embedding) is counted in the same way; what a
//! kernel keeps beside its tensors (statistics of a norm) is not. The call begins when the latents are on the device and
//! ends when its result is where the host can read it. What a step adds to its calls is no kernel: the host writes the
//! latents and the timestep, and waits once (`tests/tintype/reuse.rs` counts that in runs).

use super::config::{Blocks, MidBlockType, UNetConfig};
use crate::diffusion::error::Result;
use crate::diffusion::nn::{fused_head_size, im2col_rows};

/// Kernels and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Kernels that are started, fills and copies among them.
    pub dispatches: u64,
    /// Bytes that they read and write.
    pub bytes: u64,
}

/// Whose ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Those of `nn` on Metal.
    Own,
    /// Those of candle-transformers' Stable Diffusion.
    CandleTransformers,
}

/// A run of the UNet.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Pictures at once; guidance makes two of one.
    pub rows: u64,
    /// Of the latents.
    pub height: u64,
    /// Of the latents.
    pub width: u64,
    /// Tokens of the text.
    pub tokens: u64,
    /// Bytes for the workspace of one convolution.
    pub conv_bytes: usize,
}

impl Call {
    /// Guided, at the latents' size, with the usual prompt and workspace.
    pub fn guided(height: u64, width: u64) -> Self {
        let conv_bytes = crate::diffusion::nn::OpLimits::default().conv_bytes;
        Self { rows: 2, height, width, tokens: 77, conv_bytes }
    }
}

/// What one call of the network of `config` costs in f16.
///
/// # Errors
/// When the config contradicts itself.
pub fn unet(config: &UNetConfig, call: &Call, path: Path) -> Result<Cost> {
    let blocks = config.blocks("unet/config.json")?;
    let mut meter = Meter { path, call: *call, cost: Cost::default() };
    meter.network(config, &blocks);
    Ok(meter.cost)
}

/// Bytes of a value: f16.
const SIZE: u64 = 2;

struct Meter {
    path: Path,
    call: Call,
    cost: Cost,
}

/// A picture's size at a level.
#[derive(Clone, Copy)]
struct Area {
    height: u64,
    width: u64,
}

impl Area {
    fn pixels(self) -> u64 {
        self.height * self.width
    }
}

impl Meter {
    /// `count` kernels that together move so many values.
    fn kernels(&mut self, count: u64, values: u64) {
        self.cost.dispatches += count;
        self.cost.bytes += values * SIZE;
    }

    fn own(&self) -> bool {
        self.path == Path::Own
    }

    /// A convolution to `to`; `from` is what it reads, which may be half as large (`enlarged`) or twice. `added` other
    /// tensors of the result's size, or shifts, are added.
    fn conv(
        &mut self,
        kernel: u64,
        (inputs, outputs): (u64, u64),
        (from, to): (Area, Area),
        residual: bool,
        shift: bool,
    ) {
        let rows = self.call.rows;
        let (read, taps) = (inputs * from.pixels() * rows, inputs * kernel * kernel);
        let (columns, result) = (taps * to.pixels() * rows, outputs * to.pixels() * rows);
        let weights = taps * outputs;
        if !self.own() {
            // im2col, product, fill of the result, copy into it, bias; 1×1 as well
            self.kernels(5, read + columns + columns + weights + result + result + 2 * result + 2 * result);
            self.kernels(u64::from(residual), 3 * result);
            self.kernels(u64::from(shift), 2 * result);
            return;
        }
        if kernel == 1 {
            self.kernels(1, read + weights + result);
        } else {
            let a_row = (taps * to.width * rows) as usize;
            let at_once = im2col_rows(a_row, SIZE as usize, self.call.conv_bytes) as u64;
            let bands = to.height.div_ceil(at_once);
            self.kernels(2 * bands, read + 2 * columns + bands * weights + result);
            if bands > 1 {
                self.kernels(bands, 2 * result);
            }
        }
        self.kernels(1, 2 * result + if residual { result } else { 0 });
    }

    fn group_norm(&mut self, values: u64, silu: bool) {
        if self.own() {
            return self.kernels(2, 3 * values);
        }
        // to f32; sum, subtraction, square, sum, division, two casts' worth of affine: thirteen kernels, seven of
        // which read and write everything, mostly in f32
        self.kernels(
            13,
            3 * values
                + 2 * (values + 2 * values + 2 * values + values + 2 * values)
                + 3 * values
                + 4 * values,
        );
        self.kernels(u64::from(silu), 2 * values);
    }

    fn layer_norm(&mut self, values: u64) {
        self.kernels(1, 2 * values);
    }

    fn linear(&mut self, lines: u64, (inputs, outputs): (u64, u64), bias: bool, residual: bool) {
        let result = lines * outputs;
        self.kernels(1, lines * inputs + inputs * outputs + result);
        if self.own() {
            let added = u64::from(bias || residual);
            self.kernels(added, added * 2 * result + if residual { result } else { 0 });
        } else {
            self.kernels(u64::from(bias), if bias { 2 * result } else { 0 });
            self.kernels(u64::from(residual), if residual { 3 * result } else { 0 });
        }
    }

    /// Elementwise, on so many values.
    fn elementwise(&mut self, values: u64) {
        self.kernels(1, 2 * values);
    }

    /// `channels` are those of the checkpoint; `keys` rows of `context` values.
    fn attention(&mut self, channels: u64, heads: u64, queries: u64, (keys, context): (u64, u64)) {
        let rows = self.call.rows;
        let (lines, key_lines) = (rows * queries, rows * keys);
        if self.own() {
            let size = channels / heads;
            let padded = fused_head_size(size as usize).map_or(size, |padded| padded as u64);
            let width = heads * padded;
            self.linear(lines, (channels, width), false, false);
            self.linear(key_lines, (context, width), false, false);
            self.linear(key_lines, (context, width), false, false);
            // fused attention, and its result from the order of heads to that of rows
            self.kernels(1, 2 * lines * width + 2 * key_lines * width);
            self.kernels(1, 2 * lines * width);
            return self.linear(lines, (width, channels), true, true);
        }
        self.linear(lines, (channels, channels), false, false);
        self.linear(key_lines, (context, channels), false, false);
        self.linear(key_lines, (context, channels), false, false);
        let (q, kv, scores) = (lines * channels, 2 * key_lines * channels, rows * heads * queries * keys);
        // heads apart, then to f32
        self.kernels(3, 2 * (q + kv));
        self.kernels(3, 3 * (q + kv));
        // in f32: keys transposed in place; scores, scaled, softmax, product
        self.kernels(1, 2 * (q + kv / 2 + scores));
        self.kernels(2, 2 * 4 * scores);
        self.kernels(1, 2 * (scores + kv / 2 + q));
        // to f16, heads together
        self.kernels(1, 3 * q);
        self.kernels(1, 2 * q);
        self.linear(lines, (channels, channels), true, true);
    }

    fn transformer(&mut self, channels: u64, heads: u64, depth: u64, area: Area, context: u64) {
        let lines = self.call.rows * area.pixels();
        let values = lines * channels;
        self.group_norm(values, false);
        if self.own() {
            self.linear(lines, (channels, channels), true, false);
        } else {
            self.conv(1, (channels, channels), (area, area), false, false);
            self.elementwise(values);
        }
        for _ in 0..depth {
            self.layer_norm(values);
            self.attention(channels, heads, area.pixels(), (area.pixels(), channels));
            self.layer_norm(values);
            self.attention(channels, heads, area.pixels(), (self.call.tokens, context));
            self.layer_norm(values);
            let inner = 4 * channels;
            if self.own() {
                self.linear(lines, (channels, 2 * inner), false, false);
                // bias, GELU and product
                self.kernels(1, 3 * lines * inner);
            } else {
                self.linear(lines, (channels, 2 * inner), true, false);
                // GELU of one half, times the other
                self.kernels(2, 2 * lines * inner + 3 * lines * inner);
            }
            self.linear(lines, (inner, channels), true, true);
        }
        if self.own() {
            self.linear(lines, (channels, channels), true, true);
        } else {
            self.elementwise(values);
            self.conv(1, (channels, channels), (area, area), true, false);
        }
    }

    fn resnet(&mut self, (inputs, outputs): (u64, u64), area: Area, time: u64) {
        let (values, result) =
            (self.call.rows * inputs * area.pixels(), self.call.rows * outputs * area.pixels());
        let same = (area, area);
        if !self.own() {
            // the time embedding's activation, once a resnet
            self.elementwise(time);
        }
        self.linear(1, (time, outputs), true, false);
        self.group_norm(values, true);
        self.conv(3, (inputs, outputs), same, false, true);
        self.group_norm(result, true);
        if inputs != outputs {
            self.conv(1, (inputs, outputs), same, false, false);
        }
        self.conv(3, (outputs, outputs), same, true, false);
        if !self.own() {
            // division by an output scale of 1
            self.elementwise(result);
        }
    }

    /// Along the channels: a copy for each of the two.
    fn join(&mut self, values: u64) {
        self.kernels(2, 2 * values);
    }

    fn embeddings(&mut self, config: &UNetConfig) {
        let (first, time) = (config.block_out_channels[0] as u64, config.time_embed_dim() as u64);
        let two_layers = |meter: &mut Self, lines: u64, inputs: u64| {
            meter.linear(lines, (inputs, time), true, false);
            meter.elementwise(lines * time);
            meter.linear(lines, (time, time), true, false);
        };
        two_layers(self, 1, first);
        if config.projection_class_embeddings_input_dim.is_some() && self.own() {
            // SDXL's embedding, which is made once a run, added to that of the timestep
            self.kernels(1, 3 * self.call.rows * time);
        }
        if self.own() {
            self.elementwise(time);
        }
    }

    fn network(&mut self, config: &UNetConfig, blocks: &Blocks) {
        let channels: Vec<u64> = config.block_out_channels.iter().map(|c| *c as u64).collect();
        let (rows, last, time) = (self.call.rows, channels.len() - 1, config.time_embed_dim() as u64);
        let area = |level: usize| Area {
            height: self.call.height.div_ceil(1 << level),
            width: self.call.width.div_ceil(1 << level),
        };
        let areas: Vec<Area> = (0..=last).map(area).collect();
        let heads = |level: usize| blocks.heads[level] as u64;
        let context = |level: usize| blocks.cross_attention_dim[level] as u64;
        self.embeddings(config);
        let latents = rows * config.in_channels as u64 * areas[0].pixels();
        if !self.own() {
            // the latents to f16; ours are written by the host, where the device reads them
            self.kernels(1, 3 * latents);
        }
        let kernel = config.conv_in_kernel as u64;
        self.conv(kernel, (config.in_channels as u64, channels[0]), (areas[0], areas[0]), false, false);
        let mut skips = vec![(channels[0], areas[0])];
        let mut now = channels[0];
        for level in 0..=last {
            for layer in 0..blocks.layers[level] {
                self.resnet((now, channels[level]), areas[level], time);
                now = channels[level];
                if let Some(depth) = blocks.depths.down[level].get(layer) {
                    self.transformer(now, heads(level), *depth as u64, areas[level], context(level));
                }
                skips.push((now, areas[level]));
            }
            if level < last {
                self.conv(3, (now, now), (areas[level], areas[level + 1]), false, false);
                skips.push((now, areas[level + 1]));
            }
        }
        if let Some(mid) = config.mid_block_type {
            self.resnet((now, now), areas[last], time);
            if mid == MidBlockType::UNetMidBlock2DCrossAttn {
                let depth = blocks.depths.mid as u64;
                self.transformer(now, heads(last), depth, areas[last], context(last));
                self.resnet((now, now), areas[last], time);
            }
        }
        for i in 0..=last {
            let level = last - i;
            for layer in 0..=blocks.layers[level] {
                let Some((skip, _)) = skips.pop() else { return };
                let joined = now + skip;
                self.join(rows * joined * areas[level].pixels());
                self.resnet((joined, channels[level]), areas[level], time);
                now = channels[level];
                if let Some(depth) = blocks.depths.up[i].get(layer) {
                    self.transformer(now, heads(level), *depth as u64, areas[level], context(level));
                }
            }
            if level > 0 {
                let (from, to) = (areas[level], areas[level - 1]);
                if self.own() {
                    self.conv(3, (now, now), (from, to), false, false);
                } else {
                    self.kernels(1, rows * now * (from.pixels() + to.pixels()));
                    self.conv(3, (now, now), (to, to), false, false);
                }
            }
        }
        self.group_norm(rows * now * areas[0].pixels(), true);
        let kernel = config.conv_out_kernel as u64;
        self.conv(kernel, (now, config.out_channels as u64), (areas[0], areas[0]), false, false);
        // the result to where the host reads it, as it is; candle-transformers' to f32 first
        let result = rows * config.out_channels as u64 * areas[0].pixels();
        self.kernels(1, 2 * result);
        self.kernels(u64::from(!self.own()), if self.own() { 0 } else { 3 * result });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> UNetConfig {
        serde_json::from_value(json).unwrap()
    }

    fn sd15() -> UNetConfig {
        config(serde_json::json!({ "cross_attention_dim": 768 }))
    }

    fn sdxl() -> UNetConfig {
        config(serde_json::json!({
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "block_out_channels": [320, 640, 1280],
            "attention_head_dim": [5, 10, 20],
            "cross_attention_dim": 2048,
            "transformer_layers_per_block": [1, 2, 10],
            "use_linear_projection": true,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        }))
    }

    #[test]
    fn a_call_costs_what_the_documentation_says() {
        let cost = |config: &UNetConfig, side: u64, path: Path| {
            let cost = unet(config, &Call::guided(side, side), path).unwrap();
            (cost.dispatches, cost.bytes / 1_000_000)
        };
        let all = [
            ("SD 1.5, 512×512, own", cost(&sd15(), 64, Path::Own)),
            ("SD 1.5, 512×512, candle-transformers", cost(&sd15(), 64, Path::CandleTransformers)),
            ("SDXL, 1024×1024, own", cost(&sdxl(), 128, Path::Own)),
            ("SDXL, 1024×1024, candle-transformers", cost(&sdxl(), 128, Path::CandleTransformers)),
        ];
        let expected = [(781, 9633), (2279, 54_285), (1831, 48_864), (4381, 244_948)];
        let found = all.map(|(_, cost)| cost);
        assert_eq!(found, expected, "{all:#?}");
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md")).unwrap();
        for (name, (dispatches, megabytes)) in all {
            let row = format!("| {name} | {dispatches} | {:.1} |", megabytes as f64 / 1000.);
            assert!(page.contains(&row), "docs/benchmarks.md lacks {row}");
        }
    }

    /// candle-transformers' UNet of Stable Diffusion 1.5 was counted on CUDA: 1828 kernels and 346 products. There a
    /// convolution has no fill.
    #[test]
    fn the_walk_finds_the_products_that_were_counted() {
        let cost = unet(&sd15(), &Call::guided(64, 64), Path::CandleTransformers).unwrap();
        let convolutions = 98;
        let counted = 1828 + 346 + convolutions;
        let off = cost.dispatches as f64 / f64::from(counted) - 1.;
        assert!(off.abs() < 0.05, "{} on paper, {counted} counted", cost.dispatches);
    }

    #[test]
    fn smaller_workspaces_cost_copies() {
        let whole = Call::guided(64, 64);
        let banded = Call { conv_bytes: 8 << 20, ..whole };
        let of = |call: &Call| unet(&sd15(), call, Path::Own).unwrap();
        assert!(of(&banded).dispatches > of(&whole).dispatches && of(&banded).bytes > of(&whole).bytes);
    }
}
