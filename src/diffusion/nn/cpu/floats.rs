//! Weights as they stand in the file, widened to f32 where they are used.
#![allow(clippy::inline_always, reason = "see `simd`")]

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::simd::Simd;

/// Floats of any of the dtypes that checkpoints come in.
#[derive(Clone, Copy)]
pub enum Floats<'a> {
    /// f32.
    F32(&'a [f32]),
    /// IEEE half precision.
    F16(&'a [f16]),
    /// The upper half of an f32.
    Bf16(&'a [bf16]),
}

impl Floats<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::F16(x) => x.len(),
            Self::Bf16(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// [`Self::widen`] with vectors at hand.
    #[inline(always)]
    pub fn widen_with<S: Simd>(&self, s: S, first: usize, to: &mut [f32]) {
        let Self::F16(x) = self else { return self.widen(first, to) };
        let x = &x[first..first + to.len()];
        let whole = x.len() / S::LANES * S::LANES;
        for (x, to) in x.chunks_exact(S::LANES).zip(to.chunks_exact_mut(S::LANES)) {
            s.store(to, s.load_f16(x));
        }
        for (x, to) in x[whole..].iter().zip(&mut to[whole..]) {
            *to = x.to_f32();
        }
    }

    /// Writes elements `first ..` to the whole of `to`, exactly.
    #[inline]
    pub fn widen(&self, first: usize, to: &mut [f32]) {
        let range = first..first + to.len();
        match self {
            Self::F32(x) => to.copy_from_slice(&x[range]),
            Self::F16(x) => x[range].convert_to_f32_slice(to),
            Self::Bf16(x) => {
                for (to, x) in to.iter_mut().zip(&x[range]) {
                    *to = f32::from_bits(u32::from(x.to_bits()) << 16);
                }
            }
        }
    }
}
