#!/usr/bin/env python3
"""test_viewer - the screen by VNC and in a window: pictures, keys, the mouse, the end.

    test_viewer.py TINAMOU IMAGES vnc|window

guests/input.S tells every byte of its keyboard and mouse at port E9h. The VNC client is rfb.py.
The window is one of SDL's dummy driver, which writes each picture into a file. Exit status 77:
the viewer is not built, or SDL is not here.
"""
import os
import pathlib
import pty
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import rfb

TINAMOU, IMAGES, KIND = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), sys.argv[3]
# VGA's default palette: 1 is blue, 2 green, 30h and on as the BIOS sets them.
BLUE, GREEN = (0, 0, 0xaa), (0, 0xaa, 0)
checks = []


def check(name, good, why=""):
    good = bool(good)
    checks.append(good)
    print(f"{'ok  ' if good else 'FAIL'} {name} {'' if good else why}".rstrip(), flush=True)


class Run:
    """The guest under a display; e9: what it told so far."""

    def __init__(self, work, display, *options, timeout=60):
        self.image, self.told = work / "input.img", work / "e9"
        self.image.write_bytes((IMAGES / "input.bin").read_bytes().ljust(1 << 20, b"\0"))
        self.told.write_bytes(b"")
        self.process = subprocess.Popen(
            [TINAMOU, "run", "--engine", "interpret", "--firmware", "bios", "--disk",
             f"{self.image},format=raw,ro", "--display", display, "--debugcon", f"file:{self.told}",
             "--timeout", str(timeout), *options],
            cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, wanted, limit=30):
        """What the guest tells ends with these bytes."""
        end = time.monotonic() + limit
        while time.monotonic() < end and self.process.poll() is None:
            if self.told.read_bytes().endswith(wanted):
                return True
            time.sleep(0.02)
        return self.told.read_bytes().endswith(wanted)

    def viewer(self, name):
        """The viewer's process, or None."""
        for path in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            if pathlib.Path(f"/proc/{path}/comm").read_text().strip() == name:
                return int(path)
        return None

    def end(self, limit=20):
        out, err = self.process.communicate(timeout=limit)
        return self.process.returncode, err


def wait_until(condition, limit=10):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def all_of(colour):
    """Is the middle of the picture that colour?"""
    def wanted(c):
        at = (c.height // 2 * c.width + c.width // 2) * 3
        return (c.width, c.height) == (640, 400) and tuple(c.rgb()[at:at + 3]) == colour
    return wanted


def confined(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status


def vnc_session(work):
    path = work / "vnc.sock"
    run = Run(work, f"vnc={path}")
    try:
        vnc_talk(run, path)
    except OSError as why:
        run.process.terminate()
        check("the connection holds", False, f"{why}; the run: {run.end()}")


def vnc_talk(run, path):
    check("the socket is there", wait_until(path.exists))
    check("for its owner alone", path.stat().st_mode & 0o777 == 0o600)
    client, other = rfb.Client(str(path)), rfb.Client(str(path))
    check("the guest's first picture", client.frame(all_of(BLUE)), f"{client.width}x{client.height}")
    check("the mouse answers", run.wait_for(b"m\xfa"), run.told.read_bytes())
    pid = run.viewer("tinamou-vnc")
    check("the viewer is confined", pid and confined(pid))
    client.type("1")
    check("a key", run.wait_for(b"k\x02k\x82"), run.told.read_bytes())
    check("the picture follows", client.frame(all_of(GREEN)))
    check("a second client sees it, too", other.frame(all_of(GREEN)))
    client.type("A")
    check("with Shift", run.wait_for(b"k\x2ak\x1ek\x9ek\xaa"), run.told.read_bytes())
    client.key(0xff51, True)
    client.key(0xff51, False)
    check("an arrow", run.wait_for(b"k\xe0k\x4bk\xe0k\xcb"), run.told.read_bytes())
    client.pointer(100, 100, 0)
    client.pointer(110, 95, 1)
    check("the mouse", run.wait_for(b"m\x09m\x0am\x05"), run.told.read_bytes())
    bad_clients(str(path), client)
    other.close()
    client.type("\x1b")
    status, err = run.end()
    check("the guest's end is the run's", status == 1, f"{status} {err}")
    check("the socket is gone", not path.exists())
    check("the viewer, too", not pathlib.Path(f"/proc/{pid}").exists())


def bad_clients(path, good):
    """Clients that talk nonsense, leave in the middle, or do not read harm nobody else."""
    for nonsense in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\0" * 4096, b"RFB 999.999\n\xff\xff\xff"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.sendall(nonsense)
        s.close()
    rude = rfb.Client(path)
    rude.socket.sendall(b"\x06\0\0\0\x7f\xff\xff\xff")  # cut text of 2 GiB
    rude.close()
    check("bad clients", good.frame(all_of((0x20, 0x20, 0x20)), 5) or good.frame(lambda c: True, 5))


def vnc_on_loopback(work):
    run = Run(work, "vnc")
    line = run.process.stderr.readline()
    while line and "VNC at" not in line:
        line = run.process.stderr.readline()
    host, _, port = line.strip().rpartition(" ")[2].rpartition(":")
    check("the address is said", host == "127.0.0.1" and port.isdigit(), line)
    client = rfb.Client((host, int(port)))
    check("a picture over TCP", client.frame(all_of(BLUE)))
    os.kill(run.viewer("tinamou-vnc"), signal.SIGKILL)
    time.sleep(0.5)
    check("the machine outlives its viewer", run.process.poll() is None)
    run.process.send_signal(signal.SIGTERM)
    run.end()
    for bad in ("0.0.0.0:5900", "192.168.1.1:5900", "example", "70000"):
        done = subprocess.run([TINAMOU, "run", "--display", f"vnc={bad}", "x"], capture_output=True, text=True)
        check(f"vnc={bad} is refused", done.returncode == 2 and "on this host" in done.stderr, done.stderr)


def last_frame(work):
    """Size and middle of the last picture that SDL wrote: a BMP of 24 or 32 bits a pixel."""
    files = sorted(work.glob("SDL_window*.bmp"))
    if not files:
        return None
    data = files[-1].read_bytes()
    if len(data) < 54:
        return None
    start, width, height, bits = struct.unpack_from("<10xI4xii2xH", data)
    line = (width * bits // 8 + 3) & ~3
    at = start + height // 2 * line + width // 2 * bits // 8
    return (width, height), tuple(data[at:at + 3][::-1])


def window_session(work):
    os.environ.update(SDL_VIDEODRIVER="dummy", SDL_RENDER_DRIVER="software", SDL_VIDEO_DUMMY_SAVE_FRAMES="1")
    run = Run(work, "window", timeout=8)
    check("the guest runs", run.wait_for(b"m\xfa"), run.told.read_bytes())
    pid = run.viewer("tinamou-window")
    check("the window is there", pid)
    check("it is confined", pid and wait_until(lambda: confined(pid)))
    check("the picture is in it", wait_until(lambda: last_frame(work) == ((640, 400), BLUE)), last_frame(work))
    status, err = run.end()
    check("the run ends it", status == 124 and not pathlib.Path(f"/proc/{pid}").exists(), f"{status} {err}")


class OnTerminal(Run):
    """The same with a terminal, whose text is collected."""

    def __init__(self, work, **environment):
        self.image, self.told = work / "input.img", work / "e9"
        self.told.write_bytes(b"")
        master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [TINAMOU, "run", "--engine", "interpret", "--firmware", "bios", "--disk", f"{self.image},format=raw,ro",
             "--debugcon", f"file:{self.told}", "--timeout", "60"], cwd=work, stdin=slave, stdout=slave, stderr=slave,
            env=dict(os.environ, TERM="xterm", **environment))
        os.close(slave)
        self.master, self.text = master, b""
        threading.Thread(target=self.collect, daemon=True).start()

    def collect(self):
        try:
            while part := os.read(self.master, 4096):
                self.text += part
        except OSError:
            pass  # the other side is closed

    def leave(self):
        os.write(self.master, b"\x01x")
        return self.process.wait(30)


def window_when_drawn(work):
    """With a desktop: the guest's text in the terminal, its picture in a window. Without: all in the terminal."""
    blocks = "\N{UPPER HALF BLOCK}".encode()
    for old in work.glob("SDL_window*.bmp"):
        old.unlink()
    run = OnTerminal(work, DISPLAY=":77")
    check("the guest runs", run.wait_for(b"m\xfa"), run.told.read_bytes())
    check("the picture is in a window", wait_until(lambda: last_frame(work) == ((640, 400), BLUE)), last_frame(work))
    check("the terminal says where it is", wait_until(lambda: b"in the window" in run.text), run.text[-300:])
    check("and does not show it", blocks not in run.text)
    check("it ends", run.leave() in (0, -2), run.text[-300:])
    run = OnTerminal(work, DISPLAY=":77", SDL_VIDEODRIVER="nowhere")
    check("without a desktop that works it is in the terminal", wait_until(lambda: blocks in run.text), run.text[-300:])
    check("and nobody complains", b"SDL" not in run.text and b"viewer" not in run.text, run.text[:600])
    run.leave()


def main():
    viewer = TINAMOU.parent / f"tinamou-{KIND}"
    if not viewer.exists():
        print(f"{viewer} was not built: its libraries are missing")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        if KIND == "vnc":
            vnc_session(work)
            vnc_on_loopback(work)
        else:
            window_session(work)
            window_when_drawn(work)
    print(f"{sum(checks)} passed, {len(checks) - sum(checks)} failed, 0 skipped")
    return 0 if all(checks) else 1


sys.exit(main())
