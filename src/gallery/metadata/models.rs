//! Which repo on the Hub another tool's model name means.

/// File names under which people have well-known models, without folder and ending, and the repos.
const KNOWN: &[(&str, &str)] = &[
    ("v1-5-pruned", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    ("v1-5-pruned-emaonly", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    ("v1-5-pruned-emaonly-fp16", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    ("stable-diffusion-1.5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    ("stable-diffusion-v1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    ("sd_turbo", "stabilityai/sd-turbo"),
    ("sd_xl_base_1.0", "stabilityai/stable-diffusion-xl-base-1.0"),
    ("sd_xl_base_1.0_0.9vae", "stabilityai/stable-diffusion-xl-base-1.0"),
    ("stable-diffusion-xl-base-1-0", "stabilityai/stable-diffusion-xl-base-1.0"),
    ("sd_xl_turbo_1.0", "stabilityai/sdxl-turbo"),
    ("sd_xl_turbo_1.0_fp16", "stabilityai/sdxl-turbo"),
];

/// The repo that `name` means; a name that is a repo's id means itself. Any other name is a file on somebody's disk.
pub(super) fn known(name: &str) -> Option<String> {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let stem = [".safetensors", ".ckpt"].iter().find_map(|ending| file.strip_suffix(ending));
    let key = stem.unwrap_or(file).to_ascii_lowercase();
    if let Some((_, repo)) = KNOWN.iter().find(|row| row.0 == key) {
        return Some((*repo).to_owned());
    }
    (stem.is_none() && is_repo_id(name)).then(|| name.to_owned())
}

fn is_repo_id(name: &str) -> bool {
    let part = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    name == "embedded" || name.split_once('/').is_some_and(|(owner, repo)| part(owner) && part(repo))
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn files_of_known_models_and_repos_are_models_and_other_files_are_not() {
        let sd15 = "stable-diffusion-v1-5/stable-diffusion-v1-5";
        for name in ["v1-5-pruned-emaonly.safetensors", "SD15/v1-5-pruned.ckpt", "v1-5-pruned", sd15] {
            assert_eq!(known(name).as_deref(), Some(sd15), "{name}");
        }
        assert_eq!(known("org/some-model.v2").as_deref(), Some("org/some-model.v2"));
        for name in
            ["dreamshaper_8.safetensors", "models/x.safetensors", "a/b/c", "/etc", "../x", "x -S 3/y", ""]
        {
            assert_eq!(known(name), None, "{name}");
        }
    }
}
