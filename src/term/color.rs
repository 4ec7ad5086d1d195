//! Colours as SGR parameters, at the depth that the terminal has.

use std::fmt::Write as _;

use ratatui::style::{Color, Modifier, Style};

use super::probe::ColorDepth;

/// What is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Foreground,
    Background,
}

/// Appends `;…` to a list of SGR parameters; nothing for the terminal's own colour.
pub(super) fn write_sgr(out: &mut String, color: Color, layer: Layer, depth: ColorDepth) {
    let base = if layer == Layer::Foreground { 30 } else { 40 };
    // a String takes everything
    let _ = match limit(color, depth) {
        Color::Reset => Ok(()),
        Color::Rgb(red, green, blue) => write!(out, ";{};2;{red};{green};{blue}", base + 8),
        Color::Indexed(index) => write!(out, ";{};5;{index}", base + 8),
        named => match ansi_index(named) {
            index @ 0..=7 => write!(out, ";{}", base + index),
            index => write!(out, ";{}", base + 60 + index - 8),
        },
    };
}

/// The bytes that make the text after them look like this, and in no other way.
pub fn sgr(style: Style, depth: ColorDepth) -> String {
    let mut out = String::from("\x1b[0");
    for (flag, number) in MODIFIERS {
        if style.add_modifier.contains(flag) {
            let _ = write!(out, ";{number}");
        }
    }
    write_sgr(&mut out, style.fg.unwrap_or_default(), Layer::Foreground, depth);
    write_sgr(&mut out, style.bg.unwrap_or_default(), Layer::Background, depth);
    out.push('m');
    out
}

/// The SGR parameter of each modifier.
const MODIFIERS: [(Modifier, u8); 8] = [
    (Modifier::BOLD, 1),
    (Modifier::DIM, 2),
    (Modifier::ITALIC, 3),
    (Modifier::UNDERLINED, 4),
    (Modifier::SLOW_BLINK, 5),
    (Modifier::REVERSED, 7),
    (Modifier::HIDDEN, 8),
    (Modifier::CROSSED_OUT, 9),
];

/// The nearest colour that a terminal of this depth has.
pub fn limit(color: Color, depth: ColorDepth) -> Color {
    match (depth, color) {
        (ColorDepth::None, _) => Color::Reset,
        (ColorDepth::Indexed, Color::Rgb(red, green, blue)) => {
            Color::Indexed(ansi_colours::ansi256_from_rgb((red, green, blue)))
        }
        (ColorDepth::Ansi, Color::Rgb(red, green, blue)) => nearest_ansi([red, green, blue]),
        (ColorDepth::Ansi, Color::Indexed(index)) if index >= 16 => {
            let (red, green, blue) = ansi_colours::rgb_from_ansi256(index);
            nearest_ansi([red, green, blue])
        }
        (_, color) => color,
    }
}

/// The 16 in their usual order.
const ANSI: [Color; 16] = [
    Color::Black,
    Color::Red,
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::Gray,
    Color::DarkGray,
    Color::LightRed,
    Color::LightGreen,
    Color::LightYellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::White,
];

fn ansi_index(color: Color) -> usize {
    ANSI.iter().position(|&named| named == color).unwrap_or(7)
}

/// The nearest of the 16 as xterm shows them; what the person's palette makes of it is their choice.
fn nearest_ansi(rgb: [u8; 3]) -> Color {
    let distance = |index: u8| -> u32 {
        let (red, green, blue) = ansi_colours::rgb_from_ansi256(index);
        [red, green, blue].iter().zip(rgb).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    (0..16).min_by_key(|&index| distance(index)).map_or(Color::Reset, |index| ANSI[usize::from(index)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sgr(color: Color, layer: Layer, depth: ColorDepth) -> String {
        let mut out = String::new();
        write_sgr(&mut out, color, layer, depth);
        out
    }

    #[test]
    fn every_depth_gets_what_it_can_show() {
        let orange = Color::Rgb(255, 135, 0);
        assert_eq!(sgr(orange, Layer::Foreground, ColorDepth::TrueColor), ";38;2;255;135;0");
        assert_eq!(sgr(orange, Layer::Background, ColorDepth::Indexed), ";48;5;208");
        assert_eq!(sgr(Color::Rgb(250, 5, 5), Layer::Foreground, ColorDepth::Ansi), ";91");
        assert_eq!(sgr(Color::Indexed(21), Layer::Background, ColorDepth::Ansi), ";44");
        for color in [orange, Color::Red, Color::Indexed(3)] {
            assert_eq!(sgr(color, Layer::Foreground, ColorDepth::None), "");
        }
    }

    #[test]
    fn the_sixteen_keep_their_names() {
        assert_eq!(sgr(Color::Red, Layer::Foreground, ColorDepth::Ansi), ";31");
        assert_eq!(sgr(Color::DarkGray, Layer::Foreground, ColorDepth::TrueColor), ";90");
        assert_eq!(sgr(Color::White, Layer::Background, ColorDepth::Indexed), ";107");
        assert_eq!(sgr(Color::Reset, Layer::Background, ColorDepth::TrueColor), "");
    }
}
