//! Which device and dtype a model runs on. The only place that opens a GPU.

#[cfg(feature = "cuda")]
mod cuda_libraries;

use candle_core::{DType, Device};

use super::error::{DiffusionError, Result};

/// The device as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// Metal on macOS, else CUDA if this program was built with it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// An Apple GPU.
    Metal,
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" | "gpu" => Ok(Self::Cuda),
            "metal" | "mps" => Ok(Self::Metal),
            _ => Err(format!("'{text}' is no device: auto, metal, cuda or cpu")),
        }
    }
}

/// The dtype as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DTypeChoice {
    /// f16 on a GPU, f32 on the CPU.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 16-bit floats with the exponent of f32.
    Bf16,
}

impl std::str::FromStr for DTypeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "f32" | "fp32" | "float32" => Ok(Self::F32),
            "f16" | "fp16" | "float16" | "half" => Ok(Self::F16),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            _ => Err(format!("'{text}' is no dtype: auto, f32, f16 or bf16")),
        }
    }
}

impl DTypeChoice {
    /// The dtype for `device`.
    pub fn resolve(self, device: &Device) -> DType {
        match self {
            Self::Auto if device.is_cpu() => DType::F32,
            Self::Auto | Self::F16 => DType::F16,
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// A device that was opened, and what a person should know about the choice.
#[derive(Clone, Debug)]
pub struct OpenedDevice {
    /// The device.
    pub device: Device,
    /// Why it is not the one that was asked for or hoped for.
    pub notice: Option<String>,
}

/// Opens a device. `Auto` never fails: what keeps it from the GPU becomes the notice, and the CPU is used.
///
/// # Errors
/// When a GPU was asked for by name and cannot be had; the message says why and what to type instead.
pub fn open(choice: DeviceChoice) -> Result<OpenedDevice> {
    let refused = |why: String| DiffusionError::Request(format!("{why}; use --device cpu"));
    let found = |device| Ok(OpenedDevice { device, notice: None });
    match choice {
        DeviceChoice::Cpu => found(Device::Cpu),
        DeviceChoice::Metal => metal().map_or_else(|why| Err(refused(why)), found),
        DeviceChoice::Cuda => cuda().map_or_else(|why| Err(refused(why)), found),
        DeviceChoice::Auto => {
            let gpu = if cfg!(target_os = "macos") {
                metal()
            } else if cfg!(feature = "cuda") {
                cuda()
            } else {
                return found(Device::Cpu);
            };
            match gpu {
                Ok(device) => found(device),
                Err(why) => {
                    Ok(OpenedDevice { device: Device::Cpu, notice: Some(format!("{why}: using the CPU")) })
                }
            }
        }
    }
}

/// `cpu`, `cuda` or `metal`.
pub fn device_name(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

/// `f32`, `f16` or `bf16`.
pub fn dtype_name(dtype: DType) -> &'static str {
    dtype.as_str()
}

#[cfg(all(target_os = "macos", feature = "metal"))]
fn metal() -> Result<Device, String> {
    // candle panics where residency sets are missing (before macOS 15) and where there is no GPU: look first.
    if objc2::runtime::AnyClass::get(c"MTLResidencySetDescriptor").is_none() {
        return Err("Metal needs macOS 15 or newer here".into());
    }
    if objc2_metal::MTLCreateSystemDefaultDevice().is_none() {
        return Err("this Mac has no Metal device".into());
    }
    #[expect(clippy::disallowed_methods, reason = "the one place that opens it")]
    Device::new_metal(0).map_err(|error| format!("Metal cannot be used ({error})"))
}

#[cfg(not(all(target_os = "macos", feature = "metal")))]
fn metal() -> Result<Device, String> {
    Err(if cfg!(target_os = "macos") {
        "this tintype was built without Metal (cargo build --release --features metal)".into()
    } else {
        "Metal is there on macOS only".into()
    })
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, String> {
    let refused = |error| format!("CUDA cannot be used ({error})");
    cuda_libraries::open().map_err(refused)?;
    // A stream of its own, the same from every thread: all work is queued in one order.
    #[expect(clippy::disallowed_methods, reason = "the one place that opens it")]
    let device = super::nn::without_recording(|| Device::new_cuda_with_stream(0))
        .map_err(|error| refused(error.to_string()))?;
    #[expect(unsafe_code, reason = "see below")]
    if let Device::Cuda(cuda) = &device {
        // SAFETY: events would order several streams; there is one.
        unsafe { cuda.disable_event_tracking() };
    }
    Ok(device)
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, String> {
    Err("this tintype was built without CUDA (cargo build --release --features cuda)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_always_finds_a_device() {
        assert!(open(DeviceChoice::Auto).is_ok());
    }

    #[test]
    #[cfg(not(any(feature = "cuda", target_os = "macos")))]
    fn a_gpu_that_is_not_there_says_what_to_type() {
        for choice in [DeviceChoice::Cuda, DeviceChoice::Metal] {
            let error = open(choice).unwrap_err().to_string();
            assert!(error.ends_with("use --device cpu"), "{error}");
        }
    }

    #[test]
    fn names_are_those_of_torch_too() {
        assert_eq!("mps".parse(), Ok(DeviceChoice::Metal));
        assert_eq!("float16".parse(), Ok(DTypeChoice::F16));
        assert!("tpu".parse::<DeviceChoice>().is_err());
        assert_eq!(DTypeChoice::Auto.resolve(&Device::Cpu), DType::F32);
    }
}
