use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::from_lookup(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
}

fn answers(version: &str) -> Answers {
    Answers { version: Some(version.to_owned()), complete: true, ..Answers::default() }
}

fn decide(answers: &Answers, variables: &[(&str, &str)]) -> Capabilities {
    Capabilities::new(answers, &environment(variables), Window::default(), ColorChoice::Auto, None)
}

const TRUECOLOR: &[(&str, &str)] = &[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")];

#[test]
fn the_order_of_detection() {
    let kitty = Answers { kitty: true, ..answers("kitty(0.41.1)") };
    let sixel = Answers { sixel: true, ..answers("XTerm(379)") };
    let both = Answers { kitty: true, sixel: true, ..Answers::default() };
    let tmux = |kitty_through_tmux| Answers { sixel: true, kitty_through_tmux, ..answers("tmux 3.5a") };
    let table: &[(&Answers, &[(&str, &str)], Protocol, Brand)] = &[
        (&kitty, TRUECOLOR, Protocol::Kitty, Brand::Kitty),
        (&both, TRUECOLOR, Protocol::Kitty, Brand::Unknown),
        (&sixel, TRUECOLOR, Protocol::Sixel, Brand::XTerm),
        (
            &Answers { kitty: true, sixel: true, ..answers("Konsole 22.12.3") },
            TRUECOLOR,
            Protocol::ITerm2,
            Brand::Konsole,
        ),
        (&Answers { sixel: true, ..answers("iTerm2 3.5.10") }, TRUECOLOR, Protocol::ITerm2, Brand::ITerm2),
        (&Answers::default(), &[("TERM_PROGRAM", "WezTerm")], Protocol::ITerm2, Brand::WezTerm),
        (&Answers::default(), &[("LC_TERMINAL", "iTerm2")], Protocol::ITerm2, Brand::ITerm2),
        (&tmux(true), TRUECOLOR, Protocol::Placeholder, Brand::Tmux),
        (&tmux(false), TRUECOLOR, Protocol::HalfBlocks, Brand::Tmux),
        (&Answers::default(), &[("TMUX", "x"), ("TERM", "tmux-256color")], Protocol::HalfBlocks, Brand::Tmux),
        (&Answers::default(), TRUECOLOR, Protocol::HalfBlocks, Brand::Unknown),
        (&Answers::default(), &[("TERM", "xterm-256color")], Protocol::HalfBlocks, Brand::Unknown),
        (&Answers::default(), &[("TERM", "vt100")], Protocol::None, Brand::Unknown),
        (
            &Answers::default(),
            &[("TERM", "xterm-256color"), ("NO_COLOR", "1")],
            Protocol::None,
            Brand::Unknown,
        ),
        (&kitty, &[("NO_COLOR", "1")], Protocol::Kitty, Brand::Kitty),
    ];
    for (index, (answers, variables, protocol, brand)) in table.iter().enumerate() {
        let decided = decide(answers, variables);
        assert_eq!((decided.protocol, decided.brand), (*protocol, *brand), "row {index}");
    }
    let forced = Capabilities::new(
        &kitty,
        &environment(TRUECOLOR),
        Window::default(),
        ColorChoice::Auto,
        Some(Protocol::Sixel),
    );
    assert_eq!(forced.protocol, Protocol::Sixel, "the person's choice comes first");
}

#[test]
fn colours_are_asked_for_and_refused() {
    let depth = |variables: &[(&str, &str)], choice| environment(variables).color_depth(choice);
    assert_eq!(depth(TRUECOLOR, ColorChoice::Auto), ColorDepth::TrueColor);
    assert_eq!(depth(&[("TERM", "xterm-256color")], ColorChoice::Auto), ColorDepth::Indexed);
    assert_eq!(depth(&[("TERM", "linux")], ColorChoice::Auto), ColorDepth::Ansi);
    assert_eq!(depth(&[("TERM", "dumb")], ColorChoice::Auto), ColorDepth::None);
    assert_eq!(depth(&[("TERM", "dumb")], ColorChoice::Always), ColorDepth::Ansi);
    assert_eq!(depth(&[TRUECOLOR, &[("NO_COLOR", "1")]].concat(), ColorChoice::Auto), ColorDepth::None);
    assert_eq!(depth(&[TRUECOLOR, &[("NO_COLOR", "")]].concat(), ColorChoice::Auto), ColorDepth::TrueColor);
    assert_eq!(
        depth(&[TRUECOLOR, &[("NO_COLOR", "1")]].concat(), ColorChoice::Always),
        ColorDepth::TrueColor
    );
    assert_eq!(depth(TRUECOLOR, ColorChoice::Never), ColorDepth::None);
    assert_eq!(depth(&[("TERM", "xterm-kitty")], ColorChoice::Auto), ColorDepth::TrueColor);
    let over_ssh = decide(&answers("foot(1.13.1)"), &[("TERM", "xterm-256color"), ("SSH_TTY", "x")]);
    assert_eq!(
        (over_ssh.color, over_ssh.ssh),
        (ColorDepth::TrueColor, true),
        "the terminal has said who it is"
    );
    let in_tmux = decide(&answers("tmux 3.5a"), &[("TMUX", "x"), ("TERM", "tmux-256color")]);
    assert_eq!(in_tmux.color, ColorDepth::Indexed, "tmux must be told what the terminal around it can show");
}

#[test]
fn cells_come_from_the_answer_then_the_window_then_custom() {
    let window = Window { cells: Size::new(80, 24), pixels: Size::new(720, 432) };
    let decide = |answers: &Answers, window| {
        Capabilities::new(answers, &environment(&[]), window, ColorChoice::Auto, None).cell_size
    };
    let told = Answers { cell: Some(Size::new(7, 14)), ..Answers::default() };
    assert_eq!(decide(&told, window), Size::new(7, 14));
    assert_eq!(decide(&Answers::default(), window), Size::new(9, 18));
    assert_eq!(decide(&Answers::default(), Window::default()), DEFAULT_CELL);
}

#[test]
fn light_and_dark() {
    let dark = |rgb| decide(&Answers { background: rgb, ..Answers::default() }, &[]).dark;
    assert!(dark(None) && dark(Some([0x1e, 0x1e, 0x2e])) && dark(Some([0, 0, 255])));
    assert!(!dark(Some([253, 246, 227])) && !dark(Some([0, 255, 0])));
}

#[test]
fn files_are_only_for_terminals_that_have_shown_they_can_read_them() {
    let reads = |answers: &Answers, variables| decide(answers, variables).reads_files;
    let kitty = Answers { kitty: true, kitty_file: true, ..answers("kitty(0.41.1)") };
    assert!(reads(&kitty, TRUECOLOR));
    assert!(!reads(&Answers { kitty_file: false, ..kitty.clone() }, TRUECOLOR));
    assert!(!reads(&kitty, &[("TMUX", "x")]));
}

#[test]
fn the_question_ends_with_the_one_that_everybody_answers() {
    let ask = |variables: &[(&str, &str)], pixel| {
        String::from_utf8(questions(&environment(variables), pixel)).expect("text")
    };
    let bare = ask(&[], None);
    assert!(bare.starts_with("\x1b7\x1b[>q") && bare.ends_with("\x1b[c"));
    assert!(!bare.contains("Ptmux") && !bare.contains("t=t"));
    let tmux = ask(&[("TMUX", "x"), ("TERM_PROGRAM", "Apple_Terminal")], None);
    assert!(tmux.contains("\x1bPtmux;\x1b\x1b_Gi=32,s=1,v=1,a=q,t=d,f=24,U=1;AAAA\x1b\x1b\\\x1b\\"));
    let file = ask(&[], Some(Path::new("/tmp/x")));
    assert!(file.contains("\x1b_Gi=33,s=1,v=1,a=q,t=t,f=24;L3RtcC94\x1b\\"));
    for leaky in [&[("TERM_PROGRAM", "Apple_Terminal")], &[("TERM", "linux")]] {
        let text = ask(leaky, Some(Path::new("/tmp/x")));
        assert!(!text.contains("\x1b_") && !text.contains("$p") && text.ends_with("\x1b[c"), "{text:?}");
    }
}
