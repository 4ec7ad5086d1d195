//! Noise identical to torch's CPU generator: seed 42 here and `torch.Generator("cpu").manual_seed(42)` there give
//! the same numbers, on every device.
//!
//! Owns the one source of randomness in the pipeline; knows nothing of latents or schedulers.
//!
//! Torch has three ways to draw `randn` in float32 on the CPU (`aten/src/ATen/native/cpu/DistributionTemplates.h`):
//! - 16 values and more on x86 with AVX2: Box–Muller over blocks of 16 with Cephes' polynomials for the logarithm
//!   and the sine. This is what is done here, operation by operation, on every platform, so that the values are
//!   torch's to the last bit.
//! - 16 values and more elsewhere (ARM): the same blocks with the platform's `logf`, `sinf` and `cosf`. Worked out with
//!   correctly rounded ones, two values in five are another float32 there, off by at most `2.5e-6` (in 32 million).
//! - fewer than 16 values: pairs in double precision, the second of a pair kept for the next call.

use serde::{Deserialize, Serialize};

/// Words of the Mersenne twister's state.
const N: usize = 624;
const M: usize = 397;
/// Values that one Box–Muller block of torch's makes.
const BLOCK: usize = 16;

/// torch's CPU generator: the Mersenne twister 19937, and the normal value that a call for fewer than 16 left over.
///
/// Sources: `aten/src/ATen/core/MT19937RNGEngine.h`, `aten/src/ATen/CPUGeneratorImpl.cpp`.
#[derive(Clone)]
pub struct TorchGenerator {
    seed: u64,
    words: [u32; N],
    /// Words already handed out of the current 624.
    used: usize,
    /// Words drawn since the seed.
    drawn: u64,
    next_normal: Option<f64>,
}

/// Where a [`TorchGenerator`] stands, in a few bytes: the generator is made again by drawing up to there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneratorState {
    /// The seed.
    pub seed: u64,
    /// 32-bit words drawn since the seed.
    pub drawn: u64,
    /// The second value of a pair that was drawn for a call for fewer than 16 values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_normal: Option<f64>,
}

impl std::fmt::Debug for TorchGenerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TorchGenerator({:?})", self.state())
    }
}

impl TorchGenerator {
    /// `torch.Generator("cpu").manual_seed(seed)`. As in torch, only the seed's low 32 bits count.
    pub fn manual_seed(seed: u64) -> Self {
        let mut words = [0; N];
        words[0] = seed as u32;
        for i in 1..N {
            let last = words[i - 1];
            words[i] = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { seed, words, used: N, drawn: 0, next_normal: None }
    }

    /// `torch.randn(n, generator=self)`: `n` values of the standard normal distribution, in float32.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < BLOCK {
            return (0..n).map(|_| self.normal() as f32).collect();
        }
        let mut values: Vec<f32> = (0..n).map(|_| self.uniform()).collect();
        let (blocks, rest) = values.as_chunks_mut::<BLOCK>();
        blocks.iter_mut().for_each(box_muller);
        if !rest.is_empty() {
            // Torch draws the last 16 values anew rather than leave a short block.
            let mut last = std::array::from_fn(|_| self.uniform());
            box_muller(&mut last);
            values[n - BLOCK..].copy_from_slice(&last);
        }
        values
    }

    /// Where the generator stands.
    pub fn state(&self) -> GeneratorState {
        GeneratorState { seed: self.seed, drawn: self.drawn, next_normal: self.next_normal }
    }

    /// The generator that `state` was taken from.
    pub fn from_state(state: &GeneratorState) -> Self {
        let mut generator = Self::manual_seed(state.seed);
        let words = N as u64;
        // The twist makes 624 words at once; a state that used all of its words has not twisted again yet.
        for _ in 0..state.drawn.div_ceil(words) {
            generator.twist();
        }
        generator.used = match state.drawn % words {
            0 => N,
            rest => rest as usize,
        };
        generator.drawn = state.drawn;
        generator.next_normal = state.next_normal;
        generator
    }

    /// A float32 in `[0, 1)` with 24 random bits.
    fn uniform(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 * 2f32.powi(-24)
    }

    /// A float64 in `[0, 1)` with 53 random bits.
    fn uniform_f64(&mut self) -> f64 {
        let bits = u64::from(self.next_u32()) << 32 | u64::from(self.next_u32());
        (bits & ((1 << 53) - 1)) as f64 * 2f64.powi(-53)
    }

    /// `at::normal_distribution<double>`: Box–Muller one pair at a time, the second value kept.
    fn normal(&mut self) -> f64 {
        if let Some(value) = self.next_normal.take() {
            return value;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * u1).sin_cos();
        self.next_normal = Some(radius * sin);
        radius * cos
    }

    fn next_u32(&mut self) -> u32 {
        if self.used == N {
            self.twist();
        }
        let mut y = self.words[self.used];
        self.used += 1;
        self.drawn += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.words[i] & 0x8000_0000) | (self.words[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.words[i] = self.words[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.used = 0;
    }
}

/// Turns 16 uniform values into 16 normal ones: value `j` and value `j + 8` are one pair.
fn box_muller(block: &mut [f32; BLOCK]) {
    for j in 0..BLOCK / 2 {
        let radius = (-2.0 * cephes_ln(1.0 - block[j])).sqrt();
        let (sin, cos) = cephes_sin_cos(std::f32::consts::TAU * block[j + BLOCK / 2]);
        block[j] = radius * cos;
        block[j + BLOCK / 2] = radius * sin;
    }
}

/// Cephes' `logf` for a positive normal number, in the order of operations (fused where the compiler fuses them)
/// of the AVX2 code in torch's wheels.
fn cephes_ln(x: f32) -> f32 {
    const P: [f32; 9] = [
        0.070_376_836,
        -0.115_146_1,
        0.116_769_984,
        -0.124_201_41,
        0.142_493_23,
        -0.166_680_58,
        0.200_007_14,
        -0.249_999_94,
        0.333_333_3,
    ];
    let bits = x.to_bits();
    let mut exponent = (bits >> 23) as f32 - 126.0;
    let mut x = f32::from_bits(bits & 0x007f_ffff | 0x3f00_0000);
    if x < std::f32::consts::FRAC_1_SQRT_2 {
        exponent -= 1.0;
        x += x - 1.0;
    } else {
        x -= 1.0;
    }
    let z = x * x;
    let polynomial = P[1..].iter().fold(P[0], |y, &p| y.mul_add(x, p));
    let y = (polynomial * x).mul_add(z, exponent * -2.121_944_4e-4);
    let y = z.mul_add(-0.5, y);
    exponent.mul_add(0.693_359_4, x + y)
}

/// Cephes' `sinf` and `cosf` for `x >= 0`, in the order of operations of the AVX2 code in torch's wheels.
fn cephes_sin_cos(x: f32) -> (f32, f32) {
    let octant = ((x * 1.273_239_5) as i32 + 1) & !1;
    let y = octant as f32;
    let x = y.mul_add(-0.785_156_25, x);
    let x = y.mul_add(-2.418_756_5e-4, x);
    let x = y.mul_add(-3.774_895e-8, x);
    let z = x * x;
    let cos = 2.443_315_7e-5_f32.mul_add(z, -1.388_731_6e-3).mul_add(z, 4.166_664_6e-2);
    let cos = (cos * z).mul_add(z, -(z * 0.5)) + 1.0;
    let sin = (-1.951_529_6e-4_f32).mul_add(z, 8.332_161e-3).mul_add(z, -1.666_665_5e-1);
    let sin = (sin * z).mul_add(x, x);
    let (sin, cos) = if octant & 2 == 0 { (sin, cos) } else { (cos, sin) };
    let sin = if octant & 4 == 0 { sin } else { -sin };
    let cos = if (octant + 2) & 4 == 0 { cos } else { -cos };
    (sin, cos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_42() {
        // torch.randn(16, generator=torch.Generator("cpu").manual_seed(42))[:4] and torch.randn(2, …)
        let long = TorchGenerator::manual_seed(42).randn(16);
        assert_eq!(long[..4], [1.926_915_3, 1.487_284_1, 0.900_717_2, -2.105_521]);
        let short = TorchGenerator::manual_seed(42).randn(2);
        assert_eq!(short, [0.336_690_37, 0.128_809_4]);
    }

    #[test]
    fn a_state_goes_on_where_it_was_taken() {
        for drawn in [0, 1, 15, 16, 623, 624, 625, 1248, 5000] {
            let mut generator = TorchGenerator::manual_seed(7);
            generator.randn(drawn);
            generator.randn(3);
            let json = serde_json::to_string(&generator.state()).unwrap();
            let mut again = TorchGenerator::from_state(&serde_json::from_str(&json).unwrap());
            assert_eq!(generator.randn(5), again.randn(5), "{drawn}");
            assert_eq!(generator.randn(700), again.randn(700), "{drawn}");
        }
    }

    #[test]
    fn values_are_finite_and_normal() {
        let values = TorchGenerator::manual_seed(0).randn(100_000);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 1e5;
        let variance = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
