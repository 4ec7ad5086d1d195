//! What passes between host and device while a picture is made: inputs that keep their place, and results that come
//! back together.
//!
//! The only place where a network's results are waited for. A wait also tells of everything that failed on the device
//! since the last one; it is what one step has one of, and is counted, so that a test can say so.

use std::cell::Cell;

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Tensor};
use half::{bf16, f16};

use super::param::unfit;
use crate::diffusion::error::Result;

/// What this thread passed to and from devices, the CPU among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Inputs that were written.
    pub writes: u64,
    /// Times that a device was waited for.
    pub waits: u64,
}

thread_local! {
    static TRAFFIC: Cell<Traffic> = const { Cell::new(Traffic { writes: 0, waits: 0 }) };
}

/// So far, on this thread.
pub fn traffic() -> Traffic {
    TRAFFIC.get()
}

/// An input with a place on the device, which the host fills anew for every step.
#[derive(Debug)]
pub struct Upload {
    tensor: Tensor,
}

impl Upload {
    /// Takes the place. On Metal it is memory that host and device share.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn new(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Self> {
        Ok(Self { tensor: Tensor::zeros(shape, dtype, &Device::Cpu)?.to_device(device)? })
    }

    /// Fills the place with `values`, repeated as often as they fit in, rounded to its dtype.
    ///
    /// What the device was told to do with the last values must be done: [`read_back`] is called in between.
    ///
    /// # Errors
    /// When the values do not fit in a whole number of times, or the dtype is no float.
    pub fn write(&self, values: &[f32]) -> Result<()> {
        if values.is_empty() || !self.tensor.elem_count().is_multiple_of(values.len()) {
            return Err(unfit("an upload", &self.tensor));
        }
        TRAFFIC.set(Traffic { writes: traffic().writes + 1, ..traffic() });
        Ok(self.tensor.inplace_op1(&Write(values))?)
    }

    /// The first `rows` of its first dimension, where they lie.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn rows(&self, rows: usize) -> Result<Tensor> {
        Ok(self.tensor.narrow(0, 0, rows)?)
    }
}

/// The values of some results on one device, each in row-major order, with one wait for all.
///
/// # Errors
/// What the device has to complain about since it was last waited for.
pub fn read_back(results: &[Tensor]) -> Result<Vec<Vec<f32>>> {
    TRAFFIC.set(Traffic { waits: traffic().waits + 1, ..traffic() });
    #[cfg(all(target_os = "macos", feature = "metal"))]
    if let Some(Device::Metal(device)) = results.first().map(Tensor::device) {
        return super::metal::read_back(device, results);
    }
    let flat = |x: &Tensor| -> Result<Vec<f32>> {
        Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    };
    match results {
        [first, _, ..] if !first.device().is_cpu() => {
            let mixed = results.iter().any(|x| x.dtype() != first.dtype());
            let part = |x: &Tensor| x.to_dtype(if mixed { DType::F32 } else { x.dtype() })?.flatten_all();
            let parts = results.iter().map(part).collect::<candle_core::Result<Vec<_>>>()?;
            let mut rest = flat(&Tensor::cat(&parts, 0)?)?;
            let mut values = Vec::with_capacity(results.len());
            for result in results {
                let after = rest.split_off(result.elem_count());
                values.push(std::mem::replace(&mut rest, after));
            }
            Ok(values)
        }
        _ => results.iter().map(flat).collect(),
    }
}

/// `x` in f32 on the host, as [`read_back`], without a copy where it is there.
///
/// # Errors
/// As [`read_back`].
pub fn to_host(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        TRAFFIC.set(Traffic { waits: traffic().waits + 1, ..traffic() });
        return Ok(x.to_dtype(DType::F32)?);
    }
    let values = read_back(std::slice::from_ref(x))?.concat();
    Ok(Tensor::from_vec(values, x.shape(), &Device::Cpu)?)
}

/// Fills a tensor of one of the float dtypes.
struct Write<'a>(&'a [f32]);

/// Repeats `values` over `place`.
fn fill<T: Copy>(place: &mut [T], values: &[f32], cast: impl Fn(f32) -> T) {
    for places in place.chunks_exact_mut(values.len()) {
        places.iter_mut().zip(values).for_each(|(place, value)| *place = cast(*value));
    }
}

/// [`fill`] of bytes that are values of `dtype`.
#[cfg(any(test, all(target_os = "macos", feature = "metal")))]
pub(super) fn fill_bytes(place: &mut [u8], dtype: DType, values: &[f32]) -> candle_core::Result<()> {
    use zerocopy::FromBytes;

    let filled = match dtype {
        DType::F32 => <[f32]>::mut_from_bytes(place).map(|place| fill(place, values, |value| value)).is_ok(),
        DType::F16 => <[f16]>::mut_from_bytes(place).map(|place| fill(place, values, f16::from_f32)).is_ok(),
        DType::BF16 => {
            <[bf16]>::mut_from_bytes(place).map(|place| fill(place, values, bf16::from_f32)).is_ok()
        }
        _ => false,
    };
    if filled { Ok(()) } else { candle_core::bail!("no place for an upload in {dtype:?}") }
}

impl InplaceOp1 for Write<'_> {
    fn name(&self) -> &'static str {
        "upload"
    }

    fn cpu_fwd(&self, place: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        match place {
            CpuStorage::F32(place) => fill(place, self.0, |value| value),
            CpuStorage::F16(place) => fill(place, self.0, f16::from_f32),
            CpuStorage::BF16(place) => fill(place, self.0, bf16::from_f32),
            _ => candle_core::bail!("an upload is f32, f16 or bf16"),
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, place: &mut candle_core::CudaStorage, layout: &Layout) -> candle_core::Result<()> {
        use candle_core::WithDType;
        use candle_core::backend::BackendStorage;
        use candle_core::cuda_backend::CudaDType;
        use candle_core::cuda_backend::cudarc::driver::DeviceRepr;

        /// One copy to the device, queued; the host's side of it is taken before this returns.
        fn send<T: CudaDType + DeviceRepr + WithDType>(
            place: &mut candle_core::CudaStorage,
            count: usize,
            values: &[f32],
            cast: impl Fn(f32) -> T,
        ) -> candle_core::Result<()> {
            let row: Vec<T> = values.iter().map(|value| cast(*value)).collect();
            let device = place.device().clone();
            device.memcpy_htod(&row.repeat(count / values.len()), place.as_cuda_slice_mut::<T>()?)
        }
        let count = layout.shape().elem_count();
        match place.dtype() {
            DType::F32 => send(place, count, self.0, |value: f32| value),
            DType::F16 => send(place, count, self.0, f16::from_f32),
            DType::BF16 => send(place, count, self.0, bf16::from_f32),
            _ => candle_core::bail!("an upload is f32, f16 or bf16"),
        }
    }

    #[cfg(all(target_os = "macos", feature = "metal"))]
    fn metal_fwd(&self, place: &mut candle_core::MetalStorage, layout: &Layout) -> candle_core::Result<()> {
        super::metal::write(place, layout.shape().elem_count(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    #[test]
    fn a_place_is_filled_anew_where_it_lies_in_its_dtype_and_repeated() {
        let values = [1., 0.1, -70_000., 3.];
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let upload = Upload::new((3, 2, 2), dtype, &Device::Cpu).unwrap();
            let held = upload.rows(2).unwrap();
            upload.write(&[9.; 4]).unwrap();
            upload.write(&values).unwrap();
            let cast = Tensor::new(&values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let expected = read_back(&[cast]).unwrap().concat().repeat(2);
            assert_eq!(read_back(&[held]).unwrap(), std::slice::from_ref(&expected), "{dtype:?}");
            // the same where a device shares its memory
            let mut shared = [0u64; 4];
            let bytes = &mut shared.as_mut_bytes()[..8 * dtype.size_in_bytes()];
            fill_bytes(bytes, dtype, &values).unwrap();
            assert_eq!(super::super::Floats::from_bytes(bytes, dtype).unwrap().to_vec(), expected);
            assert!(upload.write(&[0.; 5]).is_err() && upload.write(&[]).is_err());
        }
    }

    #[test]
    fn results_come_back_apart_and_with_one_wait() {
        let before = traffic();
        let of = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let back = read_back(&[of(&[1., 2.]), of(&[3.])]).unwrap();
        assert_eq!(back, [vec![1., 2.], vec![3.]]);
        assert_eq!(traffic().waits, before.waits + 1);
    }
}
