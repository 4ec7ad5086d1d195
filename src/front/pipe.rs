//! Prompts from a pipe: one a line, a path or a JSON line for each picture, exit code 1 if any failed.

use std::io::{self, BufRead};
use std::process::ExitCode;

use super::lines::{After, Lines};
use super::setup;
use crate::cli::{Options, PromptOptions};

/// Makes what standard input asks for.
pub fn run(options: &Options, prompt: &PromptOptions) -> ExitCode {
    let (mut session, notices) = setup::session(options, prompt.resume.as_deref(), &options.paths());
    for notice in &notices {
        eprintln!("tintype: {notice}");
    }
    // nobody is there to say yes
    session.confirm_above = usize::MAX;
    let done = Lines::start(options, session, None).and_then(|mut lines| {
        let mut failed = false;
        for line in joined_lines(io::stdin().lock()) {
            match lines.run(&line?)? {
                After::Next => {}
                After::Quit => break,
                After::Failed => failed = true,
                After::Edit(text) => eprintln!("{text}"),
                After::Confirm(question, _) => {
                    eprintln!("tintype: {question}");
                    failed = true;
                }
            }
        }
        Ok(failed)
    });
    match done {
        Ok(failed) => ExitCode::from(u8::from(failed)),
        // whoever reads the paths has heard enough
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tintype: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lines, where a `\` at the end joins the next one.
fn joined_lines(input: impl BufRead) -> impl Iterator<Item = io::Result<String>> {
    let mut lines = input.lines();
    std::iter::from_fn(move || {
        let mut whole = match lines.next()? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        while whole.ends_with('\\') {
            whole.pop();
            match lines.next() {
                Some(Ok(line)) => {
                    whole.push('\n');
                    whole.push_str(&line);
                }
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            }
        }
        Some(Ok(whole))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_joins_lines() {
        let read = |text: &str| -> Vec<String> {
            joined_lines(text.as_bytes()).map(|line| line.expect("text")).collect()
        };
        assert_eq!(read("a fox\na cat\n"), ["a fox", "a cat"]);
        assert_eq!(read("a fox\\\nin snow\\\nat night\na cat"), ["a fox\nin snow\nat night", "a cat"]);
        assert_eq!(read("a fox\\"), ["a fox"]);
        assert_eq!(read("a\r\n\r\nb"), ["a", "", "b"]);
        assert!(read("").is_empty());
    }
}
