//! Whose ops a tensor goes through, and what those do without a copy.
//!
//! The ops ask here which way to take, and so does the memory plan, which follows them on paper: neither can learn of
//! a kernel without the other. Needs no GPU and no build for one.

use candle_core::{DType, DeviceLocation, Tensor};

use super::metal;

/// Head sizes that `cuda/kernels/attention.cu` is built for.
const CUDA_HEAD_SIZES: [usize; 7] = [16, 32, 40, 64, 80, 128, 160];

/// Whose ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Our own for the CPU: f32.
    Cpu,
    /// Our own for NVIDIA GPUs: f32, f16, bf16.
    Cuda,
    /// Our own for Apple GPUs: f32, f16, bf16.
    Metal,
    /// candle's, one after the other: everything else, such as 16 bits on the CPU.
    Candle,
}

impl Backend {
    /// For tensors of `dtype` on such a device.
    pub fn new(location: DeviceLocation, dtype: DType) -> Self {
        let is_float = matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
        match location {
            DeviceLocation::Cpu if dtype == DType::F32 => Self::Cpu,
            DeviceLocation::Cuda { .. } if is_float => Self::Cuda,
            DeviceLocation::Metal { .. } if is_float => Self::Metal,
            _ => Self::Candle,
        }
    }

    /// For `x`.
    pub(super) fn of(x: &Tensor) -> Self {
        Self::new(x.device().location(), x.dtype())
    }

    /// Whether attention in `dtype` over heads of this size, as they are on the device, has a kernel that keeps no
    /// scores. `upcast` asks for f32 whatever the dtype.
    pub fn attends_without_scores(self, dtype: DType, head_size: usize, causal: bool, upcast: bool) -> bool {
        match self {
            Self::Cpu => true,
            Self::Cuda => !upcast && dtype != DType::F32 && CUDA_HEAD_SIZES.contains(&head_size),
            // A text encoder's masked attention is too small to be worth the fused kernel's masks.
            Self::Metal => {
                let dtype = if upcast { DType::F32 } else { dtype };
                !causal && metal::fused(head_size, dtype) == Some(head_size)
            }
            Self::Candle => false,
        }
    }

    /// Whether a convolution reads its picture enlarged, without a large copy of it; `twice`: exactly by two.
    pub fn enlarges_while_reading(self, twice: bool) -> bool {
        match self {
            Self::Cpu | Self::Cuda => twice,
            Self::Metal => true,
            Self::Candle => false,
        }
    }

    /// Output rows of a convolution whose patches, `values_a_row` of `value_bytes` each, stay below `budget`; at least
    /// one.
    pub fn rows_at_once(self, values_a_row: usize, value_bytes: usize, budget: usize) -> usize {
        match self {
            Self::Metal => metal::im2col_rows(values_a_row, value_bytes, budget),
            _ => (budget / (values_a_row * value_bytes).max(1)).max(1),
        }
    }
}

/// How attention with scores is cut: heads and query rows at a time, so that a block of scores stays below `budget`
/// or as near as one row comes. `heads` are those of all pictures, `row_bytes` the scores of one query.
pub fn attention_blocks(heads: usize, queries: usize, row_bytes: usize, budget: usize) -> (usize, usize) {
    let heads_at_once = budget / (queries * row_bytes).max(1);
    let rows_at_once = budget / row_bytes.max(1);
    (heads_at_once.clamp(1, heads.max(1)), rows_at_once.clamp(1, queries.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUDA: DeviceLocation = DeviceLocation::Cuda { gpu_id: 0 };
    const METAL: DeviceLocation = DeviceLocation::Metal { gpu_id: 0 };

    #[test]
    fn every_device_and_dtype_has_its_ops() {
        for (location, dtype, backend) in [
            (DeviceLocation::Cpu, DType::F32, Backend::Cpu),
            (DeviceLocation::Cpu, DType::F16, Backend::Candle),
            (CUDA, DType::BF16, Backend::Cuda),
            (CUDA, DType::F64, Backend::Candle),
            (METAL, DType::F32, Backend::Metal),
        ] {
            assert_eq!(Backend::new(location, dtype), backend, "{location:?} {dtype:?}");
        }
    }

    #[test]
    fn scores_are_kept_only_where_there_is_no_kernel() {
        let attends = Backend::attends_without_scores;
        for size in [40, 64, 80, 160] {
            assert!(attends(Backend::Cuda, DType::F16, size, true, false));
            assert!(!attends(Backend::Cuda, DType::F16, size, false, true), "upcast");
            assert!(!attends(Backend::Cuda, DType::F32, size, false, false));
        }
        assert!(!attends(Backend::Cuda, DType::F16, 512, false, false), "the VAE's one head");
        assert!(attends(Backend::Metal, DType::F16, 512, false, false));
        assert!(!attends(Backend::Metal, DType::F16, 512, false, true), "upcast");
        assert!(!attends(Backend::Metal, DType::F16, 64, true, false), "causal");
        assert!(!attends(Backend::Metal, DType::F16, 40, false, false), "it is padded to 64 when it is read");
    }

    #[test]
    fn blocks_of_scores_stay_below_their_budget() {
        assert_eq!(attention_blocks(16, 100, 10, 3500), (3, 100));
        assert_eq!(attention_blocks(16, 100, 10, 50), (1, 5));
        assert_eq!(attention_blocks(16, 100, 10, 1), (1, 1));
        assert_eq!(attention_blocks(16, 100, 10, usize::MAX), (16, 100));
    }
}
