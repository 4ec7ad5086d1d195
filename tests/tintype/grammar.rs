//! The prompt line: properties that hold for every text, and the page that is made from its tables.

use proptest::prelude::*;
use tintype::command::{CompletionContext, Line, complete, docs, lex, parse, prompt_line, switches};
use tintype::request::{GenerateRequest, Seed};
use tintype::session::Session;
use tintype::session::choices::{self, Template, Wildcards};
use tintype::session::filter::Filter;
use tintype::session::settings::SETTINGS;

/// Lines as people type them: words, switches, quotes, brackets and what goes wrong with them.
fn line() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-zäß狐🦊]{1,6}",
        "-{1,2}[a-zA-Z]{1,9}",
        "-?[0-9]{1,4}(\\.\\.[0-9]{1,3})?(:[0-9])?",
        "[0-9]{2,5}[x×][0-9]{2,5}",
        "[\"'#$/+{}|()\\\\_~,=!-]{1,3}",
        "\\$[0-9]{0,2}",
        "__[a-z]{1,4}__",
        "[/!][a-z]{0,6}",
        "s/[a-z]{0,3}/[a-z]{0,3}",
        any::<String>(),
    ];
    proptest::collection::vec(word, 0..8).prop_map(|words| words.join(" "))
}

fn request() -> impl Strategy<Value = GenerateRequest> {
    let text = "[a-zA-Z0-9äß🦊 \"'#(){}|\\\\_/.,:=<>+!$-]{0,24}";
    let option = proptest::option::of::<BoxedStrategy<u32>>;
    let numbers = (
        option((1..=1000_u32).boxed()),
        option((64..=8192_u32).boxed()),
        option((64..=8192_u32).boxed()),
        option((0..=11_u32).boxed()),
        option((2..=999_u32).boxed()),
    );
    let floats = (
        proptest::option::of(0.0..=100.0_f64),
        proptest::option::of(0.0..=1.0_f64),
        proptest::option::of(0.0..=1.0_f64),
    );
    let seed = prop_oneof![
        Just(None),
        any::<u64>().prop_map(|seed| Some(Seed::Fixed(seed))),
        (1_u32..).prop_map(|n| Some(Seed::Previous(n))),
        Just(Some(Seed::Random)),
    ];
    let name = || proptest::option::of("[a-z][a-zA-Z0-9/._-]{0,12}");
    let names =
        (name(), name(), name(), proptest::option::of(text), proptest::option::of("[a-z $#\"'.-]{0,8}[a-z]"));
    let rest = (any::<Option<bool>>(), any::<Option<u64>>());
    (text, numbers, floats, seed, names, rest).prop_map(
        |(prompt, (steps, width, height, clip_skip, num_images), (cfg, eta, strength), seed, names, rest)| {
            let (model, scheduler, variant, negative_prompt, image) = names;
            GenerateRequest {
                prompt: prompt.trim().to_owned(),
                negative_prompt: negative_prompt.map(|text: String| text.trim().to_owned()),
                model,
                variant,
                scheduler,
                steps,
                guidance_scale: cfg,
                eta,
                seed,
                width,
                height,
                num_images,
                image: image.map(|image: String| image.trim().to_owned()),
                strength,
                clip_skip,
                grid: rest.0,
                variation_seed: rest.1,
                ..Default::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_is_understood_or_has_an_error_with_a_place(line in line()) {
        if let Line::ParseError(error) = parse(&line) {
            prop_assert!(line.get(error.span.clone()).is_some(), "{:?}", error.span);
            prop_assert!(!error.message.is_empty() && !error.message.contains('\n'));
            let rendered = error.render(&line);
            prop_assert!(rendered.contains('^'));
        }
    }

    #[test]
    fn colours_lie_in_order_within_the_line(line in line()) {
        let mut end = 0;
        for (span, _) in lex(&line) {
            prop_assert!(span.start >= end && span.start < span.end, "{span:?} after {end}");
            prop_assert!(line.get(span.clone()).is_some());
            end = span.end;
        }
    }

    #[test]
    fn completion_replaces_what_is_there(line in line(), cursor in 0_usize..60) {
        let completions = complete(&line, cursor, &CompletionContext::default());
        prop_assert!(line.get(completions.span.clone()).is_some());
        prop_assert!(completions.span.end <= cursor.max(completions.span.start));
    }

    #[test]
    fn a_request_reads_back_from_its_line(request in request()) {
        let line = prompt_line(&request);
        let typed = match parse(&line) {
            Line::Prompt(typed) => typed,
            Line::Derive(change) if request.prompt.is_empty() => change.typed,
            Line::Empty if request == GenerateRequest::default() => return Ok(()),
            other => return Err(TestCaseError::fail(format!("{line}: {other:?}"))),
        };
        prop_assert_eq!(&typed.axes, &[], "{}", &line);
        let expected = GenerateRequest { prompt: choices::escape(&request.prompt), ..request };
        prop_assert_eq!(typed.request, expected, "{}", line);
    }

    #[test]
    fn arguments_mean_what_the_line_means(request in request()) {
        let mut args = vec![request.prompt.clone()];
        for setting in SETTINGS.iter().filter(|setting| setting.name != "size") {
            if let Some(value) = setting.get(&request) {
                args.push(format!("--{}={value}", setting.name));
            }
        }
        prop_assume!(!request.prompt.starts_with('-') && !request.prompt.is_empty());
        prop_assume!(tintype::session::settings::parse_size(&request.prompt).is_none());
        let typed = switches::parse_argv(&args).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(typed.request, request);
    }

    #[test]
    fn prompts_unfold_or_tell_why_not(prompt in "[ab{}|$~1-3\\\\_ ,]{0,24}", seed in any::<u64>()) {
        let wildcards = Wildcards::default();
        let Ok(template) = Template::parse(&prompt, &wildcards) else { return Ok(()) };
        let picks = vec![0; template.groups.len()];
        if let Ok(settled) = choices::settle(&template.fill(&picks), &wildcards, seed) {
            let again = choices::settle(&choices::escape(&settled), &wildcards, seed).unwrap();
            prop_assert_eq!(again, settled);
        }
    }

    #[test]
    fn filters_are_read_or_told(text in line()) {
        let now = "2026-11-24T10:00:00Z[UTC]".parse().unwrap();
        if let Err(error) = Filter::parse(&text, &now) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_line_never_breaks_a_session(lines in proptest::collection::vec(line(), 1..4)) {
        let mut session = Session::new(GenerateRequest::default());
        for line in lines {
            let before = session.ledger().clone();
            if tintype::command::execute(&line, &mut session).is_err() {
                prop_assert_eq!(session.ledger(), &before, "an error changes nothing: {}", line);
            }
        }
    }
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");

#[test]
fn commands_md_is_what_the_tables_say() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    assert!(page == docs::commands_md(), "run: cargo test write_commands_md -- --ignored");
}

#[test]
#[ignore = "writes docs/commands.md"]
fn write_commands_md() {
    std::fs::write(PAGE, docs::commands_md()).unwrap();
}
