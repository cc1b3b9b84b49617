#!/usr/bin/env python3
"""The command line from outside: bad input, exit statuses, the terminal and its keys.

Argument: the executable. Guests are a few bytes of real-mode code, run by the
engine `interpret`, so that no host facility is needed.
"""
import fcntl
import glob
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import tty
import unittest

MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/tinamou.1")
TINAMOU = os.path.abspath(sys.argv.pop(1))
SPIN = b"\xeb\xfe"  # jmp $
HELLO = b"\xb8\x00\xb8\x8e\xc0\x26\xc7\x06\x00\x00\x48\x1f\x26\xc7\x06\x02\x00\x69\x1f"  # 'Hi'
FOREVER = b"\xfb" + SPIN  # interrupts on: it might still change
HALT = b"\xfa\xf4"
LINE_8N1 = b"\xba\xfb\x03\xb0\x03\xee"           # out 3fbh, 3
SERIAL_HI = LINE_8N1 + b"\xba\xf8\x03\xb0\x68\xee\xb0\x69\xee"  # out 3f8h, 'h'; 'i'


def wrmsr(msr, low, high):
    """Code that writes it, in real mode."""
    return struct.pack("<2sI2sI2sI2s", b"\x66\xb9", msr, b"\x66\xb8", low, b"\x66\xba", high, b"\x0f\x30")


def sector(code):
    return code.ljust(510, b"\0") + b"\x55\xaa"


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, data, name="guest.bin"):
        path = os.path.join(self.folder.name, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("TINAMOU_")}
        env["TINAMOU_ENGINE"] = "interpret"
        env["TINAMOU_OPTIONS"] = "--firmware none"  # boot sectors start at once, and bare
        return env

    def run_it(self, *args, status=0, says=None, **kw):
        p = subprocess.run([TINAMOU, *args], stdin=subprocess.DEVNULL, capture_output=True,
                           env=self.environment(), timeout=20, text=True, **kw)
        self.assertEqual(p.returncode, status, (args, p.stdout, p.stderr))
        for text in [says] if isinstance(says, str) else says or []:
            self.assertIn(text, p.stderr)
        return p

    def refused(self, *args, status=4, says):
        p = self.run_it(*args, status=status, says=says)
        self.assertEqual(len(p.stderr.splitlines()), 1, p.stderr)
        self.assertEqual(p.stdout, "")


class Usage(Case):
    def test_alone(self):
        p = self.run_it()
        self.assertLessEqual(len(p.stdout.splitlines()), 16)
        self.assertIn("tinamou IMAGE", p.stdout)

    def test_version_and_engines(self):
        version = self.run_it("version").stdout
        for library in ("jansson", "zlib", "liblzma", "libzstd", "liblz4", "libbz2"):
            self.assertIn(library, version)
        lines = self.run_it("engines").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["kvm", "driver", "translate", "interpret"])
        self.assertRegex(lines[2], r"translate +ready +[0-9.]+ M instructions/s")

    def test_auto_takes_the_fastest_that_is_ready(self):
        ready = [line.split()[0] for line in self.run_it("engines").stdout.splitlines() if " ready " in line]
        self.assertEqual(ready[-2:], ["translate", "interpret"])
        image = self.file(sector(HALT))
        self.run_it("run", "-e", "auto", "--memory", "4K", "--flat", f"{image}@0", says=f"engine {ready[0]}")

    def test_disk(self):
        base, top = (os.path.join(self.folder.name, name) for name in ("base", "top"))
        self.run_it("disk", "create", "-f", "raw", base, "1M")
        self.run_it("disk", "create", "-b", "base", "-F", "raw", top)
        lines = self.run_it("disk", "info", top).stdout.splitlines()
        self.assertIn("qcow2, 1 MiB (1048576 bytes)", lines[0])
        self.assertIn(f"backed by {base}: raw", lines[1])
        self.refused("disk", "create", top, "1M", status=4, says="File exists")
        self.refused("disk", "create", "-f", "vmdk", "x", "1M", status=4, says="raw or qcow2")
        self.refused("disk", "create", "x", status=2, says="how large")
        self.refused("disk", "create", "-b", base, "x", status=2, says="needs -F")
        self.refused("disk", "info", "/dev/null", status=4, says="neither a file nor a block device")

    def test_refusals(self):
        image = self.file(sector(HALT))
        for args, says in [(["run"], "no image"),
                           (["run", "--memroy", "1G", image], "did you mean --memory?"),
                           (["run", "-m", "1", image], "4K"),
                           (["run", image, image], "two images"),
                           (["run", "-d", "disk,size=3"], "known are format=FORMAT, ro, throwaway"),
                           (["run", "-k", "vmlinuz", image], "leave the boot sector"),
                           (["run", "-a", "quiet", image], "are for a --kernel"),
                           (["rum"], "did you mean 'run'?")]:
            self.refused(*args, status=2, says=says)

    def test_kernels(self):
        kernel = self.file(sector(HALT))
        args = ["run", "-e", "interpret", "-k", kernel]
        self.refused(*args, status=4, says="started without --kernel")
        self.refused(*args, "-i", "none", status=4, says="none: No such file")
        self.refused(*args, "-i", "a b,none c", status=4, says="a: No such file")
        self.refused(*args, "-i", ",", status=2, says="an empty file name")
        self.refused(*args, "-i", ",".join("abcdefghi"), status=2, says="at most 8 files")
        with_blank = self.file(b"x", "with blank,comma")
        self.refused(*args, "-i", with_blank, status=4, says="started without --kernel")

    def test_broken_kernels(self):
        """One clear error each, before the machine starts."""
        kernel = bytearray(10240)
        kernel[0x1f1] = 3
        kernel[0x1fe:0x206] = b"\x55\xaa\xeb\x66HdrS"
        kernel[0x206:0x208] = b"\x0f\x02"
        kernel[0x211] = 1
        kernel[0x22c:0x230] = b"\xff\xff\xff\x7f"
        kernel[0x238:0x23c] = (255).to_bytes(4, "little")
        kernel[0x258:0x260] = (0x100000).to_bytes(8, "little")
        kernel[0x260:0x264] = (0x10000).to_bytes(4, "little")
        args = ["run", "-e", "interpret", "-m", "4M", "-k", self.file(kernel)]
        self.refused(*args, "-i", self.file(bytes(5 << 20), "initrd"), status=4, says="--memory")
        self.refused(*args, "-a", "x" * 300, status=4, says="shorten --append")
        self.refused(*args[:-1], self.file(kernel[:1000], "cut"), status=4, says="copy the kernel again")
        kernel[0x248:0x250] = b"\0\0\0\0\xff\xff\xff\0"
        self.refused(*args[:-1], self.file(kernel, "cut"), status=4, says="copy the kernel again")
        kernel[0x248:0x24c] = b"\0\0\0\0"
        kernel[0x24c:0x250] = (8192).to_bytes(4, "little")
        kernel[2048:2052] = b"\x1f\x8b\x08\0"
        self.refused(*args[:-1], self.file(kernel, "bad"), status=4, says="gzip data are damaged")

    def test_manual_names_every_option(self):
        with open(MANUAL, encoding="utf-8") as f:
            manual = f.read().replace("\\-", "-")
        options = re.findall(r"--[a-z][a-z-]+", self.run_it("run", "--help").stdout)
        self.assertGreater(len(options), 15)
        self.assertEqual([o for o in options if o not in manual], [])

    def test_config_file(self):
        image = self.file(sector(HALT))
        p = self.run_it("run", "-m", "1M", "--stats", "--print-config", image)
        config = self.file(p.stdout.encode(), "run.json")
        self.assertEqual(self.run_it("run", "--config", config, "--print-config").stdout, p.stdout)
        self.run_it("run", "--config", config)
        self.refused("run", "--config", self.file(b"{\n,", "bad.json"), status=2, says="line 2")
        self.refused("run", "--config", self.path("none"), status=2, says="none")

    def test_options_of_the_environment(self):
        image = self.file(sector(HALT))
        env = dict(self.environment(), TINAMOU_OPTIONS="-q " * 200 + "--display none")
        p = subprocess.run([TINAMOU, "run", "--print-config", image], env=env, text=True,
                           capture_output=True, check=True)
        self.assertEqual(json.loads(p.stdout)["display"], "none")

    def test_what_goes_together(self):
        image = self.file(sector(HALT))
        self.refused("run", "--trace-file", self.path("t"), image, status=2, says="--trace exits")
        self.refused("run", "--append", "quiet", image, status=2, says="--kernel")


class Images(Case):
    def test_refusals(self):
        f = self.path
        for name, data, says in [("empty", b"", "empty"), ("short", b"x" * 100, "--flat"),
                                 ("unmarked", bytes(512), "55 AA")]:
            self.refused("run", self.file(data, name), says=[name, says])
        self.refused("run", f("missing"), says=["missing", "No such file"])
        self.refused("run", self.folder.name, says="directory")
        self.refused("run", "-m", "4K", "--flat", self.file(bytes(5000)) + "@0", says="--memory")
        self.refused("run", "-m", "4K", "--flat", self.file(bytes(100)) + "@fff", says="--memory")
        self.refused("run", "--flat", f("missing") + "@0", says="missing")

    def test_unreadable(self):
        image = self.file(sector(HALT))
        os.chmod(image, 0)
        os.chmod(self.folder.name, 0o755)
        user = {"user": 65534} if os.geteuid() == 0 else {}  # root reads every file
        p = self.run_it("run", image, status=4, says=["Permission denied", "chmod"], **user)
        self.assertEqual(len(p.stderr.splitlines()), 1, p.stderr)

    def test_nothing_left_behind(self):
        trace = ["--trace=exits", "--trace-file=" + self.path("t")]
        for options in (["--serial=file:" + self.path("s")], trace):
            self.refused("run", *options, self.path("missing"), says="missing")
        self.assertEqual(os.listdir(self.folder.name), [])


class Probing(Case):
    """What IMAGE is taken for, and --as."""

    def taken(self, data, what, *args, status=124, name="image"):
        self.run_it("run", "--firmware", "bios", "--timeout", "1", *args, self.file(data, name), status=status,
                    says=f"taken for {what}")

    def test_by_content(self):
        cd = bytes(16 * 2048) + b"\1CD001" + bytes(4096 - 6)
        self.taken(sector(FOREVER), "a boot sector; --as overrules")
        self.taken(sector(FOREVER) * 2, "a disk")
        self.taken(sector(FOREVER) + bytes(1474560 - 512), "a floppy")
        self.taken(cd, "a CD-ROM")

    def test_overruled(self):
        self.taken(sector(FOREVER) * 2, "a floppy\n", "--as", "floppy")
        self.taken(sector(FOREVER) + bytes(1474560 - 512), "a disk\n", "--as", "disk")
        self.taken(sector(FOREVER) + b"x", "a disk\n", "--as", "disk")  # the rest of a sector is zeroes
        self.refused("run", "--as", "tape", self.file(b"x"), status=2, says="known are disk, cd, floppy")
        self.run_it("run", "--as", "kernel", self.file(b"x" * 512), status=4, says="no kernel that can be started")

    def test_kernels(self):
        multiboot = struct.pack("<III", 0x1badb002, 0x10000, 0xffffffff & -(0x1badb002 + 0x10000))
        place = struct.pack("<IIIII", 0x100000, 0x100000, 0, 0, 0x100020)
        kernel = multiboot + place + b"\xb0\x10\xe6\xf4" + bytes(4096)
        for args in ([], ["--as", "kernel"]):
            self.run_it("run", *args, self.file(kernel), status=0x21, says="taken for a kernel")
        self.run_it("run", "--append", "x", self.file(kernel), status=0x21)

    def test_boot_sector_by_firmware(self):
        """Through SeaBIOS INT 10h is there; --firmware none keeps the bare start."""
        mode = b"\xb4\x0f\xcd\x10\xb0\x10\xe6\xf4"  # INT 10h AH=0Fh, then test port
        image = self.file(sector(mode))
        self.run_it("run", image, status=14, says="INT 10h AH=0Fh")
        self.run_it("run", "--firmware", "bios", image, status=0x21)


class Ends(Case):
    def test_halt_shows_the_screen(self):
        p = self.run_it("run", self.file(sector(HELLO + HALT)))
        self.assertEqual(p.stdout, "Hi\n")

    def test_jump_to_itself_ends(self):
        self.run_it("run", self.file(sector(b"\xfa" + SPIN)))

    def test_silent_run_names_flat(self):
        self.run_it("run", self.file(sector(HALT)), says="@0")

    def test_statuses(self):
        image = self.file(sector(FOREVER))
        self.run_it("run", "--timeout", "1", image, status=124)
        self.run_it("run", self.file(sector(b"\xb0\x10\xe6\xf4")), status=0x21)      # test port
        self.run_it("run", "--no-reboot", self.file(sector(b"\xb0\xfe\xe6\x64" + SPIN)), status=12)
        self.run_it("run", "-e", "none", image, status=6, says="engines")
        # IDT limit 0, then an exception: nothing to deliver it with
        lidt = b"\x0f\x01\x1e\x00\x7d\x0f\x0b"
        self.run_it("run", self.file(sector(lidt)), status=8)

    def test_jumps_into_nothing(self):
        # Absent memory reads as FFh, FFFFh is no instruction; vector 6 leads nowhere better.
        code = b"\x31\xc0\x8e\xd8\xc7\x06\x18\x00\x00\x00\xc7\x06\x1a\x00\x00\xc0"  # INT 6: C000:0000
        jump = b"\xea\x00\x00\x00\xc0"
        self.run_it("run", "--timeout", "1", self.file(sector(code + jump)), status=124)

    def test_ipis_to_nobody(self):
        enable = wrmsr(0x1b, 0xfee00d00, 0) + wrmsr(0x80f, 0x1ff, 0)  # x2APIC
        kinds = (0x41, 0x141, 0x200, 0x400, 0x4500, 0x4641, 0x841, 0x4c00)
        send = b"".join(wrmsr(0x830, kind, dest)
                        for dest in (200, 0x12345678) for kind in kinds)
        image = self.file(sector(enable + send + b"\xb0\x10\xe6\xf4"))
        self.run_it("run", image, status=0x21)
        self.run_it("run", "--cpus", "2", image, status=0x21)

    def test_bios_call(self):
        image = self.file(sector(b"\xb8\x01\x02\xcd\x13"))
        self.run_it("run", image, status=14, says="INT 13h AH=02h at 0000:7C0")

    def test_serial(self):
        image = self.file(sector(SERIAL_HI + HALT))
        self.assertEqual(self.run_it("run", image).stdout, "hi")
        self.run_it("run", "--serial", "file:" + self.path("out"), image)
        with open(self.path("out"), "rb") as f:
            self.assertEqual(f.read(), b"hi")
        self.run_it("run", "--serial", "file:/dev/full", image, status=4, says="No space left")

    def test_debugcon(self):
        image = self.file(sector(b"\xb0\x68\xe6\xe9\xb0\x69\xe6\xe9" + HALT))  # out e9h
        self.assertEqual(self.run_it("run", image).stdout, "")
        self.assertEqual(self.run_it("run", "--debugcon", "stdio", image).stdout, "hi")
        p = self.run_it("run", "--debugcon=stdio", "--serial=none", image)
        self.assertEqual(p.stdout, "hi")
        p = self.run_it("run", "--debugcon", "file:" + self.path("out"), image)
        self.assertEqual(p.stdout, "")
        with open(self.path("out"), "rb") as f:
            self.assertEqual(f.read(), b"hi")
        self.run_it("run", "--debugcon", "file:/dev/full", image, status=4, says="No space left")
        self.refused("run", "--debugcon=stdio", "--serial=pty", image, status=2, says="file:PATH")

    def test_serial_pty(self):
        # waits for a byte, sends the next one and halts
        code = LINE_8N1 + b"\xba\xfd\x03\xec\xa8\x01\x74\xf8\xba\xf8\x03\xec\xfe\xc0\xee"
        p = subprocess.Popen([TINAMOU, "run", "--serial", "pty", self.file(sector(code + HALT))],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, env=self.environment(), text=True)
        self.addCleanup(p.stderr.close)
        self.addCleanup(p.kill)
        path = next(line.split()[-1] for line in p.stderr if "serial line is at" in line)
        line = os.open(path, os.O_RDWR | os.O_NOCTTY)
        self.addCleanup(os.close, line)
        tty.setraw(line)
        os.write(line, b"A")
        self.assertTrue(select.select([line], [], [], 10)[0])
        self.assertEqual(os.read(line, 10), b"B")
        self.assertEqual(p.wait(10), 0)

    def test_front_killed(self):
        p = subprocess.Popen([TINAMOU, self.file(sector(FOREVER))], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env=self.environment())
        children = []
        while not children:
            with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii") as f:
                children = f.read().split()
        machine = os.pidfd_open(int(children[0]))
        self.addCleanup(os.close, machine)
        time.sleep(0.2)
        p.kill()
        p.wait()
        self.assertTrue(select.select([machine], [], [], 5)[0], "the machine lives on")

    def test_dump_stats_trace(self):
        trace = self.path("trace")
        p = self.run_it("run", "--stats", "--dump", "7c00,2", "--trace", "exits", "--trace-file",
                        trace, self.file(sector(SERIAL_HI + HALT)))
        self.assertIn("00007c00  ba fb", p.stdout)
        self.assertIn("instructions", p.stdout)
        self.assertGreater(os.path.getsize(trace), 0)
        p = self.run_it("run", "--engine", "translate", "--stats", self.file(sector(SERIAL_HI + HALT)))
        self.assertRegex(p.stdout, r"cpu0: time: [\d.]+ % interpret and devices, [\d.]+ % translated code")

    def test_perf_map(self):
        """Flat 32-bit code that loops is translated; the map has it by its symbol."""
        at = 0x7c00
        gdt = struct.pack("<QQQ", 0, 0xcf9b000000ffff, 0xcf93000000ffff)
        code = b"\xfa\x31\xc0\x8e\xd8\x66\x0f\x01\x16" + struct.pack("<H", at + 256 + len(gdt))
        code += b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"
        code += b"\x66\xea" + struct.pack("<IH", at + len(code) + 8, 8)
        code += b"\x66\xb8\x10\x00" + b"".join(b"\x8e" + bytes([0xc0 | n << 3]) for n in (0, 2, 3, 4, 5))
        code += b"\xb9" + struct.pack("<I", 100000)
        loop = at + len(code)
        code += b"\x49\x75\xfd" + HALT
        image = code.ljust(256, b"\0") + gdt + struct.pack("<HI", len(gdt) - 1, at + 256)
        name = f"spin_{os.getpid()}"
        table = self.file(f"{at:016x} T start\n{loop:016x} t {name}\n                 U puts\n".encode(), "map")
        before = set(glob.glob("/tmp/perf-*.map"))
        run = ["run", "--engine", "translate", "--perf-map", "--symbols", table, self.file(sector(image))]
        self.assertEqual(self.run_it(*run).returncode, 0)
        found = {p: pathlib.Path(p).read_text() for p in set(glob.glob("/tmp/perf-*.map")) - before}
        found = {p: text for p, text in found.items() if name in text}
        for path in found:
            os.unlink(path)
        self.assertEqual(len(found), 1)
        text, = found.values()
        self.assertRegex(text, r"(?m)^[0-9a-f]+ [0-9a-f]+ " + name + r"\+0x0 \[kernel\]$")
        self.assertRegex(text, r"(?m)^[0-9a-f]+ [0-9a-f]+ tinamou: slow access$")
        self.refused("run", "--symbols", table, self.file(sector(HALT)), status=2, says="--perf-map")
        self.refused("run", "-q", "--perf-map", self.file(sector(HALT)), says="engine interpret makes no code")
        bad = self.file(b"what is this\n", "bad")
        self.refused("run", "-q", "--engine", "translate", "--perf-map", "--symbols", bad, self.file(sector(HALT)),
                     says="ADDRESS TYPE NAME")

    def test_signals(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            for whole_group in (False, True):
                p = subprocess.Popen([TINAMOU, self.file(sector(FOREVER))],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, env=self.environment(),
                                     start_new_session=True)
                time.sleep(0.3)
                (os.killpg if whole_group else os.kill)(p.pid, sig)
                self.assertEqual(p.wait(5), -sig)


class Terminal(Case):
    """tinamou as the owner of a pseudo terminal."""

    def start(self, code, *args):
        self.pid, self.tty = pty.fork()
        if not self.pid:
            os.chdir(self.folder.name)
            os.execve(TINAMOU, [TINAMOU, "run", *args, self.file(sector(code))],
                      self.environment())
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.output = b""
        self.addCleanup(os.close, self.tty)

    def cooked(self):
        return bool(termios.tcgetattr(self.tty)[3] & termios.ICANON)

    def read_until(self, done, seconds=20):
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            if select.select([self.tty], [], [], 0.02)[0]:
                try:
                    self.output += os.read(self.tty, 4096)
                except OSError:
                    break
        self.assertTrue(done(), self.output)

    def see(self, text):
        self.read_until(lambda: text in self.output)

    def type(self, keys):
        os.write(self.tty, keys)

    def status(self):
        """Reads until the process ended; its wait status."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status
            if select.select([self.tty], [], [], 0.02)[0]:
                try:
                    self.output += os.read(self.tty, 4096)
                except OSError:
                    time.sleep(0.02)
        self.fail(f"still running: {self.output}")

    def machine_pid(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
            return int(f.read().split()[0])

    def test_quit(self):
        self.start(HELLO + FOREVER)
        self.see(b"\x1b[0;97;44mHi")
        self.assertFalse(self.cooked())
        self.type(b"\x01x")
        self.assertEqual(os.waitstatus_to_exitcode(self.status()), 0)
        self.assertTrue(self.cooked())

    def test_control_c_is_the_guests(self):
        self.start(HELLO + FOREVER)
        self.see(b"Hi")
        self.type(b"\x03")
        time.sleep(0.2)
        self.assertEqual(os.waitpid(self.pid, os.WNOHANG)[0], 0)
        self.type(b"\x01x")
        self.assertEqual(os.waitstatus_to_exitcode(self.status()), 0)

    def test_keys(self):
        self.start(HELLO + SERIAL_HI + FOREVER)
        self.see(b"Ctrl-A Tab switches")
        self.type(b"\x01h")
        self.see(b"Ctrl-A Ctrl-A")
        self.type(b"\x01c")
        self.see(b"(tinamou) ")
        self.type(b"info statux\x7fs\r")
        self.see(b"VM status: running")
        self.type(b"\x01c")
        self.type(b"\x01d")
        self.see(b"cpu0")
        self.type(b"\x01\t")
        self.see(b"hi")
        self.type(b"\x01x")
        self.status()

    def test_screenshots(self):
        self.start(HELLO + FOREVER, "--screenshot", "end.png")
        self.see(b"Hi")
        for name in ("tinamou-1.png", "tinamou-2.png"):
            self.type(b"\x01s")
            self.see(name.encode())
        self.type(b"\x01x")
        self.assertEqual(os.waitstatus_to_exitcode(self.status()), 0)
        for name in ("tinamou-1.png", "tinamou-2.png", "end.png"):
            with open(os.path.join(self.folder.name, name), "rb") as f:
                data = f.read()
            self.assertEqual(data[:8], b"\x89PNG\r\n\x1a\n")
            self.assertEqual(struct.unpack(">II", data[16:24]), (720, 400))
            self.assertEqual(data[-8:-4], b"IEND")

    def test_no_half_screenshot(self):
        self.start(HELLO + FOREVER, "--screenshot", "end.png")
        self.see(b"Hi")
        os.kill(self.machine_pid(), signal.SIGKILL)
        self.assertEqual(os.waitstatus_to_exitcode(self.status()), 4)
        self.assertIn(b"end.png is not written", self.output)
        self.assertEqual([name for name in os.listdir(self.folder.name) if "png" in name], [])

    def test_serial_console_echo(self):
        # in 3fdh until a byte is there, in 3f8h, out 3f8h
        echo = LINE_8N1 + (b"\xba\xfd\x03\xec\xa8\x01\x74\xf8\xba\xf8\x03\xec\xfe\xc0\xee\xeb\xef")
        self.start(echo, "--console", "serial")
        time.sleep(0.3)
        self.type(b"GH")
        self.see(b"HI")
        self.type(b"\x01\x01")
        self.see(b"\x02")
        self.type(b"\x01x")
        self.status()

    def test_given_back_after_kill(self):
        self.start(HELLO + FOREVER)
        self.see(b"Hi")
        self.assertFalse(self.cooked())
        os.kill(self.machine_pid(), signal.SIGKILL)
        self.assertEqual(os.waitstatus_to_exitcode(self.status()), 4)
        self.assertTrue(self.cooked())
        self.assertIn(b"killed by signal 9", self.output)

    def test_given_back_after_signal(self):
        for sig in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            self.start(HELLO + FOREVER)
            self.see(b"Hi")
            os.kill(self.pid, sig)
            self.assertEqual(os.WTERMSIG(self.status()), sig)
            self.assertTrue(self.cooked())

    def test_stop_and_continue(self):
        self.start(HELLO + FOREVER)
        self.see(b"Hi")
        os.kill(self.pid, signal.SIGTSTP)
        self.read_until(self.cooked)
        self.output = b""
        os.kill(self.pid, signal.SIGCONT)
        self.see(b"Hi")
        self.assertFalse(self.cooked())
        self.type(b"\x01x")
        self.assertEqual(os.waitstatus_to_exitcode(self.status()), 0)


if __name__ == "__main__":
    unittest.main(verbosity=1)
