//! `tintype replay --show`: a session as it went, in the terminal.

use std::io::{self, IsTerminal as _};
use std::thread::sleep;
use std::time::Duration;

use super::ReplayArgs;
use crate::cli::{Options, PromptOptions};
use crate::front::generate::print;
use crate::front::lines::Show;
use crate::front::plain;
use crate::gallery;
use crate::session::replay::{Scene, What, scenes};
use crate::term::probe::{self, Answers};
use crate::term::{self, Capabilities, Environment, Events, Guard, window};
use crate::ui::views::result;

/// Nobody waits longer than this for what comes next, at speed 1.
const LONGEST: Duration = Duration::from_secs(5);

/// Plays what `args` name. Whether every picture was there.
pub(super) fn run(args: &ReplayArgs, options: &Options, prompt: &PromptOptions) -> io::Result<bool> {
    let environment = Environment::from_lookup(|name| std::env::var_os(name));
    let answers = ask(&environment).unwrap_or_default();
    let images = prompt.images(options);
    let mut show = plain::show(&Capabilities::new(&answers, &environment, window(), prompt.color, images));
    let folder = options.paths().session_dir();
    let mut all_there = true;
    for name in &args.what {
        for scene in scenes(name, Some(&folder)).map_err(io::Error::other)? {
            sleep(scene.wait.min(LONGEST).div_f64(args.speed));
            all_there &= play(&scene, &mut show)?;
        }
    }
    Ok(all_there)
}

/// Asks the terminal what it can do, where there is one to ask.
fn ask(environment: &Environment) -> io::Result<Answers> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Ok(Answers::default());
    }
    let mut events = Events::from_stdin()?;
    let _guard = Guard::enter()?;
    probe::query(&mut events, &mut term::output()?, environment, probe::TIMEOUT)
}

/// Shows one thing. Whether it was there.
fn play(scene: &Scene, show: &mut Option<Show>) -> io::Result<bool> {
    match &scene.what {
        What::Line(text) => print(&format!("\ntintype › {}\n", printable(text)))?,
        What::Said(text) => print(&format!("{}\n", printable(text)))?,
        What::Picture(recipe) => {
            let path = recipe.path.as_deref();
            let picture = path.and_then(|path| gallery::load(path).ok());
            if let (Some(show), Some(picture)) = (show, &picture) {
                show(picture)?;
            }
            let home = std::env::home_dir();
            let line = result::line(recipe, &crate::theme::Theme::default(), home.as_deref(), usize::MAX);
            let gone = if picture.is_some() { "" } else { " (the file is gone)" };
            print(&format!("{}{gone}\n", printable(&line.to_string())))?;
            return Ok(picture.is_some());
        }
    }
    Ok(true)
}

/// A record is a file, and nothing in it may reach the terminal as a command.
fn printable(text: &str) -> String {
    text.replace('\n', " ").chars().filter(|c| !c.is_control()).collect()
}
