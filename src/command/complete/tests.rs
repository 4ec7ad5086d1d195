use super::*;

fn context() -> CompletionContext {
    let names =
        |names: &[&str]| names.iter().map(|n| Name { name: (*n).into(), help: String::new() }).collect();
    CompletionContext {
        catalog: Catalog {
            models: names(&["embedded", "stabilityai/sd-turbo", "stabilityai/sdxl-turbo"]),
            schedulers: names(&["ddim", "euler", "euler_a", "dpmpp_2m"]),
            themes: names(&["ansi", "nord"]),
        },
        seeds: names(&["42", "4711"]),
        pictures: names(&["$2", "$@hero", "$1"]),
        wildcards: vec!["animals/birds".into(), "colour".into()],
    }
}

/// The line after each candidate was taken, the cursor at the end.
fn after(line: &str) -> Vec<String> {
    let Completions { span, candidates } = complete(line, line.len(), &context());
    candidates.iter().map(|c| format!("{}{}{}", &line[..span.start], c.text, &line[span.end..])).collect()
}

#[test]
fn commands_and_their_arguments() {
    assert_eq!(after("/gal"), ["/gallery"]);
    assert_eq!(after("/sche"), ["/scheduler"]);
    assert!(after("/").len() > 40);
    assert_eq!(after("/set sched"), ["/set scheduler"]);
    assert_eq!(after("/set scheduler eu"), ["/set scheduler euler", "/set scheduler euler_a"]);
    assert_eq!(after("/scheduler dp"), ["/scheduler dpmpp_2m"]);
    assert_eq!(after("/model turbo"), ["/model stabilityai/sd-turbo", "/model stabilityai/sdxl-turbo"]);
    assert_eq!(after("/theme n"), ["/theme nord"]);
    assert_eq!(after("/rerun $@"), ["/rerun $@hero"]);
    assert_eq!(after("/rerun $2 --ste"), ["/rerun $2 --steps"]);
    assert_eq!(after("/rerun $2 -A eu"), ["/rerun $2 -A euler", "/rerun $2 -A euler_a"]);
    assert_eq!(after("/rerun --ste"), ["/rerun --steps"]);
    assert_eq!(after("/cancel "), ["/cancel all", "/cancel $2", "/cancel $@hero", "/cancel $1"]);
    assert_eq!(after("/compare $1 $@"), ["/compare $1 $@hero"]);
    assert_eq!(after("/help swi"), ["/help switches"]);
    assert_eq!(after("/history fox rat"), ["/history fox rating:"]);
    assert_eq!(after("/history all -is:f"), ["/history all -is:finished", "/history all -is:failed"]);
    assert_eq!(after("/quit "), [""; 0]);
}

#[test]
fn switches_and_their_values() {
    assert_eq!(after("a fox --ste"), ["a fox --steps"]);
    assert_eq!(after("a fox -s 20 --neg"), ["a fox -s 20 --negative-prompt"]);
    assert_eq!(after("a fox --cfg"), ["a fox --cfg-scale", "a fox --cfg", "a fox --cfg-until"]);
    assert!(after("a fox -").len() == SETTINGS.len());
    assert_eq!(after("a fox -A "), ["ddim", "euler", "euler_a", "dpmpp_2m"].map(|s| format!("a fox -A {s}")));
    assert_eq!(after("a fox --scheduler=dd"), ["a fox --scheduler=ddim"]);
    assert_eq!(after("a fox -A ddim,eu"), ["a fox -A ddim,euler", "a fox -A ddim,euler_a"]);
    assert_eq!(after("a fox -S "), ["a fox -S 42", "a fox -S 4711"]);
    assert_eq!(after("a fox -S 47"), ["a fox -S 4711"]);
    assert_eq!(after("a fox -I $"), ["a fox -I $2", "a fox -I $@hero", "a fox -I $1"]);
    assert_eq!(after("a fox in __col"), ["a fox in __colour__"]);
    assert_eq!(after("a __colour__ and __bir"), ["a __colour__ and __animals/birds__"]);
    for nothing in ["", "a fo", "a fox ", "a fox -s ", "a well-known", "a fox -n bl"] {
        assert_eq!(after(nothing), [""; 0], "{nothing:?}");
    }
}

#[test]
fn files_are_those_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["fox.png", "red fox.png", ".hidden"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    std::fs::create_dir(folder.path().join("more")).unwrap();
    let at = folder.path().display();
    assert_eq!(after(&format!("a fox -I {at}/f")), [format!("a fox -I {at}/fox.png")]);
    assert_eq!(after(&format!("a fox -I {at}/m")), [format!("a fox -I {at}/more/")]);
    assert_eq!(after(&format!("a fox -I \"{at}/red f")), [format!("a fox -I \"{at}/red fox.png\"")]);
    assert_eq!(after(&format!("a fox -I {at}/")).len(), 3);
    assert_eq!(after(&format!("/save {at}/fo")), [format!("/save {at}/fox.png")]);
}

#[test]
fn the_cursor_may_be_anywhere() {
    let line = "a fox --ste 20 🦊";
    for cursor in 0..line.len() + 3 {
        let completions = complete(line, cursor, &context());
        assert!(line.get(completions.span).is_some());
    }
    assert_eq!(complete(line, 11, &context()).candidates[0].text, "--steps");
}
