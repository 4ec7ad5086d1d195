use candle_core::{DType, DeviceLocation};

use super::super::{Site, padding_of_heads};
use super::*;
use crate::diffusion::nn::OpLimits;

const CUDA: DeviceLocation = DeviceLocation::Cuda { gpu_id: 0 };
const METAL: DeviceLocation = DeviceLocation::Metal { gpu_id: 0 };

fn site(location: DeviceLocation, dtype: DType) -> Site {
    Site { dtype, location, threads: 2, base: 0 }
}

fn sd15() -> UNetConfig {
    serde_json::from_value(serde_json::json!({ "cross_attention_dim": 768 })).unwrap()
}

fn sdxl() -> UNetConfig {
    serde_json::from_value(serde_json::json!({
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "block_out_channels": [320, 640, 1280],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "transformer_layers_per_block": [1, 2, 10],
    }))
    .unwrap()
}

fn vae() -> VaeConfig {
    let (down, up) = (["DownEncoderBlock2D"; 4], ["UpDecoderBlock2D"; 4]);
    serde_json::from_value(serde_json::json!({
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "sample_size": 512,
        "down_block_types": down,
        "up_block_types": up,
    }))
    .unwrap()
}

fn clip() -> ClipTextConfig {
    ClipTextConfig {
        hidden_size: 768,
        intermediate_size: 3072,
        num_attention_heads: 12,
        ..ClipTextConfig::default()
    }
}

/// The most that a guided call of the UNet holds.
fn step(site: &Site, config: &UNetConfig, side: usize) -> u64 {
    let limits = OpLimits::default();
    let ops = Ops::new(site, site.dtype, &limits);
    drop(unet(&ops, config, 2, (side, side)));
    ops.heap.peak()
}

/// The most that decoding holds.
fn decode(site: &Site, side: usize) -> u64 {
    let limits = OpLimits::default();
    vae_decoder(&Ops::new(site, site.dtype, &limits), &vae(), (side, side), None)
}

const MIB: u64 = 1 << 20;

#[test]
fn nothing_is_left_when_a_walk_is_over() {
    let limits = OpLimits::default();
    for (location, dtype) in
        [(DeviceLocation::Cpu, DType::F32), (DeviceLocation::Cpu, DType::F16), (CUDA, DType::F16)]
    {
        let site = site(location, dtype);
        let ops = Ops::new(&site, dtype, &limits);
        let output = unet(&ops, &sd15(), 2, (16, 16));
        let bytes = output.values() * dtype.size_in_bytes() as u64;
        assert_eq!((output.channels, output.size, ops.heap.held()), (4, (16, 16), bytes));
        drop(output);
        vae_decoder(&ops, &vae(), (8, 8), None);
        vae_encoder(&ops, &vae(), (8, 8), 1000);
        text_encoder(&ops, &clip());
        assert_eq!(ops.heap.held(), 0);
    }
}

/// What was held against measurements on the CPU (`docs/memory.md`).
#[test]
fn the_cpus_own_ops_hold_what_they_did_when_they_were_measured() {
    let site = site(DeviceLocation::Cpu, DType::F32);
    let limits = OpLimits::default();
    let ops = || Ops::new(&site, DType::F32, &limits);
    for (side, expected) in [
        (32, [8_138_592, 128_286_720, 56_524_800, 200_704_000]),
        (64, [8_138_592, 433_225_728, 129_400_832, 706_117_632]),
        (128, [8_138_592, 1_652_981_760, 428_244_992, 2_735_112_192]),
    ] {
        let text = ops();
        text_encoder(&text, &clip());
        let image = ops().after(&text);
        vae_encoder(&image, &vae(), (side, side), 1000);
        let step = ops().after(&image);
        drop(unet(&step, &sd15(), 2, (side, side)));
        let decode = vae_decoder(&ops().after(&step), &vae(), (side, side), None);
        assert_eq!([text.heap.peak(), image.heap.peak(), step.heap.peak(), decode], expected, "{side}");
    }
}

/// On an NVIDIA GPU a convolution holds its result and the patches of one band beside what is alive around it, and
/// the largest of them all decides. In MiB, batch 2, f16, a channel of 64² pixels being 1/64 and of 128² 1/16:
///
/// - SD 1.5's step: the first resnet at 64² on the way up. 2 skips of 320 channels (10), the joined 960 (15), the
///   same normed (15), the result of 320 (5), patches of all 64 rows: 9 · 15 = 135.
/// - SDXL's step: the same at 128². Skips 40, joined 60, normed 60, result 20; a row of patches is
///   2 · 960 · 9 · 128 · 2 bytes, of which 60 stay below 256 MiB.
/// - The decoder at 512², one picture: the second convolution of the first resnet at that size. The input of 256
///   channels (128), and of 128 channels each what was normed, the shortcut and the result (64 each); 227 rows of
///   patches, 128 · 9 · 512 · 2 bytes each. At 1024² in f32, where everything else is eight times as large, a row is
///   128 · 9 · 1024 · 4 bytes, of which 56 fit.
#[test]
fn cuda_holds_no_copies_beside_one_band_of_patches() {
    let half = site(CUDA, DType::F16);
    assert_eq!(step(&half, &sd15(), 64), (10 + 15 + 15 + 5 + 135) * MIB);
    assert_eq!(step(&half, &sdxl(), 128), (40 + 60 + 60 + 20) * MIB + 60 * 2 * 960 * 9 * 128 * 2);
    assert_eq!(decode(&half, 64), (128 + 3 * 64) * MIB + 227 * 128 * 9 * 512 * 2);
    let full = site(CUDA, DType::F32);
    assert_eq!(decode(&full, 128), 8 * (128 + 3 * 64) * MIB + 56 * 128 * 9 * 1024 * 4);
}

/// In f32 there is no kernel: four blocks of scores (candle's softmax makes three of one) and copies by heads.
/// SD 1.5 at 64²: 16 heads of 4096² scores are 1 GiB, in blocks of 4 heads (256 MiB).
#[test]
fn cuda_keeps_scores_where_it_has_no_kernel() {
    let (full, half) = (site(CUDA, DType::F32), site(CUDA, DType::F16));
    assert!(step(&full, &sd15(), 64) > 4 * 256 * MIB);
    let upcast = OpLimits { upcast_attention: true, ..OpLimits::default() };
    let ops = Ops::new(&half, DType::F16, &upcast);
    drop(unet(&ops, &sd15(), 2, (64, 64)));
    assert!(ops.heap.peak() > 4 * 256 * MIB);
}

/// candle's pool on Metal gives each tensor the smallest idle buffer that is large enough, or a new one of the next
/// power of two. A resnet of 320 channels at 64², batch 2, f16: input, normed and product are of 5 MiB in buffers of
/// 8, patches of 45 in one of 64. The sum with the bias is too large for none but that one, which patches have left;
/// the second half finds what it needs among these.
#[test]
fn metal_holds_powers_of_two() {
    let (site, limits) = (site(METAL, DType::F16), OpLimits::default());
    let ops = Ops::new(&site, DType::F16, &limits);
    let x = ops.tensor(2, 320, (64, 64));
    drop(resnet(&ops, &x, 320, Activation::Silu, true));
    drop(x);
    assert_eq!(ops.heap.idle(), [64, 8, 8, 8].map(|mib| mib * MIB));

    // Attention of 8 heads of 40, padded to 64: queries, keys, values and results are 8 MiB each, and no scores.
    let ops = Ops::new(&site, DType::F16, &limits);
    let heads = ops.heads(8, 320);
    let q = ops.given(2, heads.width() as u64, (4096, 1));
    drop(ops.attention(&q, &q, &heads));
    assert_eq!(ops.heap.idle(), [8, 8].map(|mib| mib * MIB));

    // The whole: patches of 960 channels at 64² are 135 MiB, in a buffer of 256, those of 640 channels 90, in one of
    // 128, and so on down; no buffer goes back before the call is over.
    let ops = Ops::new(&site, DType::F16, &limits);
    drop(unet(&ops, &sd15(), 2, (64, 64)));
    assert_eq!(ops.heap.idle()[..5], [256, 128, 64, 64, 32].map(|mib| mib * MIB));
    assert_eq!(ops.heap.peak(), ops.heap.held());
    // never less than what is alive at once, which is what CUDA holds
    for (config, side) in [(sd15(), 64), (sdxl(), 128)] {
        let (metal, cuda) = (step(&site, &config, side), step(&self::site(CUDA, DType::F16), &config, side));
        assert!(metal > cuda && metal < 4 * cuda, "{metal} {cuda}");
    }
}

/// On Metal 8 heads of 40 become 64, those of 160 become 256; 80 and SDXL's 64 stay. SD 1.5 has 5 transformers of 320
/// channels (192 more, for queries, output and twice keys and values of 320, then 768 channels) and 6 of 1280.
#[test]
fn padded_heads_take_more_weights() {
    let padding =
        |config: &UNetConfig, location| padding_of_heads(config, &site(location, DType::F16)).unwrap();
    let narrow = 192 * (2 * 320 + 2 * 320) + 192 * (2 * 320 + 2 * 768);
    let wide = 768 * (2 * 1280 + 2 * 1280) + 768 * (2 * 1280 + 2 * 768);
    assert_eq!(padding(&sd15(), METAL), 2 * (5 * narrow + 6 * wide));
    assert_eq!(padding(&sd15(), CUDA), 0);
    assert_eq!(padding(&sdxl(), METAL), 0);
}

#[test]
fn a_limit_bounds_the_workspaces() {
    let site = site(CUDA, DType::F32);
    let peak = |attention_bytes, conv_bytes| {
        let limits = OpLimits { attention_bytes, conv_bytes, ..OpLimits::default() };
        let ops = Ops::new(&site, DType::F32, &limits);
        drop(unet(&ops, &sd15(), 2, (64, 64)));
        ops.heap.peak()
    };
    let (whole, sliced) = (peak(usize::MAX, usize::MAX), peak(1 << 20, 1 << 20));
    // 1 GiB, 2 · 8 heads of 4096² scores, before, twice within, and after the softmax
    assert!(whole - sliced > 3 << 30, "{whole} {sliced}");
}
