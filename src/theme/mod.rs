//! Themes: which style each role has. One TOML file a theme, compiled in, and overridable by the person's own files.
//!
//! The format is helix's: `inherits`, `[palette]`, and one entry a role, `"#rrggbb"`, a name, 0 to 255, or
//! `{ fg, bg, modifiers }`. Owns colours; knows nothing of what is drawn with them. Everywhere else a colour has a
//! role's name, never a value.

mod file;
mod role;

use std::path::Path;

use ratatui::style::Style;
use serde::{Deserialize, Serialize};

pub use file::ThemeError;
pub use role::Role;

/// The theme that suits every terminal: its own 16 colours.
pub const DEFAULT: &str = "ansi";

/// Every theme that is compiled in: name and text. A file in `themes/` needs one line here.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("albumen", include_str!("../../themes/albumen.toml")),
    ("ansi", include_str!("../../themes/ansi.toml")),
    ("catppuccin-latte", include_str!("../../themes/catppuccin-latte.toml")),
    ("catppuccin-mocha", include_str!("../../themes/catppuccin-mocha.toml")),
    ("cyanotype", include_str!("../../themes/cyanotype.toml")),
    ("gruvbox-dark", include_str!("../../themes/gruvbox-dark.toml")),
    ("gruvbox-light", include_str!("../../themes/gruvbox-light.toml")),
    ("nord", include_str!("../../themes/nord.toml")),
    ("platinum", include_str!("../../themes/platinum.toml")),
    ("wet-plate", include_str!("../../themes/wet-plate.toml")),
];

/// Whether the terminal's background is dark or light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    /// Also when the terminal does not say.
    #[default]
    Dark,
    /// Dark text on light ground.
    Light,
}

impl Background {
    /// Judges a background colour, 0 to 255 each, by its luminance (BT.709 weights, half is the border).
    pub fn of(red: u8, green: u8, blue: u8) -> Self {
        let luminance = 0.2126 * f32::from(red) + 0.7152 * f32::from(green) + 0.0722 * f32::from(blue);
        if luminance < 127.5 { Self::Dark } else { Self::Light }
    }
}

/// The theme as the configuration names it: one, or one for each background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ThemeChoice {
    /// `theme = "nord"`
    One(String),
    /// `theme = { dark = "nord", light = "albumen" }`
    ByBackground {
        /// Name of the theme for a dark background.
        dark: String,
        /// Name of the theme for a light one.
        light: String,
    },
}

impl Default for ThemeChoice {
    fn default() -> Self {
        Self::One(DEFAULT.into())
    }
}

impl ThemeChoice {
    /// The theme's name for this background.
    pub fn name(&self, background: Background) -> &str {
        match (self, background) {
            (Self::One(name), _)
            | (Self::ByBackground { dark: name, .. }, Background::Dark)
            | (Self::ByBackground { light: name, .. }, Background::Light) => name,
        }
    }
}

/// A style for each role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theme {
    name: String,
    background: Option<Background>,
    styles: [Style; Role::ALL.len()],
}

impl Theme {
    /// Loads the theme `name`: `name.toml` in `folder` (the configuration's `themes`) if there is one, else the
    /// compiled-in one.
    ///
    /// # Errors
    /// When there is no such theme, or the file is wrong: with file, line, and what to write instead.
    pub fn load(name: &str, folder: Option<&Path>) -> Result<Self, ThemeError> {
        file::load(name, folder)
    }

    /// The names of all themes, those in `folder` included, in order and without doubles.
    pub fn names(folder: Option<&Path>) -> Vec<String> {
        file::names(folder)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The background it was made for; `None` suits both.
    pub fn background(&self) -> Option<Background> {
        self.background
    }

    /// The style of a role.
    pub fn style(&self, role: Role) -> Style {
        self.styles[role as usize]
    }

    /// The same theme for a terminal that shows no colours (`NO_COLOR`): modifiers tell apart what colours did.
    pub fn without_color(mut self) -> Self {
        for style in &mut self.styles {
            (style.fg, style.bg) = (None, None);
        }
        for (role, modifier) in role::WITHOUT_COLOR {
            let style = &mut self.styles[*role as usize];
            *style = style.add_modifier(*modifier);
        }
        self
    }
}

impl Default for Theme {
    /// The terminal's own 16 colours.
    fn default() -> Self {
        // a test loads every theme; without the file there is still text to read
        Self::load(DEFAULT, None).unwrap_or_else(|_| Self {
            name: DEFAULT.into(),
            background: None,
            styles: [Style::new(); Role::ALL.len()],
        })
    }
}

#[cfg(test)]
mod tests;
