//! Weights as they stand in the file, widened to f32 where they are used.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

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
