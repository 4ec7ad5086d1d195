//! Every op at every kind of vectors against the plain sum in f64, on odd shapes.

use super::*;

/// Uniform in −1 … 1, the same each time.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(7919).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.
    };
    (0..len).map(|_| next()).collect()
}

/// The largest difference in parts of the largest value.
fn error(values: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(values.len(), reference.len());
    let size = reference.iter().fold(0f64, |m, x| m.max(x.abs()));
    let worst = values.iter().zip(reference).fold(0f64, |m, (a, b)| {
        let difference = (f64::from(*a) - b).abs();
        // NaN must not be swallowed by `max`.
        if difference.is_nan() { f64::INFINITY } else { m.max(difference) }
    });
    worst / size
}

/// `f` of every kind of vectors and its name in the message.
fn at_every_level(what: &str, reference: &[f64], tolerance: f64, f: impl Fn(Level, &mut [f32])) {
    for level in Level::available() {
        // Whatever is not written shows.
        let mut out = vec![f32::NAN; reference.len()];
        f(level, &mut out);
        let error = error(&out, reference);
        assert!(error <= tolerance, "{what} with {level:?}: {error:.2e}");
    }
}

fn conv_reference(conv: &Conv, upsample: bool) -> Vec<f64> {
    let scale = if upsample { 2 } else { 1 };
    let (h, w) = (conv.height * scale, conv.width * scale);
    let size = |n: usize| (n + 2 * conv.padding - conv.kernel) / conv.stride + 1;
    let (rows, columns) = (size(h), size(w));
    let mut weight = vec![0.; conv.weight.len()];
    conv.weight.widen(0, &mut weight);
    let mut out = Vec::new();
    for (image, output) in (0..conv.batch).flat_map(|b| (0..conv.outputs).map(move |o| (b, o))) {
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            let mut sum = f64::from(conv.bias[output]);
            for input in 0..conv.inputs {
                for (ky, kx) in (0..conv.kernel).flat_map(|y| (0..conv.kernel).map(move |x| (y, x))) {
                    let iy = (y * conv.stride + ky).wrapping_sub(conv.padding);
                    let ix = (x * conv.stride + kx).wrapping_sub(conv.padding);
                    if iy < h && ix < w {
                        let at = ((image * conv.inputs + input) * conv.height + iy / scale) * conv.width
                            + ix / scale;
                        let tap = ((output * conv.inputs + input) * conv.kernel + ky) * conv.kernel + kx;
                        sum += f64::from(conv.x[at]) * f64::from(weight[tap]);
                    }
                }
            }
            out.push(sum + conv.residual.map_or(0., |r| f64::from(r[out.len()])));
        }
    }
    out
}

struct ConvData {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
}

impl ConvData {
    fn new(batch: usize, inputs: usize, outputs: usize, pixels: usize, kernel: usize) -> Self {
        Self {
            x: noise(batch * inputs * pixels, 1),
            weight: noise(outputs * inputs * kernel * kernel, 2),
            bias: noise(outputs, 3),
            residual: noise(batch * outputs * pixels * 4, 4),
        }
    }
}

#[test]
fn winograd_is_the_convolution() {
    for (batch, inputs, outputs, height, width, upsample) in [
        (1, 3, 5, 7, 9, false),
        (2, 17, 9, 16, 16, false),
        (1, 8, 12, 64, 64, false),
        (2, 330, 12, 12, 20, false),
        (1, 5, 7, 5, 7, true),
        (1, 4, 4, 130, 66, false),
        (3, 2, 16, 1, 1, false),
        (1, 3, 9, 32, 48, true),
    ] {
        let data = ConvData::new(batch, inputs, outputs, height * width, 3);
        let scale = if upsample { 4 } else { 1 };
        let residual = &data.residual[..batch * outputs * height * width * scale];
        let (x, bias) = (&data.x[..], &data.bias[..]);
        let weight = Floats::F32(&data.weight);
        let mut conv = Conv {
            batch,
            inputs,
            outputs,
            height,
            width,
            kernel: 3,
            stride: 1,
            padding: 1,
            x,
            weight,
            bias,
            residual: None,
        };
        for with_residual in [false, true] {
            conv.residual = with_residual.then_some(residual);
            let reference = conv_reference(&conv, upsample);
            let what = format!("{batch} × {inputs}→{outputs} at {height}×{width}, upsample {upsample}");
            at_every_level(&what, &reference, 1e-5, |level, out| {
                Conv3x3 { conv, upsample }.forward(level, out);
            });
        }
    }
}

#[test]
fn winograd_takes_a_picture_in_bands() {
    // More tiles than a band holds, so that the last band is a short one.
    let (inputs, outputs, side) = (257, 8, 252);
    let data = ConvData::new(1, inputs, outputs, side * side, 3);
    let conv = Conv {
        batch: 1,
        inputs,
        outputs,
        height: side,
        width: side,
        kernel: 3,
        stride: 1,
        padding: 1,
        x: &data.x,
        weight: Floats::F32(&data.weight),
        bias: &data.bias,
        residual: None,
    };
    let mut out = vec![f32::NAN; outputs * side * side];
    Conv3x3 { conv, upsample: false }.forward(Level::best(), &mut out);
    // The matrix product is proven by itself and far faster than the reference.
    let mut direct = vec![f32::NAN; outputs * side * side];
    conv.forward(Level::best(), &mut direct);
    let direct: Vec<f64> = direct.into_iter().map(f64::from).collect();
    assert!(error(&out, &direct) < 1e-5);
}

#[test]
fn convolutions_of_every_kernel_and_stride() {
    for (batch, inputs, outputs, height, width, kernel, stride, padding) in [
        (2, 3, 5, 7, 9, 1, 1, 0),
        (1, 40, 33, 8, 12, 1, 1, 0),
        (2, 5, 6, 9, 8, 3, 2, 1),
        (1, 4, 3, 16, 20, 3, 2, 0),
        (1, 3, 300, 5, 6, 3, 1, 0),
        (1, 2, 3, 11, 6, 5, 3, 2),
        (1, 2, 200, 40, 40, 4, 4, 0),
    ] {
        let data = ConvData::new(batch, inputs, outputs, height * width, kernel);
        let conv = Conv {
            batch,
            inputs,
            outputs,
            height,
            width,
            kernel,
            stride,
            padding,
            x: &data.x,
            weight: Floats::F32(&data.weight),
            bias: &data.bias,
            residual: None,
        };
        let (rows, columns) = conv.output_size();
        let residual = Some(&data.residual[..batch * outputs * rows * columns]);
        for conv in [conv, Conv { residual, ..conv }] {
            let what = format!("{batch} × {inputs}→{outputs} at {height}×{width}, {kernel} by {stride}");
            let reference = conv_reference(&conv, false);
            at_every_level(&what, &reference, 1e-5, |level, out| conv.forward(level, out));
        }
    }
}

fn gelu_reference(x: f64) -> f64 {
    0.5 * x * (1. + candle_core::cpu::erf::erf_f64(x / std::f64::consts::SQRT_2))
}

#[test]
fn linear_layers_of_few_and_many_rows() {
    for (rows, inputs, outputs) in
        [(1, 7, 5), (3, 100, 130), (5, 33, 20), (77, 64, 96), (200, 40, 52), (300, 130, 250), (193, 16, 1)]
    {
        let (x, weight) = (noise(rows * inputs, 1), noise(outputs * inputs, 2));
        let (bias, residual) = (noise(outputs, 3), noise(rows * outputs, 4));
        let linear = Linear { inputs, outputs, weight: Floats::F32(&weight), bias: None };
        let sum = |row: usize, output: usize| -> f64 {
            let products =
                (0..inputs).map(|i| f64::from(x[row * inputs + i]) * f64::from(weight[output * inputs + i]));
            products.sum()
        };
        let places = || (0..rows).flat_map(|row| (0..outputs).map(move |output| (row, output)));
        let what = format!("{rows} rows, {inputs}→{outputs}");
        let plain: Vec<f64> = places().map(|(r, o)| sum(r, o)).collect();
        at_every_level(&what, &plain, 1e-5, |level, out| linear.forward(level, &x, None, out));
        let biased = Linear { bias: Some(&bias), ..linear };
        let full: Vec<f64> = places()
            .map(|(r, o)| sum(r, o) + f64::from(bias[o]) + f64::from(residual[r * outputs + o]))
            .collect();
        at_every_level(&what, &full, 1e-5, |level, out| biased.forward(level, &x, Some(&residual), out));
        if outputs % 2 == 0 {
            let half = outputs / 2;
            let gated: Vec<f64> = (0..rows)
                .flat_map(|row| (0..half).map(move |output| (row, output)))
                .map(|(r, o)| {
                    let gate = sum(r, half + o) + f64::from(bias[half + o]);
                    (sum(r, o) + f64::from(bias[o])) * gelu_reference(gate)
                })
                .collect();
            at_every_level(&what, &gated, 1e-5, |level, out| biased.forward_geglu(level, &x, out));
        }
    }
}

#[test]
fn weights_are_widened_where_they_are_used_without_a_difference() {
    let (rows, inputs, outputs) = (9, 70, 55);
    let x = noise(rows * inputs, 1);
    let half: Vec<half::f16> = noise(outputs * inputs, 2).into_iter().map(half::f16::from_f32).collect();
    let brain: Vec<half::bf16> = noise(outputs * inputs, 2).into_iter().map(half::bf16::from_f32).collect();
    let wide_half: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
    let wide_brain: Vec<f32> = brain.iter().map(|x| x.to_f32()).collect();
    for (stored, wide) in [(Floats::F16(&half), &wide_half), (Floats::Bf16(&brain), &wide_brain)] {
        let run = |weight| {
            let mut out = vec![0.; rows * outputs];
            Linear { inputs, outputs, weight, bias: None }.forward(Level::best(), &x, None, &mut out);
            out
        };
        assert_eq!(run(stored), run(Floats::F32(wide)));
    }
}

fn attention_reference(at: &Attention, batch: usize) -> Vec<f64> {
    let inner = at.heads * at.size;
    let mut out = vec![0.; batch * at.queries * inner];
    for (b, h) in (0..batch).flat_map(|b| (0..at.heads).map(move |h| (b, h))) {
        for query in 0..at.queries {
            let q = &at.q[(b * at.queries + query) * inner + h * at.size..][..at.size];
            let keys = if at.causal { at.keys.min(query + 1) } else { at.keys };
            let row =
                |x: &[f32], key: usize, i: usize| f64::from(x[(b * at.keys + key) * inner + h * at.size + i]);
            let scores: Vec<f64> = (0..keys)
                .map(|key| {
                    let dot: f64 = q.iter().enumerate().map(|(i, q)| f64::from(*q) * row(at.k, key, i)).sum();
                    dot * f64::from(at.scale)
                })
                .collect();
            let maximum = scores.iter().fold(f64::NEG_INFINITY, |m, x| m.max(*x));
            let total: f64 = scores.iter().map(|x| (x - maximum).exp()).sum();
            for i in 0..at.size {
                let sum: f64 =
                    scores.iter().enumerate().map(|(k, x)| (x - maximum).exp() * row(at.v, k, i)).sum();
                out[(b * at.queries + query) * inner + h * at.size + i] = sum / total;
            }
        }
    }
    out
}

#[test]
fn attention_is_softmax_of_scores_times_values() {
    for (batch, queries, keys, heads, size, causal) in [
        (2, 50, 300, 2, 40, false),
        (1, 130, 77, 3, 80, false),
        (1, 17, 129, 1, 160, false),
        (2, 77, 77, 2, 64, true),
        (1, 300, 300, 1, 12, true),
        (1, 5, 9, 2, 3, false),
        (1, 20, 20, 1, 512, false),
        (1, 1, 1, 1, 17, true),
    ] {
        let inner = heads * size;
        let q = noise(batch * queries * inner, 1);
        let (k, v) = (noise(batch * keys * inner, 2), noise(batch * keys * inner, 3));
        // A large scale makes the softmax sharp, so that the running maximum has to move.
        for scale in [1. / (size as f32).sqrt(), 4.] {
            let at = Attention { q: &q, k: &k, v: &v, queries, keys, heads, size, scale, causal };
            let what = format!("{batch} × {queries} to {keys}, {heads} heads of {size}, causal {causal}");
            at_every_level(&what, &attention_reference(&at, batch), 2e-5, |level, out| {
                at.forward(level, out);
            });
        }
    }
}

#[test]
fn group_norm_is_exact_far_from_zero_too() {
    for (batch, channels, groups, pixels, mean) in [
        (2, 6, 3, 35, 0.),
        (1, 32, 32, 1, 0.),
        (1, 8, 2, 4099, 0.),
        (1, 4, 2, 1000, 1000.),
        (2, 5, 1, 17, -3.),
    ] {
        let x: Vec<f32> = noise(batch * channels * pixels, 1).into_iter().map(|x| x + mean).collect();
        let (weight, bias) = (noise(channels, 2), noise(channels, 3));
        let eps = 1e-5;
        let size = channels / groups * pixels;
        let normed = |i: usize| {
            let group: Vec<f64> = x[i / size * size..][..size].iter().map(|x| f64::from(*x)).collect();
            let mean = group.iter().sum::<f64>() / size as f64;
            let variance = group.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / size as f64;
            let channel = i / pixels % channels;
            let y = (f64::from(x[i]) - mean) / (variance + eps).sqrt();
            y * f64::from(weight[channel]) + f64::from(bias[channel])
        };
        let plain: Vec<f64> = (0..x.len()).map(normed).collect();
        let swished: Vec<f64> = plain.iter().map(|y| y / (1. + (-y).exp())).collect();
        for (silu, reference) in [(false, plain), (true, swished)] {
            let norm = GroupNorm { groups, channels, pixels, eps, weight: &weight, bias: &bias, silu };
            let what = format!("{batch} × {channels} in {groups}, {pixels} pixels, mean {mean}, silu {silu}");
            at_every_level(&what, &reference, 1e-5, |level, out| norm.forward(level, &x, out));
        }
    }
}

#[test]
fn layer_norm_of_every_row() {
    for (rows, size) in [(3, 5), (40, 320), (1, 768), (700, 33)] {
        let x = noise(rows * size, 1);
        let (weight, bias) = (noise(size, 2), noise(size, 3));
        let reference: Vec<f64> = x
            .chunks(size)
            .flat_map(|row| {
                let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / size as f64;
                let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / size as f64;
                let normed = row.iter().map(move |x| (f64::from(*x) - mean) / (variance + 1e-5).sqrt());
                let affine = normed.zip(&weight).zip(&bias);
                affine.map(|((y, w), b)| y * f64::from(*w) + f64::from(*b)).collect::<Vec<_>>()
            })
            .collect();
        let norm = LayerNorm { eps: 1e-5, weight: &weight, bias: &bias };
        let what = format!("{rows} rows of {size}");
        at_every_level(&what, &reference, 1e-5, |level, out| norm.forward(level, &x, out));
    }
}

/// The largest error in units of f32's relative precision of each value.
fn relative_error(values: &[f32], reference: impl Fn(f64) -> f64, x: &[f32]) -> f64 {
    let errors = values.iter().zip(x).map(|(y, x)| {
        let expected = reference(f64::from(*x));
        (f64::from(*y) - expected).abs() / expected.abs().max(1e-30)
    });
    errors.fold(0., |m, e| if e.is_nan() { f64::INFINITY } else { f64::max(m, e) }) / f64::from(f32::EPSILON)
}

#[test]
fn elementwise_functions_are_good_to_a_few_last_places() {
    let x: Vec<f32> = (-8000..8001).map(|i| i as f32 / 100.).collect();
    for level in Level::available() {
        let mut y = vec![0.; x.len()];
        map(level, Swish(1.), &x, &mut y);
        let error = relative_error(&y, |x| x / (1. + (-x).exp()), &x);
        assert!(error < 4., "swish with {level:?}: {error}");
        map(level, Swish(1.702), &x[4000..12000], &mut y[4000..12000]);
        // σ's argument is rounded: its error grows with it.
        let error = relative_error(&y[4000..12000], |x| x / (1. + (-1.702 * x).exp()), &x[4000..12000]);
        assert!(error < 40., "quick GELU with {level:?}: {error}");
        map(level, Gelu, &x, &mut y);
        let errors = x.iter().zip(&y).map(|(x, y)| {
            let x = f64::from(*x);
            (f64::from(*y) - gelu_reference(x)).abs() / x.abs().max(1.)
        });
        let worst = errors.fold(0., f64::max);
        assert!(worst < 4e-7, "GELU with {level:?}: {worst:.2e}");
    }
    assert!(Level::available().contains(&Level::best()));
}
