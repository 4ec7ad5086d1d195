#!/usr/bin/env python3
"""driver.py OUT STEP... -- COMMAND...   Drives a program from inside a terminal.

Runs COMMAND on a pty of its own, copies everything both ways (so the terminal's answers reach the program), and does
the steps one after another. No key goes through X: it works the same in every terminal. Steps:
  wait:TEXT    until the program has written TEXT since the last step (two minutes at most)
  type:TEXT    types TEXT, with Python's escapes
  sleep:S      waits S seconds
  shot:NAME    asks whoever watches OUT for a screenshot OUT/NAME.png and waits for it
  resize:CxR   asks for another window size and waits until it has come
When the program ends, its exit code is in OUT/status; a step that failed is in OUT/failed. OUT/cell has the size of a
cell in pixels, OUT/output every byte that the program wrote.
"""
import fcntl, os, pty, re, select, signal, struct, sys, termios, time, tty

out, rest = sys.argv[1], sys.argv[2:]
steps, command = rest[:rest.index("--")], rest[rest.index("--") + 1:]
PATIENCE = 120


def size():
    return fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)


def cell():
    """The terminal's own answer, else what the kernel knows, else 0."""
    os.write(1, b"\x1b[16t\x1b[c")
    answer, end = b"", time.time() + 1
    while not re.search(rb"\x1b\[\?[\d;]*c", answer) and time.time() < end:
        if select.select([0], [], [], 0.1)[0]:
            answer += os.read(0, 1024)
    told = re.search(rb"\x1b\[6;(\d+);(\d+)t", answer)
    if told:
        return int(told[2]), int(told[1])
    rows, columns, width, height = struct.unpack("HHHH", size())
    return width // columns, height // rows


old = termios.tcgetattr(0)
tty.setraw(0)
with open(f"{out}/cell", "w") as f:
    print(*cell(), file=f)
pid, fd = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
resized = lambda *_: fcntl.ioctl(fd, termios.TIOCSWINSZ, size())
resized()
signal.signal(signal.SIGWINCH, resized)
log = open(f"{out}/output", "wb")
written, begun, mark = b"", time.time(), 0


def fail(step):
    with open(f"{out}/failed", "a") as f:
        print(step, file=f)


def done(step):
    """Whether a step is over; called again and again."""
    kind, _, text = step.partition(":")
    age = time.time() - begun
    if kind == "wait":
        if text.encode() in written[mark:]:
            return True
        if age > PATIENCE:
            fail(step)
        return age > PATIENCE
    if kind == "type":
        os.write(fd, text.encode().decode("unicode_escape").encode("latin1"))
        return True
    if kind == "sleep":
        return age >= float(text)
    if kind in ("shot", "resize"):
        wish = f"{out}/{kind}-{text}"
        if not os.path.exists(wish) and not os.path.exists(f"{wish}.done"):
            open(wish, "w").close()
        return os.path.exists(f"{wish}.done")
    raise SystemExit(f"unknown step {step}")


try:
    while True:
        while steps and done(steps[0]):
            if steps.pop(0).startswith("wait:"):
                mark = len(written)
            begun = time.time()
        try:
            ready = select.select([0, fd], [], [], 0.02)[0]
        except InterruptedError:
            continue
        if fd in ready:
            try:
                got = os.read(fd, 65536)
            except OSError:
                break
            if not got:
                break
            written += got
            log.write(got)
            log.flush()
            while got:
                got = got[os.write(1, got):]
        if 0 in ready:
            os.write(fd, os.read(0, 4096))
finally:
    termios.tcsetattr(0, termios.TCSADRAIN, old)
_, status = os.waitpid(pid, 0)
for step in steps:
    fail(f"not reached: {step}")
with open(f"{out}/status", "w") as f:
    print(os.waitstatus_to_exitcode(status), file=f)
