use std::path::Path;

use ratatui::style::{Color, Modifier};

use super::*;

fn rgb(color: Option<Color>) -> [u8; 3] {
    match color {
        Some(Color::Rgb(r, g, b)) => [r, g, b],
        other => panic!("not an rgb colour: {other:?}"),
    }
}

/// Relative luminance as WCAG defines it.
fn luminance(color: [u8; 3]) -> f64 {
    let linear = color.map(|byte| {
        let v = f64::from(byte) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn every_file_in_themes_is_compiled_in_loads_and_has_every_role() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("themes");
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .expect("themes/")
        .map(|entry| {
            entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    files.sort();
    let built_in: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, built_in, "themes/ and BUILT_IN must name the same themes");
    assert!(built_in.contains(&DEFAULT));
    for name in built_in {
        let theme = Theme::load(name, None).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(theme.name(), name);
    }
    let of = |background| built_in_with(Some(background)).count();
    assert!(of(Background::Dark) >= 3 && of(Background::Light) >= 3);
}

fn built_in_with(background: Option<Background>) -> impl Iterator<Item = Theme> {
    BUILT_IN
        .iter()
        .map(|(name, _)| Theme::load(name, None).expect("it loads"))
        .filter(move |theme| theme.background() == background)
}

#[test]
fn text_can_be_read_on_its_background() {
    // the palest light and the lightest dark backgrounds that people use
    for (background, ground) in [(Background::Dark, [40, 42, 46]), (Background::Light, [250, 246, 236])] {
        for theme in built_in_with(Some(background)) {
            for role in
                [Role::Text, Role::Job, Role::Error, Role::Warning, Role::Success, Role::Prompt, Role::Phase]
            {
                let got = contrast(rgb(theme.style(role).fg), ground);
                assert!(got >= 4.0, "{}: {} has contrast {got:.1}", theme.name(), role.key());
            }
            for role in [Role::Muted, Role::Hint, Role::Path] {
                let got = contrast(rgb(theme.style(role).fg), ground);
                assert!(got >= 3.0, "{}: {} has contrast {got:.1}", theme.name(), role.key());
            }
        }
    }
}

#[test]
fn the_default_uses_only_the_16_colours_of_the_terminal() {
    let theme = Theme::default();
    assert_eq!(theme.background(), None);
    for role in Role::ALL {
        let style = theme.style(*role);
        for color in [style.fg, style.bg].into_iter().flatten() {
            assert!(!matches!(color, Color::Rgb(..) | Color::Indexed(_)), "{}: {color}", role.key());
        }
    }
}

#[test]
fn without_color_modifiers_tell_roles_apart() {
    for theme in [Theme::load("nord", None).expect("nord"), Theme::default()] {
        let plain = theme.without_color();
        for role in Role::ALL {
            assert_eq!((plain.style(*role).fg, plain.style(*role).bg), (None, None));
        }
        assert!(plain.style(Role::Selection).add_modifier.contains(Modifier::REVERSED));
        assert_ne!(plain.style(Role::InputError), plain.style(Role::Text));
    }
}

#[test]
fn background_by_luminance() {
    assert_eq!(Background::of(0, 0, 0), Background::Dark);
    assert_eq!(Background::of(253, 246, 227), Background::Light);
    assert_eq!(Background::of(0, 43, 54), Background::Dark);
    assert_eq!(Background::of(0, 255, 0), Background::Light);
    assert_eq!(Background::of(0, 0, 255), Background::Dark);
}

#[test]
fn a_choice_is_a_name_or_a_pair() {
    #[derive(Deserialize)]
    struct File {
        theme: ThemeChoice,
    }
    let read = |text: &str| toml::from_str::<File>(text).map(|file| file.theme);
    let one = read("theme = 'nord'").expect("a name");
    assert_eq!(one.name(Background::Light), "nord");
    let pair = read("theme = { dark = 'nord', light = 'albumen' }").expect("a pair");
    assert_eq!((pair.name(Background::Dark), pair.name(Background::Light)), ("nord", "albumen"));
    assert!(read("theme = { dark = 'nord' }").is_err());
    assert!(read("theme = { dark = 'nord', light = 'albumen', dusk = 'x' }").is_err());
}

/// Loads `mine` from a folder that holds these files.
fn load_mine(files: &[(&str, &str)]) -> Result<Theme, String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(format!("{name}.toml")), text).expect("a file");
    }
    let place = format!("{}/", folder.path().display());
    Theme::load("mine", Some(folder.path())).map_err(|e| e.to_string().replace(&place, ""))
}

#[test]
fn a_persons_own_theme() {
    let mine = "inherits = 'ansi'\n'job' = 'leaf'\n'error' = { fg = 9, bg = '#101010', modifiers = ['bold'] }\n[palette]\nleaf = '#00ff00'\n";
    let theme = load_mine(&[("mine", mine)]).expect("it loads");
    assert_eq!(rgb(theme.style(Role::Job).fg), [0, 255, 0]);
    let error = theme.style(Role::Error);
    assert_eq!((error.fg, rgb(error.bg)), (Some(Color::Indexed(9)), [16; 3]));
    assert!(error.add_modifier.contains(Modifier::BOLD));
    assert_eq!(theme.style(Role::Phase), Theme::default().style(Role::Phase), "inherited");
}

#[test]
fn a_childs_palette_recolours_what_it_inherits() {
    let theme =
        load_mine(&[("mine", "inherits = 'nord'\n[palette]\naccent = '#010203'\n")]).expect("it loads");
    assert_eq!(rgb(theme.style(Role::Job).fg), [1, 2, 3]);
    assert_eq!(theme.background(), Some(Background::Dark));
}

#[test]
fn a_persons_file_overrides_the_compiled_in_theme_and_may_inherit_it() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("nord.toml"), "inherits = 'nord'\n'job' = 'red'\n").expect("a file");
    let theme = Theme::load("nord", Some(folder.path())).expect("it loads");
    assert_eq!(theme.style(Role::Job).fg, Some(Color::Red));
    assert_eq!(theme.style(Role::Error), Theme::load("nord", None).expect("nord").style(Role::Error));
    assert_eq!(Theme::names(Some(folder.path())).iter().filter(|name| *name == "nord").count(), 1);
}

#[test]
fn every_mistake_is_reported_with_file_and_line() {
    let table: &[(&str, &str)] = &[
        ("inherits = 'ansi'\n\n'jobb' = 'red'\n", "mine.toml:3: unknown key `jobb`; did you mean `job`?"),
        ("inherits = 'ansi'\n'job' = 'redd'\n", "mine.toml:2: `redd` is no colour; write"),
        ("inherits = 'ansi'\n'job' = 256\n", "mine.toml:2: `256` is no colour"),
        ("inherits = 'ansi'\n'job' = true\n", "mine.toml:2: a colour belongs here, not a boolean"),
        (
            "inherits = 'ansi'\njob = { fgg = 'red' }\n",
            "mine.toml:2: unknown key `fgg`; a style has fg, bg and modifiers",
        ),
        (
            "inherits = 'ansi'\njob = { modifiers = ['blod'] }",
            "mine.toml:2: unknown modifier `blod`; there are bold",
        ),
        ("inherits = 'ansi'\n[palette]\nleaf = 'grene'\n", "mine.toml:3: `grene` is no colour"),
        ("inherits = 'ansi'\ngauge.step = 'red'\n", "mine.toml:2: write keys below `gauge` in quotes"),
        ("background = 'dim'\n", "mine.toml:1: background `dim` is neither"),
        ("\ninherits = 'ansii'\n", "mine.toml:2: no theme `ansii`; there are albumen, ansi,"),
        ("inherits = 'mine'\n", "mine.toml:1: `inherits` goes round in a circle: mine → mine"),
        ("inherits = 'other'\n", "other.toml:1: `inherits` goes round in a circle: mine → other → mine"),
        ("'text' = 'red'\n", "mine.toml:1: `muted` is missing; set it or write `inherits = \"ansi\"`"),
        ("inherits = 'ansi'\n'job' = = 'red'\n", "mine.toml:2: "),
    ];
    for (text, expected) in table {
        let got = load_mine(&[("mine", text), ("other", "inherits = 'mine'\n")]).expect_err(text);
        assert!(got.starts_with(expected), "{text:?}\n     got {got}\nexpected {expected}");
    }
    let unknown = Theme::load("nope", None).expect_err("no such theme").to_string();
    assert!(unknown.starts_with("no theme `nope`; there are albumen, ansi,"), "{unknown}");
}
