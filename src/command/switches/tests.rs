use std::path::PathBuf;

use super::*;
use crate::request::{GenerateRequest, Seed};

fn line(switches: &str) -> Result<Typed, ParseError> {
    parse_at(switches, 0)
}

fn request(switches: &str) -> GenerateRequest {
    line(switches).unwrap_or_else(|error| panic!("{}", error.render(switches))).request
}

fn message(switches: &str) -> String {
    let error = line(switches).unwrap_err();
    format!("{} @ {}", error.message, &switches[error.span])
}

#[test]
fn the_line_of_the_readme() {
    let request = request("-s 20 -C 7 -S 42 -n \"blurry\" 768x512");
    let expected = GenerateRequest {
        steps: Some(20),
        guidance_scale: Some(7.0),
        seed: Some(Seed::Fixed(42)),
        negative_prompt: Some("blurry".into()),
        width: Some(768),
        height: Some(512),
        ..Default::default()
    };
    assert_eq!(request, expected);
}

#[test]
fn every_switch_fills_its_field() {
    let all = "--model org/m --revision main --variant fp16 -A ddim --steps 9 --cfg-scale 4 --num-images 2 \
               --negative-prompt x --seed -1 -W 640 -H 512 --eta 0.5 --clip-skip 1 --image $12 --strength .5 \
               --variation 0.1 --variation-seed 9 --stop-after 7 --deep-cache 3 \
               --cfg-until 0.6 --grid -o out.png";
    let expected = GenerateRequest {
        prompt: String::new(),
        negative_prompt: Some("x".into()),
        model: Some("org/m".into()),
        revision: Some("main".into()),
        variant: Some("fp16".into()),
        scheduler: Some("ddim".into()),
        steps: Some(9),
        guidance_scale: Some(4.0),
        eta: Some(0.5),
        seed: Some(Seed::Previous(1)),
        width: Some(640),
        height: Some(512),
        num_images: Some(2),
        image: Some("$12".into()),
        strength: Some(0.5),
        variation: Some(0.1),
        variation_seed: Some(9),
        clip_skip: Some(1),
        stop_after: Some(7),
        deep_cache: Some(3),
        cfg_until: Some(0.6),
        branch: None,
        grid: Some(true),
        output: Some(PathBuf::from("out.png")),
    };
    assert_eq!(request(all), expected);
    let spelled = "-m org/m --revision=main --variant=fp16 --sampler ddim -s9 -C4 --iterations 2 --neg x -S-1 \
                   --size 640x512 --ddim-eta .5 --clip-skip=1 -I $12 -f .5 -v .1 --variation-seed=9 --stop-after=7 \
                   --cache-interval 3 --cfg_until=.6 -g --output out.png";
    assert_eq!(request(spelled), expected);
    assert_eq!(parse_argv(&all.split_whitespace().collect::<Vec<_>>()).unwrap().request, expected);
}

#[test]
fn letters_with_two_meanings_look_at_the_next_word() {
    assert_eq!(request("-n 4").num_images, Some(4));
    assert_eq!(request("-n \"4\"").negative_prompt.as_deref(), Some("4"));
    assert_eq!(request("-n blurry, very ugly -s 9").negative_prompt.as_deref(), Some("blurry, very ugly"));
    assert_eq!(request("-n blurry 768x512").width, Some(768));
    assert_eq!(request("-n 4 -n blurry").num_images, Some(4));
    assert_eq!(message("-n 0"), "num-images goes from 1 to 999, not `0` @ 0");
    assert_eq!(request("-g 7.5").guidance_scale, Some(7.5));
    assert_eq!(request("-g").grid, Some(true));
    assert_eq!(request("-g -s 4").grid, Some(true));
    assert_eq!(request("-g 512x512").grid, Some(true));
    assert_eq!(request("--grid=off").grid, Some(false));
    assert_eq!(line("-g 5,7").unwrap().axes[0].values, ["5", "7"]);
}

#[test]
fn lists_and_ranges_are_axes() {
    let typed = line("--steps 10..30:10 --cfg 5,7,9 --seed 1..4 -A ddim").unwrap();
    let axes: Vec<_> = typed.axes.iter().map(|axis| (axis.setting.name, axis.values.join(" "))).collect();
    let expected = [("steps", "10 20 30"), ("guidance-scale", "5 7 9"), ("seed", "1 2 3 4")];
    assert_eq!(axes, expected.map(|(name, values)| (name, values.to_owned())));
    assert_eq!(typed.request.scheduler.as_deref(), Some("ddim"));
}

#[test]
fn errors_have_a_place_and_the_right_word() {
    assert_eq!(
        message("-s 20 --stesp 3"),
        "there is no switch --stesp; if it belongs to the prompt, put the prompt in \"quotes\" @ --stesp"
    );
    assert_eq!(line("--stesp 3").unwrap_err().did_you_mean.as_deref(), Some("--steps"));
    assert_eq!(line("--guid 3").unwrap_err().did_you_mean.as_deref(), Some("--guidance"));
    assert_eq!(line("--zebra 3").unwrap_err().did_you_mean, None);
    assert_eq!(message("-s"), "-s needs a value: a whole number from 1 to 1000 @ -s");
    assert_eq!(message("-s -C 7"), "-s needs a value: a whole number from 1 to 1000 @ -s");
    assert_eq!(message("-C NaN"), "guidance-scale takes a number from 0 to 100, not `NaN` @ NaN");
    assert_eq!(message("-s 4 -s 5"), "steps is given twice; take one of them out @ -s 5");
    assert_eq!(message("-W 640 768x512"), "width is given twice; take one of them out @ 768x512");
    assert!(message("-s 4 in the snow").ends_with("@ in the snow"));
    assert!(message("-n \"blurry").ends_with("@ \"blurry"));
    assert!(message("-step 4").contains("there is no switch -step"));
}

#[test]
fn arguments_may_hold_the_prompt_anywhere() {
    let typed = parse_argv(&["-s", "20", "a red fox", "-n", "blurry, ugly", "--seed=7"]).unwrap();
    assert_eq!(typed.request.prompt, "a red fox");
    assert_eq!(typed.request.negative_prompt.as_deref(), Some("blurry, ugly"));
    assert_eq!(
        parse_argv(&["a", "red", "fox", "-n", "blurry", "512x512"]).unwrap().request.prompt,
        "a red fox"
    );
    for argv in [["a red fox", "--negative", ""], ["a red fox", "-n", ""]] {
        let typed = parse_argv(&argv).unwrap();
        assert_eq!(typed.request.negative_prompt.as_deref(), Some(""), "an empty text, which is not none");
    }
    assert_eq!(request("--negative \"\"").negative_prompt.as_deref(), Some(""));
    assert_eq!(request("-s 4").negative_prompt, None);
    assert_eq!(parse_argv(&["--", "-s", "is a letter"]).unwrap().request.prompt, "-s is a letter");
    let error = parse_argv(&["a red fox", "--stesp", "4"]).unwrap_err().to_string();
    insta::assert_snapshot!(error, @r#"
    there is no switch --stesp; if it belongs to the prompt, put the prompt in "quotes"
      "a red fox" --stesp 4
                  ^^^^^^^ did you mean --steps?
    "#);
}

#[test]
fn help_names_every_form() {
    let help = help();
    assert_eq!(help.len(), SETTINGS.len());
    assert!(
        help.iter().any(|(forms, _)| forms == "-C, -g, --guidance-scale, --cfg-scale, --cfg, --guidance X")
    );
}
