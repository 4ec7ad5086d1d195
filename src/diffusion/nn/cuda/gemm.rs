//! cuBLAS's matrix products over row-major matrices, sums in f32.

use std::ffi::c_void;

use candle_core::DType;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::{result, sys};

use super::{Address, Launcher};
use crate::diffusion::error::Result;

/// A row-major matrix, or a batch of them.
#[derive(Clone, Copy)]
pub(super) struct Matrix {
    pub at: Address,
    /// Elements from one row to the next, as it is stored.
    pub row: usize,
    /// Elements from one matrix of the batch to the next; 0 for the same one each time.
    pub step: usize,
    /// It is stored as its transpose.
    pub transposed: bool,
}

impl Matrix {
    /// One matrix whose rows follow each other.
    pub fn packed(at: Address, columns: usize) -> Self {
        Self { at, row: columns, step: 0, transposed: false }
    }

    pub fn step(self, step: usize) -> Self {
        Self { step, ..self }
    }

    /// The transpose of what is stored.
    pub fn transpose(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

impl Launcher<'_> {
    /// `c = a b`, or `c += a b` with `add`, `batch` times: `a` is `[m, k]`, `b` `[k, n]` and `c` `[m, n]`.
    pub(super) fn product(
        &self,
        [m, n, k]: [usize; 3],
        a: Matrix,
        b: Matrix,
        c: Matrix,
        batch: usize,
        add: bool,
    ) -> Result<()> {
        let element = match self.dtype {
            DType::F16 => sys::cudaDataType::CUDA_R_16F,
            DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
            _ => sys::cudaDataType::CUDA_R_32F,
        };
        let stored = |matrix: Matrix| {
            if matrix.transposed {
                sys::cublasOperation_t::CUBLAS_OP_T
            } else {
                sys::cublasOperation_t::CUBLAS_OP_N
            }
        };
        let (alpha, beta) = (1f32, if add { 1f32 } else { 0. });
        let blas = self.device.cublas_handle();
        // cuBLAS counts along columns, so it is asked for cᵀ = bᵀ aᵀ.
        // SAFETY: the callers give addresses of live tensors that hold matrices of these sizes.
        unsafe {
            result::gemm_strided_batched_ex(
                *blas.handle(),
                stored(b),
                stored(a),
                n as i32,
                m as i32,
                k as i32,
                (&raw const alpha).cast::<c_void>(),
                b.at as *const c_void,
                element,
                b.row as i32,
                b.step as i64,
                a.at as *const c_void,
                element,
                a.row as i32,
                a.step as i64,
                (&raw const beta).cast::<c_void>(),
                c.at as *mut c_void,
                element,
                c.row as i32,
                c.step as i64,
                batch as i32,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .w()?;
        Ok(())
    }
}
