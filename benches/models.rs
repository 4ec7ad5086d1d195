//! `cargo bench --bench models -- FOLDER [UNET_CALLS [VAE_CALLS [DEVICE [DTYPE]]]]` times the text encoder, one UNet
//! call (batch 2, 64×64 latents) and one VAE decode (512 px) of a checkpoint in diffusers layout, on the CPU in f32
//! unless told otherwise, with the peak of resident memory after each. On a GPU the last call is also compared with
//! the same one on the CPU.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use tintype::checkpoint::Blob;
use tintype::diffusion::device::{self, DTypeChoice, DeviceChoice};
use tintype::diffusion::models::autoencoder_kl::{AutoencoderKL, VaeConfig};
use tintype::diffusion::models::clip::{ClipTextConfig, ClipTextModel};
use tintype::diffusion::models::component_config::{self, ModelConfig};
use tintype::diffusion::models::unet::{UNet2DConditionModel, UNetConfig};
use tintype::diffusion::nn::{OpLimits, Replay, Upload};
use tintype::diffusion::weights::Weights;

fn main() -> Result<(), Box<dyn Error>> {
    // cargo hands every benchmark `--bench`.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let Some(folder) = args.next().map(PathBuf::from) else {
        println!("models: no folder given, nothing measured");
        return Ok(());
    };
    let mut calls = |default| args.next().map_or(Ok(default), |arg| arg.parse::<usize>());
    let (unet_calls, vae_calls) = (calls(4)?, calls(2)?);
    let choice: DeviceChoice = args.next().as_deref().unwrap_or("cpu").parse()?;
    let device = device::open(choice)?.device;
    let dtype = args.next().as_deref().unwrap_or("auto").parse::<DTypeChoice>()?.resolve(&device);
    println!(
        "tintype, {}, {}, {} threads",
        device::device_name(&device),
        device::dtype_name(dtype),
        rayon::current_num_threads()
    );
    let (unet, vae) = measure(&folder, &device, dtype, unet_calls, vae_calls)?;
    if !device.is_cpu() {
        let (cpu_unet, cpu_vae) = measure(&folder, &Device::Cpu, DType::F32, 1, 1)?;
        println!("unet against the CPU: {:.2e}", difference(&unet, &cpu_unet)?);
        println!("vae against the CPU:  {:.2e}", difference(&vae, &cpu_vae)?);
    }
    Ok(())
}

/// The last results of UNet and VAE.
fn measure(
    folder: &Path,
    device: &Device,
    dtype: DType,
    unet_calls: usize,
    vae_calls: usize,
) -> Result<(Tensor, Tensor), Box<dyn Error>> {
    let limits = OpLimits::default();
    let weights = |part: &str| weights(folder, part, device, dtype);
    let (text, unet, vae) = timed("load", || -> Result<_, Box<dyn Error>> {
        let text_config = ClipTextConfig::from_json("config.json", &config(folder, "text_encoder")?)?;
        let text = ClipTextModel::load(&text_config, "CLIPTextModel", &weights("text_encoder")?)?;
        let unet = UNet2DConditionModel::load(&weights("unet")?, &parsed::<UNetConfig>(folder, "unet")?)?;
        let vae = AutoencoderKL::load(&weights("vae")?, &parsed::<VaeConfig>(folder, "vae")?)?;
        device.synchronize()?;
        Ok((text, unet, vae))
    })?;
    let ids: Vec<u32> = (0..77).map(|i| i * 631 % 49408).collect();
    for _ in 0..2 {
        timed("text encoder", || -> Result<_, Box<dyn Error>> {
            text.forward(&ids, &limits)?;
            text.forward(&ids, &limits)?;
            Ok(device.synchronize()?)
        })?;
    }
    let embeddings = noise(&[2, 77, 768], device, dtype)?;
    let latents = noise(&[2, 4, 64, 64], device, dtype)?;
    let mut last_unet = latents.clone();
    // As a job's steps call it.
    let time = Upload::new((1, unet.time_channels()), dtype, device)?;
    let mut replay = Replay::default();
    for _ in 0..unet_calls {
        last_unet = timed("unet b2 64x64", || -> Result<_, Box<dyn Error>> {
            time.write(&unet.time_proj(500.))?;
            let temb = unet.time_embed(&time.rows(1)?, None, None)?;
            let inputs = [latents.clone(), temb, embeddings.clone()];
            let results =
                replay.run(&inputs, |x| Ok(vec![unet.forward_embedded(&x[0], &x[1], &x[2], &limits)?]))?;
            device.synchronize()?;
            Ok(results[0].clone())
        })?;
    }
    let latents = noise(&[1, 4, 64, 64], device, dtype)?;
    let mut last_vae = latents.clone();
    for _ in 0..vae_calls {
        last_vae = timed("vae 512 px", || -> Result<_, Box<dyn Error>> {
            let result = vae.decode(&latents, &limits)?;
            device.synchronize()?;
            Ok(result)
        })?;
    }
    Ok((last_unet, last_vae))
}

/// Largest difference in units of the largest value of `right`.
fn difference(left: &Tensor, right: &Tensor) -> Result<f32, candle_core::Error> {
    let values = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    let (left, right) = (values(left)?, values(right)?);
    let scale = right.iter().fold(0f32, |scale, value| scale.max(value.abs()));
    Ok(left.iter().zip(&right).fold(0f32, |worst, (a, b)| worst.max((a - b).abs())) / scale)
}

fn timed<T, E>(what: &str, f: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let start = Instant::now();
    let result = f();
    println!("{what:<14} {:8.4} s   peak RSS {:.2} GB", start.elapsed().as_secs_f64(), peak_gb());
    result
}

/// Of this process; 0 where there is no `/proc`.
fn peak_gb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or(0.) * 1024. / 1e9
}

fn config(folder: &Path, part: &str) -> std::io::Result<Vec<u8>> {
    std::fs::read(folder.join(part).join("config.json"))
}

fn parsed<C: ModelConfig>(folder: &Path, part: &str) -> Result<C, Box<dyn Error>> {
    Ok(component_config::parse("config.json", &config(folder, part)?)?)
}

/// The first safetensors file of a part.
fn weights(folder: &Path, part: &str, device: &Device, dtype: DType) -> Result<Weights, Box<dyn Error>> {
    let mut files = std::fs::read_dir(folder.join(part))?.filter_map(|entry| Some(entry.ok()?.path()));
    let file = files.find(|path| path.extension().is_some_and(|e| e == "safetensors"));
    let file = file.ok_or_else(|| format!("no safetensors file in {part}"))?;
    Ok(Weights::open(part, &[Blob::File(file)], device, dtype, None)?)
}

/// Sines of growing steps: as good as noise for timing, and the same each time.
fn noise(shape: &[usize], device: &Device, dtype: DType) -> Result<Tensor, candle_core::Error> {
    let values: Vec<f32> =
        (0..shape.iter().product::<usize>()).map(|i| (i as f32 * 1.7).sin() * 1.4).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}
