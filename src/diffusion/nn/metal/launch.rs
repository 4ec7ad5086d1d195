//! Compiles kernels when they are first needed and hands them to candle's command encoder, in order with its own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::metal_backend::DeviceId;
use candle_core::{DType, Error, Layout, MetalDevice, MetalStorage, Result, Storage, StorageRef};
use objc2_metal::MTLSize;

use super::{Dispatch, THREADS};

/// A tensor that a kernel reads.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    storage: &'a MetalStorage,
    offset: usize,
}

impl<'a> Input<'a> {
    /// A contiguous one.
    pub fn new(storage: &'a MetalStorage, layout: &Layout) -> Self {
        Self { storage, offset: layout.start_offset() * storage.dtype().size_in_bytes() }
    }

    /// A contiguous one in the place of a tensor that may be missing: a kernel wants something bound to every place,
    /// read or not, and that is `self` then.
    pub fn or<'b>(self, tensor: Option<&'b (StorageRef<'_>, &Layout)>) -> Result<Input<'b>>
    where
        'a: 'b,
    {
        match tensor.map(|(storage, layout)| (&**storage, layout)) {
            None => Ok(self),
            Some((Storage::Metal(storage), layout)) => Ok(Input::new(storage, layout)),
            Some(_) => candle_core::bail!("a tensor that a kernel reads is not on the GPU"),
        }
    }
}

/// Puts a compiled kernel into the command buffer.
type Encode = dyn Fn(&MetalDevice, &[Input<'_>], &MetalStorage, &Dispatch) -> Result<()> + Send + Sync;

/// Compiled kernels; one that failed is tried again.
static COMPILED: LazyLock<Mutex<HashMap<(DeviceId, &'static str, DType), Arc<Encode>>>> =
    LazyLock::new(Mutex::default);

/// What a kernel of `source`, in which `T` is the type of the first input's values, makes of `inputs`: they are at
/// places 0, 1, …, then comes the result, of that type or in `result`, then the parameters.
pub fn launch(
    source: &str,
    dispatch: &Dispatch,
    inputs: &[Input<'_>],
    result: Option<DType>,
) -> Result<MetalStorage> {
    let Some(first) = inputs.first() else { candle_core::bail!("{} has no input", dispatch.kernel) };
    let (device, dtype) = (first.storage.device(), first.storage.dtype());
    let encode = {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (device.id(), dispatch.kernel, dtype);
        if let Some(encode) = compiled.get(&key) {
            Arc::clone(encode)
        } else {
            let encode = compile(source, dispatch.kernel, device, dtype)?;
            compiled.insert(key, Arc::clone(&encode));
            encode
        }
    };
    let (count, dtype) = (dispatch.count, result.unwrap_or(dtype));
    let buffer = device.new_buffer_builder().with_size_for(count, dtype).with_label("tintype").build()?;
    let output = MetalStorage::new(buffer, device.clone(), count, dtype);
    encode(device, inputs, &output, dispatch)?;
    Ok(output)
}

fn compile(source: &str, kernel: &str, device: &MetalDevice, dtype: DType) -> Result<Arc<Encode>> {
    let scalar = match dtype {
        DType::F16 => "half",
        DType::BF16 => "bfloat",
        _ => "float",
    };
    let source = format!(
        "#include <metal_stdlib>\nusing namespace metal;\n#define T {scalar}\n\
         #define SHARED(type, name, size) threadgroup type name[size]\n{source}"
    );
    let raw = device.metal_device();
    let library = raw.new_library_with_source(&source, None).map_err(Error::wrap)?;
    let function = library.get_function(kernel, None).map_err(Error::wrap)?;
    let pipeline = raw.new_compute_pipeline_state_with_function(&function).map_err(Error::wrap)?;
    if pipeline.max_total_threads_per_threadgroup() < THREADS {
        candle_core::bail!("{kernel} needs {THREADS} threads a group, which this GPU has not");
    }
    Ok(Arc::new(move |device, inputs, output, dispatch| {
        let commands = device.command_encoder()?;
        let encoder = commands.as_ref();
        encoder.set_compute_pipeline_state(&pipeline);
        for (at, input) in inputs.iter().enumerate() {
            encoder.set_input_buffer(at, Some(input.storage.buffer()), input.offset);
        }
        encoder.set_output_buffer(inputs.len(), Some(output.buffer()), 0);
        let params = dispatch.params.as_slice();
        encoder.set_bytes_directly(inputs.len() + 1, std::mem::size_of_val(params), params.as_ptr().cast());
        let [width, height, depth] = dispatch.grid;
        encoder.dispatch_thread_groups(
            MTLSize { width, height, depth },
            MTLSize { width: THREADS, height: 1, depth: 1 },
        );
        Ok(())
    }))
}
