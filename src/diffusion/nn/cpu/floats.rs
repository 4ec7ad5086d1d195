//! Weights as they stand in the file, widened to f32 where they are used.
#![allow(clippy::inline_always, reason = "see `simd`")]

use candle_core::DType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use zerocopy::FromBytes;

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

impl<'a> Floats<'a> {
    /// `bytes` as values, if they are of a dtype that the ops know and stand where such values may stand.
    pub fn from_bytes(bytes: &'a [u8], dtype: DType) -> Option<Self> {
        match dtype {
            DType::F32 => <[f32]>::ref_from_bytes(bytes).ok().map(Self::F32),
            DType::F16 => <[f16]>::ref_from_bytes(bytes).ok().map(Self::F16),
            DType::BF16 => <[bf16]>::ref_from_bytes(bytes).ok().map(Self::Bf16),
            _ => None,
        }
    }
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

    /// All of them in f32.
    pub fn to_vec(self) -> Vec<f32> {
        let mut values = vec![0.; self.len()];
        self.widen(0, &mut values);
        values
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
