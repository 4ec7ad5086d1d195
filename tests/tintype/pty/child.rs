//! A program made of `tintype::term` alone, for the tests of this module: a prompt, a panel row, pictures.
//!
//! It is started as this test binary with one test to run, in a terminal. What it is asked to do is typed.

use std::fs::File;
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Rect, Size};
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use tintype::request::{ImageSize, Picture};
use tintype::term::{
    self, Canvas, Capabilities, Environment, Event, Events, FullScreen, Guard, LiveRegion, Pictures,
    PromptEvent, PromptOptions, PromptPty, Signal, graphics,
};

const MARK: &str = "TINTYPE_TEST_CHILD";

/// The command that starts the program.
pub fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--exact", "pty::child::entry", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .env("RUST_BACKTRACE", "0");
    command
}

/// No test of its own: does something only when it is started as the program.
#[test]
#[expect(clippy::exit, reason = "the exit code is what the tests look at")]
fn entry() {
    if std::env::var_os(MARK).is_some() {
        let code = Program::start().and_then(Program::run).expect("the terminal works");
        std::process::exit(code);
    }
}

/// A picture whose every pixel is another colour, so that nothing can be swapped unnoticed.
pub fn test_picture(width: u32, height: u32) -> Picture {
    let rgb =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, (x * 7 + y * 13) as u8]));
    Picture { size: ImageSize::new(width, height), rgb: rgb.collect() }
}

/// A picture of one colour.
pub fn flat_picture(width: u32, height: u32, colour: [u8; 3]) -> Picture {
    Picture { size: ImageSize::new(width, height), rgb: colour.repeat((width * height) as usize).into() }
}

struct Words(HistoryHinter);

impl Helper for Words {}
impl Highlighter for Words {}

impl Hinter for Words {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, context: &Context<'_>) -> Option<String> {
        self.0.hint(line, position, context)
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let start = line[..position].rfind(' ').map_or(0, |space| space + 1);
        let words = ["watercolour", "waterfall", "woodcut"];
        Ok((
            start,
            words.iter().filter(|word| word.starts_with(&line[start..position])).map(|&w| w.into()).collect(),
        ))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let unfinished = context.input().ends_with('\\');
        Ok(if unfinished { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

struct Program {
    guard: Guard,
    events: Events,
    prompt: PromptPty,
    region: LiveRegion<File>,
    full: Option<FullScreen<File>>,
    canvas: Canvas,
    capabilities: Capabilities,
    panel: Panel,
    above_later: Vec<String>,
}

struct Panel {
    text: String,
    lines: u32,
    ticks: Arc<AtomicU32>,
    preview: Option<(Picture, u64)>,
}

impl Program {
    fn start() -> std::io::Result<Self> {
        let variable = |name: &str| std::env::var_os(name);
        let environment = Environment::from_lookup(variable);
        let images = variable("IMAGES").map(|name| name.to_string_lossy().parse().expect("a protocol"));
        if let Some(time) = variable("START_DELAY").and_then(|text| text.to_string_lossy().parse().ok()) {
            std::thread::sleep(Duration::from_millis(time));
        }
        let guard = Guard::enter()?;
        if let Some(path) = variable("LOG") {
            guard.redirect_stderr(&File::options().create(true).append(true).open(path)?)?;
        }
        let mut events = Events::from_stdin()?;
        let mut output = term::output()?;
        let answers = term::probe::query(&mut events, &mut output, &environment, term::probe::TIMEOUT)?;
        let capabilities =
            Capabilities::new(&answers, &environment, term::window(), term::ColorChoice::Auto, images);
        let options = PromptOptions {
            history: variable("HISTORY").map(Into::into),
            edit_mode: if variable("VI").is_some() { term::EditMode::Vi } else { term::EditMode::Emacs },
            ..PromptOptions::default()
        };
        let size = prompt_size(events.size());
        let prompt =
            PromptPty::start(&options, Words(HistoryHinter::new()), size, events.waker()).expect("a prompt");
        events.catch_signals()?;
        let region = LiveRegion::new(output, events.size().width, capabilities.frame_options())?;
        let canvas = Canvas::new(&capabilities);
        let panel = Panel { text: String::new(), lines: 0, ticks: Arc::default(), preview: None };
        let above_later = Vec::new();
        let mut program =
            Self { guard, events, prompt, region, full: None, canvas, capabilities, panel, above_later };
        program.panel.text = program.describe();
        program.prompt.ask("> ", "");
        Ok(program)
    }

    fn describe(&self) -> String {
        let c = &self.capabilities;
        let light = if c.dark { "dark" } else { "light" };
        let sync = if c.sync_output { "sync" } else { "tearing" };
        format!("{} {}x{} {light} {sync}", c.protocol.name(), c.cell_size.width, c.cell_size.height)
    }

    fn run(mut self) -> std::io::Result<i32> {
        self.draw()?;
        loop {
            let Some(event) = self.events.next(Some(self.prompt.fd()), None)? else { continue };
            let mut dirty = true;
            match event {
                Event::HungUp => return Ok(129),
                Event::Signal(Signal::Terminate(number)) => {
                    self.leave()?;
                    return Ok(128 + number);
                }
                Event::Signal(Signal::Suspend) => self.suspend()?,
                Event::Signal(_) => self.guard.resume()?,
                Event::Resize(size) => self.resize(size)?,
                Event::Paste(text) => self.prompt.paste(&text),
                Event::Key(key) => match key.code {
                    KeyCode::F(2) => self.toggle()?,
                    KeyCode::Char('z') if key.modifiers == KeyModifiers::CONTROL => self.suspend()?,
                    _ => {
                        self.prompt.key(&key);
                        dirty = false;
                    }
                },
                Event::PtyReady => dirty = self.prompt.pump(),
                Event::Wake => {}
            }
            while let Some(event) = self.prompt.event() {
                dirty = true;
                match event {
                    PromptEvent::Line(line) if line == "quit" => {
                        self.leave()?;
                        return Ok(0);
                    }
                    PromptEvent::Line(line) => self.line(&line)?,
                    PromptEvent::Interrupted(text) => self.say(&format!("interrupted {text:?}"))?,
                    PromptEvent::Eof => {
                        self.leave()?;
                        return Ok(0);
                    }
                    PromptEvent::Failed(message) => panic!("{message}"),
                }
                let initial = if self.panel.text == "edit" { "typed for you" } else { "" };
                self.prompt.ask("> ", initial);
            }
            if let Some(panic) = term::take_thread_panic() {
                self.say(&format!("thread {} panicked", panic.thread))?;
            }
            if dirty {
                self.draw()?;
            }
        }
    }

    fn line(&mut self, line: &str) -> std::io::Result<()> {
        self.panel.lines += 1;
        match line {
            "panic" => panic!("asked to panic"),
            "thread panic" => {
                let waker = self.events.waker();
                let thread = std::thread::Builder::new().name("worker".into());
                let _ = thread.spawn(|| panic!("the worker fell over"))?.join();
                waker.wake();
            }
            "stderr" => eprintln!("a driver's message"),
            "tick" => {
                let (waker, ticks) = (self.events.waker(), Arc::clone(&self.panel.ticks));
                std::thread::spawn(move || {
                    for _ in 0..100 {
                        std::thread::sleep(Duration::from_millis(10));
                        ticks.fetch_add(1, Ordering::Relaxed);
                        waker.wake();
                    }
                });
            }
            "previews" => {
                for step in 1..=100 {
                    self.panel.preview = Some((flat_picture(64, 64, [step, 0, 0]), step.into()));
                    self.draw()?;
                }
            }
            "no preview" => self.panel.preview = None,
            "replace" => self.prompt.set_text("replaced text"),
            "edit" => self.panel.text = "edit".into(),
            _ => {}
        }
        if let Some(size) = line.strip_prefix("picture ").and_then(|text| text.parse().ok()) {
            let (canvas, capabilities) = (&mut self.canvas, &self.capabilities);
            self.region.above(|out| {
                let picture = test_picture(size, size);
                let cells = graphics::fit(picture.size, Size::new(40, 6), capabilities.cell_size);
                write!(out, "picture of {}x{} cells\r\n", cells.width, cells.height)?;
                canvas.print_inline(&picture, cells, out)
            })?;
        }
        self.say(&format!("got {line:?}"))
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        if self.full.is_some() {
            self.above_later.push(text.to_owned());
            return Ok(());
        }
        self.region.above(|out| write!(out, "{text}\r\n"))
    }

    fn draw(&mut self) -> std::io::Result<()> {
        let (prompt, panel) = (&self.prompt, &self.panel);
        if let Some(full) = &mut self.full {
            return full.draw(&mut self.canvas, |frame, pictures| view(prompt, panel, frame, pictures));
        }
        let rows = self.events.size().height;
        let panel_rows = u16::from(rows > 1) + if panel.preview.is_some() && rows > 8 { 4 } else { 0 };
        let height = (panel_rows + prompt.rows()).min(rows);
        self.region.draw(height, &mut self.canvas, |frame, pictures| view(prompt, panel, frame, pictures))
    }

    fn toggle(&mut self) -> std::io::Result<()> {
        if let Some(full) = self.full.take() {
            full.close(&mut self.canvas)?;
            self.guard.set_alternate(false)?;
            for text in std::mem::take(&mut self.above_later) {
                self.say(&text)?;
            }
        } else {
            self.region.close()?;
            self.guard.set_alternate(true)?;
            self.full = Some(FullScreen::new(
                term::output()?,
                self.events.size(),
                self.capabilities.frame_options(),
            )?);
        }
        Ok(())
    }

    fn suspend(&mut self) -> std::io::Result<()> {
        let full = self.full.is_some();
        if full {
            self.toggle()?;
        }
        self.region.close()?;
        self.guard.suspend()?;
        self.events.check_size();
        if full {
            self.toggle()?;
        }
        Ok(())
    }

    fn resize(&mut self, size: Size) -> std::io::Result<()> {
        self.prompt.resize(prompt_size(size));
        self.region.set_width(size.width)?;
        match &mut self.full {
            Some(full) => full.set_size(size, &mut self.canvas),
            None => Ok(()),
        }
    }

    fn leave(&mut self) -> std::io::Result<()> {
        if self.full.is_some() {
            self.toggle()?;
        }
        self.region.close()
    }
}

fn prompt_size(size: Size) -> Size {
    Size::new(size.width, (size.height / 3).clamp(1, 10))
}

fn view(prompt: &PromptPty, panel: &Panel, frame: &mut Frame<'_>, pictures: &mut Pictures) {
    let area = frame.area();
    let prompt_rows = prompt.rows().min(area.height);
    let status = Rect { height: area.height - prompt_rows, ..area };
    if !status.is_empty() {
        let ticks = panel.ticks.load(Ordering::Relaxed);
        let text = format!("[{}] {} lines, {ticks} ticks", panel.text, panel.lines);
        frame.buffer_mut().set_stringn(0, 0, text, area.width.min(78).into(), ratatui::style::Style::new());
    }
    if let Some((picture, version)) = &panel.preview
        && status.height >= 5
    {
        pictures.put(0, Rect::new(0, 1, 8.min(area.width), 4), picture, *version);
    }
    let below = Rect { y: area.height - prompt_rows, height: prompt_rows, ..area };
    if let Some(cursor) = prompt.render(below, frame.buffer_mut()) {
        frame.set_cursor_position(cursor);
    }
}
