//! Exponential and friends on vectors, to about one unit in the last place.
#![allow(clippy::inline_always, reason = "see `simd`")]

use rayon::prelude::*;

use super::simd::{Kernel, Level, MAX_LANES, Simd};

/// e^x. Below −87.3 the result is e^−87.3 (1.2e-38) instead of a denormal, above 88.3 it is e^88.3.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // x = n ln 2 + r with |r| ≤ ln 2 / 2; e^r by its minimax polynomial (Cephes' expf), then scaled by 2^n.
    const MAGIC: f32 = 12_582_912.; // 1.5 · 2^23: adding it rounds to a whole number
    let x = s.min(s.max(x, s.splat(-87.3)), s.splat(88.3));
    let n_magic = s.mul_add(x, s.splat(std::f32::consts::LOG2_E), s.splat(MAGIC));
    let n = s.sub(n_magic, s.splat(MAGIC));
    let r = s.mul_add(n, s.splat(-0.693_359_4), x);
    let r = s.mul_add(n, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = s.mul_add(p, r, s.splat(c));
    }
    let y = s.mul_add(s.mul(r, r), p, s.add(r, s.splat(1.)));
    s.scale_by_power(y, n_magic)
}

/// x · σ(k x): SiLU for `k = 1`, OpenAI's quick GELU for `k = 1.702`.
#[inline(always)]
pub fn swish<S: Simd>(s: S, x: S::V, k: f32) -> S::V {
    let e = exp(s, s.mul(x, s.splat(-k)));
    s.div(x, s.add(e, s.splat(1.)))
}

/// The error function: Eigen's rational approximation, clamped to ±4, where it is ±1 in f32.
#[inline(always)]
pub fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.min(s.max(x, s.splat(-4.)), s.splat(4.));
    let x2 = s.mul(x, x);
    let mut p = s.splat(-2.726_142_5e-10);
    for c in [2.770_681_2e-8, -2.101_024e-6, -5.692_507e-5, -7.349_906e-4, -2.954_600_1e-3, -1.609_603_3e-2] {
        p = s.mul_add(p, x2, s.splat(c));
    }
    let mut q = s.splat(-1.456_607_2e-5);
    for c in [-2.133_740_5e-4, -1.682_827_1e-3, -7.373_329e-3, -1.426_474_7e-2] {
        q = s.mul_add(q, x2, s.splat(c));
    }
    s.div(s.mul(x, p), q)
}

/// The exact GELU, x · (1 + erf(x / √2)) / 2.
#[inline(always)]
pub fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    let half = s.mul(x, s.splat(0.5));
    s.mul_add(half, erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2))), half)
}

/// A function of one vector.
pub trait Elementwise: Copy + Send + Sync {
    /// Its value.
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V;
}

/// [`swish`] with this factor.
#[derive(Clone, Copy)]
pub struct Swish(pub f32);
impl Elementwise for Swish {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        swish(s, x, self.0)
    }
}

/// [`gelu`].
#[derive(Clone, Copy)]
pub struct Gelu;
impl Elementwise for Gelu {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        gelu(s, x)
    }
}

/// `to[i] = f(from[i])`.
pub fn map<F: Elementwise>(level: Level, f: F, from: &[f32], to: &mut [f32]) {
    const AT_ONCE: usize = 1 << 15;
    to.par_chunks_mut(AT_ONCE).zip(from.par_chunks(AT_ONCE)).for_each(|(to, from)| {
        level.run(Map { f, from, to });
    });
}

struct Map<'a, F> {
    f: F,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl<F: Elementwise> Kernel for Map<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        each(s, self.f, self.from, self.to);
    }
}

/// [`map`] on this thread.
#[inline(always)]
pub fn each<S: Simd, F: Elementwise>(s: S, f: F, from: &[f32], to: &mut [f32]) {
    let (mut from, mut to) = (from.chunks_exact(S::LANES), to.chunks_exact_mut(S::LANES));
    for (x, y) in (&mut from).zip(&mut to) {
        s.store(y, f.apply(s, s.load(x)));
    }
    let (x, y) = (from.remainder(), to.into_remainder());
    if !x.is_empty() {
        let mut lanes = [0.; MAX_LANES];
        lanes[..x.len()].copy_from_slice(x);
        let value = f.apply(s, s.load(&lanes));
        s.store(&mut lanes, value);
        y.copy_from_slice(&lanes[..y.len()]);
    }
}
