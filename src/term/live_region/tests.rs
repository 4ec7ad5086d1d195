use std::cell::RefCell;
use std::num::NonZeroU16;
use std::rc::Rc;

use ratatui::style::{Color, Style};
use ratatui::text::Line;

use super::*;
use crate::request::{ImageSize, Picture};
use crate::term::graphics::Protocol;
use crate::term::probe::{Answers, ColorChoice, Environment, Window};
use crate::term::{Canvas, Capabilities, ColorDepth};

/// A terminal that remembers its screen, its scrollback and every write.
#[derive(Clone)]
struct Screen(Rc<RefCell<State>>);

struct State {
    parser: vt100::Parser,
    writes: Vec<Vec<u8>>,
}

impl Screen {
    fn new(columns: u16, rows: u16) -> Self {
        let size = |n| NonZeroU16::new(n).expect("a size");
        let parser = vt100::Parser::new(size(rows), size(columns), 1000);
        Self(Rc::new(RefCell::new(State { parser, writes: Vec::new() })))
    }

    fn type_text(&self, text: &str) {
        self.0.borrow_mut().parser.process(text.as_bytes());
    }

    /// The rows of the screen from the first to the last with text.
    fn rows(&self) -> Vec<String> {
        let state = self.0.borrow();
        let columns = state.parser.screen().size().1.get();
        let mut rows: Vec<String> =
            state.parser.screen().rows(0, columns).map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    fn cursor(&self) -> (u16, u16) {
        self.0.borrow().parser.screen().cursor_position()
    }

    fn output(&self) -> Vec<u8> {
        self.0.borrow().writes.concat()
    }

    fn write_count(&self) -> usize {
        self.0.borrow().writes.len()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.parser.process(bytes);
        state.writes.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn capabilities(protocol: Protocol) -> Capabilities {
    let environment = Environment::from_lookup(|name| (name == "COLORTERM").then(|| "truecolor".into()));
    Capabilities::new(&Answers::default(), &environment, Window::default(), ColorChoice::Auto, Some(protocol))
}

fn canvas() -> Canvas {
    Canvas::new(&capabilities(Protocol::None))
}

fn region(screen: &Screen, width: u16) -> LiveRegion<Screen> {
    LiveRegion::new(screen.clone(), width, FrameOptions::default()).expect("a region")
}

fn draw(region: &mut LiveRegion<Screen>, canvas: &mut Canvas, lines: &[&str]) {
    let height = u16::try_from(lines.len()).expect("few lines");
    region
        .draw(height, canvas, |frame, _| {
            for (y, line) in (0..).zip(lines) {
                let width = frame.area().width;
                frame.buffer_mut().set_line(0, y, &Line::raw(*line), width);
            }
            frame.set_cursor_position((2, height - 1));
        })
        .expect("a frame");
}

/// The final bytes of all CSI sequences of what was written.
fn csi_finals(bytes: &[u8]) -> Vec<char> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    text.split("\x1b[").skip(1).filter_map(|part| part.chars().find(|c| ('@'..='~').contains(c))).collect()
}

#[test]
fn a_frame_is_one_write_below_what_was_there() {
    let screen = Screen::new(20, 6);
    screen.type_text("$ tintype\r\n");
    let (mut region, mut canvas) = (region(&screen, 20), canvas());
    draw(&mut region, &mut canvas, &["panel", "> x"]);
    assert_eq!(screen.rows(), ["$ tintype", "panel", "> x"]);
    assert_eq!(screen.cursor(), (2, 2));
    assert_eq!(screen.write_count(), 1);
    assert_eq!((region.height(), region.traffic().frames), (2, 1));
    assert!(screen.output().starts_with(b"\x1b[?2026h") && screen.output().ends_with(b"\x1b[?2026l"));
}

#[test]
fn an_unchanged_frame_writes_almost_nothing() {
    let screen = Screen::new(20, 6);
    let (mut region, mut canvas) = (region(&screen, 20), canvas());
    draw(&mut region, &mut canvas, &["panel", "> x"]);
    let before = region.traffic().bytes;
    draw(&mut region, &mut canvas, &["panel", "> x"]);
    assert_eq!(region.traffic().bytes, before, "nothing changed, nothing is sent");
}

#[test]
fn finished_output_goes_above_and_into_the_scrollback() {
    let screen = Screen::new(20, 4);
    let (mut region, mut canvas) = (region(&screen, 20), canvas());
    draw(&mut region, &mut canvas, &["panel", "> "]);
    for n in 1..=6 {
        region.above(|out| write!(out, "result {n}\r\n")).expect("printed");
        draw(&mut region, &mut canvas, &["panel", "> "]);
    }
    assert_eq!(screen.rows(), ["result 5", "result 6", "panel", ">"]);
    let mut state = screen.0.borrow_mut();
    state.parser.screen_mut().set_scrollback(4);
    let history: Vec<String> =
        state.parser.screen().rows(0, 20).map(|row| row.trim_end().to_owned()).collect();
    assert_eq!(history, ["result 1", "result 2", "result 3", "result 4"]);
}

#[test]
fn the_height_changes_without_a_trace() {
    let screen = Screen::new(20, 8);
    screen.type_text("above\r\n");
    let (mut region, mut canvas) = (region(&screen, 20), canvas());
    draw(&mut region, &mut canvas, &["a", "b", "c", "> "]);
    draw(&mut region, &mut canvas, &["status", "> "]);
    assert_eq!(screen.rows(), ["above", "status", ">"]);
    draw(&mut region, &mut canvas, &["a", "b", "> "]);
    assert_eq!(screen.rows(), ["above", "a", "b", ">"]);
    region.close().expect("closed");
    assert_eq!((screen.rows(), screen.cursor()), (vec!["above".to_owned()], (1, 0)));
}

#[test]
fn only_relative_moves_and_line_erases_are_used() {
    let screen = Screen::new(20, 6);
    let (mut region, mut canvas) = (region(&screen, 20), canvas());
    for height in [3, 1, 4, 2] {
        draw(&mut region, &mut canvas, &vec!["wide 界 and 👩‍💻 text"; height]);
        region.above(|out| out.write_all(b"done\r\n")).expect("printed");
        region.set_width(20 - u16::try_from(height).expect("small")).expect("resized");
    }
    region.close().expect("closed");
    let finals = csi_finals(&screen.output());
    assert!(finals.len() > 20);
    for last in finals {
        assert!("ABCKmhl".contains(last), "CSI … {last} is not allowed in the normal screen");
    }
}

#[test]
fn a_narrower_window_leaves_no_rest_when_the_terminal_re_flows() {
    let screen = Screen::new(20, 8);
    let (mut region, mut canvas) = (region(&screen, 20), canvas());
    screen.type_text("above\r\n");
    draw(&mut region, &mut canvas, &["0123456789abcdef", "> "]);
    // what a terminal of 10 columns makes of it: the long row becomes two, the cursor's row is one further down
    screen.type_text("\x1b[2J\x1b[H");
    screen
        .0
        .borrow_mut()
        .parser
        .screen_mut()
        .set_size(NonZeroU16::new(8).expect("rows"), NonZeroU16::new(10).expect("columns"));
    screen.type_text("above\r\n0123456789\r\nabcdef\r\n> ");
    region.set_width(10).expect("resized");
    draw(&mut region, &mut canvas, &["short", "> "]);
    assert_eq!(screen.rows(), ["above", "short", ">"]);
}

#[test]
fn a_terminal_that_cuts_keeps_its_rows() {
    let screen = Screen::new(20, 8);
    let options = FrameOptions { reflows: false, ..FrameOptions::default() };
    let mut region = LiveRegion::new(screen.clone(), 20, options).expect("a region");
    let mut canvas = canvas();
    screen.type_text("above\r\n");
    draw(&mut region, &mut canvas, &["0123456789abcdef", "> "]);
    region.set_width(10).expect("resized");
    draw(&mut region, &mut canvas, &["short", "> "]);
    assert_eq!(screen.rows(), ["above", "short", ">"]);
}

#[test]
fn colours_follow_the_terminal() {
    for (color, expected) in
        [(ColorDepth::None, "\x1b[0;1m"), (ColorDepth::TrueColor, "\x1b[0;1;38;2;1;2;3m")]
    {
        let screen = Screen::new(20, 2);
        let options = FrameOptions { color, ..FrameOptions::default() };
        let mut region = LiveRegion::new(screen.clone(), 20, options).expect("a region");
        let style = Style::new().fg(Color::Rgb(1, 2, 3)).bold();
        region
            .draw(1, &mut canvas(), |frame, _| frame.buffer_mut().set_string(0, 0, "x", style))
            .expect("a frame");
        let output = String::from_utf8_lossy(&screen.output()).into_owned();
        assert!(output.contains(&format!("{expected}x")), "{output:?}");
    }
}

fn picture() -> Picture {
    Picture { size: ImageSize::new(2, 2), rgb: vec![200; 12].into() }
}

fn draw_picture(region: &mut LiveRegion<Screen>, canvas: &mut Canvas, area: Option<Rect>, version: u64) {
    region
        .draw(4, canvas, |_, pictures| {
            if let Some(area) = area {
                pictures.put(7, area, &picture(), version);
            }
        })
        .expect("a frame");
}

#[test]
fn a_picture_is_sent_once_and_deleted_before_it_could_scroll() {
    let screen = Screen::new(40, 10);
    let mut region = region(&screen, 40);
    let mut canvas = Canvas::new(&capabilities(Protocol::Kitty));
    let area = Rect::new(1, 0, 4, 2);
    let written = |from: usize| String::from_utf8_lossy(&screen.output()[from..]).into_owned();
    let sends = |text: &str| text.matches("a=T").count();
    let deletes = |text: &str| text.matches("a=d,d=I").count();

    draw_picture(&mut region, &mut canvas, Some(area), 1);
    assert_eq!((sends(&written(0)), deletes(&written(0))), (1, 0));
    let mark = screen.output().len();
    draw_picture(&mut region, &mut canvas, Some(area), 1);
    assert_eq!(screen.output().len(), mark, "the same picture is not sent again");
    draw_picture(&mut region, &mut canvas, Some(area), 2);
    assert_eq!((sends(&written(mark)), deletes(&written(mark))), (1, 0), "replaced under its number");

    let mark = screen.output().len();
    region.above(|out| out.write_all(b"done\r\n")).expect("printed");
    draw_picture(&mut region, &mut canvas, Some(area), 2);
    let text = written(mark);
    let (delete, done) = (text.find("a=d,d=I").expect("deleted"), text.find("done").expect("printed"));
    assert!(delete < done && sends(&text) == 1, "deleted, printed, drawn again: {text:?}");

    let mark = screen.output().len();
    draw_picture(&mut region, &mut canvas, None, 0);
    assert_eq!((sends(&written(mark)), deletes(&written(mark))), (0, 1));
}

#[test]
fn what_replaces_a_sixel_is_not_blanked_with_it() {
    let screen = Screen::new(40, 10);
    let mut region = region(&screen, 40);
    let mut canvas = Canvas::new(&capabilities(Protocol::Sixel));
    let area = Rect::new(1, 0, 4, 2);
    draw_picture(&mut region, &mut canvas, Some(area), 1);
    region
        .draw(4, &mut canvas, |frame, _| frame.buffer_mut().set_string(0, 1, "text here", Style::new()))
        .expect("a frame");
    assert_eq!(screen.rows(), ["", "text here"]);
}

#[test]
fn a_picture_that_does_not_fit_is_left_out() {
    let screen = Screen::new(10, 10);
    let mut region = region(&screen, 10);
    let mut canvas = Canvas::new(&capabilities(Protocol::Kitty));
    draw_picture(&mut region, &mut canvas, Some(Rect::new(8, 0, 4, 2)), 1);
    assert!(!String::from_utf8_lossy(&screen.output()).contains("a=T"));
}
