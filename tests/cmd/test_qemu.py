#!/usr/bin/env python3
"""The qemu command: the flag lines of people's scripts, with guests of a few bytes of our own.

Argument: the executable. It is called by links, as scripts do.
"""
import json
import os
import select
import struct
import subprocess
import sys
import unittest

from test_cli import Case, TINAMOU, FOREVER, LINE_8N1, sector

NAMES = ("qemu", "qemu-system-x86_64", "qemu-system-i386")
EXIT = b"\xb0\x10\xe6\xf4"  # out f4h, 10h: status 21h
DEBUG_EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=0x4")


def kernel(code):
    """A Multiboot kernel, in 32-bit mode."""
    header = struct.pack("<III", 0x1badb002, 0x10000, 0xffffffff & -(0x1badb002 + 0x10000))
    place = struct.pack("<IIIII", 0x100000, 0x100000, 0, 0, 0x100020)
    return (header + place + code).ljust(4096, b"\0")


def say(text):
    """32-bit code: text to COM1."""
    line_8n1 = b"\x66\xba\xfb\x03\xb0\x03\xee"
    return line_8n1 + b"\x66\xba\xf8\x03" + b"".join(b"\xb0" + bytes([c]) + b"\xee" for c in text.encode())


RESET_32 = b"\xb0\xfe\xe6\x64\xf4"  # by the keyboard controller
EXIT_32 = b"\xb0\x10\xe6\xf4\xf4"


class Qemu(Case):
    def setUp(self):
        super().setUp()
        self.names = self.path("names")
        os.mkdir(self.names)
        for name in NAMES:
            os.symlink(TINAMOU, os.path.join(self.names, name))

    def environment(self, options=""):
        env = super().environment()
        env["TINAMOU_OPTIONS"] = options
        env["PATH"] = self.names + ":" + env["PATH"]
        return env

    def qemu(self, *args, status=0, says=None, options="--timeout 20", name="qemu-system-x86_64", data=b""):
        p = subprocess.run([os.path.join(self.names, name), *args], input=data, capture_output=True,
                           env=self.environment(options), timeout=60, cwd=self.folder.name)
        self.assertEqual(p.returncode, status, (args, p.stdout, p.stderr))
        for text in [says] if isinstance(says, str) else says or []:
            self.assertIn(text, p.stderr.decode())
        return p.stdout.decode(errors="replace")

    def config(self, *args):
        """What the flags say in the options of `tinamou run`."""
        return json.loads(self.qemu(*args, options="--print-config"))


class Words(Qemu):
    def test_called_by_each_name(self):
        for name in NAMES:
            self.assertRegex(self.qemu("--version", name=name), r"^QEMU emulator version \d+\.\d+\.\d+ ")
        p = self.run_it("qemu", "-version")
        self.assertIn("QEMU", p.stdout)

    def test_help_has_qemus_lines(self):
        text = self.qemu("-help")
        for flag in ("-m ", "-smp ", "-kernel ", "-serial ", "-S ", "-no-reboot "):
            self.assertRegex(text, f"(?m)^{flag}")
        self.assertIn("QEMU", text.splitlines()[0])

    def test_lists(self):
        self.assertIn('name "isa-debug-exit"', self.qemu("-device", "?"))
        self.assertIn('"pc-testdev"', self.qemu("-device", "help"))
        self.assertIn("tcg", self.qemu("-accel", "help"))
        self.assertIn("qemu64", self.qemu("-cpu", "help"))
        self.assertRegex(self.qemu("-machine", "help"), r"(?m)^pc ")

    def test_refusals(self):
        for args, says in [(["-frobnicate"], "-frobnicate: invalid option"),
                           (["-m"], "-m: requires an argument"),
                           (["-kernel", "none"], "could not open kernel file 'none': No such file"),
                           (["-qmp", "stdio"], "-qmp: it is not there in this version"),
                           (["-machine", "virt"], "machine virt is not there"),
                           (["-cpu", "z80"], "unknown CPU z80"),
                           (["-drive", "file=x,if=scsi"], "if=scsi is not there"),
                           (["-device", "floppy-of-doom"], "is not there"),
                           (["-device", "virtio-blk-pci,drive=none"], "wants the drive="),
                           (["-serial", "tcp::4444"], "tcp::4444 is not there"),
                           (["-accel", "hax"], "invalid accelerator")]:
            self.qemu(*args, status=1, says=says)

    def test_what_flags_say(self):
        c = self.config("-m", "1G", "-smp", "cores=2,threads=2", "-cpu", "qemu64,+x2apic,-hypervisor",
                        "-accel", "kvm", "-accel", "tcg", "-boot", "once=d", "-cdrom", "a,b.iso")
        self.assertEqual(c["memory"], "1G")
        self.assertEqual(c["cpus"], "4,sockets=1")
        self.assertEqual(self.config("-smp", "2")["cpus"], "2,sockets=2")
        self.assertEqual(self.config("-smp", "8,sockets=2,cores=4")["cpus"], "8,sockets=2")
        self.assertEqual(c["cpu-model"], "baseline,+x2apic,-hypervisor")
        self.assertEqual(c["engine"], "auto")
        self.assertEqual(c["boot"], "d")
        self.assertEqual(c["cdrom"], "a,,b.iso,unit=2")
        self.assertEqual(self.config("-machine", "pc,accel=tcg")["engine"], "translate,interpret")
        self.assertEqual(self.config("-m", "size=64")["memory"], "64M")

    def test_drives(self):
        self.assertEqual(self.config("-hdb", "b", "-hda", "a", "-drive", "file=c,format=raw,readonly=on")["disk"],
                         ["a,bus=ide,unit=0", "b,bus=ide,unit=1", "c,format=raw,ro,bus=ide,unit=2"])
        c = self.config("-drive", "id=d,if=none,file=x", "-device", "virtio-blk-pci,drive=d", "-snapshot", "disk.img")
        self.assertEqual(sorted(c["disk"]), ["disk.img,throwaway,bus=ide,unit=0", "x,throwaway,bus=virtio"])
        c = self.config("-drive", "if=pflash,format=raw,readonly=on,file=CODE.fd",
                        "-drive", "if=pflash,format=raw,file=VARS.fd")
        self.assertEqual(c["firmware"], "CODE.fd,vars=VARS.fd")

    def test_networks(self):
        """As buildroot, and as others, write them."""
        self.assertEqual(self.config("-net", "nic,model=virtio", "-net", "user")["net"], ["user"])
        self.assertEqual(self.config("-netdev", "user,id=n,hostfwd=tcp::5555-:22", "-device",
                                     "virtio-net-pci,netdev=n,mac=52:54:00:12:34:57")["net"],
                         ["user,forward=tcp:5555:22,mac=52:54:00:12:34:57"])
        self.assertNotIn("net", self.config("-nic", "none", "-net", "none"))

    def test_terminals(self):
        c = self.config("-nographic")
        self.assertEqual((c["serial"], c["display"], c["monitor"]), ("stdio", "none", "keys"))
        c = self.config("-chardev", "stdio,id=c,mux=on", "-serial", "chardev:c", "-mon", "chardev=c")
        self.assertEqual(c["serial"], "stdio")
        self.assertEqual(self.config("-serial", "null")["serial"], "none")
        self.assertEqual(self.config("-nodefaults")["serial"], "none")
        self.assertEqual(self.config("-debugcon", "file:x")["debugcon"], "file:x")


class Lines(Qemu):
    """Lines of scripts."""

    def test_kvm_unit_tests(self):
        line = ["--no-reboot", "-nodefaults", "-global", "kvm-pit.lost_tick_policy=discard", "-device", "pc-testdev",
                *DEBUG_EXIT, "-display", "none", "-serial", "stdio", "-machine", "accel=tcg"]
        out = self.qemu(*line, "-kernel", self.file(kernel(say("hi") + EXIT_32)), "-smp", "1", "-initrd",
                        self.file(b"NR_CPUS=1\n", "env"), "-append", "a b", status=0x21)
        self.assertEqual(out, "hi")

    def test_kunit(self):
        line = ["-nodefaults", "-m", "1024", "-kernel", self.file(kernel(say("ok\n") + RESET_32)), "-append",
                "console=ttyS0 kunit_shutdown=reboot", "-no-reboot", "-nographic", "-accel", "kvm", "-accel", "hvf",
                "-accel", "tcg", "-serial", "stdio"]
        self.assertEqual(self.qemu(*line), "ok\n")

    def test_buildroot(self):
        """Its start-qemu.sh, but for the network, which test_networks has."""
        rootfs = self.file(bytes(1 << 20), "rootfs.ext2")
        line = ["-M", "pc", "-kernel", self.file(kernel(say("up") + EXIT_32)), "-drive",
                f"file={rootfs},if=virtio,format=raw", "-append", "rootwait root=/dev/vda console=tty1 console=ttyS0",
                "-nographic"]
        self.assertEqual(self.qemu(*line, *DEBUG_EXIT, status=0x21), "up")

    def test_xv6(self):
        """make qemu-nox: two disks by index, two CPUs; Ctrl-A x ends it."""
        # INT 13h reads sector 0 of drive 81h to 0:600h, its first byte goes to COM1
        read = (b"\x31\xc0\x8e\xc0\xbb\x00\x06\xb8\x01\x02\xb9\x01\x00\xba\x81\x00\xcd\x13" + LINE_8N1 +
                b"\xba\xf8\x03\x26\xa0\x00\x06\xee" + FOREVER)
        line = ["-nographic", "-drive", f"file={self.file(b'Z' * 5120, 'fs.img')},index=1,media=disk,format=raw",
                "-drive", f"file={self.file(sector(read) + bytes(5120), 'xv6.img')},index=0,media=disk,format=raw",
                "-smp", "2", "-m", "512"]
        p = subprocess.Popen([os.path.join(self.names, "qemu"), *line], env=self.environment("--timeout 30"),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.kill)
        seen = b""
        while b"Z" not in seen and select.select([p.stdout], [], [], 30)[0]:
            seen += os.read(p.stdout.fileno(), 100) or b"(end)Z"
        self.assertTrue(seen.endswith(b"Z") and b"(end)" not in seen, seen)
        p.stdin.write(b"\x01x")
        p.stdin.close()
        self.assertEqual(p.wait(10), 0)

    def test_qboot(self):
        out = self.qemu("-bios", "qboot.rom", "-nographic", *DEBUG_EXIT, "-kernel",
                        self.file(kernel(say("q") + EXIT_32)), status=0x21)
        self.assertEqual(out, "q")


class Behaviour(Qemu):
    def test_exit_port_is_asked_for(self):
        image = self.file(kernel(EXIT_32))
        self.qemu("-nographic", "-kernel", image, options="--timeout 2", status=124)
        self.qemu("-nographic", "-kernel", image, "-device", "isa-debug-exit", options="--timeout 2", status=124)
        port_501 = self.file(kernel(b"\x66\xba\x01\x05\xb0\x03\xee"))
        self.qemu("-nographic", "-kernel", port_501, "-device", "isa-debug-exit", status=7)

    def test_resets_and_triple_faults(self):
        for code in (RESET_32, b"\x0f\x01\x1d\x00\x00\x20\x00\x0f\x0b"):  # LIDT [200000h]: zeroes; UD2
            image = self.file(kernel(say("r") + code))
            self.assertEqual(self.qemu("-no-reboot", "-nographic", "-kernel", image), "r")
            out = self.qemu("-nographic", "-kernel", image, options="--timeout 2", status=124)
            self.assertGreater(len(out), 2)
            self.assertEqual(set(out), {"r"})

    def test_halt_is_no_end(self):
        self.qemu("-nographic", "-kernel", self.file(kernel(b"\xfa\xf4")), options="--timeout 1", status=124)

    def test_snapshot(self):
        # INT 13h writes a sector of what is at 0:7C00h over sector 1 of drive 80h
        code = b"\x31\xc0\x8e\xc0\xbb\x00\x7c\xb8\x01\x03\xb9\x02\x00\xba\x80\x00\xcd\x13" + EXIT
        image = self.file(sector(code) + bytes(2048), "disk")
        line = ["-nographic", *DEBUG_EXIT, "-drive", f"file={image},format=raw"]
        self.qemu(*line, "-snapshot", status=0x21)
        with open(image, "rb") as f:
            self.assertEqual(f.read()[512:], bytes(2048))
        self.qemu(*line, status=0x21)
        with open(image, "rb") as f:
            self.assertEqual(f.read()[512:1024], sector(code))

    def test_streams(self):
        image = self.file(kernel(say("s") + b"\xb0\x64\xe6\xe9" + EXIT_32))
        self.qemu("-display", "none", *DEBUG_EXIT, "-kernel", image, "-serial", "file:out", "-debugcon", "file:e9",
                  status=0x21)
        for name, data in (("out", b"s"), ("e9", b"d")):
            with open(self.path(name), "rb") as f:
                self.assertEqual(f.read(), data)

    def test_monitor_on_stdio(self):
        image = self.file(kernel(b"\xb9\x34\x12\x00\x00\xeb\xfe"))
        out = self.qemu("-monitor", "stdio", "-display", "none", "-S", "-kernel", image,
                        data=b"info status\ncont\ninfo status\nnonsense\n\nxp/2xw 0x100000\nquit\n")
        self.assertIn("(qemu) VM status: paused\n(qemu) (qemu) VM status: running\n", out)
        self.assertIn("unknown command: 'nonsense'", out)
        self.assertIn("0000000000100000: 0x1badb002 0x00010000\n", out)

    def test_monitor_and_serial_share_a_pipe(self):
        image = self.file(kernel(b"\xeb\xfe"))
        out = self.qemu("-nographic", "-kernel", image, data=b"\x01cinfo cpus\nquit\n")
        self.assertIn("* cpu0: pc=0x0000000000100020 running", out)


if __name__ == "__main__":
    unittest.main(verbosity=1)
