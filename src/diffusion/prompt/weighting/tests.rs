use candle_core::Device;
use proptest::prelude::*;

use super::*;

fn parsed(prompt: &str, weighting: Weighting) -> Vec<(String, f64)> {
    let round = |weight: f64| (weight * 1e9).round() / 1e9;
    let segments = parse(prompt, weighting);
    segments.iter().map(|segment| (segment.text(prompt), round(segment.weight))).collect()
}

fn assert_parsed(prompt: &str, expected: &[(&str, f64)]) {
    let expected: Vec<_> = expected.iter().map(|&(text, weight)| (text.to_owned(), weight)).collect();
    assert_eq!(parsed(prompt, Weighting::On), expected, "{prompt}");
}

#[test]
fn the_web_uis_own_examples() {
    assert_parsed("normal text", &[("normal text", 1.)]);
    assert_parsed("an (important) word", &[("an ", 1.), ("important", 1.1), (" word", 1.)]);
    assert_parsed("(unbalanced", &[("unbalanced", 1.1)]);
    assert_parsed(r"\(literal\]", &[("(literal]", 1.)]);
    assert_parsed("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]);
    assert_parsed(
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        &[
            ("a ", 1.),
            ("house", 1.573),
            (" ", 1.1),
            ("on", 1.),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641),
            (".", 1.1),
        ],
    );
}

#[test]
fn odd_syntax_is_text() {
    assert_parsed("", &[("", 1.)]);
    assert_parsed("()", &[("", 1.)]);
    assert_parsed("a) b] c:1.2)", &[("a) b] c:1.2)", 1.)]);
    assert_parsed("(a:b:1.5)", &[("a:b", 1.5)]);
    assert_parsed("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
    assert_parsed("(a:)", &[("a:", 1.1)]);
    assert_parsed(r"back\\slash (\(a\)): x", &[(r"back\slash ", 1.), ("(a)", 1.1), (": x", 1.)]);
    assert_parsed("(a: -0.5 )", &[("a", -0.5)]);
    assert_parsed("(a:+.5)(b:99999)", &[("a", 0.5), ("b", MOST)]);
    assert_parsed("(a[b)c]", &[("a", 1.1), ("b", 1.), ("c", 0.909_090_909)]);
}

#[test]
fn brackets_are_text_until_a_prompt_shows_emphasis() {
    for prompt in [
        "a house (in the style of monet), [blurry]",
        "((masterpiece)), best quality",
        "poster (at 16:9)",
        "clock (10:30)",
        "a cat (so happy :3)",
        "a cat (:3)",
        "verse (John 3:16)",
        "list (Romans:12)",
        "a:1.3) b",
        r"C:\pictures\new ¯\_(ツ)_/¯",
        r"a \\ b",
    ] {
        assert_eq!(parsed(prompt, Weighting::Auto), [(prompt.to_owned(), 1.)], "{prompt}");
    }
    for prompt in ["a (cat:1.3)", "(cat:2) [dog]", "(1girl, 1999:1.1)", r"saber \(fate\)", "((a), (b):2)"] {
        assert_ne!(parsed(prompt, Weighting::Auto), [(prompt.to_owned(), 1.)], "{prompt}");
        assert_eq!(parsed(prompt, Weighting::Auto), parsed(prompt, Weighting::On), "{prompt}");
        assert_eq!(parsed(prompt, Weighting::Off), [(prompt.to_owned(), 1.)], "{prompt}");
    }
}

#[test]
fn other_syntax_is_reported() {
    for (prompt, expected) in [
        ("(a:1.1) [b] BREAKING OAND, [c:d]", &[][..]),
        ("a BREAK b AND [c:d:0.5] [e|f]", &[]),
        ("(a:1.1) BREAK b", &["BREAK"]),
        (r"\(a\) AND b", &["AND"]),
        ("(a:1.1) [b:c:0.5] [[d e]]", &["[from:to:when]"]),
        ("(a:1.1) [b|c", &[]),
        ("(a:1.1) [b|c]", &["[one|other]"]),
    ] {
        assert_eq!(unread(prompt, Weighting::Auto), expected, "{prompt}");
    }
}

#[test]
fn weighted_states_keep_their_mean() {
    let state = Tensor::new(&[[[1f32, 3.], [2., 6.], [-1., 1.]]], &Device::Cpu).unwrap();
    let weighted = apply(&state, &[1., 2., 1.]).unwrap();
    // Sums: 12 before, 20 after doubling the second token.
    let expected = [1.0f32, 3., 4., 12., -1., 1.].map(|x| x * 12. / 20.);
    let weighted: Vec<f32> = weighted.flatten_all().unwrap().to_vec1().unwrap();
    for (got, expected) in weighted.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6, "{weighted:?}");
    }
}

#[test]
fn a_mean_that_cannot_be_restored_is_left() {
    let state = Tensor::new(&[[[1f32], [-1.]]], &Device::Cpu).unwrap();
    for weights in [[2., 1.], [0., 0.], [-1., 1.]] {
        let weighted: Vec<f32> = apply(&state, &weights).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(weighted, [weights[0], -weights[1]]);
    }
}

fn prompts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("(".to_owned()),
        Just(")".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("\\".to_owned()),
        Just(":".to_owned()),
        r":[+-]?[0-9.]{0,6} ?\)",
        "[a-zé你🎨 ]{1,4}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_prompt_parses(prompt in prompts()) {
        for weighting in [Weighting::Auto, Weighting::On, Weighting::Off] {
            let segments = parse(&prompt, weighting);
            prop_assert!(!segments.is_empty());
            let mut end = 0;
            for segment in &segments {
                prop_assert!(segment.weight.is_finite() && segment.weight.abs() <= MOST);
                for piece in &segment.pieces {
                    // Pieces stand in order, and only syntax is left out between them.
                    prop_assert!(piece.start >= end);
                    let gap = &prompt[end..piece.start];
                    prop_assert!(gap.chars().all(|c| "()[]\\:+-.".contains(c) || c.is_ascii_digit() || c.is_whitespace()));
                    end = piece.end;
                }
                let text = segment.text(&prompt);
                for (at, _) in text.char_indices() {
                    prop_assert!(prompt.is_char_boundary(segment.source_of(at)));
                }
            }
        }
    }

    #[test]
    fn text_without_syntax_stays_whole(prompt in "[^()\\[\\]\\\\:]{0,60}") {
        for weighting in [Weighting::Auto, Weighting::On] {
            prop_assert_eq!(parsed(&prompt, weighting), [(prompt.clone(), 1.)]);
        }
    }

    #[test]
    fn escaped_text_comes_back(prompt in prompts()) {
        let escaped: String = prompt.chars().flat_map(|c| {
            "()[]\\".contains(c).then_some('\\').into_iter().chain([c])
        }).collect();
        prop_assert_eq!(parsed(&escaped, Weighting::On), [(prompt, 1.)]);
    }
}
