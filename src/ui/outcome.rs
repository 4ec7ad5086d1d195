//! What becomes of a line: the command table says what is to be done, and this does it.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use ratatui::text::{Line as Text, Span};

use super::app::{Facts, Screen};
use super::gallery::{Scope, Tile};
use super::prompt::{joined, pieces};
use super::run::Ui;
use super::themes::ThemePicker;
use super::views;
use crate::command::{self, Cancel, CompletionContext, Outcome, Submission, View};
use crate::engine::{EngineEvent, Job};
use crate::gallery::save;
use crate::request::{JobId, NO_PNG_ON_A_TERMINAL};
use crate::session::Session;
use crate::session::derive::{Piece, PromptDiff};
use crate::session::held::Resumed;
use crate::session::history;
use crate::session::ledger::Ledger;
use crate::session::reference::Reference;
use crate::session::settings::{SETTINGS, Setting};
use crate::theme::{Role, Theme};

/// The prompt.
pub(super) const PROMPT: &str = "tintype › ";
/// The prompt while a question waits for its answer.
pub(super) const QUESTION: &str = "yes or no › ";

impl Ui {
    /// A line was entered.
    pub(super) fn submit(&mut self, text: &str) -> io::Result<()> {
        let line = joined(text);
        if let Some(plan) = self.confirming.take() {
            let answer = line.trim().to_lowercase();
            if matches!(answer.as_str(), "y" | "yes") {
                let outcome = command::confirmed(&mut self.session, &plan);
                return self.carry_out(outcome);
            }
            self.remark("not made; the line is in the history")?;
            if matches!(answer.as_str(), "" | "n" | "no") {
                return Ok(());
            }
            // something else was typed, or pasted, before the question was seen: it is a line of its own
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        self.say(echo(&line, &self.app.theme))?;
        match command::execute(&line, &mut self.session) {
            Ok(outcome) => self.carry_out(outcome)?,
            Err(error) => self.say(views::result::problem(&error.render(&line), &self.app.theme))?,
        }
        self.session_changed();
        self.say_notices()
    }

    /// Does what a line came to.
    pub(super) fn carry_out(&mut self, outcome: Outcome) -> io::Result<()> {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Print(lines) => {
                self.say(lines.iter().map(|line| views::result::plain(line)).collect())?;
            }
            Outcome::Submit(submission) => self.start(submission)?,
            Outcome::Confirm { question, plan } => {
                self.say(views::result::warning(&question, &self.app.theme))?;
                self.confirming = Some(plan);
            }
            Outcome::Edit(line) => self.edit(line),
            Outcome::Open(view) => self.open(view)?,
            Outcome::SetTheme(name) => self.use_theme(&name)?,
            Outcome::Cancel(what) => self.cancel(what),
            Outcome::Pause(paused) => {
                self.engine.set_paused(paused);
                self.app.paused = paused;
            }
            Outcome::Hold(job) => {
                if self.engine.hold(job) {
                    self.remark("held after this step; /resume goes on")?;
                }
            }
            Outcome::Resume(taken) => {
                self.engine.set_paused(false);
                self.app.paused = false;
                for Resumed { job, state } in taken {
                    self.app.submitted(job.id, &job.request.prompt);
                    self.engine.resume(job, state);
                }
            }
            Outcome::Keep { running, job } => {
                if !self.engine.keep(running, job) {
                    self.session.apply(&EngineEvent::Cancelled { job, step: 0 });
                    self.problem("it was over before it could be kept")?;
                }
            }
            Outcome::Unload => self.engine.unload(),
            Outcome::OpenFile(path) => self.open_file(&path)?,
            Outcome::Copy(text) => {
                self.terminal.copy(&text)?;
                self.remark("copied")?;
            }
            Outcome::Save { job, to } => self.save(job, &to)?,
            Outcome::Write { to, text } => match save::write_new(&to, text.as_bytes()) {
                Ok(()) => self.remark(&format!("written to {}", to.display()))?,
                Err(error) => self.problem(&error.to_string())?,
            },
            Outcome::Delete { job, path } => self.delete(job, &path)?,
            Outcome::Load(path) => match (self.services.read_recipe)(&path) {
                Ok(request) => self.edit(command::prompt_line(&request)),
                Err(error) => self.problem(&error)?,
            },
            Outcome::Profile(on) => {
                let lines = self.engine.profile(on);
                self.say(lines.iter().map(|line| views::result::plain(line)).collect())?;
            }
            Outcome::Doctor => self.doctor()?,
            Outcome::Quit => self.exit = Some(0),
        }
        Ok(())
    }

    fn start(&mut self, submission: Submission) -> io::Result<()> {
        let Submission { jobs, diff, lines, .. } = submission;
        if jobs.iter().any(|job| job.request.is_for_stdout()) {
            for Job { id: job, .. } in jobs {
                self.session.apply(&EngineEvent::Failed {
                    job,
                    error: NO_PNG_ON_A_TERMINAL.into(),
                    refused: true,
                });
            }
            return self.problem(NO_PNG_ON_A_TERMINAL);
        }
        let mut said: Vec<Text<'static>> =
            diff.iter().map(|diff| difference(diff, &self.app.theme)).collect();
        said.extend(lines.iter().flat_map(|line| views::result::remark(line, &self.app.theme)));
        if !said.is_empty() {
            self.say(said)?;
        }
        for Job { id, request } in jobs {
            self.app.submitted(id, &request.prompt);
            let job = Job { id, request };
            if self.session.replays(id) {
                self.engine.submit_anew(job);
            } else {
                self.engine.submit(job);
            }
        }
        Ok(())
    }

    fn cancel(&mut self, what: Cancel) {
        match what {
            Cancel::Running => self.cancel_running(),
            Cancel::All => {
                self.engine.cancel_all();
                self.app.cancelling();
            }
            Cancel::Job(job) => {
                if self.engine.running() == Some(job) {
                    self.app.cancelling();
                }
                self.engine.cancel(job);
            }
        }
    }

    fn open(&mut self, view: View) -> io::Result<()> {
        match view {
            View::Full => {
                self.app.screen = Screen::Full;
                self.show_screen()
            }
            View::Gallery { filter } => self.open_gallery(|gallery| gallery.set_filter(&filter)),
            View::Compare(left, right) => self.open_gallery(|gallery| gallery.compare_jobs(left, right)),
            View::Memory => {
                let lines = views::result::memory(&self.app.memory);
                if lines.is_empty() {
                    return self.remark("memory is measured while a job runs");
                }
                self.say(lines)
            }
            View::MemoryPlan if self.app.plan.is_empty() => {
                self.remark("a job's plan is made when it starts")
            }
            View::MemoryPlan => {
                self.say(self.app.plan.iter().map(|line| views::result::plain(line)).collect())
            }
            View::Themes => {
                let names = Theme::names(self.services.themes.as_deref());
                self.app.screen = Screen::Themes(ThemePicker::new(names, self.app.theme.name()));
                self.show_screen()
            }
        }
    }

    /// Uses a theme from now on, or says why not.
    pub(super) fn use_theme(&mut self, name: &str) -> io::Result<()> {
        match Theme::load(name, self.services.themes.as_deref()) {
            Ok(theme) => {
                let theme = if self.terminal.has_color() { theme } else { theme.without_color() };
                self.prompt_state.set_theme(theme.clone());
                self.app.theme = theme;
                self.redraw_soon();
                Ok(())
            }
            Err(error) => self.problem(&error.to_string()),
        }
    }

    /// Puts a line into the prompt in place of what is there.
    pub(super) fn edit(&mut self, line: String) {
        if self.asking {
            self.prompt.set_text(&line);
        } else {
            self.initial = line;
        }
    }

    fn open_file(&mut self, path: &Path) -> io::Result<()> {
        let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        let quiet = || Stdio::null();
        match Command::new(program).arg(path).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn() {
            // reaped by whoever adopts it; a viewer lives as long as the person likes
            Ok(_) => Ok(()),
            Err(error) => {
                self.problem(&format!("{program} cannot be started: {error}; the file is {}", path.display()))
            }
        }
    }

    fn save(&mut self, job: JobId, to: &Path) -> io::Result<()> {
        match self.session.save(Some(&Reference::Number(job)), to) {
            Ok(()) => self.remark(&format!("saved as {}", to.display())),
            Err(error) => self.problem(&error.to_string()),
        }
    }

    /// Moves a picture's file to the trash; its history entry stays.
    pub(super) fn delete(&mut self, job: JobId, path: &Path) -> io::Result<()> {
        if let Err(error) = trash::delete(path) {
            return self.problem(&format!("{} stays where it is: {error}", path.display()));
        }
        // the gallery shows other sessions' pictures too, and their jobs have numbers of their own
        let ours = self.session.ledger().entry(job).and_then(|entry| entry.recipe.as_ref()?.path.clone());
        if ours.as_deref() == Some(path) {
            self.session.deleted(job);
        }
        if let Screen::Gallery(gallery) = &mut self.app.screen {
            gallery.trashed(path);
        }
        self.remark(&format!("{job} is in the trash; its history entry stays"))
    }

    pub(super) fn problem(&mut self, error: &str) -> io::Result<()> {
        self.say(views::result::problem(error, &self.app.theme))
    }

    pub(super) fn remark(&mut self, text: &str) -> io::Result<()> {
        self.say(views::result::remark(text, &self.app.theme))
    }

    /// Brings up to date what depends on the session: settings in the panel, names for completion.
    pub(super) fn session_changed(&mut self) {
        let settings = changed_settings(&self.session);
        let model = self.session.settings().model.clone();
        self.app.facts = Facts {
            model: model.unwrap_or_else(|| self.default_model.clone()),
            settings,
            ..std::mem::take(&mut self.app.facts)
        };
        self.prompt_state.set_names(CompletionContext::of(&self.session));
        self.count_as_the_model_does();
        self.redraw_soon();
    }

    /// The other sessions of a scope, oldest first.
    pub(super) fn other_ledgers(&self, scope: Scope) -> Vec<Ledger> {
        let Some(folder) = self.session.folder.as_deref().filter(|_| scope == Scope::All) else {
            return Vec::new();
        };
        let files = history::sessions(folder).into_iter();
        let others = files.filter(|path| Some(path.as_path()) != self.session.path());
        others.filter_map(|path| Some(history::load(&path).ok()?.0)).collect()
    }

    /// The scope's pictures, newest first.
    pub(super) fn tiles(&self, scope: Scope) -> Vec<Tile> {
        let mut tiles: Vec<_> = self.other_ledgers(scope).iter().flat_map(tiles_of).collect();
        tiles.extend(tiles_of(self.session.ledger()).into_iter().map(|mut tile| {
            let shot = self.app.shots.iter().find(|shot| shot.recipe.job == tile.recipe.job);
            tile.thumbnail = shot.map(|shot| shot.thumbnail.clone());
            tile
        }));
        tiles.reverse();
        tiles
    }
}

fn tiles_of(ledger: &Ledger) -> Vec<Tile> {
    ledger.entries().filter_map(Tile::new).collect()
}

/// The settings of the session that are not left open: short name and value.
fn changed_settings(session: &Session) -> Vec<(String, String)> {
    let changed = SETTINGS.iter().filter(|setting| setting.name != "model");
    changed
        .filter_map(|setting| Some((short_name(setting).to_owned(), setting.get(session.settings())?)))
        .collect()
}

/// `cfg` for `guidance-scale`: long names do not fit into a panel.
fn short_name(setting: &Setting) -> &'static str {
    let names = setting.aliases.iter().filter(|_| setting.name.len() > 10);
    names.min_by_key(|name| name.len()).unwrap_or(&setting.name)
}

/// The old prompt and the new one in one line: what goes struck out, what comes in colour.
fn difference(diff: &PromptDiff, theme: &Theme) -> Text<'static> {
    let mut line = Text::default();
    let mut open = false;
    for piece in &diff.0 {
        let (words, style) = match piece {
            Piece::Same(words) => (words, theme.style(Role::Muted)),
            Piece::Removed(words) => (words, theme.style(Role::Error).crossed_out()),
            Piece::Added(words) => (words, theme.style(Role::Success)),
        };
        // Without colours the two would be one word.
        if open && !words.starts_with(char::is_whitespace) {
            line.push_span(" ");
        }
        open = !words.ends_with(char::is_whitespace);
        line.push_span(Span::styled(words.clone(), style));
    }
    line
}

/// The line as it stays in the scrollback.
pub(super) fn echo(line: &str, theme: &Theme) -> Vec<Text<'static>> {
    let styled = |role: Role, text: &str| Span::styled(text.to_owned(), theme.style(role));
    let mut lines = vec![Text::from(styled(Role::Prompt, PROMPT))];
    let indent = " ".repeat(PROMPT.chars().count());
    let push = |role: Role, text: &str, lines: &mut Vec<Text<'static>>| {
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                lines.push(Text::from(indent.clone()));
            }
            if let Some(last) = lines.last_mut() {
                last.push_span(styled(role, &super::format::one_line(part)));
            }
        }
    };
    let mut at = 0;
    for (span, role) in pieces(line, None) {
        push(Role::Text, &line[at..span.start], &mut lines);
        push(role, &line[span.clone()], &mut lines);
        at = span.end;
    }
    push(Role::Text, &line[at..], &mut lines);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_several_rows_is_echoed_below_itself() {
        let lines: Vec<String> =
            echo("a fox\nin \x1b[31msnow -s 20", &Theme::default()).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["tintype › a fox", "          in [31msnow -s 20"]);
    }

    #[test]
    fn settings_have_short_names_in_the_panel() {
        let mut session = Session::new(crate::request::GenerateRequest::default());
        assert!(changed_settings(&session).is_empty());
        let mut settings = session.settings().clone();
        (settings.steps, settings.guidance_scale) = (Some(20), Some(5.5));
        session.set_settings(settings);
        let changed = changed_settings(&session);
        assert_eq!(changed, [("steps".to_owned(), "20".to_owned()), ("cfg".to_owned(), "5.5".to_owned())]);
    }
}
