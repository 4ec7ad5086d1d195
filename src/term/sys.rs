//! The few system calls that neither std nor a crate offers safely: ptys, `select`, descriptors, job control.
//!
//! All `unsafe` of the terminal lives here, behind safe functions. It must not know what the descriptors are for.

#![expect(unsafe_code, reason = "thin wrappers around libc; every call states why it is sound")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::time::Duration;

/// Descriptors above this are not looked at; `select` cannot wait for them either.
const MAX_FD: RawFd = 1024;

/// Size of a terminal; the pixels are 0 where the terminal does not tell them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WindowSize {
    pub cols: u16,
    pub rows: u16,
    pub width_px: u16,
    pub height_px: u16,
}

impl WindowSize {
    fn to_raw(self) -> libc::winsize {
        libc::winsize {
            ws_row: self.rows,
            ws_col: self.cols,
            ws_xpixel: self.width_px,
            ws_ypixel: self.height_px,
        }
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set_close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD changes a flag of the descriptor and touches no memory.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }).map(drop)
}

/// Whether `fd` is an open terminal.
pub(super) fn is_tty(fd: RawFd) -> bool {
    // SAFETY: isatty only looks the number up; a closed one is "no".
    unsafe { libc::isatty(fd) == 1 }
}

/// All open descriptors beyond the standard three that are terminals.
pub(super) fn tty_fds() -> Vec<RawFd> {
    (3..MAX_FD).filter(|&fd| is_tty(fd)).collect()
}

/// Standard output as a file of its own: unbuffered, so that one `write_all` is one `write`.
///
/// # Errors
/// When the descriptor cannot be duplicated.
pub(super) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<File> {
    fd.try_clone_to_owned().map(File::from)
}

/// A pseudo-terminal: (master, slave). The master does not block.
///
/// # Errors
/// When the system has no pty left.
pub(super) fn open_pty(size: WindowSize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    let mut raw = size.to_raw();
    // SAFETY: the two integers and the size outlive the call; null means "no name, default modes".
    check(unsafe { libc::openpty(&raw mut master, &raw mut slave, null_mut(), null_mut(), &raw mut raw) })?;
    // SAFETY: openpty succeeded, both are open and nobody else has them.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    set_close_on_exec(master.as_raw_fd())?;
    set_close_on_exec(slave.as_raw_fd())?;
    // SAFETY: F_SETFL changes a flag of the descriptor and touches no memory.
    check(unsafe { libc::fcntl(master.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((master, slave))
}

/// Takes echo, line buffering, signals and CR translation off a terminal.
///
/// # Errors
/// When `fd` is no terminal.
pub(super) fn make_silent(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: termios is plain data, all zero is a value of it; tcgetattr fills it.
    let mut modes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: `modes` outlives the call.
    check(unsafe { libc::tcgetattr(fd.as_raw_fd(), &raw mut modes) })?;
    modes.c_lflag &= !(libc::ECHO | libc::ICANON | libc::ISIG | libc::IEXTEN);
    modes.c_iflag &= !(libc::ICRNL | libc::IXON);
    // SAFETY: as above.
    check(unsafe { libc::tcsetattr(fd.as_raw_fd(), libc::TCSANOW, &raw const modes) }).map(drop)
}

/// Makes descriptor `target` mean what `source` means.
///
/// # Errors
/// When `target` is out of range.
pub(super) fn redirect(source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: dup2 closes and replaces `target` in one step; its owner keeps a valid descriptor.
    check(unsafe { libc::dup2(source.as_raw_fd(), target) })?;
    if target > 2 { set_close_on_exec(target) } else { Ok(()) }
}

/// The size of the terminal behind `fd`.
///
/// # Errors
/// When `fd` is no terminal.
pub(super) fn window_size(fd: BorrowedFd<'_>) -> io::Result<WindowSize> {
    let mut raw = WindowSize::default().to_raw();
    // SAFETY: TIOCGWINSZ fills a winsize, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut raw) })?;
    Ok(WindowSize { cols: raw.ws_col, rows: raw.ws_row, width_px: raw.ws_xpixel, height_px: raw.ws_ypixel })
}

/// Tells a pty's other side that its terminal has another size.
///
/// # Errors
/// When `fd` is no terminal.
pub(super) fn set_window_size(fd: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let raw = size.to_raw();
    // SAFETY: TIOCSWINSZ reads a winsize, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const raw) }).map(drop)
}

/// Waits until one of `fds` can be read (or has hung up) and says which; none after `timeout` or a signal.
///
/// `select`, not `poll`: macOS' `poll` does not work on terminals.
///
/// # Errors
/// When a descriptor is closed or beyond `FD_SETSIZE`.
pub(super) fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    // SAFETY: fd_set is plain data, all zero is the empty set.
    let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
    let mut end = 0;
    for fd in fds {
        let raw = fd.as_raw_fd();
        if raw >= MAX_FD {
            return Err(io::Error::other("too many open files to wait for the terminal"));
        }
        // SAFETY: `raw` is open (borrowed) and below FD_SETSIZE.
        unsafe { libc::FD_SET(raw, &raw mut set) };
        end = end.max(raw + 1);
    }
    let mut limit = timeout.map(|t| libc::timeval {
        tv_sec: t.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_usec: t.subsec_micros() as libc::suseconds_t,
    });
    let limit = limit.as_mut().map_or(null_mut(), std::ptr::from_mut);
    // SAFETY: the set and the limit outlive the call.
    let ready = unsafe { libc::select(end, &raw mut set, null_mut(), null_mut(), limit) };
    if ready == -1 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted {
            Ok(vec![false; fds.len()])
        } else {
            Err(error)
        };
    }
    // SAFETY: as for FD_SET.
    Ok(fds.iter().map(|fd| ready > 0 && unsafe { libc::FD_ISSET(fd.as_raw_fd(), &raw const set) }).collect())
}

/// Stops the whole foreground job as the kernel would on Ctrl-Z; returns when it is continued.
///
/// The default action, not `SIGSTOP`: where no shell could continue us (orphaned process group) it does nothing.
///
/// # Errors
/// When the signal cannot be sent.
pub(super) fn stop_job() -> io::Result<()> {
    // SAFETY: sigaction is plain data; all live through the calls; SIG_IGN and SIG_DFL run no code of ours.
    unsafe {
        let mut other: libc::sigaction = std::mem::zeroed();
        let mut ours: libc::sigaction = std::mem::zeroed();
        // The others of the job first, without us. A signal to the process may be taken by any of its threads,
        // and this one would go on for a moment and make the terminal raw again under the shell's hands; one to
        // this thread stops it before `raise` returns.
        other.sa_sigaction = libc::SIG_IGN;
        check(libc::sigaction(libc::SIGTSTP, &raw const other, &raw mut ours))?;
        let sent = check(libc::kill(0, libc::SIGTSTP));
        other.sa_sigaction = libc::SIG_DFL;
        check(libc::sigaction(libc::SIGTSTP, &raw const other, null_mut()))?;
        let sent = sent.and(check(libc::raise(libc::SIGTSTP)));
        let restored = check(libc::sigaction(libc::SIGTSTP, &raw const ours, null_mut()));
        sent.and(restored).map(drop)
    }
}

/// Ends the process at once, without running anything else: for when the terminal is gone.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit does not return and runs no handlers that could find locks held.
    unsafe { libc::_exit(code) }
}
