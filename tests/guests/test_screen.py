#!/usr/bin/env python3
"""test_screen - pictures of many video modes are those of QEMU's VGA.

    test_screen.py TINAMOU IMAGES [quick | NAME...]

guests/screen.S sets each mode through the VGA BIOS and draws; --screenshot on
one side, screendump on the other, pixel by pixel. Exit status 77: no QEMU.
"""
import fcntl
import os
import pathlib
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time

import png

TINAMOU, IMAGES = sys.argv[1], pathlib.Path(sys.argv[2])
CRTC, SEQ, GC, ATTR = 0x3d4, 0x3c4, 0x3ce, 0x3c0
TEXT, BYTES, PLANES = range(3)

# How 5 or 6 bits become 8 is each program's own affair.
COARSE = bytes(i & 0xf8 for i in range(256))

# Characters B0h to BFh: QEMU repeats their eighth dot as the ninth, a VGA those from C0h on.
KNOWN = {"text 80x25": 128}
QUICK = ["text 80x25", "CGA 320x200", "VGA 640x480, scrolled and split", "VGA 320x200 in planes",
         "VBE 640x480x8", "VBE 800x600x16"]

# name, mode, segment, kind, registers. QEMU shows nothing in VBE modes of 4 bits.
CASES = [
    ("text 80x25", 0x03, 0xb800, TEXT, []),
    ("text 40x25, 8 dots", 0x01, 0xb800, TEXT, [(SEQ, 1, 9)]),
    ("text, scrolled, 8 dots", 0x03, 0xb800, TEXT, [(CRTC, 0x0d, 85), (SEQ, 1, 1)]),
    ("CGA 320x200", 0x04, 0xb800, BYTES, []),
    ("CGA 640x200", 0x06, 0xb800, BYTES, []),
    ("EGA 320x200", 0x0d, 0xa000, PLANES, []),
    ("EGA 640x350", 0x10, 0xa000, PLANES, [(ATTR, 3, 0x2a)]),
    ("VGA 640x480, 2 colours", 0x11, 0xa000, BYTES, []),
    ("VGA 640x480", 0x12, 0xa000, PLANES, []),
    ("VGA 640x480, scrolled and split", 0x12, 0xa000, PLANES,
     [(CRTC, 0x0c, 3), (CRTC, 0x18, 99), (CRTC, 0x07, 0x2e), (CRTC, 0x09, 0)]),
    ("VGA 320x200", 0x13, 0xa000, BYTES, []),
    ("VGA 320x200 in planes", 0x13, 0xa000, BYTES,
     [(SEQ, 4, 6), (CRTC, 0x14, 0), (CRTC, 0x17, 0xe3), (CRTC, 0x0d, 80)]),
    ("VBE 640x480x8", 0x4101, 0xa000, BYTES, []),
    ("VBE 800x600x16", 0x4114, 0xa000, BYTES, []),
    ("VBE 640x480x15", 0x4110, 0xa000, BYTES, []),
    ("VBE 640x480x24", 0x4112, 0xa000, BYTES, []),
    ("VBE 1024x768x32", 0x4144, 0xa000, BYTES, []),
]


def read_ppm(path):
    data = path.read_bytes()
    magic, width, height = data.split(maxsplit=3)[:3]
    width, height = int(width), int(height)
    assert magic == b"P6"
    return width, height, data[-width * height * 3:]


def disk(work, case):
    _, mode, segment, kind, regs = case
    sector = bytearray((IMAGES / "screen.bin").read_bytes())
    struct.pack_into("<HHHH", sector, 4, mode, segment, kind, len(regs))
    for i, (port, index, value) in enumerate(regs):
        struct.pack_into("<HBB", sector, 12 + 4 * i, port, index, value)
    path = work / "screen.img"
    path.write_bytes(sector.ljust(1 << 20, b"\0"))
    return path


def ours(work, image):
    shot = work / "ours.png"
    done = subprocess.run([TINAMOU, "run", "-q", "--engine", "interpret", "--firmware", "bios", "--disk",
                           f"{image},format=raw,ro", "--screenshot", shot, "--timeout", "60"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=90)
    assert done.returncode == 1, done
    return png.read(shot)


def theirs(work, image):
    ppm, port = work / "theirs.ppm", work / "e9"
    port.write_bytes(b"")
    p = subprocess.Popen(["qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-vga", "std", "-display", "none",
                          "-drive", f"file={image},format=raw,snapshot=on", "-monitor", "stdio", "-net", "none",
                          "-serial", "none", "-chardev", f"file,id=e9,path={port}", "-device",
                          "isa-debugcon,iobase=0xe9,chardev=e9"],
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for _ in range(600):
        if b"!" in port.read_bytes():
            break
        time.sleep(0.05)
    p.stdin.write(f"screendump {ppm}\nquit\n")
    p.stdin.flush()
    p.wait(timeout=60)
    return read_ppm(ppm)


def in_terminal(work, image, *options, answer=b""):
    """What a terminal of 100 x 40 is sent, until the machine ends.

    Asked what it can, it answers, and types Escape three seconds later: guests/input.S ends then.
    """
    pid, fd = pty.fork()
    if not pid:
        os.environ["TERM"] = "xterm-256color"
        os.execv(TINAMOU, [TINAMOU, "run", "-q", "--engine", "interpret", "--firmware", "bios", "--disk",
                           f"{image},format=raw,ro", "--timeout", "60", *options])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 1000, 800))
    seen, end = b"", None
    while True:
        if end and not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
            os.write(fd, b"\033")
            end = None
        try:
            part = os.read(fd, 65536)
        except OSError:
            part = b""
        if not part:
            break
        seen += part
        if b"\033[c" in part:
            os.write(fd, answer)
            end = time.monotonic() + 3
    os.waitpid(pid, 0)
    return seen


def terminal_shows(work):
    """The last picture: half blocks that fill the width, or sixels of that size."""
    image = disk(work, next(case for case in CASES if case[0] == "VGA 320x200"))
    blocks = in_terminal(work, image, "--display", "blocks").split(b"\033[1;1H")[-1]
    sixels = in_terminal(work, image, "--display", "sixel")
    text = in_terminal(work, image, "--display", "text")
    image = work / "input.img"
    image.write_bytes((IMAGES / "input.bin").read_bytes().ljust(1 << 20, b"\0"))
    asked = in_terminal(work, image, answer=b"\033[?62;4;22c")
    without = in_terminal(work, image, answer=b"\033[?62;22c")
    if b"\033P0;1q" not in asked or b"\033P" in without or "\u2580".encode() not in without:
        return "not as the terminal answers"
    if blocks.count("\u2580".encode()) != 100 * 31:
        return f"{blocks.count(bytes(chr(0x2580), 'utf-8'))} half blocks instead of {100 * 31}"
    if b"\033P0;1q\"1;1;640;400" not in sixels:
        return "no sixels of 640x400"
    return "a picture where text was asked for" if "\u2580".encode() in text else None


def differences(a, b, known):
    if a[:2] != b[:2]:
        return f"{a[0]}x{a[1]} instead of {b[0]}x{b[1]}"
    a, b = ((w, h, data.translate(COARSE)) for w, h, data in (a, b))
    bad = [i // 3 for i in range(0, len(a[2]), 3) if a[2][i:i + 3] != b[2][i:i + 3]]
    if len(bad) == known:
        return None
    i = bad[0]
    return (f"{len(bad)} pixels, first {i % a[0]},{i // a[0]}: {a[2][i * 3:i * 3 + 3].hex()} "
            f"instead of {b[2][i * 3:i * 3 + 3].hex()}")


def main():
    if not shutil.which("qemu-system-x86_64"):
        print("qemu-system-x86_64 is missing")
        sys.exit(77)
    failed = 0
    wanted = QUICK if sys.argv[3:] == ["quick"] else sys.argv[3:] or [case[0] for case in CASES]
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for case in CASES:
            if case[0] not in wanted:
                continue
            image = disk(work, case)
            what = differences(ours(work, image), theirs(work, image), KNOWN.get(case[0], 0))
            print(f"{'FAIL' if what else 'ok  '} {case[0]}{': ' + what if what else ''}", flush=True)
            failed += bool(what)
        what = terminal_shows(work)
        print(f"{'FAIL' if what else 'ok  '} terminal{': ' + what if what else ''}")
        failed += bool(what)
    print(f"\n{len(wanted) + 1 - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed > 0)


main()
