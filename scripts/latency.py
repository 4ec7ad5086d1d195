#!/usr/bin/env python3
"""How quick and how quiet the prompt is: key to echo, bytes and processor time a frame, and what idling costs.

    cargo build --release
    scripts/latency.py [--program target/release/tintype] [--into docs/benchmarks.md] [--short]

Linux only (it reads /proc). Plays a terminal on a pty: 100×30 cells of 9×18 pixels, answers as kitty does, draws
nothing. A key is a Cyrillic letter, which no escape sequence and no base64 contains; its echo is the moment at which
its bytes have been read here, so the times hold the scheduling of both processes. "Generating" is the CPU engine with
the embedded model on all cores. Processor time is the kernel's, of all threads, in nanoseconds (schedstat).
--into replaces what stands between the two marks in that file; without it the table goes to standard output.
"""
import argparse, fcntl, os, platform, pty, random, re, select, shutil, signal, statistics, struct, sys, tempfile
import termios, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LETTERS = "бвгджзиклмнптфцчшщыэюя"
PICTURE = b"\x1b_Ga=T"
FRAME = b"\x1b[?2026h"
BEGIN, END = "<!-- scripts/latency.py -->", "<!-- /scripts/latency.py -->"
ANSWERS = [
    (b"\x1b[>q", b"\x1bP>|kitty(0.41.1)\x1b\\"),
    (b"\x1b]11;?", b"\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\"),
    (b"\x1b[16t", b"\x1b[6;18;9t"),
    (b"\x1b[?2026$p", b"\x1b[?2026;2$y"),
    (b"\x1b[c", b"\x1b[?62;52;c"),
]


class Prompt:
    """The program on a pty of ours."""

    def __init__(self, program, *arguments):
        self.home = tempfile.mkdtemp(prefix="tintype-latency-")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for name in ("NO_COLOR", "TMUX", "TERM_PROGRAM"):
                os.environ.pop(name, None)
            os.environ.update(TINTYPE_HOME=self.home, TERM="xterm-kitty", COLORTERM="truecolor")
            os.execv(program, [program, *arguments])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 900, 540))
        self.seen = b""
        self.answered = 0
        self.until("tintype ›".encode())
        self.drain(1)

    def read(self, seconds):
        """What comes within this time, at once; nothing if nothing comes."""
        if not select.select([self.fd], [], [], max(0, seconds))[0]:
            return b""
        try:
            got = os.read(self.fd, 1 << 20)
        except OSError:
            raise SystemExit("the program ended: " + self.seen[-400:].decode(errors="replace"))
        self.seen = (self.seen + got)[-1 << 22:]
        if self.answered < len(ANSWERS):
            for query, answer in ANSWERS:
                if query in got:
                    self.answered += 1
                    os.write(self.fd, answer)
        return got

    def drain(self, seconds):
        end, out = time.perf_counter() + seconds, []
        while (left := end - time.perf_counter()) > 0:
            out.append(self.read(left))
        return b"".join(out)

    def until(self, *texts, seconds=60):
        end = time.perf_counter() + seconds
        while not any(text in self.seen for text in texts):
            if time.perf_counter() > end:
                raise SystemExit(f"{texts} never came: " + self.seen[-400:].decode(errors="replace"))
            self.read(0.1)

    def type(self, text):
        os.write(self.fd, text.encode())

    def processor_ns(self):
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                pass
        return total

    def echo(self):
        """Milliseconds from a key to its echo."""
        letter = random.choice(LETTERS).encode()
        started, tail = time.perf_counter(), b""
        os.write(self.fd, letter)
        while letter not in tail:
            got = self.read(5)
            if not got:
                raise SystemExit("a key was never echoed")
            tail = tail[-1:] + got
        return (time.perf_counter() - started) * 1e3

    def echoes(self, keys):
        times = []
        while len(times) < keys:
            for _ in range(20):
                self.drain(random.uniform(0.03, 0.08))
                times.append(self.echo())
            self.type("\x15")
            self.drain(0.1)
        return times

    def leave(self):
        os.kill(self.pid, signal.SIGTERM)
        while True:
            try:
                if not os.read(self.fd, 1 << 16):
                    break
            except OSError:
                break
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        shutil.rmtree(self.home, ignore_errors=True)


def latency(program, keys):
    rows = []
    for name, job in [("idle", None), ("generating, 128×128", "a red house -s 1000"),
                      ("generating, 256×256", "a red house -s 1000 256x256")]:
        prompt = Prompt(program, "--device", "cpu", "--images", "kitty")
        if job:
            prompt.type(job + "\r")
            prompt.until(PICTURE)  # the first preview
        before = prompt.processor_ns(), time.perf_counter()
        times = sorted(prompt.echoes(keys))
        busy = (prompt.processor_ns() - before[0]) / 1e9 / (time.perf_counter() - before[1])
        if job and b"seed " in prompt.seen:
            print("the job ended before the last key", file=sys.stderr)
        prompt.leave()
        p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        rows.append(f"| {name} | {statistics.median(times):.2f} | {p99:.2f} | {times[-1]:.2f} | {busy:.2f} |")
    return rows


def frames(program, seconds):
    rows = []
    for protocol in ["kitty", "iterm2", "sixel", "half-blocks", "none"]:
        prompt = Prompt(program, "--fake=100", "--images", protocol)
        prompt.type("a red house -s 1000\r")
        prompt.drain(3)  # loading, warming up
        before = prompt.processor_ns()
        out = prompt.drain(seconds)
        spent = prompt.processor_ns() - before
        prompt.leave()
        count = max(1, out.count(FRAME))
        rows.append(f"| {protocol} | {count / seconds:.1f} | {len(out) / count:,.0f} | {spent / count / 1e6:.2f} |")
    return rows


def idle(program, seconds):
    rows = []
    for name, job in [("after the start", None), ("after a picture", "a red house")]:
        prompt = Prompt(program, "--device", "cpu", "--images", "kitty")
        if job:
            prompt.type(job + "\r")
            prompt.until(b"seed ")
        prompt.drain(3)
        before = prompt.processor_ns()
        out = prompt.drain(seconds)
        spent = prompt.processor_ns() - before
        prompt.leave()
        rows.append(f"| {name} | {len(out)} | {spent / 1e6:.2f} |")
    return rows


def machine(program):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    model = model[1] if model else platform.machine()
    profile = "release" if "/release/" in program else "development"
    load = os.getloadavg()[0]
    return (f"{profile} profile, {os.cpu_count()} cores of {model}, Linux {platform.release().split('-')[0]}, "
            f"load {load:.1f} when it began.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "target/release/tintype"))
    parser.add_argument("--into", type=Path)
    parser.add_argument("--short", action="store_true", help="a quick look: 60 keys, 3 s of frames, 5 s of idling")
    options = parser.parse_args()
    keys, moving, still = (60, 3, 5) if options.short else (500, 15, 60)
    program = str(Path(options.program).resolve())
    about = machine(program)
    text = "\n".join([
        BEGIN,
        f"Measured by `scripts/latency.py`: {about}",
        "",
        f"Key to echo, {keys} keys each, 30 to 80 ms apart:",
        "",
        "| engine | median ms | p99 ms | longest ms | cores busy |",
        "|---|---|---|---|---|",
        *latency(program, keys),
        "",
        "The live panel at ten steps a second, the scripted engine (which computes gradients, nothing else):",
        "",
        "| pictures | frames a second | bytes a frame | processor ms a frame |",
        "|---|---|---|---|",
        *frames(program, moving),
        "",
        f"Idle for {still} s:",
        "",
        "| | bytes written | processor ms |",
        "|---|---|---|",
        *idle(program, still),
        END,
    ])
    if not options.into:
        print(text)
        return
    old = options.into.read_text()
    if BEGIN not in old or END not in old:
        raise SystemExit(f"{options.into} has no place for it: put {BEGIN} and {END} into it")
    options.into.write_text(old[: old.index(BEGIN)] + text + old[old.index(END) + len(END):])


main()
