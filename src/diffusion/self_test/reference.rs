//! The ops as their definitions read, in f64, one loop after another.

/// One picture `[c, h, w]` to `[outputs, h', w']`; the kernel is `(side, stride, padding)`.
pub fn conv(
    x: &[f32],
    (channels, height, width): (usize, usize, usize),
    weight: &[f32],
    bias: &[f32],
    (kernel, stride, padding): (usize, usize, usize),
) -> Vec<f64> {
    let size = |side: usize| (side + 2 * padding - kernel) / stride + 1;
    let mut out = Vec::new();
    for (output, bias) in bias.iter().enumerate() {
        for y in 0..size(height) {
            for column in 0..size(width) {
                let mut sum = f64::from(*bias);
                for channel in 0..channels {
                    for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                        let (row, at) = (y * stride + ky, column * stride + kx);
                        if row < padding || at < padding || row - padding >= height || at - padding >= width {
                            continue;
                        }
                        let pixel = x[(channel * height + row - padding) * width + at - padding];
                        let factor = weight[((output * channels + channel) * kernel + ky) * kernel + kx];
                        sum += f64::from(pixel) * f64::from(factor);
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

/// `[channels, pixels]`, each of `groups` groups to mean 0 and variance 1.
pub fn group_norm(
    x: &[f32],
    groups: usize,
    pixels: usize,
    weight: &[f32],
    bias: &[f32],
    eps: f64,
) -> Vec<f64> {
    let length = x.len() / groups;
    let mut out = Vec::with_capacity(x.len());
    for group in x.chunks(length) {
        let mean = group.iter().map(|value| f64::from(*value)).sum::<f64>() / length as f64;
        let variance =
            group.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / length as f64;
        for value in group {
            let channel = out.len() / pixels;
            let normed = (f64::from(*value) - mean) / (variance + eps).sqrt();
            out.push(normed * f64::from(weight[channel]) + f64::from(bias[channel]));
        }
    }
    out
}

/// Rows of `x` times the rows of `weight`, plus `bias`.
pub fn linear(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
    let inputs = weight.len() / bias.len();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    x.chunks(inputs)
        .flat_map(|row| {
            weight.chunks(inputs).zip(bias).map(move |(weight, bias)| dot(row, weight) + f64::from(*bias))
        })
        .collect()
}

/// `softmax(q kᵀ · scale) v` over rows of `heads · size`; a `causal` row sees those up to its own.
pub fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    (heads, size): (usize, usize),
    scale: f64,
    causal: bool,
) -> Vec<f64> {
    let inner = heads * size;
    let mut out = vec![0.; q.len()];
    for (row, q) in q.chunks(inner).enumerate() {
        for head in 0..heads {
            let part = head * size..(head + 1) * size;
            let dot = |k: &[f32]| -> f64 {
                part.clone().map(|i| f64::from(q[i]) * f64::from(k[i])).sum::<f64>() * scale
            };
            let seen = if causal { row + 1 } else { usize::MAX };
            let scores: Vec<f64> = k.chunks(inner).take(seen).map(dot).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
            for (score, v) in scores.iter().zip(v.chunks(inner)) {
                let share = (score - largest).exp() / total;
                part.clone().for_each(|i| out[row * inner + i] += share * f64::from(v[i]));
            }
        }
    }
    out
}

/// The first half of each row of `width` times the GELU of the second.
pub fn geglu(x: &[f64], width: usize) -> Vec<f64> {
    x.chunks(width)
        .flat_map(|row| {
            row[..width / 2].iter().zip(&row[width / 2..]).map(|(value, gate)| value * gelu(*gate))
        })
        .collect()
}

/// Every channel's pixels to `(height, width)`, each the nearest one above and to the left.
pub fn upsample(x: &[f32], (h, w): (usize, usize), (height, width): (usize, usize)) -> Vec<f32> {
    let mut out = Vec::new();
    for plane in x.chunks(h * w) {
        for y in 0..height {
            out.extend((0..width).map(|column| plane[y * h / height * w + column * w / width]));
        }
    }
    out
}

/// Rows of `columns` values as columns.
pub fn transposed<T: Copy>(x: &[T], columns: usize) -> Vec<T> {
    (0..columns).flat_map(|column| x.iter().skip(column).step_by(columns).copied()).collect()
}

/// Element by element.
pub fn sum(a: &[f64], b: &[f32]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + f64::from(*b)).collect()
}

/// `x · tanh(ln(1 + eˣ))`.
pub fn mish(x: f64) -> f64 {
    x * x.exp().ln_1p().tanh()
}

/// `x · σ(x)`.
pub fn silu(x: f64) -> f64 {
    x / (1. + (-x).exp())
}

/// `x · σ(1.702 x)`.
pub fn quick_gelu(x: f64) -> f64 {
    x / (1. + (-1.702 * x).exp())
}

/// `x · Φ(x)`, by the series of the error function whose terms have one sign, so that nothing cancels.
pub fn gelu(x: f64) -> f64 {
    let z = x / std::f64::consts::SQRT_2;
    if z.abs() > 6. {
        // the error function is ±1 there, to the last bit
        return x.max(0.);
    }
    let (mut term, mut sum) = (z, z);
    for n in 1..200 {
        term *= 2. * z * z / f64::from(2 * n + 1);
        sum += term;
    }
    x * 0.5 * (1. + 2. / std::f64::consts::PI.sqrt() * (-z * z).exp() * sum)
}
