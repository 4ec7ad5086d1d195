//! From a request back to the line that says it: for files that were loaded, `/export` and editing.

use super::line::{Line, parse};
use crate::request::GenerateRequest;
use crate::session::choices;
use crate::session::settings::{self, Kind, SETTINGS, Setting};

/// The prompt line that asks for `request`. Line breaks become spaces, which text encoders read alike; what looks
/// like a choice gets backslashes, since whoever wrote it has chosen.
pub fn prompt_line(request: &GenerateRequest) -> String {
    let prompt = choices::escape(&one_line(&request.prompt));
    let switches = switches(request);
    let line = |prompt: &str| {
        let parts: Vec<&str> = std::iter::once(prompt).chain(switches.iter().map(String::as_str)).collect();
        parts.join(" ")
    };
    let plain = line(&prompt);
    // Whether a prompt needs quotes is the grammar's to say.
    match parse(&plain) {
        Line::Prompt(typed) if typed.request.prompt == prompt && typed.axes.is_empty() => plain,
        Line::Derive(change) if prompt.is_empty() && change.edit.is_none() => plain.trim_start().to_owned(),
        _ => line(&quoted(&prompt)),
    }
}

fn switches(request: &GenerateRequest) -> Vec<String> {
    let size = settings::find("size").and_then(|size| size.get(request));
    let size = size.filter(|size| settings::parse_size(size).is_some());
    let mut switches: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| match setting.name {
            "size" => false,
            "width" | "height" => size.is_none(),
            _ => true,
        })
        .filter_map(|setting| Some((setting, setting.get(request)?)))
        .map(|(setting, value)| match setting.kind {
            Kind::Flag(_) if value == "on" => switch(setting),
            Kind::Flag(_) => format!("--{}={value}", setting.name),
            Kind::Text(_) => format!("{} {}", switch(setting), quoted(&one_line(&value))),
            _ => format!("{} {}", switch(setting), word(&value)),
        })
        .collect();
    switches.extend(size);
    switches
}

/// The setting's letter if it is its alone, else its name.
fn switch(setting: &Setting) -> String {
    let own = |letter: &&char| SETTINGS.iter().filter(|other| other.shorts.contains(letter)).count() == 1;
    match setting.shorts.iter().find(own) {
        Some(letter) => format!("-{letter}"),
        None => format!("--{}", setting.name),
    }
}

/// A value as one word. It may come out of a stranger's file: nothing in it may reach a terminal as a command.
fn word(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./:+@%$~".contains(c);
    let number = value.parse::<f64>().is_ok();
    // What begins with a dash could be a switch; the seeds -1 and -2 cannot.
    if !value.is_empty() && value.chars().all(plain) && (number || !value.starts_with('-')) {
        value.to_owned()
    } else {
        quoted(value)
    }
}

fn quoted(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> =
        text.split(char::is_control).map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Seed;

    fn request(prompt: &str) -> GenerateRequest {
        GenerateRequest { prompt: prompt.into(), ..GenerateRequest::default() }
    }

    #[test]
    fn a_line_says_what_was_asked_for() {
        let request = GenerateRequest {
            model: Some("org/name".into()),
            negative_prompt: Some("blurry, ugly".into()),
            scheduler: Some("dpmpp_2m_karras".into()),
            steps: Some(20),
            guidance_scale: Some(7.5),
            seed: Some(Seed::Fixed(5)),
            width: Some(640),
            height: Some(512),
            grid: Some(true),
            ..request("a red fox")
        };
        assert_eq!(
            prompt_line(&request),
            "a red fox -m org/name -A dpmpp_2m_karras -s 20 -C 7.5 --negative-prompt \"blurry, ugly\" -S 5 --grid 640x512"
        );
    }

    #[test]
    fn every_line_parses_to_its_request() {
        let prompts = [
            "a fox",
            "/etc/motd",
            "!now",
            "# one",
            "// two",
            "+ rain",
            "- hat",
            "s/a/b/",
            "\"a\" b",
            "a -s 20",
            "a --steps",
            "a 512x512",
            "a \\\" b\\",
            "don't",
            "a 5\" nail",
            "5\" nails -s \"4",
            "-s",
            "a #b",
            "狐 🦊",
            "a [b|c]",
        ];
        for prompt in prompts {
            let request = GenerateRequest {
                negative_prompt: Some("-s \"5\" \\ '".into()),
                seed: Some(Seed::Previous(2)),
                image: Some("a b'.png".into()),
                height: Some(640),
                output: Some("-".into()),
                ..request(prompt)
            };
            let empty = GenerateRequest { negative_prompt: Some(String::new()), ..request.clone() };
            for request in [request, empty, super::tests::request(prompt)] {
                let line = prompt_line(&request);
                let Line::Prompt(typed) = parse(&line) else { panic!("{line}") };
                assert_eq!(typed.request, request, "{line}");
            }
        }
        assert_eq!(prompt_line(&request("a\n\n fox\r\n")), "a fox");
        assert_eq!(prompt_line(&request("a {red|blue} __fox__")), "a \\{red|blue\\} \\__fox\\__");
    }
}
