//! The terminal's side of a pty.

#![expect(unsafe_code, reason = "ptys, sessions and signals have no safe interface in std")]

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::pictures::{self, Sequence, ShownPicture};

/// How long anything may take: much longer than it does, for machines under load.
const PATIENCE: Duration = Duration::from_secs(20);

/// A terminal's answers and environment.
#[derive(Clone, Copy)]
pub struct Profile {
    /// What tests call it.
    pub name: &'static str,
    /// Environment variables of programs started in it.
    pub env: &'static [(&'static str, &'static str)],
    /// What it answers to which query; queries not listed stay without an answer.
    pub answers: &'static [(&'static str, &'static str)],
    /// Whether it reads kitty graphics, files included.
    pub kitty: bool,
    /// How long it takes to answer.
    pub delay: Duration,
}

const XTVERSION: &str = "\x1b[>q";
const BACKGROUND: &str = "\x1b]11;?\x1b\\";
const CELL_SIZE: &str = "\x1b[16t";
const SYNC: &str = "\x1b[?2026$p";
const DA1: &str = "\x1b[c";

/// kitty 0.41: the kitty protocol, dark, 9×18 pixels a cell.
pub const KITTY: Profile = Profile {
    name: "kitty",
    env: &[("TERM", "xterm-kitty"), ("COLORTERM", "truecolor")],
    answers: &[
        (XTVERSION, "\x1bP>|kitty(0.41.1)\x1b\\"),
        (BACKGROUND, "\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\"),
        (CELL_SIZE, "\x1b[6;18;9t"),
        (SYNC, "\x1b[?2026;2$y"),
        (DA1, "\x1b[?62;52;c"),
    ],
    kitty: true,
    delay: Duration::ZERO,
};

/// iTerm2 3.5: its own pictures, light background.
pub const ITERM2: Profile = Profile {
    name: "iterm2",
    env: &[("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("TERM_PROGRAM", "iTerm.app")],
    answers: &[
        (XTVERSION, "\x1bP>|iTerm2 3.5.10\x1b\\"),
        (BACKGROUND, "\x1b]11;rgb:fefe/fefe/fefe\x07"),
        (CELL_SIZE, "\x1b[6;17;8t"),
        (SYNC, "\x1b[?2026;2$y"),
        (DA1, "\x1b[?65;4;18c"),
    ],
    kitty: false,
    delay: Duration::ZERO,
};

/// xterm with sixels: no re-flow, no synchronized updates.
pub const SIXEL: Profile = Profile {
    name: "sixel",
    env: &[("TERM", "xterm-256color"), ("XTERM_VERSION", "XTerm(379)")],
    answers: &[
        (XTVERSION, "\x1bP>|XTerm(379)\x1b\\"),
        (BACKGROUND, "\x1b]11;rgb:0000/0000/0000\x1b\\"),
        (CELL_SIZE, "\x1b[6;15;8t"),
        (DA1, "\x1b[?63;1;2;4;6;9;15;22c"),
    ],
    kitty: false,
    delay: Duration::ZERO,
};

/// tmux 3.5 in kitty, with `allow-passthrough on`.
pub const TMUX: Profile = Profile {
    name: "tmux",
    env: &[("TERM", "tmux-256color"), ("TMUX", "/tmp/tmux-0/default,1,0")],
    answers: &[
        (XTVERSION, "\x1bP>|tmux 3.5a\x1b\\"),
        (BACKGROUND, "\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\"),
        (CELL_SIZE, "\x1b[6;32;16t"),
        (DA1, "\x1b[?1;2;4c"),
    ],
    kitty: true,
    delay: Duration::ZERO,
};

/// A terminal that answers nothing at all.
pub const MUTE: Profile = Profile {
    name: "mute",
    env: &[("TERM", "xterm-256color")],
    answers: &[],
    kitty: false,
    delay: Duration::ZERO,
};

/// kitty at the end of a bad line: everything comes when nobody waits for it any more.
pub const SLOW: Profile = Profile { name: "slow", delay: Duration::from_millis(700), ..KITTY };

/// All of them.
pub const PROFILES: &[Profile] = &[KITTY, ITERM2, SIXEL, TMUX, MUTE, SLOW];

/// A terminal with a program in it.
pub struct FakeTerminal {
    child: Child,
    master: Option<std::fs::File>,
    parser: vt100::Parser,
    log: Vec<u8>,
    /// How much of the log was looked through for queries.
    looked_at: usize,
    profile: Profile,
    due: Vec<(Instant, Vec<u8>)>,
}

fn non_zero(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).expect("a size")
}

fn window_size(columns: u16, rows: u16) -> libc::winsize {
    libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: columns * 9, ws_ypixel: rows * 18 }
}

impl FakeTerminal {
    /// Starts `command` with the terminal as its controlling one.
    pub fn start(mut command: Command, profile: Profile, columns: u16, rows: u16) -> Self {
        let (mut master, mut slave) = (-1, -1);
        let mut size = window_size(columns, rows);
        let null = std::ptr::null_mut();
        // SAFETY: the pointers outlive the call; null is allowed for the name and the modes.
        let opened =
            unsafe { libc::openpty(&raw mut master, &raw mut slave, null, null.cast(), &raw mut size) };
        assert_eq!(opened, 0, "no pty");
        // SAFETY: both were just opened and belong to nobody else.
        let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        // SAFETY: flags of descriptors.
        unsafe {
            libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC);
            libc::fcntl(master.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
        }
        // what the terminal around the tests says must not be seen; what the test says must
        let ambient =
            ["TMUX", "TERM_PROGRAM", "COLORTERM", "NO_COLOR", "SSH_CONNECTION", "SSH_TTY", "LC_TERMINAL"];
        let said: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        for name in ambient.into_iter().filter(|name| !said.iter().any(|said| said == name)) {
            command.env_remove(name);
        }
        for (name, value) in profile.env.iter().filter(|(name, _)| !said.iter().any(|said| said == name)) {
            command.env(name, value);
        }
        let stdio = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        // SAFETY: setsid and ioctl are safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY as _, 0);
                Ok(())
            });
        }
        let child = command.spawn().expect("the program starts");
        Self {
            child,
            master: Some(master.into()),
            parser: vt100::Parser::new(non_zero(rows), non_zero(columns), 10_000),
            log: Vec::new(),
            looked_at: 0,
            profile,
            due: Vec::new(),
        }
    }

    /// The real program in a terminal.
    pub fn tintype(arguments: &[&str], profile: Profile, columns: u16, rows: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
        command.args(arguments);
        Self::start(command, profile, columns, rows)
    }

    /// Takes what the program wrote and answers its questions.
    pub fn pump(&mut self) {
        let mut bytes = [0; 16 * 1024];
        while let Some(Ok(n @ 1..)) = self.master.as_mut().map(|master| master.read(&mut bytes)) {
            self.log.extend_from_slice(&bytes[..n]);
            self.parser.process(&bytes[..n]);
        }
        self.answer();
    }

    fn answer(&mut self) {
        let (sequences, complete) = pictures::sequences(&self.log[self.looked_at..]);
        self.looked_at += complete;
        for sequence in sequences {
            if let Some(answer) = self.answer_to(&sequence) {
                self.due.push((Instant::now() + self.profile.delay, answer));
            }
        }
        let now = Instant::now();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let (_, answer) = self.due.remove(0);
            self.send(&answer);
        }
    }

    fn answer_to(&self, sequence: &Sequence) -> Option<Vec<u8>> {
        if let Some(command) = sequence.kitty() {
            let asks = self.profile.kitty && command.key("a") == Some("q");
            let id = command.key("i").unwrap_or_default().to_owned();
            return asks.then(|| {
                let result = if command.pixels().is_some() { "OK" } else { "EBADF" };
                format!("\x1b_Gi={id};{result}\x1b\\").into_bytes()
            });
        }
        let asked = sequence.raw();
        let found = self.profile.answers.iter().find(|(query, _)| query.as_bytes() == asked);
        found.map(|(_, answer)| answer.as_bytes().to_vec())
    }

    /// Waits until `condition` holds.
    pub fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.pump();
            if condition(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        panic!("{} never came: {what}\nscreen:\n{}", self.profile.name, self.screen());
    }

    /// Waits until the screen shows `text`.
    pub fn sees(&mut self, text: &str) {
        self.until(text, |terminal| terminal.screen().contains(text));
    }

    /// Keeps the terminal going for a while.
    pub fn rest(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.pump();
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        self.send(keys.as_bytes());
    }

    /// Pastes, with brackets.
    pub fn paste(&mut self, text: &str) {
        self.send(format!("\x1b[200~{text}\x1b[201~").as_bytes());
    }

    fn send(&mut self, mut bytes: &[u8]) {
        let start = Instant::now();
        while !bytes.is_empty() {
            assert!(start.elapsed() < PATIENCE, "the program does not read");
            match self.master.as_mut().expect("connected").write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                // the program may be waiting for us in turn
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let mut output = [0; 16 * 1024];
                    if let Some(Ok(n)) = self.master.as_mut().map(|master| master.read(&mut output)) {
                        self.log.extend_from_slice(&output[..n]);
                        self.parser.process(&output[..n]);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("the terminal cannot write: {error}"),
            }
        }
    }

    /// Gives the window another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.pump();
        self.parser.screen_mut().set_size(non_zero(rows), non_zero(columns));
        let size = window_size(columns, rows);
        let master = self.master.as_ref().expect("connected").as_raw_fd();
        // SAFETY: the size outlives the call. The kernel sends SIGWINCH to the foreground group.
        assert_eq!(unsafe { libc::ioctl(master, libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    /// What the screen shows, rows ended by line feeds.
    pub fn screen(&self) -> String {
        self.parser.screen().contents()
    }

    /// vt100's screen, for attributes, the cursor and modes.
    pub fn vt(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// The scrollback and the screen, row by row.
    pub fn history(&mut self) -> Vec<String> {
        let screen = self.parser.screen_mut();
        let (rows, columns) = screen.size();
        let trim = |row: String| row.trim_end().to_owned();
        screen.set_scrollback(usize::MAX);
        let mut offset = screen.scrollback();
        let mut history = Vec::new();
        while offset > 0 {
            screen.set_scrollback(offset);
            let take = offset.min(rows.get().into());
            history.extend(screen.rows(0, columns.get()).take(take).map(trim));
            offset -= take;
        }
        screen.set_scrollback(0);
        history.extend(screen.rows(0, columns.get()).map(trim));
        history
    }

    /// Every byte that the program wrote.
    pub fn raw(&self) -> &[u8] {
        &self.log
    }

    /// The pictures that were sent from byte `from` of [`FakeTerminal::raw`] on, in order.
    pub fn pictures(&self, from: usize) -> Vec<ShownPicture> {
        pictures::decode(&self.log[from..])
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the child is ours and not yet waited for.
        unsafe { libc::kill(self.child.id().try_into().expect("a pid"), signal) };
    }

    /// Sends a signal to the foreground job, of which the program started here may be the shell.
    pub fn signal_program(&self, signal: i32) {
        let master = self.master.as_ref().expect("connected").as_raw_fd();
        // SAFETY: both calls take numbers only.
        unsafe { libc::kill(-libc::tcgetpgrp(master), signal) };
    }

    /// From now on no file of the program may grow beyond so many bytes: what a full disk is to it.
    #[cfg(target_os = "linux")]
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit =
            libc::rlimit { rlim_cur: bytes.unwrap_or(libc::RLIM_INFINITY), rlim_max: libc::RLIM_INFINITY };
        let pid = self.child.id().try_into().expect("a pid");
        // SAFETY: the limit outlives the call, and the old one is not asked for.
        let set = unsafe { libc::prlimit(pid, libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut()) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    /// Closes the window.
    pub fn hang_up(&mut self) {
        self.master = None;
    }

    /// Whether the terminal's modes are those of a shell: echo, lines, signals.
    pub fn is_cooked(&self) -> bool {
        let master = self.master.as_ref().expect("connected").as_raw_fd();
        // SAFETY: termios is plain data that tcgetattr fills.
        let modes = unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(master, &raw mut modes), 0);
            modes
        };
        let wanted = libc::ICANON | libc::ECHO | libc::ISIG;
        modes.c_lflag & wanted == wanted && modes.c_iflag & libc::ICRNL != 0
    }

    /// Whether everything that a program may switch on is off again.
    pub fn is_sane(&self) -> bool {
        let screen = self.parser.screen();
        self.is_cooked() && !screen.bracketed_paste() && !screen.hide_cursor() && !screen.alternate_screen()
    }

    /// The program's processor time so far, where the system tells it (Linux).
    pub fn cpu_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let fields: Vec<u64> =
            stat.rsplit_once(')')?.1.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // after the state letter: utime and stime are the 14th and 15th of all fields, in hundredths of a second
        Some(Duration::from_millis((fields.get(10)? + fields.get(11)?) * 10))
    }

    /// Waits for the program's end.
    pub fn exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            self.pump();
            if let Some(status) = self.child.try_wait().expect("a child") {
                self.pump();
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "still running; screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

impl Drop for FakeTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
