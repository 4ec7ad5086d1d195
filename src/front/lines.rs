//! What the front ends without a live panel have in common: a line is done before the next one is read.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use super::generate::progress::ProgressLine;
use super::generate::{json_line, print, write_png};
use super::setup::{contact_sheet, read_recipe};
use crate::cli::Options;
use crate::command::{self, Outcome, View};
use crate::engine::{EngineEvent, EngineHandle, Job};
use crate::gallery::save;
use crate::request::{NO_PNG_ON_A_TERMINAL, Picture, Recipe};
use crate::session::Session;
use crate::session::entry::Batch;
use crate::session::plan::Plan;
use crate::session::reference::Reference;
use crate::session::sheet::Sheet;
use crate::ui::memory::MemoryTrail;
use crate::ui::views::result;

/// What a line came to.
#[derive(Debug)]
pub enum After {
    /// Done.
    Next,
    /// Not done; it was said why.
    Failed,
    /// The next line begins with this.
    Edit(String),
    /// First a yes is needed.
    Confirm(String, Box<Plan>),
    /// Nothing more is to be read.
    Quit,
}

/// Shows a finished picture; paths are printed in any case.
pub type Show = Box<dyn FnMut(&Picture) -> io::Result<()>>;

/// What standard output has so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stdout {
    Empty,
    /// Paths, or JSON.
    Lines,
    /// The one picture of a `-o -`.
    Picture,
}

/// Session and engine, one line at a time.
pub struct Lines {
    session: Session,
    engine: EngineHandle,
    events: Receiver<EngineEvent>,
    progress: ProgressLine,
    json: bool,
    show: Option<Show>,
    /// What `/memory` and `/memory plan` say.
    memory: MemoryTrail,
    plan: Vec<String>,
    /// Whether standard output has what commands print; it goes to standard error where paths are read from it.
    chatty: bool,
    stdout: Stdout,
    /// Where a contact sheet goes whose pictures have no files.
    folder: PathBuf,
}

impl Lines {
    /// Starts the engine for `session`.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start(options: &Options, session: Session, show: Option<Show>) -> io::Result<Self> {
        let (sender, events) = channel();
        let engine = super::engine::start(options, session.id(), false, move |event| {
            let _ = sender.send(event);
        })?;
        let progress = ProgressLine::new(io::stderr().is_terminal());
        let (memory, chatty) = (MemoryTrail::default(), io::stdout().is_terminal());
        Ok(Self {
            session,
            engine,
            events,
            progress,
            json: options.json,
            show,
            memory,
            plan: Vec::new(),
            chatty,
            stdout: Stdout::Empty,
            folder: options.paths().output_dir,
        })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Does what a line says, pictures and all.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn run(&mut self, line: &str) -> io::Result<After> {
        let after = match command::execute(line, &mut self.session) {
            Ok(outcome) => self.carry_out(outcome)?,
            Err(error) => {
                eprintln!("tintype: {}", error.render(line));
                After::Failed
            }
        };
        self.say_notices();
        Ok(after)
    }

    /// Makes what [`After::Confirm`] asked about.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn confirmed(&mut self, plan: &Plan) -> io::Result<After> {
        let outcome = command::confirmed(&mut self.session, plan);
        self.carry_out(outcome)
    }

    fn carry_out(&mut self, outcome: Outcome) -> io::Result<After> {
        let done = match outcome {
            Outcome::Nothing => Ok(()),
            Outcome::Print(lines) => {
                self.tell(&lines)?;
                Ok(())
            }
            Outcome::Submit(submission) => {
                for line in &submission.lines {
                    eprintln!("{line}");
                }
                return self.make(submission.jobs.into_iter().map(|job| (job, None)).collect());
            }
            Outcome::Resume(taken) => {
                return self.make(taken.into_iter().map(|taken| (taken.job, Some(taken.state))).collect());
            }
            Outcome::Confirm { question, plan } => return Ok(After::Confirm(question, plan)),
            Outcome::Edit(line) => return Ok(After::Edit(line)),
            Outcome::Load(path) => match read_recipe(&path) {
                Ok(request) => return Ok(After::Edit(crate::command::prompt_line(&request))),
                Err(error) => Err(error),
            },
            Outcome::Save { job, to } => {
                let saved = self.session.save(Some(&Reference::Number(job)), &to);
                saved.map_err(|error| error.to_string())
            }
            Outcome::Write { to, text } => {
                save::write_new(&to, text.as_bytes()).map_err(|error| error.to_string())
            }
            Outcome::Delete { job, path } => match trash::delete(&path) {
                Ok(()) => {
                    self.session.deleted(job);
                    Ok(())
                }
                Err(error) => Err(format!("{} stays where it is: {error}", path.display())),
            },
            Outcome::Unload => {
                self.engine.unload();
                Ok(())
            }
            Outcome::Profile(on) => {
                self.tell(&self.engine.profile(on))?;
                Ok(())
            }
            Outcome::Quit => return Ok(After::Quit),
            // every line is done before the next one is read
            Outcome::Cancel(_) | Outcome::Pause(_) | Outcome::Hold(_) | Outcome::Keep { .. } => {
                Err("here no job runs or waits while you type".into())
            }
            Outcome::Open(View::MemoryPlan) => {
                self.tell(&self.plan)?;
                Ok(())
            }
            Outcome::Open(View::Memory) => {
                let lines: Vec<_> = result::memory(&self.memory).iter().map(ToString::to_string).collect();
                self.tell(&lines)?;
                Ok(())
            }
            Outcome::Open(_)
            | Outcome::SetTheme(_)
            | Outcome::OpenFile(_)
            | Outcome::Copy(_)
            | Outcome::Doctor => Err("this needs the prompt with its live panel".into()),
        };
        Ok(match done {
            Ok(()) => After::Next,
            Err(error) => {
                eprintln!("tintype: {error}");
                After::Failed
            }
        })
    }

    /// Says what the session has to say.
    fn say_notices(&mut self) {
        for notice in self.session.take_notices() {
            self.progress.say(&notice);
        }
    }

    fn tell(&self, lines: &[String]) -> io::Result<()> {
        if self.chatty {
            return print(&format!("{}\n", lines.join("\n")));
        }
        for line in lines {
            eprintln!("{line}");
        }
        Ok(())
    }

    /// Hands the jobs to the engine and waits for the last of them.
    fn make(&mut self, jobs: Vec<(Job, Option<Arc<[u8]>>)>) -> io::Result<After> {
        let mut left = jobs.len();
        let mut after = After::Next;
        if let Some(why) = self.to_stdout_refused(&jobs) {
            eprintln!("tintype: {why}");
            for (job, _) in jobs {
                let (job, error) = (job.id, why.to_owned());
                self.session.apply(&EngineEvent::Failed { job, error, refused: true });
            }
            return Ok(After::Failed);
        }
        for (job, held) in jobs {
            match held {
                Some(state) => self.engine.resume(job, state),
                None if self.session.replays(job.id) => self.engine.submit_anew(job),
                None => self.engine.submit(job),
            }
        }
        while left > 0 {
            let Ok(event) = self.events.recv() else { return Ok(After::Failed) };
            self.progress.show(&event);
            let sheet = self.session.apply(&event).cloned();
            self.memory.update(&event);
            match &event {
                EngineEvent::Planned { plan, .. } => self.plan.clone_from(plan),
                EngineEvent::Finished { recipe, picture, .. } => self.deliver(recipe, picture)?,
                EngineEvent::Failed { job, error, .. } => {
                    self.progress.say(&format!("{job} {error}"));
                    after = After::Failed;
                }
                EngineEvent::Cancelled { .. } | EngineEvent::Unsaved { .. } => after = After::Failed,
                EngineEvent::Ended { .. } => left -= 1,
                _ => {}
            }
            self.say_notices();
            if let Some(batch) = sheet {
                self.contact_sheet(&batch)?;
            }
        }
        self.progress.clear();
        Ok(after)
    }

    /// Why these pictures cannot go to standard output, if that is where one of them should go.
    fn to_stdout_refused(&self, jobs: &[(Job, Option<Arc<[u8]>>)]) -> Option<&'static str> {
        if self.stdout == Stdout::Picture {
            return Some("standard output is the picture of an -o - by now, and nothing can follow it");
        }
        if !jobs.iter().any(|(job, _)| job.request.is_for_stdout()) {
            return None;
        }
        if io::stdout().is_terminal() {
            return Some(NO_PNG_ON_A_TERMINAL);
        }
        let taken = "-o - must be the only picture of the pipe; name a file for this one: -o picture.png";
        (self.stdout == Stdout::Lines || jobs.len() > 1).then_some(taken)
    }

    /// Makes the contact sheet of a line.
    fn contact_sheet(&mut self, batch: &Batch) -> io::Result<()> {
        self.progress.clear();
        let sheet = Sheet::of(batch);
        match contact_sheet(&self.folder, &sheet, &self.session.files_of(&sheet)) {
            Ok((path, picture)) => {
                if let Some(show) = self.show.as_mut().filter(|_| !self.json) {
                    show(&picture)?;
                }
                self.tell(&[format!("contact sheet: {}", path.display())])
            }
            Err(error) => {
                eprintln!("tintype: {error}");
                Ok(())
            }
        }
    }

    fn deliver(&mut self, recipe: &Recipe, picture: &Picture) -> io::Result<()> {
        if let Some(saved) = recipe.reused.describe() {
            self.progress.say(&format!("{} {saved}", recipe.job));
        }
        self.progress.clear();
        if self.session.ledger().entry(recipe.job).is_some_and(|entry| entry.request.is_for_stdout()) {
            self.stdout = Stdout::Picture;
            return write_png(recipe, picture);
        }
        self.stdout = Stdout::Lines;
        if self.json {
            return print(&format!("{}\n", json_line(recipe)));
        }
        if let Some(show) = &mut self.show {
            show(picture)?;
        }
        match &recipe.path {
            Some(path) => print(&format!("{}\n", path.display())),
            None => Ok(()),
        }
    }
}
