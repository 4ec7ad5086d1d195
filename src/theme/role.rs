//! The roles: what a style is for. Everything that is drawn names one of these.

use ratatui::style::Modifier;

macro_rules! roles {
    ($($(#[doc = $doc:literal])+ $variant:ident = $key:literal,)+) => {
        /// What a style is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Role {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Role {
            /// Every role, in the order of the variants.
            pub const ALL: &[Role] = &[$(Role::$variant,)+];

            /// Its key in a theme file.
            pub const fn key(self) -> &'static str {
                match self {
                    $(Role::$variant => $key,)+
                }
            }
        }
    };
}

roles! {
    /// Plain text.
    Text = "text",
    /// What may be overlooked: units, separators, times.
    Muted = "muted",
    /// Headings and the running job's prompt.
    Title = "title",
    /// Job numbers: `#12`.
    Job = "job",
    /// Paths and links.
    Path = "path",
    /// The prompt's own characters: `tintype ›`.
    Prompt = "prompt",
    /// A slash command that exists, as it is typed.
    InputCommand = "input.command",
    /// A switch: `-s`, `--steps`.
    InputSwitch = "input.switch",
    /// A switch's value.
    InputValue = "input.value",
    /// A weight: `(fox:1.3)`.
    InputWeight = "input.weight",
    /// What cannot be understood.
    InputError = "input.error",
    /// Words beyond the text encoder's limit: typed, but never seen by the model.
    InputCut = "input.cut",
    /// The rest of a line from history, offered after the cursor.
    Hint = "hint",
    /// The running phase's name.
    Phase = "phase",
    /// The part of a gauge that is still empty.
    GaugeTrack = "gauge.track",
    /// Steps done.
    GaugeStep = "gauge.step",
    /// Bytes loaded or downloaded.
    GaugeBytes = "gauge.bytes",
    /// GPU memory in use.
    GaugeMemory = "gauge.memory",
    /// GPU memory in use, near its limit.
    GaugeMemoryHigh = "gauge.memory.high",
    /// Swap in use.
    GaugeSwap = "gauge.swap",
    /// The sparkline of swap growth.
    Spark = "spark",
    /// Memory pressure: none.
    PressureNormal = "pressure.normal",
    /// Memory pressure: the system swaps.
    PressureWarn = "pressure.warn",
    /// Memory pressure: the system is short of memory.
    PressureCritical = "pressure.critical",
    /// Something went well.
    Success = "success",
    /// Something to know.
    Warning = "warning",
    /// Something went wrong.
    Error = "error",
    /// Frames and rules.
    Border = "border",
    /// The frame that has the keys.
    BorderFocused = "border.focused",
    /// The selected picture or row.
    Selection = "selection",
    /// The ground where a picture will be.
    Plate = "plate",
    /// A key to press, in help and footers.
    Key = "key",
}

/// Modifiers for roles that only their colour would tell apart.
pub(super) const WITHOUT_COLOR: &[(Role, Modifier)] = &[
    (Role::InputError, Modifier::UNDERLINED),
    (Role::InputCut, Modifier::DIM.union(Modifier::ITALIC)),
    (Role::InputCommand, Modifier::BOLD),
    (Role::Hint, Modifier::DIM),
    (Role::Muted, Modifier::DIM),
    (Role::GaugeTrack, Modifier::DIM),
    (Role::GaugeMemoryHigh, Modifier::BOLD),
    (Role::PressureWarn, Modifier::BOLD),
    (Role::PressureCritical, Modifier::REVERSED),
    (Role::Error, Modifier::BOLD),
    (Role::BorderFocused, Modifier::BOLD),
    (Role::Selection, Modifier::REVERSED),
    (Role::Key, Modifier::BOLD),
];
