//! Where things lie on disk, and the environment variables that decide it.
//!
//! With `config`, the only module that reads environment variables. Everything is computed by [`Paths::new`] from a
//! lookup function, so that tests need not touch the process's environment. Knows nothing of what the files hold.
//!
//! | | Linux | macOS | with `TINTYPE_HOME` |
//! |---|---|---|---|
//! | configuration, themes | `$XDG_CONFIG_HOME/tintype`, else `~/.config/tintype` | `~/Library/Application Support/tintype` | `$TINTYPE_HOME` |
//! | sessions, history, log | `$XDG_STATE_HOME/tintype`, else `~/.local/state/tintype` | `~/Library/Application Support/tintype` | `$TINTYPE_HOME` |
//! | pictures | `tintype` in the pictures folder, else `~/tintype` | `~/Pictures/tintype`, else `~/tintype` | `$TINTYPE_HOME/pictures` |
//! | models | the Hugging Face cache that Python uses | the same | `$TINTYPE_HOME/huggingface` |
//!
//! The pictures folder is `$XDG_PICTURES_DIR`, what `user-dirs.dirs` says, or `~/Pictures`; it counts only where it
//! exists. Hugging Face's own variables win over `TINTYPE_HOME`: who sets both wants both.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where tintype keeps things. Nothing is created by asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Holds `config.toml` and `themes/`.
    pub config_dir: PathBuf,
    /// Holds sessions, the prompt's history and the log.
    pub state_dir: PathBuf,
    /// Where pictures go that were not given a file.
    pub output_dir: PathBuf,
}

/// The conventions that decide where a program's files belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// The XDG base directories.
    Xdg,
    /// `~/Library`.
    MacOs,
}

impl Platform {
    /// The one that this program was built for.
    pub const fn current() -> Self {
        if cfg!(target_os = "macos") { Self::MacOs } else { Self::Xdg }
    }
}

impl Paths {
    /// From the process's environment.
    pub fn from_env() -> Self {
        Self::new(Platform::current(), environment)
    }

    /// From any environment: `lookup` gives a variable's value.
    pub fn new(platform: Platform, lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let env = Environment { lookup };
        if let Some(root) = env.path("TINTYPE_HOME") {
            return Self { output_dir: root.join("pictures"), config_dir: root.clone(), state_dir: root };
        }
        let home = env.home();
        let (config_dir, state_dir) = match platform {
            Platform::MacOs => {
                let support = home.join("Library/Application Support/tintype");
                (support.clone(), support)
            }
            Platform::Xdg => (
                env.absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("tintype"),
                env.absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("tintype"),
            ),
        };
        let pictures = env.pictures_dir(platform, &home);
        let output_dir = if pictures.is_dir() { pictures } else { home }.join("tintype");
        Self { config_dir, state_dir, output_dir }
    }

    /// The person's settings.
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.toml")
    }

    /// The person's own themes, one TOML file each.
    pub fn theme_dir(&self) -> PathBuf {
        self.config_dir.join("themes")
    }

    /// Sessions, one JSON Lines file each.
    pub fn session_dir(&self) -> PathBuf {
        self.state_dir.join("sessions")
    }

    /// The prompt's history.
    pub fn history_file(&self) -> PathBuf {
        self.state_dir.join("history.txt")
    }

    /// The log.
    pub fn log_file(&self) -> PathBuf {
        self.state_dir.join("tintype.log")
    }
}

/// How models are looked up: Hugging Face's environment variables, as `huggingface_hub` reads them.
#[derive(Clone, PartialEq, Eq)]
pub struct HubAccess {
    /// The folder of `models--owner--name`: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `$HF_HOME/hub`,
    /// `$XDG_CACHE_HOME/huggingface/hub` or `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// Base URL without a slash at its end: `HF_ENDPOINT`, else the Hub's own.
    pub endpoint: String,
    /// `HF_TOKEN`, or the content of `HF_TOKEN_PATH` or `$HF_HOME/token`.
    pub token: Option<String>,
    /// Whether `HF_HUB_OFFLINE` (or `TRANSFORMERS_OFFLINE`) forbids the network.
    pub offline: bool,
}

impl HubAccess {
    /// From the process's environment.
    pub fn from_env() -> Self {
        Self::new(environment)
    }

    /// From any environment: `lookup` gives a variable's value.
    pub fn new(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let env = Environment { lookup };
        let hf_home = env
            .path("HF_HOME")
            .or_else(|| Some(env.path("TINTYPE_HOME")?.join("huggingface")))
            .or_else(|| Some(env.path("XDG_CACHE_HOME")?.join("huggingface")))
            .unwrap_or_else(|| env.home().join(".cache/huggingface"));
        let cache = env
            .path("HF_HUB_CACHE")
            .or_else(|| env.path("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| hf_home.join("hub"));
        let endpoint = env.text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let token = if env.is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { env.token(&hf_home) };
        let offline = env.is_true("HF_HUB_OFFLINE") || env.is_true("TRANSFORMERS_OFFLINE");
        Self { cache, endpoint: endpoint.trim_end_matches('/').into(), token, offline }
    }
}

/// Shows whether there is a token, never the token.
impl std::fmt::Debug for HubAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubAccess")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("has_token", &self.token.is_some())
            .field("offline", &self.offline)
            .finish()
    }
}

/// `~` and `~/…` with the home folder in their place; a shell does this, a prompt does not.
pub fn expand_tilde(path: &str) -> PathBuf {
    let env = Environment { lookup: environment };
    match path.strip_prefix('~') {
        Some("") => env.home(),
        Some(rest) if rest.starts_with('/') => env.home().join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

/// `TINTYPE_LOG`: what goes to the log, in tracing's syntax, such as `tintype=debug`.
pub fn log_filter() -> Option<String> {
    Environment { lookup: environment }.text("TINTYPE_LOG")
}

fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Environment variables with the meanings that they share; an empty one counts as unset.
struct Environment<L> {
    lookup: L,
}

impl<L: Fn(&str) -> Option<OsString>> Environment<L> {
    fn value(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(self.value(name)?.to_string_lossy().trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A path, `~/` resolved (Python does so too).
    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.value(name)?);
        Some(match path.strip_prefix("~") {
            Ok(rest) => self.home().join(rest),
            Err(_) => path,
        })
    }

    /// A path of the XDG specification, which says that relative ones are to be ignored.
    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.path(name).filter(|path| path.is_absolute())
    }

    fn is_true(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|text| matches!(text.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
    }

    fn home(&self) -> PathBuf {
        self.value("HOME")
            .map(PathBuf::from)
            .or_else(std::env::home_dir)
            .unwrap_or_else(|| PathBuf::from("."))
    }

    fn pictures_dir(&self, platform: Platform, home: &Path) -> PathBuf {
        if platform == Platform::Xdg {
            if let Some(pictures) = self.absolute("XDG_PICTURES_DIR") {
                return pictures;
            }
            let config = self.absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
            let user_dirs = std::fs::read_to_string(config.join("user-dirs.dirs")).unwrap_or_default();
            if let Some(pictures) = pictures_of(&user_dirs, home) {
                return pictures;
            }
        }
        home.join("Pictures")
    }

    fn token(&self, hf_home: &Path) -> Option<String> {
        self.text("HF_TOKEN").or_else(|| {
            let path = self.path("HF_TOKEN_PATH").unwrap_or_else(|| hf_home.join("token"));
            let token = std::fs::read_to_string(path).ok()?;
            Some(token.trim().to_owned()).filter(|token| !token.is_empty())
        })
    }
}

/// The line `XDG_PICTURES_DIR="$HOME/Bilder"` of a `user-dirs.dirs` file.
///
/// A folder that is the home itself means "none" (xdg-user-dirs writes that when the folder was removed).
fn pictures_of(user_dirs: &str, home: &Path) -> Option<PathBuf> {
    let value = user_dirs.lines().find_map(|line| line.trim().strip_prefix("XDG_PICTURES_DIR="))?;
    let value = value.trim().trim_matches('"');
    let path = match value.strip_prefix("$HOME") {
        Some(rest) => home.join(rest.trim_start_matches('/')),
        None => PathBuf::from(value),
    };
    (path.is_absolute() && path != home).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    #[test]
    fn linux_follows_xdg_and_ignores_relative_paths() {
        let paths = Paths::new(Platform::Xdg, env(&[("HOME", "/none/ada")]));
        assert_eq!(paths.config_file(), Path::new("/none/ada/.config/tintype/config.toml"));
        assert_eq!(paths.log_file(), Path::new("/none/ada/.local/state/tintype/tintype.log"));
        assert_eq!(paths.output_dir, Path::new("/none/ada/tintype"));
        let paths = Paths::new(
            Platform::Xdg,
            env(&[("HOME", "/none/ada"), ("XDG_CONFIG_HOME", "/c"), ("XDG_STATE_HOME", "relative")]),
        );
        assert_eq!(paths.theme_dir(), Path::new("/c/tintype/themes"));
        assert_eq!(paths.session_dir(), Path::new("/none/ada/.local/state/tintype/sessions"));
    }

    #[test]
    fn macos_uses_application_support_whatever_xdg_says() {
        let paths = Paths::new(Platform::MacOs, env(&[("HOME", "/none/ada"), ("XDG_CONFIG_HOME", "/c")]));
        assert_eq!(
            paths.config_file(),
            Path::new("/none/ada/Library/Application Support/tintype/config.toml")
        );
    }

    #[test]
    fn tintype_home_overrides_all() {
        let pairs =
            [("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_CACHE_HOME", "/x"), ("TINTYPE_HOME", "/t")];
        let paths = Paths::new(Platform::Xdg, env(&pairs));
        assert_eq!(paths.config_dir, Path::new("/t"));
        assert_eq!(paths.session_dir(), Path::new("/t/sessions"));
        assert_eq!(paths.output_dir, Path::new("/t/pictures"));
        assert_eq!(HubAccess::new(env(&pairs)).cache, Path::new("/t/huggingface/hub"));
    }

    #[test]
    fn pictures_go_where_the_desktop_says_if_that_exists() {
        let home = tempfile::tempdir().unwrap();
        let home_text = home.path().to_str().unwrap();
        let of_home = |pairs: &[(&str, &str)]| Paths::new(Platform::Xdg, env(pairs)).output_dir;
        assert_eq!(of_home(&[("HOME", home_text)]), home.path().join("tintype"));
        for folder in ["Pictures", "Bilder", ".config"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        assert_eq!(of_home(&[("HOME", home_text)]), home.path().join("Pictures/tintype"));
        std::fs::write(
            home.path().join(".config/user-dirs.dirs"),
            "# made by xdg-user-dirs\nXDG_MUSIC_DIR=\"$HOME/\"\nXDG_PICTURES_DIR=\"$HOME/Bilder\"\n",
        )
        .unwrap();
        assert_eq!(of_home(&[("HOME", home_text)]), home.path().join("Bilder/tintype"));
        let missing = [("HOME", home_text), ("XDG_PICTURES_DIR", "/none/pictures")];
        assert_eq!(of_home(&missing), home.path().join("tintype"));
    }

    #[test]
    fn the_hub_cache_is_found_as_python_finds_it() {
        let cache = |pairs: &[(&str, &str)]| HubAccess::new(env(pairs)).cache;
        assert_eq!(cache(&[("HOME", "/h")]), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]), Path::new("/f/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "~/f")]), Path::new("/h/f/hub"));
        assert_eq!(cache(&[("HF_HOME", "/f"), ("HUGGINGFACE_HUB_CACHE", "/old")]), Path::new("/old"));
        assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")]), Path::new("/new"));
    }

    #[test]
    fn token_comes_from_variable_then_named_file_then_login() {
        let home = tempfile::tempdir().unwrap();
        let hf_home = home.path().to_str().unwrap();
        let token = |pairs: &[(&str, &str)]| HubAccess::new(env(pairs)).token;
        assert_eq!(token(&[("HF_HOME", hf_home)]), None);
        std::fs::write(home.path().join("token"), "from_login\n").unwrap();
        assert_eq!(token(&[("HF_HOME", hf_home)]).as_deref(), Some("from_login"));
        let other = home.path().join("other");
        std::fs::write(&other, "from_file").unwrap();
        let named = ("HF_TOKEN_PATH", other.to_str().unwrap());
        assert_eq!(token(&[("HF_HOME", hf_home), named]).as_deref(), Some("from_file"));
        assert_eq!(token(&[("HF_HOME", hf_home), named, ("HF_TOKEN", " t ")]).as_deref(), Some("t"));
        let implicit = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
        assert_eq!(token(&[("HF_HOME", hf_home), ("HF_TOKEN", "t"), implicit]), None);
    }

    #[test]
    fn offline_takes_the_values_that_python_takes() {
        for (value, offline) in [("1", true), ("true", true), ("YES", true), ("0", false), ("", false)] {
            assert_eq!(HubAccess::new(env(&[("HF_HUB_OFFLINE", value)])).offline, offline, "{value:?}");
        }
    }

    #[test]
    fn debug_output_never_holds_the_token() {
        let access = HubAccess::new(env(&[("HF_TOKEN", "hf_secret")]));
        assert!(!format!("{access:?}").contains("hf_secret"));
    }

    #[test]
    fn tilde_is_the_home_folder_only_at_the_start() {
        assert!(expand_tilde("~/models").ends_with("models"));
        assert!(!expand_tilde("~/models").starts_with("~"));
        assert_eq!(expand_tilde("a/~b"), Path::new("a/~b"));
        assert_eq!(expand_tilde("~ada/x"), Path::new("~ada/x"));
    }
}
