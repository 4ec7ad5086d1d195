//! The ops on an NVIDIA GPU: kernels of our own (`kernels/*.cu`, made into PTX by `build.rs`) around cuBLAS's matrix
//! products.
//!
//! Knows candle's CUDA storage, streams and raw addresses; knows no weights file and no model. All tensors are
//! contiguous, of one dtype (f16, bf16 or f32) and on one device, and everything is queued on the device's one stream,
//! so a tensor may be dropped as soon as the kernels that read it are queued.
#![expect(unsafe_code, reason = "kernels and cuBLAS take raw addresses; each place says why they are good")]

mod attention;
mod conv;
mod gemm;
mod graph;
mod linear;
mod norm;
mod pointwise;

pub use attention::attention;
pub use conv::Conv;
pub use graph::{Graph, without_recording};
pub use linear::Linear;
pub use norm::{group_norm, layer_norm};
pub use pointwise::{activate, add, softmax, table_rows};

use candle_core::cuda_backend::cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaStorage, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, DType, Device, Shape, Storage, Tensor};

use super::param::unfit;
use crate::diffusion::error::Result;

/// Where a tensor's first element is on the device; 0 for a tensor that is not there.
type Address = u64;

/// Whether these ops can take tensors like `x` (made contiguous).
pub fn takes(x: &Tensor) -> bool {
    x.device().is_cuda() && matches!(x.dtype(), DType::F16 | DType::BF16 | DType::F32)
}

/// What the launches of one op share.
struct Launcher<'a> {
    op: &'static str,
    device: &'a CudaDevice,
    dtype: DType,
}

impl<'a> Launcher<'a> {
    /// For the device and dtype of `x`, an input of `op`.
    fn like(x: &'a Tensor, op: &'static str) -> Result<Self> {
        match x.device() {
            Device::Cuda(device) if takes(x) => Ok(Self { op, device, dtype: x.dtype() }),
            _ => Err(unfit(op, x)),
        }
    }

    /// Bytes of one element.
    fn size(&self) -> usize {
        self.dtype.size_in_bytes()
    }

    /// The first element of a contiguous tensor of this device and dtype, good for as long as the tensor lives.
    fn address(&self, x: &Tensor) -> Result<Address> {
        let (storage, layout) = x.storage_and_layout();
        let (Storage::Cuda(storage), Some((start, _))) = (&*storage, layout.contiguous_offsets()) else {
            return Err(unfit(self.op, x));
        };
        if x.dtype() != self.dtype {
            return Err(unfit(self.op, x));
        }
        let stream = self.device.cuda_stream();
        let first = match self.dtype {
            DType::F16 => storage.as_cuda_slice::<half::f16>()?.device_ptr(&stream).0,
            DType::BF16 => storage.as_cuda_slice::<half::bf16>()?.device_ptr(&stream).0,
            DType::U32 => storage.as_cuda_slice::<u32>()?.device_ptr(&stream).0,
            _ => storage.as_cuda_slice::<f32>()?.device_ptr(&stream).0,
        };
        Ok(first + (start * self.size()) as u64)
    }

    /// [`Self::address`], or 0.
    fn optional(&self, x: Option<&Tensor>) -> Result<Address> {
        x.map_or(Ok(0), |x| self.address(x))
    }

    /// A tensor whose elements are not set yet.
    fn uninitialised(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        let (count, device) = (shape.elem_count(), self.device);
        // SAFETY: every op writes all elements of what it makes here before the tensor leaves it.
        let storage = unsafe {
            match self.dtype {
                DType::F16 => CudaStorage::wrap_cuda_slice(device.alloc::<half::f16>(count)?, device.clone()),
                DType::BF16 => {
                    CudaStorage::wrap_cuda_slice(device.alloc::<half::bf16>(count)?, device.clone())
                }
                _ => CudaStorage::wrap_cuda_slice(device.alloc::<f32>(count)?, device.clone()),
            }
        };
        Ok(Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false))
    }

    /// Elements that a kernel can move at once: those of 16 bytes where all addresses and the length of the innermost
    /// run allow it, else 1; with the ending of the kernel's name for it.
    fn width(&self, run: usize, addresses: &[Address]) -> (usize, &'static str) {
        let wide = 16 / self.size();
        let fits = run.is_multiple_of(wide) && addresses.iter().all(|a| a.is_multiple_of(16));
        if fits { (wide, "wide") } else { (1, "each") }
    }

    /// Queues a kernel: `grid` blocks in each direction of `threads` threads.
    fn launch(&self, name: &str, grid: [usize; 3], threads: usize, arguments: &[Argument]) -> Result<()> {
        let (module, ptx) = match self.dtype {
            DType::F16 => ("tintype-f16", include_str!(concat!(env!("OUT_DIR"), "/f16.ptx"))),
            DType::BF16 => ("tintype-bf16", include_str!(concat!(env!("OUT_DIR"), "/bf16.ptx"))),
            _ => ("tintype-f32", include_str!(concat!(env!("OUT_DIR"), "/f32.ptx"))),
        };
        let kernel = self.device.get_or_load_custom_func(name, module, ptx)?;
        let mut builder = kernel.builder();
        for argument in arguments {
            match argument {
                Argument::Address(value) | Argument::Long(value) => builder.arg(value),
                Argument::Count(value) => builder.arg(value),
                Argument::Real(value) => builder.arg(value),
                Argument::Counts(values) => builder.arg(values),
            };
        }
        let config = LaunchConfig {
            grid_dim: (grid[0] as u32, grid[1] as u32, grid[2] as u32),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the callers pass what the kernel's signature names, in order, with addresses of live tensors whose
        // shapes they have checked.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// What a kernel is given.
enum Argument {
    /// Of a tensor.
    Address(Address),
    /// `u32`.
    Count(u32),
    /// `u64`.
    Long(u64),
    /// `f32`.
    Real(f32),
    /// A `struct` of seven `u32`.
    Counts([u32; 7]),
}

fn count(value: usize) -> Argument {
    Argument::Count(value as u32)
}
