use crossterm::event::{KeyCode, KeyModifiers};
use proptest::prelude::*;

use super::tokenizer::{Report, Token, Tokenizer};
use super::*;

const NONE: KeyModifiers = KeyModifiers::NONE;
const SHIFT: KeyModifiers = KeyModifiers::SHIFT;
const ALT: KeyModifiers = KeyModifiers::ALT;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

fn key(code: KeyCode, modifiers: KeyModifiers) -> Token {
    Token::Key(KeyEvent::new(code, modifiers))
}

fn tokens(bytes: &[u8]) -> Vec<Token> {
    let mut tokenizer = Tokenizer::default();
    let mut tokens = tokenizer.push(bytes);
    tokens.extend(tokenizer.flush());
    tokens
}

#[test]
fn keys_are_what_terminals_send() {
    use KeyCode::{
        BackTab, Backspace, Char, Delete, Down, End, Enter, Esc, F, Home, Insert, Left, PageUp, Tab, Up,
    };
    let table: &[(&str, KeyCode, KeyModifiers)] = &[
        ("a", Char('a'), NONE),
        ("A", Char('A'), SHIFT),
        ("é", Char('é'), NONE),
        ("日", Char('日'), NONE),
        ("\r", Enter, NONE),
        ("\n", Char('j'), CONTROL),
        ("\t", Tab, NONE),
        ("\x1b[Z", BackTab, SHIFT),
        ("\x7f", Backspace, NONE),
        ("\x08", Char('h'), CONTROL),
        ("\x03", Char('c'), CONTROL),
        ("\0", Char(' '), CONTROL),
        ("\x1f", Char('_'), CONTROL),
        ("\x1b", Esc, NONE),
        ("\x1bb", Char('b'), ALT),
        ("\x1bP", Char('P'), ALT),
        ("\x1b]", Char(']'), ALT),
        ("\x1bé", Char('é'), ALT),
        ("\x1b\r", Enter, ALT),
        ("\x1b\x7f", Backspace, ALT),
        ("\x1b\x1b[A", Up, ALT),
        ("\x1b[A", Up, NONE),
        ("\x1bOB", Down, NONE),
        ("\x1b[1;5D", Left, CONTROL),
        ("\x1b[1;2H", Home, SHIFT),
        ("\x1b[F", End, NONE),
        ("\x1b[1~", Home, NONE),
        ("\x1b[8~", End, NONE),
        ("\x1b[2~", Insert, NONE),
        ("\x1b[3;5~", Delete, CONTROL),
        ("\x1b[5~", PageUp, NONE),
        ("\x1bOP", F(1), NONE),
        ("\x1bOQ", F(2), NONE),
        ("\x1b[12~", F(2), NONE),
        ("\x1b[[B", F(2), NONE),
        ("\x1b[1;5Q", F(2), CONTROL),
        ("\x1b[15~", F(5), NONE),
        ("\x1b[24~", F(12), NONE),
        ("\x1b[13;2u", Enter, SHIFT),
        ("\x1b[97;5u", Char('a'), CONTROL),
        ("\x1b[97;5:1u", Char('a'), CONTROL),
    ];
    for (bytes, code, modifiers) in table {
        assert_eq!(tokens(bytes.as_bytes()), [key(*code, *modifiers)], "{bytes:?}");
    }
}

#[test]
fn answers_are_no_keys() {
    let table: &[(&str, Report)] = &[
        ("\x1b[?62;4;52c", Report::PrimaryAttributes { sixel: true }),
        ("\x1b[?62;52;c", Report::PrimaryAttributes { sixel: false }),
        ("\x1bP>|kitty(0.41.1)\x1b\\", Report::Version("kitty(0.41.1)".into())),
        ("\x1b]11;rgb:1e1e/2e2e/ffff\x1b\\", Report::Background([0x1e, 0x2e, 0xff])),
        ("\x1b]11;rgb:1/8/f\x07", Report::Background([0x11, 0x88, 0xff])),
        ("\x1b]11;rgba:ffff/0000/8080/ffff\x07", Report::Background([255, 0, 0x80])),
        ("\x1b]11;nonsense\x07", Report::Other),
        ("\x1b[6;18;9t", Report::CellSize { width: 9, height: 18 }),
        ("\x1b[4;600;800t", Report::Other),
        ("\x1b[?2026;2$y", Report::Mode { mode: 2026, state: 2 }),
        ("\x1b_Gi=31;OK\x1b\\", Report::Kitty { id: 31, ok: true }),
        ("\x1b_Gi=33;EBADF:no file\x1b\\", Report::Kitty { id: 33, ok: false }),
        ("\x1b[12;40R", Report::Other),
        ("\x1b[?997;1n", Report::Other),
        ("\x1b[I", Report::Other),
    ];
    for (bytes, report) in table {
        let text = format!("x{bytes}y");
        let expected =
            [key(KeyCode::Char('x'), NONE), Token::Report(report.clone()), key(KeyCode::Char('y'), NONE)];
        assert_eq!(tokens(text.as_bytes()), expected, "{bytes:?}");
    }
}

#[test]
fn pastes_are_one_text_wherever_they_are_cut() {
    let bytes = "a\x1b[200~one\rtwo\r\n\x1b[3mdrei 日本\x1b[201~b".as_bytes();
    let text = "one\ntwo\n\x1b[3mdrei 日本".to_owned();
    let expected = [key(KeyCode::Char('a'), NONE), Token::Paste(text), key(KeyCode::Char('b'), NONE)];
    for cut in 0..bytes.len() {
        let mut tokenizer = Tokenizer::default();
        let mut tokens = tokenizer.push(&bytes[..cut]);
        tokens.extend(tokenizer.push(&bytes[cut..]));
        assert_eq!(tokens, expected, "cut at {cut}");
    }
}

#[test]
fn what_is_unfinished_waits_and_is_then_decided() {
    let mut tokenizer = Tokenizer::default();
    assert_eq!(tokenizer.push(b"\x1b"), []);
    assert_eq!(tokenizer.pending(), Some(tokenizer::Pending::Escape));
    assert_eq!(tokenizer.push(b"[A"), [key(KeyCode::Up, NONE)]);
    assert_eq!(tokenizer.pending(), None);
    assert_eq!(tokenizer.push(b"\x1bP>|kit"), []);
    assert_eq!(tokenizer.pending(), Some(tokenizer::Pending::Report));
    assert_eq!(tokenizer.flush(), [], "an answer that broke off is not typed");
    assert_eq!(tokenizer.push(b"a"), [key(KeyCode::Char('a'), NONE)]);
    assert_eq!(tokenizer.push(b"\x1b[200~half"), []);
    assert_eq!(tokenizer.pending(), None, "a paste may take its time");
}

#[test]
fn noise_is_dropped_and_the_rest_stays() {
    assert_eq!(tokens(b"\xff\x80a"), [key(KeyCode::Char('a'), NONE)]);
    assert_eq!(tokens(b"\x1b[99999999a"), [], "no key that we know");
    assert_eq!(tokens(b"\x1b[1;\rb"), [key(KeyCode::Enter, NONE), key(KeyCode::Char('b'), NONE)]);
    assert_eq!(tokens("\x1b[".repeat(3).as_bytes()), [key(KeyCode::Char('['), ALT)]);
}

#[test]
fn encoded_keys_are_read_back_as_the_same_keys() {
    for bytes in [
        "a",
        "é",
        "\r",
        "\t",
        "\x7f",
        "\x03",
        "\x1bb",
        "\x1b\r",
        "\x1b[A",
        "\x1b[1;5D",
        "\x1b[3;5~",
        "\x1b[Z",
    ] {
        let read = tokens(bytes.as_bytes());
        let [Token::Key(event)] = &read[..] else { panic!("{read:?}") };
        assert_eq!(encode_key(event), bytes.as_bytes(), "{bytes:?}");
    }
    let encode = |code, modifiers| encode_key(&KeyEvent::new(code, modifiers));
    assert_eq!(encode(KeyCode::Enter, SHIFT), b"\x1b\r", "a new line");
    assert_eq!(encode(KeyCode::Esc, NONE), b"", "rustyline would wait for more");
    assert_eq!(encode(KeyCode::Char('['), CONTROL), b"", "the same key");
    assert_eq!(encode(KeyCode::F(5), NONE), b"");
}

#[test]
fn a_paste_cannot_end_itself() {
    assert_eq!(encode_paste("a\x1b[201~\rb"), b"\x1b[200~a\rb\x1b[201~");
}

proptest! {
    #[test]
    fn cutting_the_stream_changes_nothing(bytes in proptest::collection::vec(
        prop_oneof![Just(0x1b), Just(b'['), Just(b'O'), Just(b'P'), Just(b'~'), Just(b'\\'), Just(b';'), any::<u8>()], 0..60,
    ), cut in 0_usize..60) {
        let cut = cut.min(bytes.len());
        let mut whole = Tokenizer::default();
        let expected = whole.push(&bytes);
        let mut parts = Tokenizer::default();
        let mut tokens = parts.push(&bytes[..cut]);
        tokens.extend(parts.push(&bytes[cut..]));
        prop_assert_eq!(tokens, expected);
        prop_assert_eq!(parts.flush(), whole.flush());
    }
}

#[test]
fn wakes_are_counted_once_and_cross_threads() {
    let (tty, _other) = UnixStream::pair().expect("a pair");
    let mut events = Events::new(File::from(std::os::fd::OwnedFd::from(tty))).expect("events");
    let waker = events.waker();
    for _ in 0..10_000 {
        waker.wake();
    }
    assert_eq!(events.next(None, None).expect("works"), Some(Event::Wake));
    while events.next(None, Some(Duration::ZERO)).expect("works").is_some() {}
    let thread = std::thread::spawn(move || waker.wake());
    assert_eq!(events.next(None, None).expect("works"), Some(Event::Wake));
    thread.join().expect("ends");
    let start = Instant::now();
    assert_eq!(events.next(None, Some(Duration::from_millis(20))).expect("works"), None);
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_lone_escape_comes_after_its_delay_and_a_hang_up_once() {
    let (tty, mut terminal) = UnixStream::pair().expect("a pair");
    let mut events = Events::new(File::from(std::os::fd::OwnedFd::from(tty))).expect("events");
    terminal.write_all(b"\x1b").expect("written");
    let start = Instant::now();
    let escape = Event::Key(KeyEvent::new(KeyCode::Esc, NONE));
    assert_eq!(events.next(None, Some(Duration::from_secs(5))).expect("works"), Some(escape));
    assert!((ESCAPE_DELAY..Duration::from_secs(2)).contains(&start.elapsed()));
    drop(terminal);
    assert_eq!(events.next(None, None).expect("works"), Some(Event::HungUp));
    assert_eq!(events.next(None, Some(Duration::from_millis(10))).expect("works"), None, "no spinning");
}
