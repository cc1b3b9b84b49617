#!/usr/bin/env python3
"""What goes wrong around a run: firmware that is missing, sizes that are odd, discs and terminals that go
away, machines that reset for ever.

Argument: the executable.
"""
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import time
import unittest

from test_cli import Case, TINAMOU, FOREVER, HALT, LINE_8N1, sector

EXIT_PORT = b"\xe6\xf4"  # out f4h


class Firmware(Case):
    def without(self, folder):
        """The command's words where that folder is empty: in mounts of its own."""
        words = ["unshare", "--mount", "--map-root-user", "sh", "-c",
                 f'mount -t tmpfs none {folder} 2>/dev/null && exec "$@"', "sh"]
        if not shutil.which("unshare") or subprocess.run([*words, "true"], capture_output=True).returncode:
            self.skipTest("no mount namespaces here")
        return words

    def test_missing(self):
        image = self.file(sector(HALT))
        for choice, folder, package in (("bios", "/usr/share/seabios", "seabios"), ("uefi", "/usr/share/OVMF", "ovmf")):
            p = subprocess.run([*self.without(folder), TINAMOU, "run", "--firmware", choice, image],
                               capture_output=True, text=True, env=self.environment(), timeout=20)
            self.assertEqual(p.returncode, 4, p.stderr)
            self.assertIn(f"Debian's package {package}", p.stderr)
            self.assertEqual(len(p.stderr.splitlines()), 1, p.stderr)

    def test_damaged(self):
        image = self.file(sector(HALT))
        self.refused("run", "--firmware", self.path("none.bin"), image, says="No such file")
        self.refused("run", "--firmware", self.file(b"", "empty.bin"), image, says="empty")
        self.run_it("run", "--firmware", self.file(bytes(1000), "short.bin"), image, status=4)


class Sizes(Case):
    def test_rest_of_a_sector_reads_as_zeroes(self):
        # INT 13h reads sector 1 of drive 80h; its last byte goes to the exit port
        code = (b"\x31\xc0\x8e\xc0\xbb\x00\x06\xb8\x01\x02\xb9\x02\x00\xba\x80\x00\xcd\x13"
                b"\x26\xa0\xff\x07" + EXIT_PORT)
        short = self.file(sector(code) + b"\xff" * 100)
        self.run_it("run", "--firmware", "bios", "--as", "disk", short, status=1)
        whole = self.file(sector(code) + b"\x10" * 512, "whole")
        self.run_it("run", "--firmware", "bios", whole, status=0x21)
        self.run_it("run", "--firmware", "bios", "--disk", short, status=1)

    def test_refusals(self):
        self.refused("run", self.file(sector(HALT) + b"x"), says="--as disk")
        self.refused("run", "--disk", self.file(b"QFI\xfb" + bytes(100), "q") + ",format=qcow2", says="q")


class Resets(Case):
    def test_fifty(self):
        """By the keyboard controller, port 92h, CF9h and a triple fault in turn; CMOS counts."""
        reset = [b"\xb0\xfe\xe6\x64", b"\xb0\x01\xe6\x92", b"\xba\xf9\x0c\xb0\x06\xee",
                 b"\x0f\x01\x1e\x80\x7d\x0f\x0b"]  # LIDT [7D80h]: zeroes; UD2
        count = b"\x31\xc0\x8e\xd8\xb0\x50\xe6\x70\xe4\x71\x40\x88\xc3\xb0\x50\xe6\x70\x88\xd8\xe6\x71"
        done = b"\x80\xfb\x32\x72\x04\x88\xd8" + EXIT_PORT  # cmp bl, 50; jb +4; mov al, bl
        code = count + done + b"\x80\xe3\x03"
        for n, way in enumerate(reset):
            code += b"\x80\xfb" + bytes([n]) + b"\x75" + bytes([len(way) + 2]) + way + b"\xeb\xfe"
        image = self.file(sector(code))
        for engine in ("interpret", "translate"):
            self.run_it("run", "-e", engine, "--cpus", "2", "--on", "triple-fault=restart", image, status=50 << 1 | 1)


class Away(Case):
    def gone(self, pid):
        """Waits for the end of a child of ours."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.02)
        self.fail("it lives on without its terminal")

    def test_terminal_is_closed(self):
        for code in (FOREVER, LINE_8N1 + b"\xba\xf8\x03\xb0\x2e\xee\xeb\xfd"):  # silent; writing for ever
            pid, terminal = pty.fork()
            if not pid:
                os.execve(TINAMOU, [TINAMOU, "run", "--console", "serial", self.file(sector(code))],
                          self.environment())
            time.sleep(0.5)
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                machine = os.pidfd_open(int(f.read().split()[0]))
            self.addCleanup(os.close, machine)
            os.close(terminal)
            self.gone(pid)
            self.assertTrue(select.select([machine], [], [], 5)[0], "the machine lives on")

    def test_reader_of_the_output_goes_away(self):
        """The guest goes on, as it does without anybody at a serial line."""
        code = LINE_8N1 + b"\xb9\x00\x20\xba\xf8\x03\xb0\x2e\xee\xe2\xfd\xb0\x10" + EXIT_PORT  # 8192 dots
        p = subprocess.Popen([TINAMOU, "run", self.file(sector(code))], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.environment())
        os.read(p.stdout.fileno(), 1)
        p.stdout.close()
        self.assertEqual(p.wait(20), 0x21)

    def test_serial_pty_is_unplugged(self):
        # waits for a byte, answers with the next one; at 'y' it ends
        echo = (LINE_8N1 + b"\xba\xfd\x03\xec\xa8\x01\x74\xf8\xba\xf8\x03\xec\x3c\x79\x74\x05\xfe\xc0\xee\xeb\xec"
                b"\xb0\x10" + EXIT_PORT)
        p = subprocess.Popen([TINAMOU, "run", "--serial", "pty", self.file(sector(echo))],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             env=self.environment(), text=True)
        self.addCleanup(p.stderr.close)
        self.addCleanup(p.kill)
        path = next(line.split()[-1] for line in p.stderr if "serial line is at" in line)
        for _ in range(3):
            line = os.open(path, os.O_RDWR | os.O_NOCTTY)
            os.write(line, b"A")
            self.assertTrue(select.select([line], [], [], 10)[0])
            self.assertEqual(os.read(line, 10), b"B")
            os.close(line)
        line = os.open(path, os.O_RDWR | os.O_NOCTTY)
        self.addCleanup(os.close, line)
        os.write(line, b"y")
        self.assertEqual(p.wait(10), 0x21)


class Disc(Case):
    def test_ejected_under_the_guest(self):
        """INT 13h reads a sector of the CD-ROM again and again, a dot for each; an error ends the run."""
        code = (b"\x31\xc0\x8e\xd8" + LINE_8N1 + b"\xb4\x42\xb2\xe0\xbe\x80\x7d\xcd\x13\x72\x08"
                b"\xba\xf8\x03\xb0\x2e\xee\xeb\xed\xb0\x10" + EXIT_PORT)
        packet = struct.pack("<BBHHHQ", 16, 0, 1, 0x600, 0, 1)
        boot = self.file(sector(code.ljust(0x180, b"\0") + packet))
        disc = self.file(bytes(16 * 2048) + b"\1CD001\1".ljust(4096, b"\0"), "disc.iso")
        p = subprocess.Popen([TINAMOU, "run", "--firmware", "bios", "--monitor", "stdio", "--timeout", "60",
                              "--cdrom", disc, boot], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, env=self.environment())
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.kill)
        seen = b""
        while b"...." not in seen and select.select([p.stdout], [], [], 30)[0]:
            part = os.read(p.stdout.fileno(), 1000)
            self.assertTrue(part, seen)
            seen += part
        p.stdin.write(b"eject\n")
        p.stdin.close()
        while os.read(p.stdout.fileno(), 1000):
            pass
        self.assertEqual(p.wait(20), 0x21)


if __name__ == "__main__":
    unittest.main(verbosity=1)
