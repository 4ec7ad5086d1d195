//! The table of schedulers and what people call them.
//!
//! Knows nothing of how a scheduler works.

use super::SchedulerError;
use super::config::{AlgorithmType, SchedulerClass, SchedulerConfig, SigmaKind};

/// One line of [`SCHEDULERS`].
#[derive(Debug, PartialEq, Eq)]
pub struct SchedulerInfo {
    /// What we call it: `dpmpp_2m`.
    pub name: &'static str,
    /// What people read: `DPM++ 2M`.
    pub title: &'static str,
    /// What else people type; case, spaces, hyphens and underscores do not count, `+` is `p`.
    pub aliases: &'static [&'static str],
    /// The class in diffusers.
    pub class: SchedulerClass,
    /// DPM-Solver's `algorithm_type` that the name stands for.
    algorithm_type: Option<AlgorithmType>,
    /// Whether steps use no noise (with η = 0 where there is one).
    pub deterministic: bool,
    /// Model calls a step; the last step takes one.
    pub order: usize,
    /// Whether `eta` counts.
    pub takes_eta: bool,
    /// One line that says what it is good for.
    pub about: &'static str,
}

impl SchedulerInfo {
    /// Whether `config`, of this line's class, has this line's kind of algorithm.
    fn describes(&self, config: &SchedulerConfig) -> bool {
        self.algorithm_type.is_none_or(|ours| ours.is_stochastic() == config.algorithm_type.is_stochastic())
    }

    /// The sigmas that its name can ask for: `_karras`, `_exponential`, `_beta`.
    pub fn sigma_kinds(&self) -> &'static [SigmaKind] {
        if self.class.has_sigma_kinds() { &SigmaKind::ALL } else { &[] }
    }
}

const fn info(
    name: &'static str,
    title: &'static str,
    aliases: &'static [&'static str],
    class: SchedulerClass,
    about: &'static str,
) -> SchedulerInfo {
    SchedulerInfo {
        name,
        title,
        aliases,
        class,
        algorithm_type: None,
        deterministic: true,
        order: 1,
        takes_eta: false,
        about,
    }
}

/// Every scheduler.
pub const SCHEDULERS: &[SchedulerInfo] = &[
    SchedulerInfo {
        takes_eta: true,
        ..info(
            "ddim",
            "DDIM",
            &[],
            SchedulerClass::Ddim,
            "deterministic, the reference of many papers; η adds noise",
        )
    },
    SchedulerInfo {
        deterministic: false,
        ..info("ddpm", "DDPM", &[], SchedulerClass::Ddpm, "the original; wants many steps")
    },
    info(
        "pndm",
        "PNDM",
        &["plms"],
        SchedulerClass::Pndm,
        "Stable Diffusion 1.5's own; one more model call than steps",
    ),
    info("euler", "Euler", &[], SchedulerClass::Euler, "simple and quick; SDXL's own"),
    SchedulerInfo {
        deterministic: false,
        ..info(
            "euler_ancestral",
            "Euler a",
            &["euler a"],
            SchedulerClass::EulerAncestral,
            "soft and varied; the picture keeps changing with the number of steps",
        )
    },
    SchedulerInfo {
        order: 2,
        ..info("heun", "Heun", &[], SchedulerClass::Heun, "Euler with a correction; two model calls a step")
    },
    info("lms", "LMS", &[], SchedulerClass::Lms, "linear multistep, fourth order"),
    SchedulerInfo {
        algorithm_type: Some(AlgorithmType::DpmSolverPlusPlus),
        ..info(
            "dpmpp_2m",
            "DPM++ 2M",
            &["dpm_multistep", "dpmsolver++", "dpmsolver_multistep", "dpm++"],
            SchedulerClass::DpmSolverMultistep,
            "good pictures in 20 steps",
        )
    },
    SchedulerInfo {
        algorithm_type: Some(AlgorithmType::SdeDpmSolverPlusPlus),
        deterministic: false,
        ..info(
            "dpmpp_2m_sde",
            "DPM++ 2M SDE",
            &["sde_dpmsolver++"],
            SchedulerClass::DpmSolverMultistep,
            "DPM++ 2M with fresh noise at each step",
        )
    },
    SchedulerInfo {
        deterministic: false,
        order: 2,
        ..info(
            "dpmpp_sde",
            "DPM++ SDE",
            &["dpmsolver_sde"],
            SchedulerClass::DpmSolverSde,
            "stochastic, few steps; two model calls a step",
        )
    },
    info(
        "unipc",
        "UniPC",
        &["uni_pc_bh2"],
        SchedulerClass::UniPc,
        "predictor and corrector; good in 10 steps",
    ),
    SchedulerInfo {
        deterministic: false,
        ..info("lcm", "LCM", &[], SchedulerClass::Lcm, "for latent consistency models: 2 to 8 steps")
    },
    SchedulerInfo {
        takes_eta: true,
        ..info("tcd", "TCD", &[], SchedulerClass::Tcd, "for trajectory consistency models: 2 to 8 steps")
    },
    info(
        "flow_match_euler",
        "Flow Match Euler",
        &["flow_euler", "flow_match", "rf_euler"],
        SchedulerClass::FlowMatchEuler,
        "for flow-matching models only",
    ),
];

impl SigmaKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Karras, Self::Exponential, Self::Beta];

    /// What stands behind a scheduler's name: `karras`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Karras => "karras",
            Self::Exponential => "exponential",
            Self::Beta => "beta",
        }
    }

    /// What people read: `Karras`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Karras => "Karras",
            Self::Exponential => "Exponential",
            Self::Beta => "Beta",
        }
    }
}

/// A scheduler and the sigmas that its name asks for; displays as its canonical name, `dpmpp_2m_karras`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerName {
    /// The table's line.
    pub info: &'static SchedulerInfo,
    /// The sigmas; `None` leaves what the checkpoint says.
    pub sigmas: Option<SigmaKind>,
}

impl std::fmt::Display for SchedulerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.sigmas {
            None => f.write_str(self.info.name),
            Some(kind) => write!(f, "{}_{}", self.info.name, kind.suffix()),
        }
    }
}

impl SchedulerName {
    /// Every name, in the table's order.
    pub fn all() -> impl Iterator<Item = Self> {
        SCHEDULERS.iter().flat_map(|info| {
            let kinds = info.sigma_kinds().iter().copied().map(Some);
            std::iter::once(None).chain(kinds).map(move |sigmas| Self { info, sigmas })
        })
    }

    /// What people read: `DPM++ 2M Karras`.
    pub fn title(&self) -> String {
        match self.sigmas {
            None => self.info.title.to_owned(),
            Some(kind) => format!("{} {}", self.info.title, kind.title()),
        }
    }

    /// The name of what `config` of `class` describes.
    pub(super) fn of_config(class: SchedulerClass, config: &SchedulerConfig) -> Self {
        let info = SCHEDULERS.iter().find(|info| info.class == class && info.describes(config));
        Self { info: info.unwrap_or(&SCHEDULERS[0]), sigmas: config.sigma_kind() }
    }

    /// Sets in `config` what the name stands for and what is not so yet.
    pub(super) fn apply(&self, config: &mut SchedulerConfig) {
        if let Some(algorithm_type) = self.info.algorithm_type
            && !self.info.describes(config)
        {
            config.algorithm_type = algorithm_type;
        }
        if let Some(kind) = self.sigmas {
            config.set_sigma_kind(kind);
        }
    }
}

/// The scheduler that `text` means: a name of the table with or without `_karras`, `_exponential` or `_beta`, a label
/// of A1111 (`DPM++ 2M Karras`), a name of k-diffusion (`k_euler_a`, `sample_dpmpp_2m`), of InvokeAI (`dpmpp_2m_k`)
/// or a class of diffusers.
///
/// # Errors
/// When it means none, with the nearest name; when the scheduler has no such sigmas.
pub fn resolve_name(text: &str) -> Result<SchedulerName, SchedulerError> {
    let key = squash(text);
    if let Some(info) = find(&key) {
        return Ok(SchedulerName { info, sigmas: None });
    }
    let suffixes = SigmaKind::ALL.map(|kind| (kind.suffix(), kind));
    for (suffix, kind) in suffixes.into_iter().chain([("k", SigmaKind::Karras)]) {
        if let Some(info) = key.strip_suffix(suffix).and_then(find) {
            return if info.sigma_kinds().contains(&kind) {
                Ok(SchedulerName { info, sigmas: Some(kind) })
            } else {
                Err(SchedulerError::NoSuchSigmas { name: info.name, kind: kind.suffix() })
            };
        }
    }
    let nearest = SchedulerName::all()
        .map(|name| name.to_string())
        .max_by(|a, b| {
            let similarity = |name: &str| strsim::jaro_winkler(&squash(name), &key);
            similarity(a).total_cmp(&similarity(b))
        })
        .unwrap_or_default();
    Err(SchedulerError::UnknownName { name: text.to_owned(), nearest })
}

/// The line that `key` names, with or without what other programs put before their names.
fn find(key: &str) -> Option<&'static SchedulerInfo> {
    let exact = |key: &str| SCHEDULERS.iter().find(|info| info.spellings().any(|spelling| spelling == key));
    exact(key)
        .or_else(|| exact(key.strip_prefix("sample")?))
        .or_else(|| exact(key.strip_prefix('k')?))
        .or_else(|| exact(key.strip_suffix("scheduler")?))
}

impl SchedulerInfo {
    /// Everything that names this line, squashed. A class that has two lines names the first.
    pub(super) fn spellings(&self) -> impl Iterator<Item = String> {
        let class = (self.algorithm_type.is_none() || self.deterministic)
            .then(|| squash(self.class.name().trim_end_matches("Scheduler")));
        [self.name, self.title].into_iter().chain(self.aliases.iter().copied()).map(squash).chain(class)
    }
}

/// Letters and digits in lower case, `+` as `p`, nothing else.
fn squash(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c == '+' { 'p' } else { c })
        .filter(|c| c.is_alphanumeric())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_spelling_means_one_scheduler() {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for info in SCHEDULERS {
            for spelling in info.spellings() {
                for text in [spelling.clone(), format!("k_{spelling}"), format!("sample_{spelling}")] {
                    assert_eq!(resolve_name(&text).unwrap().info.name, info.name, "{text}");
                }
                let before = seen.insert(spelling.clone(), info.name);
                assert!(
                    before.is_none_or(|name| name == info.name),
                    "{spelling} is {before:?} and {}",
                    info.name
                );
            }
        }
    }

    #[test]
    fn canonical_names_and_titles_resolve_to_themselves() {
        for name in SchedulerName::all() {
            let text = name.to_string();
            assert_eq!(resolve_name(&text).unwrap(), name);
            assert_eq!(resolve_name(&text.replace('_', "-").to_uppercase()).unwrap(), name);
            assert_eq!(resolve_name(&name.title()).unwrap(), name);
        }
        assert_eq!(SchedulerName::all().count(), 14 + 8 * 3);
    }

    #[test]
    fn other_programs_names() {
        for (text, name) in [
            ("Euler a", "euler_ancestral"),
            ("DPM++ 2M Karras", "dpmpp_2m_karras"),
            ("DPM++ 2M SDE Exponential", "dpmpp_2m_sde_exponential"),
            ("DPM++ SDE Karras", "dpmpp_sde_karras"),
            ("LMS Karras", "lms_karras"),
            ("PLMS", "pndm"),
            ("k_euler_a", "euler_ancestral"),
            ("k_lms", "lms"),
            ("sample_dpmpp_2m", "dpmpp_2m"),
            ("sample_euler_ancestral", "euler_ancestral"),
            ("dpmpp_2m_k", "dpmpp_2m_karras"),
            ("uni-pc", "unipc"),
            ("uni_pc_bh2", "unipc"),
            ("EulerDiscreteScheduler", "euler"),
            ("DPMSolverMultistepScheduler", "dpmpp_2m"),
            ("FlowMatchEulerDiscreteScheduler", "flow_match_euler"),
        ] {
            assert_eq!(resolve_name(text).unwrap().to_string(), name, "{text}");
        }
    }

    #[test]
    fn errors_say_what_to_type() {
        let error = |text: &str| resolve_name(text).unwrap_err().to_string();
        assert_eq!(error("eular"), "no scheduler is called `eular`; did you mean `euler`?");
        assert_eq!(
            error("dpm++ 2m kar"),
            "no scheduler is called `dpm++ 2m kar`; did you mean `dpmpp_2m_karras`?"
        );
        assert_eq!(
            error("ddim_karras"),
            "`ddim` has no karras sigmas; use `ddim` alone, or `dpmpp_2m_karras`"
        );
        assert!(error("").starts_with("no scheduler is called ``"));
        assert!(error("k").starts_with("no scheduler"));
    }
}
