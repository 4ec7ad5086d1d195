//! Who the terminal is and what it can do: one question at the start, everything else follows from the answers.
//!
//! All queries go out in one write; DA1 is the last, because every terminal answers it, so its answer ends the
//! wait. What the person types meanwhile stays in the event queue. It must not know how anything is drawn.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ratatui::layout::Size;
use tempfile::NamedTempFile;

use super::backend::FrameOptions;
use super::graphics::{Protocol, one_pixel_file};
use super::input::{Events, Report};

/// How long a terminal may take to answer.
pub const TIMEOUT: Duration = Duration::from_millis(300);
/// Through tmux the outer terminal's answer comes after tmux' own last one.
const TMUX_GRACE: Duration = Duration::from_millis(80);
/// Cells are about this large where the terminal does not say.
const DEFAULT_CELL: Size = Size { width: 10, height: 20 };

/// How many colours the terminal shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColorDepth {
    /// None: `NO_COLOR`, `--color never`, or a dumb terminal. Bold and reverse stay.
    None,
    /// The 16 of the terminal's palette.
    Ansi,
    /// The 256 of xterm.
    #[default]
    Indexed,
    /// 24 bits.
    TrueColor,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// As the terminal and `NO_COLOR` say.
    #[default]
    Auto,
    /// Even where `NO_COLOR` is set.
    Always,
    /// Not at all.
    Never,
}

/// The terminal program, as far as it matters for what we do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "names")]
pub enum Brand {
    Kitty,
    Ghostty,
    WezTerm,
    ITerm2,
    Konsole,
    Foot,
    XTerm,
    Mlterm,
    VsCode,
    AppleTerminal,
    Tmux,
    #[default]
    Unknown,
}

impl Brand {
    /// Whether every version of it shows 24 bits.
    fn has_true_color(self) -> bool {
        matches!(
            self,
            Self::Kitty
                | Self::Ghostty
                | Self::WezTerm
                | Self::ITerm2
                | Self::Konsole
                | Self::Foot
                | Self::VsCode
        )
    }
}

/// What the environment says about the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    term: String,
    colorterm: String,
    term_program: String,
    lc_terminal: String,
    tmux: bool,
    ssh: bool,
    no_color: bool,
    xterm: bool,
    konsole: bool,
    mlterm: bool,
}

impl Environment {
    /// Reads the variables through `lookup`, usually `std::env::var_os`.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name| lookup(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
        let set = |name| lookup(name).is_some_and(|value| !value.is_empty());
        Self {
            term: text("TERM"),
            colorterm: text("COLORTERM"),
            term_program: text("TERM_PROGRAM"),
            lc_terminal: text("LC_TERMINAL"),
            tmux: set("TMUX"),
            ssh: set("SSH_CONNECTION") || set("SSH_TTY"),
            no_color: set("NO_COLOR"),
            xterm: set("XTERM_VERSION"),
            konsole: set("KONSOLE_VERSION"),
            mlterm: set("MLTERM"),
        }
    }

    /// A terminal without cursor movement: only plain lines work.
    pub fn is_dumb(&self) -> bool {
        matches!(self.term.as_str(), "dumb" | "cons25" | "emacs")
    }

    /// How many colours to use.
    pub fn color_depth(&self, choice: ColorChoice) -> ColorDepth {
        let terminal = match self.colorterm.as_str() {
            "truecolor" | "24bit" => ColorDepth::TrueColor,
            // over ssh TERM comes along and COLORTERM does not
            _ if ["direct", "kitty", "ghostty", "wezterm", "foot", "alacritty"]
                .iter()
                .any(|t| self.term.contains(t)) =>
            {
                ColorDepth::TrueColor
            }
            _ if matches!(self.term_program.as_str(), "iTerm.app" | "WezTerm" | "ghostty" | "vscode") => {
                ColorDepth::TrueColor
            }
            _ if self.term.contains("256color") => ColorDepth::Indexed,
            _ if self.is_dumb() => ColorDepth::None,
            _ => ColorDepth::Ansi,
        };
        match choice {
            ColorChoice::Never => ColorDepth::None,
            ColorChoice::Always => terminal.max(ColorDepth::Ansi),
            ColorChoice::Auto if self.no_color => ColorDepth::None,
            ColorChoice::Auto => terminal,
        }
    }
}

/// What the terminal said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Whether anything ended the wait but the clock.
    pub complete: bool,
    kitty: bool,
    kitty_file: bool,
    kitty_through_tmux: bool,
    sixel: bool,
    version: Option<String>,
    background: Option<[u8; 3]>,
    cell: Option<Size>,
    sync: bool,
}

/// Everything that the rest of the program wants to know about the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// How pictures are shown.
    pub protocol: Protocol,
    /// Pixels of a cell.
    pub cell_size: Size,
    /// Whether the background is dark (also when the terminal does not say).
    pub dark: bool,
    /// The background, if the terminal said it.
    pub background: Option<[u8; 3]>,
    /// Synchronized updates (mode 2026).
    pub sync_output: bool,
    /// Which program it is.
    pub brand: Brand,
    /// Its name and version in its own words.
    pub version: Option<String>,
    /// Whether lines are wrapped anew when the window changes its width.
    pub reflows: bool,
    /// Whether tmux is in between.
    pub tmux: bool,
    /// Whether the terminal has shown that it can read our files (kitty protocol only).
    pub reads_files: bool,
    /// Whether the person is on another machine.
    pub ssh: bool,
    /// How many colours.
    pub color: ColorDepth,
    /// Whether the terminal answered at all within the time limit.
    pub answered: bool,
}

/// Asks the terminal. `output` is the terminal, in raw mode.
///
/// # Errors
/// When the terminal cannot be written to or read from.
pub fn query(
    events: &mut Events,
    output: &mut impl Write,
    environment: &Environment,
    timeout: Duration,
) -> io::Result<Answers> {
    let mut answers = Answers::default();
    if environment.is_dumb() {
        return Ok(answers);
    }
    // One pixel in a file, to learn whether the terminal can read our files: ssh is not the only reason why it
    // could not (containers, sandboxes).
    let pixel = if environment.ssh || environment.tmux { None } else { one_pixel_file().ok() };
    output.write_all(&questions(environment, pixel.as_ref().map(NamedTempFile::path)))?;
    output.flush()?;
    events.collect_reports(Instant::now() + timeout, |report| {
        let last = matches!(report, Report::PrimaryAttributes { .. });
        answers.take(report);
        last.then(|| Instant::now() + if environment.tmux { TMUX_GRACE } else { Duration::ZERO })
    })?;
    output.write_all(CLEAN_UP)?;
    output.flush()?;
    tracing::debug!(?answers, "the terminal answered");
    Ok(answers)
}

const KITTY_QUERY: u32 = 31;
const KITTY_TMUX_QUERY: u32 = 32;
const KITTY_FILE_QUERY: u32 = 33;

/// Some terminals print what they do not understand of a question: back to where it began, and erase the line.
const CLEAN_UP: &[u8] = b"\x1b8\x1b[K";

/// XTVERSION, background, cell size, synchronized updates, kitty graphics, and DA1 last.
///
/// Terminal.app prints parts of DECRQM and APC (jquast/blessed #417), the Linux console the whole kitty query
/// (dankamongmen/notcurses #2050), and neither could answer anything to our advantage: they are asked less.
fn questions(environment: &Environment, pixel: Option<&Path>) -> Vec<u8> {
    if environment.term == "linux" {
        return b"\x1b7\x1b[c".to_vec();
    }
    if environment.term_program == "Apple_Terminal" && !environment.tmux {
        return b"\x1b7\x1b]11;?\x1b\\\x1b[c".to_vec();
    }
    let mut text = String::from("\x1b7\x1b[>q\x1b]11;?\x1b\\\x1b[16t\x1b[?2026$p");
    // a String takes everything
    let _ = write!(text, "\x1b_Gi={KITTY_QUERY},s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\");
    if let Some(path) = pixel {
        let path = STANDARD.encode(path.as_os_str().as_encoded_bytes());
        let _ = write!(text, "\x1b_Gi={KITTY_FILE_QUERY},s=1,v=1,a=q,t=t,f=24;{path}\x1b\\");
    }
    if environment.tmux {
        // a kitty that does not know placeholders (U=1, before 0.28) does not answer
        let query = format!("\x1b\x1b_Gi={KITTY_TMUX_QUERY},s=1,v=1,a=q,t=d,f=24,U=1;AAAA\x1b\x1b\\");
        let _ = write!(text, "\x1bPtmux;{query}\x1b\\");
    }
    text += "\x1b[c";
    text.into_bytes()
}

impl Answers {
    fn take(&mut self, report: Report) {
        match report {
            Report::PrimaryAttributes { sixel } => (self.sixel, self.complete) = (sixel, true),
            Report::Version(name) => self.version = Some(name),
            Report::Background(colour) => self.background = Some(colour),
            Report::CellSize { width, height } if width > 0 && height > 0 => {
                self.cell = Some(Size { width, height });
            }
            Report::Mode { mode: 2026, state } => self.sync = matches!(state, 1..=3),
            Report::Kitty { id: KITTY_QUERY, ok } => self.kitty = ok,
            Report::Kitty { id: KITTY_FILE_QUERY, ok } => self.kitty_file = ok,
            Report::Kitty { id: KITTY_TMUX_QUERY, ok } => self.kitty_through_tmux = ok,
            _ => {}
        }
    }

    fn brand(&self, environment: &Environment) -> Brand {
        let version = self.version.as_deref().unwrap_or_default();
        let known = [
            ("tmux", Brand::Tmux),
            ("kitty", Brand::Kitty),
            ("ghostty", Brand::Ghostty),
            ("WezTerm", Brand::WezTerm),
            ("iTerm2", Brand::ITerm2),
            ("Konsole", Brand::Konsole),
            ("foot", Brand::Foot),
            ("XTerm", Brand::XTerm),
            ("mlterm", Brand::Mlterm),
        ];
        if let Some((_, brand)) = known.iter().find(|(name, _)| version.starts_with(name)) {
            return *brand;
        }
        match environment.term_program.as_str() {
            _ if environment.tmux => Brand::Tmux,
            "iTerm.app" => Brand::ITerm2,
            "WezTerm" => Brand::WezTerm,
            "ghostty" => Brand::Ghostty,
            "vscode" => Brand::VsCode,
            "Apple_Terminal" => Brand::AppleTerminal,
            _ if environment.lc_terminal == "iTerm2" => Brand::ITerm2,
            _ if environment.konsole => Brand::Konsole,
            _ if environment.xterm => Brand::XTerm,
            _ if environment.mlterm => Brand::Mlterm,
            _ if environment.term.contains("kitty") => Brand::Kitty,
            _ => Brand::Unknown,
        }
    }

    /// The best way to show pictures. tmux' own claim to know sixel is not trusted: it depends on the terminal
    /// around it.
    fn protocol(&self, brand: Brand, tmux: bool, color: ColorDepth) -> Protocol {
        let blocks = if color >= ColorDepth::Indexed { Protocol::HalfBlocks } else { Protocol::None };
        match brand {
            _ if tmux && self.kitty_through_tmux => Protocol::Placeholder,
            _ if tmux => blocks,
            Brand::ITerm2 | Brand::WezTerm | Brand::Konsole => Protocol::ITerm2,
            _ if self.kitty => Protocol::Kitty,
            _ if self.sixel => Protocol::Sixel,
            _ => blocks,
        }
    }
}

impl Capabilities {
    /// Puts the answers, the environment and the person's choices together. `pixels` and `cells` are the window's
    /// size as the kernel knows it.
    pub fn new(
        answers: &Answers,
        environment: &Environment,
        window: Window,
        choice: ColorChoice,
        images: Option<Protocol>,
    ) -> Self {
        let brand = answers.brand(environment);
        let tmux = environment.tmux || brand == Brand::Tmux;
        let color = match environment.color_depth(choice) {
            ColorDepth::None => ColorDepth::None,
            _ if brand.has_true_color() && !tmux => ColorDepth::TrueColor,
            depth => depth,
        };
        Self {
            protocol: images.unwrap_or_else(|| answers.protocol(brand, tmux, color)),
            cell_size: answers.cell.or_else(|| window.cell()).unwrap_or(DEFAULT_CELL),
            dark: answers.background.is_none_or(is_dark),
            background: answers.background,
            sync_output: answers.sync,
            brand,
            version: answers.version.clone(),
            reflows: !matches!(brand, Brand::XTerm | Brand::Mlterm),
            tmux,
            reads_files: answers.kitty_file && !tmux,
            ssh: environment.ssh,
            color,
            answered: answers.complete,
        }
    }
}

impl Capabilities {
    /// The window changed: so may have its font.
    pub fn window_changed(&mut self, window: Window) {
        if let Some(cell) = window.cell() {
            self.cell_size = cell;
        }
    }

    /// How frames are written to this terminal.
    pub fn frame_options(&self) -> FrameOptions {
        FrameOptions { color: self.color, sync_output: self.sync_output, reflows: self.reflows }
    }
}

/// The window's size as the kernel knows it; pixels are 0 where nobody told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Columns and rows.
    pub cells: Size,
    /// Width and height in pixels.
    pub pixels: Size,
}

impl Window {
    fn cell(self) -> Option<Size> {
        let width = self.pixels.width.checked_div(self.cells.width)?;
        let height = self.pixels.height.checked_div(self.cells.height)?;
        (width > 0 && height > 0).then_some(Size { width, height })
    }
}

/// Relative luminance (ITU-R BT.709) below one half.
fn is_dark([red, green, blue]: [u8; 3]) -> bool {
    0.2126 * f32::from(red) + 0.7152 * f32::from(green) + 0.0722 * f32::from(blue) < 127.5
}

#[cfg(test)]
mod tests;
