//! `scheduler/scheduler_config.json`: the keys, diffusers' defaults for each class, and what `from_config` keeps.
//!
//! Knows nothing of step counts. The defaults are those of each class' `__init__` in diffusers 0.42.1.

use serde::Serialize;
use serde_json::{Map, Value};

use super::SchedulerError;
pub use super::values::{
    AlgorithmType, BetaSchedule, FinalSigmas, InterpolationType, PredictionType, SigmaKind, SolverType,
    TimeShiftType, TimestepSpacing, TimestepType, VarianceType,
};

/// The classes of diffusers that are implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchedulerClass {
    /// `DDIMScheduler`
    Ddim,
    /// `DDPMScheduler`
    Ddpm,
    /// `PNDMScheduler`
    Pndm,
    /// `EulerDiscreteScheduler`
    Euler,
    /// `EulerAncestralDiscreteScheduler`
    EulerAncestral,
    /// `HeunDiscreteScheduler`
    Heun,
    /// `LMSDiscreteScheduler`
    Lms,
    /// `DPMSolverMultistepScheduler`
    DpmSolverMultistep,
    /// `DPMSolverSDEScheduler`
    DpmSolverSde,
    /// `UniPCMultistepScheduler`
    UniPc,
    /// `LCMScheduler`
    Lcm,
    /// `TCDScheduler`
    Tcd,
    /// `FlowMatchEulerDiscreteScheduler`
    FlowMatchEuler,
}

/// Every key that any implemented class knows, resolved for one class: diffusers' `scheduler.config`.
///
/// Keys that the class does not know hold a value that changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the keys of scheduler_config.json; diffusers documents them")]
pub struct SchedulerConfig {
    pub num_train_timesteps: usize,
    pub beta_start: f64,
    pub beta_end: f64,
    pub beta_schedule: BetaSchedule,
    pub trained_betas: Option<Vec<f32>>,
    pub prediction_type: PredictionType,
    pub timestep_spacing: TimestepSpacing,
    pub steps_offset: i64,
    pub rescale_betas_zero_snr: bool,
    pub set_alpha_to_one: bool,
    pub clip_sample: bool,
    pub clip_sample_range: f64,
    pub thresholding: bool,
    pub dynamic_thresholding_ratio: f64,
    pub sample_max_value: f64,
    pub use_karras_sigmas: bool,
    pub use_exponential_sigmas: bool,
    pub use_beta_sigmas: bool,
    pub sigma_min: Option<f64>,
    pub sigma_max: Option<f64>,
    pub final_sigmas_type: FinalSigmas,
    pub interpolation_type: InterpolationType,
    pub timestep_type: TimestepType,
    pub variance_type: Option<VarianceType>,
    pub skip_prk_steps: bool,
    pub solver_order: usize,
    pub algorithm_type: AlgorithmType,
    pub solver_type: SolverType,
    pub lower_order_final: bool,
    pub euler_at_final: bool,
    pub use_lu_lambdas: bool,
    pub use_flow_sigmas: bool,
    pub flow_shift: f64,
    pub lambda_min_clipped: Option<f64>,
    pub predict_x0: bool,
    pub disable_corrector: Vec<usize>,
    pub solver_p: Option<Value>,
    pub original_inference_steps: usize,
    pub timestep_scaling: f64,
    pub shift: f64,
    pub use_dynamic_shifting: bool,
    pub time_shift_type: TimeShiftType,
    pub shift_terminal: Option<f64>,
    pub invert_sigmas: bool,
    pub stochastic_sampling: bool,
}

/// Keys that all classes but the flow-matching one know.
const COMMON: &[&str] = &[
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
];
const SIGMAS: &[&str] = &["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"];
const CLIP: &[&str] = &["clip_sample", "clip_sample_range"];
const THRESHOLD: &[&str] = &["thresholding", "dynamic_thresholding_ratio", "sample_max_value"];
const SOLVER: &[&str] = &[
    "solver_order",
    "solver_type",
    "lower_order_final",
    "use_flow_sigmas",
    "flow_shift",
    "final_sigmas_type",
    "rescale_betas_zero_snr",
    "use_dynamic_shifting",
    "time_shift_type",
];

impl SchedulerClass {
    /// What diffusers calls it: `DDIMScheduler`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIMScheduler",
            Self::Ddpm => "DDPMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::Heun => "HeunDiscreteScheduler",
            Self::Lms => "LMSDiscreteScheduler",
            Self::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Self::DpmSolverSde => "DPMSolverSDEScheduler",
            Self::UniPc => "UniPCMultistepScheduler",
            Self::Lcm => "LCMScheduler",
            Self::Tcd => "TCDScheduler",
            Self::FlowMatchEuler => "FlowMatchEulerDiscreteScheduler",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        super::SCHEDULERS.iter().map(|info| info.class).find(|class| class.name() == name)
    }

    /// The key lists of the class' `__init__`.
    fn keys(self) -> &'static [&'static [&'static str]] {
        const ZERO_SNR: &[&str] = &["rescale_betas_zero_snr"];
        const DISTILLED: &[&str] =
            &["set_alpha_to_one", "rescale_betas_zero_snr", "original_inference_steps", "timestep_scaling"];
        match self {
            Self::Ddim => &[COMMON, CLIP, THRESHOLD, &["set_alpha_to_one", "rescale_betas_zero_snr"]],
            Self::Ddpm => &[COMMON, CLIP, THRESHOLD, &["variance_type", "rescale_betas_zero_snr"]],
            Self::Pndm => &[COMMON, &["skip_prk_steps", "set_alpha_to_one"]],
            Self::Euler => &[
                COMMON,
                SIGMAS,
                ZERO_SNR,
                &["interpolation_type", "timestep_type", "final_sigmas_type", "sigma_min", "sigma_max"],
            ],
            Self::EulerAncestral => &[COMMON, ZERO_SNR],
            Self::Heun => &[COMMON, SIGMAS, CLIP],
            Self::Lms => &[COMMON, SIGMAS],
            Self::DpmSolverSde => &[COMMON, SIGMAS, &["noise_sampler_seed"]],
            Self::DpmSolverMultistep => &[
                COMMON,
                SIGMAS,
                THRESHOLD,
                SOLVER,
                &[
                    "algorithm_type",
                    "euler_at_final",
                    "use_lu_lambdas",
                    "lambda_min_clipped",
                    "variance_type",
                ],
            ],
            Self::UniPc => &[
                COMMON,
                SIGMAS,
                THRESHOLD,
                SOLVER,
                &["predict_x0", "disable_corrector", "solver_p", "sigma_min", "sigma_max", "shift_terminal"],
            ],
            Self::Lcm | Self::Tcd => &[COMMON, CLIP, THRESHOLD, DISTILLED],
            Self::FlowMatchEuler => &[
                SIGMAS,
                &["num_train_timesteps", "shift", "use_dynamic_shifting", "base_shift", "max_shift"],
                &["base_image_seq_len", "max_image_seq_len", "invert_sigmas", "shift_terminal"],
                &["time_shift_type", "stochastic_sampling"],
            ],
        }
    }

    /// Whether the class' `__init__` has the parameter `key`.
    pub fn knows(self, key: &str) -> bool {
        self.keys().iter().any(|keys| keys.contains(&key))
    }

    /// Whether the class has karras, exponential and beta sigmas.
    pub fn has_sigma_kinds(self) -> bool {
        self.knows("use_karras_sigmas")
    }

    /// The defaults of the class' `__init__`.
    pub fn defaults(self) -> SchedulerConfig {
        let base = SchedulerConfig::base();
        let latent = |base| SchedulerConfig { beta_start: 0.000_85, beta_end: 0.012, ..base };
        match self {
            Self::Ddim => SchedulerConfig {
                clip_sample: true,
                set_alpha_to_one: true,
                timestep_spacing: TimestepSpacing::Leading,
                ..base
            },
            Self::Ddpm => SchedulerConfig {
                clip_sample: true,
                variance_type: Some(VarianceType::FixedSmall),
                timestep_spacing: TimestepSpacing::Leading,
                ..base
            },
            Self::Pndm => SchedulerConfig { timestep_spacing: TimestepSpacing::Leading, ..base },
            Self::Heun | Self::DpmSolverSde => latent(base),
            Self::UniPc => SchedulerConfig { solver_type: SolverType::Bh2, ..base },
            Self::Lcm | Self::Tcd => SchedulerConfig {
                beta_schedule: BetaSchedule::ScaledLinear,
                set_alpha_to_one: true,
                timestep_spacing: TimestepSpacing::Leading,
                ..latent(base)
            },
            Self::Euler
            | Self::EulerAncestral
            | Self::Lms
            | Self::DpmSolverMultistep
            | Self::FlowMatchEuler => base,
        }
    }
}

impl SchedulerConfig {
    fn base() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            prediction_type: PredictionType::Epsilon,
            timestep_spacing: TimestepSpacing::Linspace,
            steps_offset: 0,
            rescale_betas_zero_snr: false,
            set_alpha_to_one: false,
            clip_sample: false,
            clip_sample_range: 1.0,
            thresholding: false,
            dynamic_thresholding_ratio: 0.995,
            sample_max_value: 1.0,
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            use_beta_sigmas: false,
            sigma_min: None,
            sigma_max: None,
            final_sigmas_type: FinalSigmas::Zero,
            interpolation_type: InterpolationType::Linear,
            timestep_type: TimestepType::Discrete,
            variance_type: None,
            skip_prk_steps: false,
            solver_order: 2,
            algorithm_type: AlgorithmType::DpmSolverPlusPlus,
            solver_type: SolverType::Midpoint,
            lower_order_final: true,
            euler_at_final: false,
            use_lu_lambdas: false,
            use_flow_sigmas: false,
            flow_shift: 1.0,
            lambda_min_clipped: None,
            predict_x0: true,
            disable_corrector: Vec::new(),
            solver_p: None,
            original_inference_steps: 50,
            timestep_scaling: 10.0,
            shift: 1.0,
            use_dynamic_shifting: false,
            time_shift_type: TimeShiftType::Exponential,
            shift_terminal: None,
            invert_sigmas: false,
            stochastic_sampling: false,
        }
    }

    /// diffusers' `class.from_config(file)`: the keys of the file that the class knows, its defaults for the others.
    ///
    /// # Errors
    /// When a value is of the wrong type or not one that is implemented.
    pub fn from_file(class: SchedulerClass, file: &SchedulerFile) -> Result<Self, SchedulerError> {
        let mut config = class.defaults();
        macro_rules! read {
            ($($key:ident)*) => { $(
                // `sigma_min` and `sigma_max` reach every class through the config's hidden keys.
                if (class.knows(stringify!($key)) || stringify!($key).starts_with("sigma_m"))
                    && let Some(value) = file.keys.get(stringify!($key))
                {
                    config.$key = parse(stringify!($key), value)?;
                }
            )* };
        }
        read!(num_train_timesteps beta_start beta_end beta_schedule trained_betas prediction_type timestep_spacing
            steps_offset rescale_betas_zero_snr set_alpha_to_one clip_sample clip_sample_range thresholding
            dynamic_thresholding_ratio sample_max_value use_karras_sigmas use_exponential_sigmas use_beta_sigmas
            sigma_min sigma_max final_sigmas_type interpolation_type timestep_type variance_type skip_prk_steps
            solver_order algorithm_type solver_type lower_order_final euler_at_final use_lu_lambdas use_flow_sigmas
            flow_shift lambda_min_clipped predict_x0 disable_corrector solver_p original_inference_steps
            timestep_scaling shift use_dynamic_shifting time_shift_type shift_terminal invert_sigmas
            stochastic_sampling);
        Ok(config)
    }

    /// Whether the solver integrates the clean sample and not the noise.
    pub(super) fn predicts_original(&self) -> bool {
        let data = matches!(
            self.algorithm_type,
            AlgorithmType::DpmSolverPlusPlus | AlgorithmType::SdeDpmSolverPlusPlus
        );
        data && self.predict_x0
    }

    /// The sigmas that replace the timestep spacing, if any.
    pub fn sigma_kind(&self) -> Option<SigmaKind> {
        if self.use_karras_sigmas {
            Some(SigmaKind::Karras)
        } else if self.use_exponential_sigmas {
            Some(SigmaKind::Exponential)
        } else if self.use_beta_sigmas {
            Some(SigmaKind::Beta)
        } else {
            None
        }
    }

    /// The config for the classes whose own copies of the karras formula do not look at `sigma_min` and `sigma_max`.
    pub(super) fn without_karras_range(mut self) -> Self {
        if self.use_karras_sigmas {
            (self.sigma_min, self.sigma_max) = (None, None);
        }
        self
    }

    /// Asks for `kind` and for no other.
    pub fn set_sigma_kind(&mut self, kind: SigmaKind) {
        self.use_karras_sigmas = kind == SigmaKind::Karras;
        self.use_exponential_sigmas = kind == SigmaKind::Exponential;
        self.use_beta_sigmas = kind == SigmaKind::Beta;
    }
}

/// A key's value as `T`; Python's `None` is false for a switch.
fn parse<T: serde::de::DeserializeOwned>(key: &str, value: &Value) -> Result<T, SchedulerError> {
    serde_json::from_value(value.clone())
        .or_else(|error| match value {
            Value::Null => serde_json::from_value(Value::Bool(false)).map_err(|_| error),
            _ => Err(error),
        })
        .map_err(|_| SchedulerError::unsupported(key, value))
}

/// The keys of a `scheduler_config.json` as they stand there.
#[derive(Clone, Debug)]
pub struct SchedulerFile {
    /// `_class_name`.
    pub class_name: String,
    keys: Map<String, Value>,
}

impl SchedulerFile {
    /// Reads the JSON. Python's `Infinity`, `-Infinity` and `NaN`, which are no JSON but which diffusers writes
    /// (`"lambda_min_clipped": -Infinity`), are read as absent.
    ///
    /// # Errors
    /// When it is no JSON object or has no `_class_name`.
    pub fn parse(json: &[u8]) -> Result<Self, SchedulerError> {
        let json = without_python_numbers(&String::from_utf8_lossy(json));
        let mut keys: Map<String, Value> = serde_json::from_str(&json).map_err(SchedulerError::Json)?;
        if let Some(Value::Array(defaulted)) = keys.remove("_use_default_values") {
            keys.retain(|key, _| !defaulted.iter().any(|name| name == key.as_str()));
        }
        match keys.remove("_class_name") {
            Some(Value::String(class_name)) => Ok(Self { class_name, keys }),
            other => Err(SchedulerError::unsupported("_class_name", other.unwrap_or_default())),
        }
    }

    /// The class that the file was written for.
    ///
    /// # Errors
    /// When it is not implemented.
    pub fn class(&self) -> Result<SchedulerClass, SchedulerError> {
        SchedulerClass::from_name(&self.class_name)
            .ok_or_else(|| SchedulerError::unsupported("_class_name", Value::from(self.class_name.as_str())))
    }

    /// Whether the file was written for a flow-matching class.
    pub(super) fn is_flow_matching(&self) -> bool {
        self.class_name.starts_with("FlowMatch")
    }

    /// What `StableDiffusionPipeline.__init__` changes in the file's values.
    pub(super) fn apply_stable_diffusion_pipeline(&mut self) {
        if let Some(offset) = self.keys.get_mut("steps_offset") {
            *offset = Value::from(1);
        }
        if let Some(clip) = self.keys.get_mut("clip_sample") {
            *clip = Value::Bool(false);
        }
    }
}

/// Replaces Python's bare `Infinity`, `-Infinity` and `NaN` outside strings by `null`.
fn without_python_numbers(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => string_length(rest),
            _ => ["-Infinity", "Infinity", "NaN"].iter().find(|word| rest.starts_with(**word)).map_or(
                c.len_utf8(),
                |word| {
                    out.push_str("null");
                    rest = &rest[word.len()..];
                    0
                },
            ),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// Bytes of the JSON string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(class: SchedulerClass, json: &str) -> Result<SchedulerConfig, SchedulerError> {
        SchedulerConfig::from_file(class, &SchedulerFile::parse(json.as_bytes())?)
    }

    #[test]
    fn pythons_numbers_are_absent() {
        let json = r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity,
            "sigma_max": Infinity, "sigma_min": NaN, "_note": "a \"NaN\" \\ é in a string"}"#;
        let file = SchedulerFile::parse(json.as_bytes()).unwrap();
        assert_eq!(file.keys["_note"], "a \"NaN\" \\ é in a string");
        let config = SchedulerConfig::from_file(SchedulerClass::DpmSolverMultistep, &file).unwrap();
        assert_eq!((config.lambda_min_clipped, config.sigma_max, config.sigma_min), (None, None, None));
    }

    #[test]
    fn defaulted_keys_do_not_count() {
        let json = r#"{"_class_name": "DDIMScheduler", "steps_offset": 1, "eta": 3, "clip_sample": false,
            "_use_default_values": ["steps_offset"]}"#;
        let config = config(SchedulerClass::Ddim, json).unwrap();
        assert_eq!((config.steps_offset, config.clip_sample), (0, false));
    }

    #[test]
    fn errors_name_file_key_and_value() {
        for (json, expected) in [
            (
                r#"{"_class_name": "DDIMScheduler", "beta_schedule": "quadratic"}"#,
                r#"`beta_schedule` is "quadratic""#,
            ),
            (r#"{"_class_name": "DDIMScheduler", "beta_start": "low"}"#, r#"`beta_start` is "low""#),
            (r#"{"_class_name": ["A"]}"#, r#"`_class_name` is ["A"]"#),
            ("{}", "`_class_name` is null"),
        ] {
            let error = config(SchedulerClass::Ddim, json).unwrap_err().to_string();
            assert!(error.starts_with("scheduler/scheduler_config.json: "), "{error}");
            assert!(error.contains(expected), "{error}");
        }
        let error = config(SchedulerClass::Ddim, "[1]").unwrap_err().to_string();
        assert!(error.starts_with("scheduler/scheduler_config.json is not a JSON object: "), "{error}");
    }
}
