//! The memory plan: what each phase of a run will hold at most, and what is done so that it fits.
//!
//! Made from configs, file headers and the size alone, before a weight is read. `walk` goes through the networks on
//! paper, with `ops` in the place of those of `nn` and `heap` in that of the device's allocator; here are the weights, the budget, and the choice of measures, the ones that cost least first. Knows
//! nothing of the machine: the budget is brought along.

mod heap;
mod ops;
mod walk;

use std::fmt::Write;

use candle_core::{DType, Device, DeviceLocation};

use self::ops::Ops;
use super::error::Result;
use super::families::Guidance;
use super::models::autoencoder_kl::Tiling;
use super::models::unet::{AttentionShape, UNetConfig};
use super::nn::{Backend, Heads, OpLimits};
use super::pipeline::{Measures, PipelineConfig};
use super::weights::Weights;
use crate::request::{AttentionSlicing, GenerateParams, ImageSize, MemoryWishes, VaeTiling};

/// Blocks that attention and convolutions are cut to, one after the other.
const BLOCKS: [usize; 2] = [64 << 20, 16 << 20];

/// Where a run is to take place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// The UNet's dtype.
    pub dtype: DType,
    /// The device.
    pub location: DeviceLocation,
    /// Threads of the CPU's ops.
    pub threads: usize,
    /// Bytes that the process holds without any model; 0 on a GPU.
    pub base: u64,
}

impl Site {
    /// A run on `device` in `dtype`.
    pub fn of(device: &Device, dtype: DType, base: u64) -> Self {
        let base = if device.is_cpu() { base } else { 0 };
        Self { dtype, location: device.location(), threads: rayon::current_num_threads(), base }
    }

    /// Whether networks of `dtype` leave their weights in the mapped file: our own ops for the CPU widen them where
    /// they use them.
    fn keeps_stored(&self, dtype: DType) -> bool {
        Backend::new(self.location, dtype) == Backend::Cpu
    }
}

/// What may be held, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes.
    pub bytes: u64,
    /// In words, such as `of memory free`.
    pub source: String,
}

/// What one phase is expected to hold at most, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseCost {
    /// `load`, `encode`, `encode_image`, `step` or `decode`.
    pub phase: &'static str,
    /// Weights in memory, and the process itself.
    pub weights: u64,
    /// Tensors and workspaces.
    pub activations: u64,
}

impl PhaseCost {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.activations
    }
}

/// What a run will hold and what is done about it.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryPlan {
    /// What is done.
    pub measures: Measures,
    /// Each phase with the measures in force.
    pub phases: Vec<PhaseCost>,
    /// What may be held; `None` is no limit.
    pub budget: Option<Budget>,
    /// What was cut to fit, in words.
    pub cuts: Vec<String>,
    size: ImageSize,
}

/// Bytes of one network's weights, as they are in memory.
#[derive(Clone, Copy, Debug, Default)]
struct WeightBytes {
    /// Once it has run.
    run: u64,
    /// From when it was loaded. The CPU's mapped files come into memory as they are read.
    loaded: u64,
    /// While it is being loaded.
    loading: u64,
}

/// Bytes of weights by network.
#[derive(Clone, Copy, Debug, Default)]
struct Networks {
    text_encoder: WeightBytes,
    unet: WeightBytes,
    /// The VAE's encoder has run too where a picture is made from another.
    vae: WeightBytes,
    vae_encoder: u64,
}

/// Predicts for one model on one site.
pub struct Planner<'a> {
    config: &'a PipelineConfig,
    site: Site,
    weights: Networks,
}

impl<'a> Planner<'a> {
    /// Reads the headers of the weights' files.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn new(config: &'a PipelineConfig, site: Site) -> Result<Self> {
        let open = |component: &str| {
            let blobs = config.checkpoint().weights.get(component).map_or(&[][..], Vec::as_slice);
            Weights::open(component, blobs, &Device::Cpu, DType::F32, None)
        };
        let bytes = |weights: &Weights, dtype: DType, wanted: &dyn Fn(&str) -> bool| {
            let (stored, values) = weights.measure(wanted);
            if !site.keeps_stored(dtype) {
                let copied = values * dtype.size_in_bytes() as u64;
                let mapped = if site.location == DeviceLocation::Cpu { stored } else { 0 };
                return WeightBytes { run: copied, loaded: copied, loading: copied + mapped };
            }
            let small = weights.small();
            WeightBytes { run: stored + small.copied, loaded: small.read, loading: small.read }
        };
        let facts = &config.profile.facts;
        let stored = site.keeps_stored(site.dtype);
        let mut text_encoder = WeightBytes::default();
        for (component, _) in config.profile.text_encoders() {
            let one = bytes(&open(component.encoder)?, site.dtype, &|name| {
                !stored || !name.contains("token_embedding")
            });
            text_encoder.run += one.run;
            text_encoder.loaded += one.loaded;
            text_encoder.loading += one.loading;
        }
        let mut unet = bytes(&open("unet")?, site.dtype, &|_| true);
        let padding = padding_of_heads(&facts.unet, &site)?;
        for bytes in [&mut unet.run, &mut unet.loaded, &mut unet.loading] {
            *bytes += padding;
        }
        let vae_dtype = if facts.vae.force_upcast { DType::F32 } else { site.dtype };
        let (vae, vae_stored) = (open("vae")?, site.keeps_stored(vae_dtype));
        let encodes = |name: &str| name.starts_with("encoder.") || name.starts_with("quant_conv.");
        let weights = Networks {
            text_encoder,
            unet,
            vae: bytes(&vae, vae_dtype, &|name| !vae_stored || !encodes(name)),
            vae_encoder: if vae_stored { vae.measure(encodes).0 } else { 0 },
        };
        Ok(Self { config, site, weights })
    }

    /// The plan of a run: what is wished for, and then as little as makes it fit, or all that can be cut where
    /// nothing does ([`MemoryPlan::fits`]).
    pub fn plan(&self, params: &GenerateParams, wishes: &MemoryWishes, budget: Option<Budget>) -> MemoryPlan {
        self.best(params, wishes, budget)
    }

    /// What each phase will hold with these measures.
    pub fn predict(&self, params: &GenerateParams, measures: &Measures) -> Vec<PhaseCost> {
        let facts = &self.config.profile.facts;
        let (_, h, w) = self.config.latent_shape(params.size);
        let guided = self.config.profile.guidance(params.guidance_scale) == Guidance::ClassifierFree;
        let rows = if guided && !measures.guidance_in_turn { 2 } else { 1 };
        let vae_dtype = if facts.vae.force_upcast { DType::F32 } else { self.site.dtype };
        let ops = |dtype| Ops::new(&self.site, dtype, &measures.limits);

        let text = ops(self.site.dtype);
        self.config.profile.text_encoders().for_each(|(_, config)| walk::text_encoder(&text, config));
        let image = ops(vae_dtype).after(&text);
        if params.image.is_some() {
            walk::vae_encoder(&image, &facts.vae, (h, w), self.weights.vae_encoder);
        }
        let unet = ops(self.site.dtype).after(&image);
        walk::unet(&unet, &facts.unet, rows, (h, w));
        let vae = ops(vae_dtype).after(&unet);
        let decode = walk::vae_decoder(&vae, &facts.vae, (h, w), measures.tiling.as_ref());

        let phases = [
            ("encode", text.heap.peak()),
            ("encode_image", image.heap.peak()),
            ("step", unet.heap.peak()),
            ("decode", decode),
        ];
        let load = if measures.one_at_a_time { 0 } else { self.weights.loading() };
        let cost = |phase, weights: u64, activations| PhaseCost {
            phase,
            weights: self.site.base + weights,
            activations,
        };
        let mut costs = vec![cost("load", load, 0)];
        let made_from_image = params.image.is_some();
        for (phase, tensors) in phases {
            if made_from_image || phase != "encode_image" {
                costs.push(cost(phase, self.weights.during(phase, measures, made_from_image), tensors));
            }
        }
        costs
    }

    fn best(&self, params: &GenerateParams, wishes: &MemoryWishes, budget: Option<Budget>) -> MemoryPlan {
        let mut plan = MemoryPlan {
            measures: self.wished(params, wishes),
            phases: Vec::new(),
            budget,
            cuts: Vec::new(),
            size: params.size,
        };
        plan.phases = self.predict(params, &plan.measures);
        let limit = plan.budget.as_ref().map_or(u64::MAX, |budget| budget.bytes);
        for (name, apply) in self.cuts(wishes) {
            if plan.largest().total() <= limit {
                break;
            }
            let mut measures = plan.measures;
            apply(&mut measures);
            let phases = self.predict(params, &measures);
            // Only what helps a phase that does not fit is worth its price.
            let helps = plan
                .phases
                .iter()
                .zip(&phases)
                .any(|(old, new)| old.total() > limit && new.total() < old.total());
            if helps {
                (plan.measures, plan.phases) = (measures, phases);
                plan.cuts.push(name);
            }
        }
        plan
    }

    /// The measures that the wishes ask for by themselves.
    fn wished(&self, params: &GenerateParams, wishes: &MemoryWishes) -> Measures {
        let (_, h, w) = self.config.latent_shape(params.size);
        let head = h * w * h * w * self.site.dtype.size_in_bytes();
        let attention_bytes = match wishes.attention_slicing {
            AttentionSlicing::Auto => OpLimits::default().attention_bytes,
            AttentionSlicing::Off => usize::MAX,
            AttentionSlicing::Max => head,
            AttentionSlicing::Heads(heads) => head.saturating_mul(heads),
        };
        let tiling = Tiling::from_config(&self.config.profile.facts.vae);
        Measures {
            limits: OpLimits { attention_bytes, ..OpLimits::default() },
            tiling: (wishes.vae_tiling == VaeTiling::On).then_some(tiling),
            ..Measures::default()
        }
    }

    /// What can be cut, in the order of what it costs: time, then the picture's exactness, then reading weights
    /// again. On the CPU reading again costs next to nothing, since the files stay in the system's cache.
    fn cuts(&self, wishes: &MemoryWishes) -> Vec<Cut> {
        let mut cuts: Vec<Cut> = vec![(
            "the text encoder released after the prompt".into(),
            Box::new(|measures| measures.release_text_encoder = true),
        )];
        for bytes in BLOCKS {
            if wishes.attention_slicing == AttentionSlicing::Auto {
                let name = format!("attention in blocks of {} MiB", bytes >> 20);
                cuts.push((name, Box::new(move |measures| measures.limits.attention_bytes = bytes)));
            }
            let name = format!("convolutions in bands of {} MiB", bytes >> 20);
            cuts.push((name, Box::new(move |measures| measures.limits.conv_bytes = bytes)));
        }
        cuts.push(("guidance in turn".into(), Box::new(|measures| measures.guidance_in_turn = true)));
        let one_at_a_time: Cut =
            ("one network in memory at a time".into(), Box::new(|measures| measures.one_at_a_time = true));
        let tiling = Tiling::from_config(&self.config.profile.facts.vae);
        let tiles: Option<Cut> = (wishes.vae_tiling == VaeTiling::Auto).then(|| {
            let name = format!("the VAE in tiles of {} pixels", tiling.sample_size);
            (name, Box::new(move |measures: &mut Measures| measures.tiling = Some(tiling)) as Apply)
        });
        if self.site.keeps_stored(self.site.dtype) {
            cuts.push(one_at_a_time);
            cuts.extend(tiles);
        } else {
            cuts.extend(tiles);
            cuts.push(one_at_a_time);
        }
        cuts
    }

    /// What can be done about a plan that does not fit, each with what it takes.
    pub fn ways_out(
        &self,
        params: &GenerateParams,
        wishes: &MemoryWishes,
        plan: &MemoryPlan,
    ) -> Vec<(WayOut, u64)> {
        let takes = plan.largest().total();
        let mut ways = Vec::new();
        if let Some((size, bytes)) =
            plan.budget.as_ref().and_then(|budget| self.smaller(params, wishes, budget))
        {
            ways.push((WayOut::Smaller(size), bytes));
        }
        if wishes.vae_tiling == VaeTiling::Off {
            let tiling = MemoryWishes { vae_tiling: VaeTiling::Auto, ..*wishes };
            let tiled = self.best(params, &tiling, plan.budget.clone()).largest().total();
            if tiled < takes {
                ways.push((WayOut::Tiles, tiled));
            }
        }
        ways.push((WayOut::Anyway, takes));
        ways
    }

    /// The largest picture of the same shape that fits, and what it takes.
    fn smaller(
        &self,
        params: &GenerateParams,
        wishes: &MemoryWishes,
        budget: &Budget,
    ) -> Option<(ImageSize, u64)> {
        let multiple = self.config.profile.size_multiple() * 8;
        (1..16).rev().find_map(|sixteenths| {
            let side = |pixels: u32| (pixels * sixteenths / 16 / multiple * multiple).max(multiple);
            let size = ImageSize::new(side(params.size.width), side(params.size.height));
            let params = GenerateParams { size, ..params.clone() };
            let bytes = self.best(&params, wishes, Some(budget.clone())).largest().total();
            (bytes <= budget.bytes).then_some((size, bytes))
        })
    }
}

impl Networks {
    /// All of them loaded one after the other.
    fn loading(&self) -> u64 {
        let mut loaded = 0;
        let networks = [self.text_encoder, self.unet, self.vae];
        networks.into_iter().fold(0, |most, network| {
            let now = loaded + network.loading;
            loaded += network.loaded;
            most.max(now)
        })
    }

    /// What is in memory during a phase.
    fn during(&self, phase: &str, measures: &Measures, made_from_image: bool) -> u64 {
        let Self { text_encoder: text, unet, vae, vae_encoder } = *self;
        let encoder = if made_from_image { vae_encoder } else { 0 };
        if measures.one_at_a_time {
            return match phase {
                "encode" => text.loading.max(text.run),
                "encode_image" => vae.loading,
                "step" => unet.loading.max(unet.run),
                _ => vae.loading.max(vae.run),
            };
        }
        let kept = if measures.release_text_encoder { 0 } else { text.run };
        match phase {
            "encode" => text.run + unet.loaded + vae.loaded,
            // its own weights come as they are read; the walk counts them
            "encode_image" => kept + unet.loaded + vae.loaded,
            "step" => kept + unet.run + vae.loaded + encoder,
            _ => kept + unet.run + vae.run + encoder,
        }
    }
}

/// What makes a picture fit that does not, or does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// A smaller picture of the same shape.
    Smaller(ImageSize),
    /// The VAE in tiles.
    Tiles,
    /// All cuts, and more memory than there is.
    Anyway,
}

impl WayOut {
    /// What to type on the command line.
    pub fn switches(self) -> String {
        match self {
            Self::Smaller(size) => format!("-W {} -H {}", size.width, size.height),
            Self::Tiles => "--vae-tiling on".into(),
            Self::Anyway => "--memory-budget off".into(),
        }
    }
}

/// Bytes that the UNet's projections grow by where their heads are padded when they are read.
fn padding_of_heads(config: &UNetConfig, site: &Site) -> Result<u64> {
    let values: usize = config
        .attentions()?
        .into_iter()
        .map(|AttentionShape { channels, heads, context }| {
            let padding = Heads::new(heads, channels, site.location, site.dtype).width() - channels;
            // queries and the output; keys and values
            padding * (2 * channels + 2 * context)
        })
        .sum();
    Ok((values * site.dtype.size_in_bytes()) as u64)
}

type Apply = Box<dyn Fn(&mut Measures)>;
type Cut = (String, Apply);

impl MemoryPlan {
    /// The phase that takes most.
    pub fn largest(&self) -> PhaseCost {
        let none = PhaseCost { phase: "step", weights: 0, activations: 0 };
        self.phases.iter().copied().max_by_key(PhaseCost::total).unwrap_or(none)
    }

    /// What `phase` is expected to take; 0 for a phase that was not planned.
    pub fn predicted(&self, phase: &str) -> u64 {
        self.phases.iter().find(|cost| cost.phase == phase).map_or(0, PhaseCost::total)
    }

    /// Whether every phase stays within the budget.
    pub fn fits(&self) -> bool {
        self.budget.as_ref().is_none_or(|budget| self.largest().total() <= budget.bytes)
    }

    /// What is short where it does not fit.
    pub fn shortage(&self) -> String {
        let worst = self.largest();
        let (bytes, source) =
            self.budget.as_ref().map_or((u64::MAX, ""), |budget| (budget.bytes, budget.source.as_str()));
        format!(
            "{} needs {} to {}, and there are {} {source}",
            self.size,
            gib(worst.total()),
            worst.phase,
            gib(bytes)
        )
    }

    /// One line: what it takes of what there is.
    pub fn summary(&self) -> String {
        let worst = self.largest();
        let of = self.budget.as_ref().map_or(String::new(), |b| format!(" of {} {}", gib(b.bytes), b.source));
        let cuts = if self.cuts.is_empty() { String::new() } else { format!(": {}", self.cuts.join(", ")) };
        format!("{} takes {}{of}, most of it to {}{cuts}", self.size, gib(worst.total()), worst.phase)
    }

    /// One line, if anything was cut.
    pub fn notice(&self) -> Option<String> {
        let budget = self.budget.as_ref()?;
        if self.cuts.is_empty() {
            return None;
        }
        let (needs, has) = (gib(self.largest().total()), gib(budget.bytes));
        Some(format!("to take {needs} of {has} {}: {}", budget.source, self.cuts.join(", ")))
    }

    /// The whole plan, a line each.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![self.summary()];
        for cost in &self.phases {
            let mut line = String::new();
            let _ = write!(
                line,
                "{:<12} {:>8}  weights {}, tensors {}",
                cost.phase,
                gib(cost.total()),
                gib(cost.weights),
                gib(cost.activations)
            );
            lines.push(line);
        }
        lines.push(match &self.budget {
            Some(budget) => format!("{:<12} {:>8}  {}", "budget", gib(budget.bytes), budget.source),
            None => format!("{:<12} {:>8}", "budget", "none"),
        });
        lines.extend(self.cuts.iter().map(|cut| format!("{:<12} {cut}", "cut")));
        lines
    }
}

/// Bytes in GiB, or MiB where there are few.
pub fn gib(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1000. { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.) }
}
