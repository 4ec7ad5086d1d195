//! Memory that host and device share.
#![expect(
    unsafe_code,
    reason = "the host reads and writes a buffer through its address; each place says why it may"
)]

use candle_core::backend::BackendStorage;
use candle_core::{MetalDevice, MetalStorage, Storage, Tensor};

use crate::diffusion::error::Result;
use crate::diffusion::nn::Floats;
use crate::diffusion::nn::param::unfit;
use crate::diffusion::nn::transfer::fill_bytes;

/// Fills a tensor of `count` values that was uploaded, so that it lies in shared memory from the buffer's beginning
/// on, with `values`, repeated. The device must be done with what it was told to do with the tensor.
pub fn write(place: &mut MetalStorage, count: usize, values: &[f32]) -> candle_core::Result<()> {
    let dtype = place.dtype();
    let bytes = (count * dtype.size_in_bytes()).min(place.buffer().length());
    // SAFETY: candle uploads into shared buffers, whose addresses are good for their length and as long as they live.
    // Nothing on the device uses this one now (the caller's word); the host has it through this storage alone, which
    // is borrowed mutably.
    let place = unsafe { std::slice::from_raw_parts_mut(place.buffer().contents(), bytes) };
    fill_bytes(place, dtype, values)
}

/// The values of `results`. candle's own way waits once for each, and of what failed before hears only if it was the
/// last that was handed to the device.
pub fn read_back(device: &MetalDevice, results: &[Tensor]) -> Result<Vec<Vec<f32>>> {
    let mut copies = Vec::with_capacity(results.len());
    for x in results {
        let x = x.contiguous()?;
        let (storage, layout) = x.storage_and_layout();
        let (Storage::Metal(storage), size) = (&*storage, x.dtype().size_in_bytes()) else {
            return Err(unfit("reading back", &x));
        };
        let bytes = x.elem_count() * size;
        let copy = device.new_buffer_builder().with_size(bytes).with_label("tintype").build()?;
        let mut blit = device.blit_command_encoder()?;
        blit.copy_from_buffer(storage.buffer(), layout.start_offset() * size, &copy, 0, bytes);
        copies.push((copy, bytes));
    }
    device.wait_until_completed()?;
    let values = results.iter().zip(&copies).map(|(x, (copy, bytes))| {
        // SAFETY: a shared buffer of at least so many bytes, whose address is good as long as it lives; the copy into
        // it is done, and it is handed to nobody else while it is held here.
        let bytes = unsafe { std::slice::from_raw_parts(copy.contents(), *bytes) };
        let values = Floats::from_bytes(bytes, x.dtype()).ok_or_else(|| unfit("reading back", x))?;
        Ok(values.to_vec())
    });
    values.collect()
}
