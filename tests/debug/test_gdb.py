#!/usr/bin/env python3
"""test_gdb - a debugger at a running machine: breakpoints, watchpoints, steps, threads, Ctrl-C, the end.

    test_gdb.py TINAMOU SOURCE [--linux]

Without --linux boot sectors on the software engines, and GDB itself, where it is installed; with it
Debian's cloud kernel with two vCPUs. Exit status 77: what it takes is not to be had.
"""
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from gdb_client import Client

TINAMOU, SOURCE = sys.argv[1:3]
LINUX = "--linux" in sys.argv
ENGINES = ("interpret", "translate")

# 7c00 mov cx, 5; 7c03 inc ax; 7c04 mov [9000h], ax; 7c07 loop 7c03; 7c09 sti; 7c0a jmp 7c0a
COUNTS = b"\xb9\x05\x00\x40\xa3\x00\x90\xe2\xfa\xfb\xeb\xfe"
LOOP, STORE, BEHIND, FOREVER = 0x7c03, 0x7c04, 0x7c07, 0x7c0a


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def sector(self, code):
        path = os.path.join(self.folder.name, "sector")
        with open(path, "wb") as f:
            f.write(code.ljust(510, b"\0") + b"\x55\xaa")
        return path

    def start(self, engine, *words):
        """The process, and a client that has stopped the machine."""
        self.path = path = tempfile.mktemp("-gdb", dir=self.folder.name)
        process = subprocess.Popen(
            [TINAMOU, "run", "-e", engine, "--gdb", path, "--console", "none", "--timeout", "200", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        client = Client(path, 100)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.addCleanup(client.close)
        client.start()
        return process, client

    def bare(self, engine, code=COUNTS, *words):
        return self.start(engine, "--firmware", "none", "--as", "sector", "--paused", *words, self.sector(code))


class Sector(Case):
    def test_breakpoints(self):
        for engine in ENGINES:
            process, gdb = self.bare(engine)
            self.assertEqual(gdb.ask("?"), "T05thread:1;")
            self.assertEqual(gdb.register("rip"), 0x7c00)
            for kind, reason in ((0, "swbreak"), (1, "hwbreak")):
                self.assertEqual(gdb.ask(f"Z{kind},{LOOP:x},1"), "OK")
                self.assertEqual(gdb.go(), f"T05thread:1;{reason}:;")
                self.assertEqual(gdb.register("rip"), LOOP)
                self.assertEqual(gdb.ask(f"z{kind},{LOOP:x},1"), "OK")
            self.assertEqual(gdb.register("rax"), 1)
            self.assertEqual(gdb.ask("Z0,7c04,1"), "OK")
            for rax in (2, 3, 4, 5):
                self.assertEqual(gdb.go(), "T05thread:1;swbreak:;")
                self.assertEqual(gdb.register("rax"), rax)
            gdb.send("c")  # from a breakpoint that stays
            time.sleep(0.5)
            self.assertEqual(gdb.interrupt(), "T02thread:1;")
            self.assertEqual(gdb.register("rip"), FOREVER)
            self.assertEqual(gdb.ask("k"), "OK")
            process.communicate(timeout=20)
            self.assertEqual(process.returncode, 0)
            self.assertFalse(os.path.exists(self.path))

    def test_watchpoints(self):
        for engine in ENGINES:
            process, gdb = self.bare(engine)
            self.assertEqual(gdb.ask("Z2,9000,2"), "OK")
            self.assertEqual(gdb.go(), "T05thread:1;watch:9000;")
            self.assertEqual(gdb.register("rip"), BEHIND)
            self.assertEqual(gdb.memory(0x9000, 2), b"\1\0")
            self.assertEqual(gdb.ask("z2,9000,2"), "OK")
            self.assertEqual(gdb.ask("Z4,9000,2"), "OK")
            self.assertEqual(gdb.go(), "T05thread:1;awatch:9000;")
            self.assertEqual(gdb.ask("Z2,9001,2"), "E16")
            self.assertEqual(gdb.ask("D"), "OK")
            gdb.close()

    def test_steps_and_changes(self):
        for engine in ENGINES:
            process, gdb = self.bare(engine)
            self.assertEqual([gdb.go("s") and gdb.register("rip") for _ in range(4)],
                             [LOOP, STORE, BEHIND, LOOP])
            self.assertEqual(gdb.set_register("rcx", 1), "OK")
            self.assertEqual(gdb.set_register("cr0", 1), "E16")
            self.assertEqual(gdb.ask("M9000,2:3412"), "OK")
            self.assertEqual(gdb.memory(0x9000, 2), b"\x34\x12")
            everything = gdb.ask("g")
            self.assertEqual(gdb.ask("G" + everything), "OK")
            self.assertEqual(gdb.ask("g"), everything)
            # the code is changed under its translation
            self.assertEqual(gdb.ask(f"M{STORE:x},1:f4"), "OK")
            self.assertEqual(gdb.ask("Z0,7c05,1"), "OK")
            self.assertEqual(gdb.set_register("rip", LOOP), "OK")
            self.assertEqual(gdb.ask("D"), "OK")
            process.communicate(timeout=20)
            self.assertEqual(process.returncode, 0, "HLT with interrupts off is the end")

    def test_binary_write(self):
        process, gdb = self.bare("interpret")
        self.assertEqual(gdb.ask(b"X9000,5:$#}*a"), "OK")
        self.assertEqual(gdb.memory(0x9000, 5), b"$#}*a")

    def test_monitor(self):
        process, gdb = self.bare("interpret")
        self.assertEqual(gdb.monitor("info status"), "VM status: paused\n")
        self.assertIn("00007c00: 0xb9", gdb.monitor("x/1xb 0x7c00"))

    def test_two_vcpus(self):
        """One halts, waiting for SIPI; a breakpoint of the other is told with its thread."""
        process, gdb = self.bare("interpret", COUNTS, "--cpus", "2")
        self.assertEqual(gdb.ask("qfThreadInfo"), "m1,2")
        self.assertEqual(gdb.ask("qsThreadInfo"), "l")
        self.assertEqual(bytes.fromhex(gdb.ask("qThreadExtraInfo,2")), b"cpu1: waits for SIPI")
        self.assertEqual(gdb.ask("Hg2"), "OK")
        self.assertEqual(gdb.register("rip"), 0xfffffff0)  # CS is based there
        self.assertEqual(gdb.ask("Hg3"), "E16")
        self.assertEqual(gdb.ask("T2"), "OK")
        self.assertEqual(gdb.ask(f"Z1,{STORE:x},1"), "OK")
        self.assertEqual(gdb.go("vCont;s:1;c"), "T05thread:1;")
        self.assertEqual(gdb.register("rip"), LOOP)
        self.assertEqual(gdb.go("vCont;c:1"), "T05thread:1;hwbreak:;")

    def test_connections(self):
        """A second debugger waits for the first one; whoever leaves takes the breakpoints along."""
        process, gdb = self.bare("translate")
        self.assertEqual(gdb.ask(f"Z0,{LOOP:x},1"), "OK")
        gdb.close()
        again = Client(self.path)
        self.addCleanup(again.close)
        again.start()
        again.send("c")
        time.sleep(0.5)
        self.assertEqual(again.interrupt(), "T02thread:1;")
        self.assertEqual(again.register("rip"), FOREVER)
        self.assertEqual(again.register("rax"), 5)

    def test_end(self):
        process, gdb = self.bare("interpret", b"\xfa\xf4")
        self.assertEqual(gdb.go(), "W00")
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 0)

    def test_i386(self):
        process, gdb = self.bare("interpret", COUNTS, "--cpu-model", "baseline,-lm")
        self.assertIn("<architecture>i386</architecture>", gdb.description)
        self.assertEqual(gdb.register("eip"), 0x7c00)
        self.assertEqual(gdb.names["ecx"], 1)
        self.assertEqual(gdb.names["eip"], 8)
        self.assertEqual(gdb.set_register("ecx", 0x12345678, 4), "OK")
        self.assertEqual(gdb.register("ecx"), 0x12345678)

    def test_bad_packets(self):
        """Whatever comes over the socket, the machine goes on and the next debugger is served."""
        process, gdb = self.bare("interpret")
        rng = random.Random(6)
        starts = ["vCont;", "Z0,", "z4,", "m", "M", "X", "g", "G", "p", "P", "H", "T", "qXfer:features:read:", "Z2,",
                  "qThreadExtraInfo,", "qRcmd,", "qSupported:", "D;", "?", "vKi", "QStart"]
        for n in range(300):
            tail = "".join(rng.choice("0123456789abcdef,;:=-$#}*\0Zz") for _ in range(rng.randrange(30)))
            gdb.send(rng.choice(starts) + tail)
            if rng.random() < .2:
                gdb.raw(rng.randbytes(rng.randrange(60)).replace(b"k", b""))
        gdb.raw(b"$" + b"m" * 100000 + b"#00")
        gdb.close()
        again = Client(self.path)
        self.addCleanup(again.close)
        again.start()
        self.assertEqual(again.memory(0x7c00, 1), b"\xb9")


class Flags(Case):
    def test_refusals(self):
        for words, says in ((["--gdb", "example.org:1"], "on this host"), (["--gdb", "0.0.0.0:1"], "on this host"),
                            (["--gdb", "1234,arch=arm"], "x86-64"), (["--gdb", "1234,x"], "unknown key"),
                            (["--gdb", "/nowhere/at/all"], "No such file")):
            p = subprocess.run([TINAMOU, "run", *words, self.sector(COUNTS)], capture_output=True, text=True, timeout=20)
            self.assertIn(p.returncode, (2, 4), p.stderr)
            self.assertIn(says, p.stderr)

    def test_qemu(self):
        port = free_port()
        for words, address in ((["-gdb", f"tcp::{port}"], port),
                               (["-gdb", f"unix:{self.folder.name}/s,server=on,wait=off"], self.folder.name + "/s")):
            process = subprocess.Popen([TINAMOU, "qemu", "-S", "-display", "none", *words, "-hda", self.sector(COUNTS)],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            gdb = Client(address)
            gdb.start()
            self.assertEqual(gdb.register("rip"), 0xfffffff0)
            self.assertEqual(gdb.ask("Z1,7c00,1"), "OK")
            self.assertEqual(gdb.go(), "T05thread:1;hwbreak:;")
            self.assertEqual(gdb.register("rip"), 0x7c00)
            gdb.ask("k")
            gdb.close()
            self.assertEqual(process.wait(20), 0)


class Real(Case):
    @unittest.skipUnless(shutil.which("gdb"), "no GDB here")
    def test_session(self):
        process, gdb = self.bare("translate")
        gdb.close()
        commands = [f"target remote {self.path}", f"break *{LOOP:#x}", "continue", "print/x $rip", "delete",
                    "watch *(short *)0x9000", "continue", "print *(short *)0x9000", "stepi", "print/x $pc",
                    "info threads", "monitor info status", "kill"]
        p = subprocess.run(["gdb", "-nx", "-batch", *(w for c in commands for w in ("-ex", c))], capture_output=True,
                           text=True, timeout=60, stdin=subprocess.DEVNULL)
        for line in ("$1 = 0x7c03", "New value = 1", "$2 = 1", "$3 = 0x7c03", "(cpu0: running)", "VM status: paused"):
            self.assertIn(line, p.stdout + p.stderr)


class Linux(Case):
    def gate(self, gdb, vector):
        """The handler's address in the IDT that the monitor tells of."""
        text = gdb.monitor("info registers")
        base = int(next(w for line in text.splitlines() if line.lstrip().lower().startswith("idtr")
                        for w in line.replace("=", " ").split()[1:] if len(w) >= 8).removeprefix("base"), 16)
        entry = gdb.memory(base + 16 * vector, 16)
        return int.from_bytes(entry[:2] + entry[6:12], "little")

    def test_page_faults(self):
        sys.path.insert(0, os.path.join(SOURCE, "tools"))
        import linux_guest
        cpio = linux_guest.busybox("sh mount poweroff sleep")
        cpio.file("init", b"#!/bin/sh\nwhile true; do sh -c true & sh -c true; done\n")
        initrd = os.path.join(self.folder.name, "initrd")
        with open(initrd, "wb") as f:
            f.write(cpio.bytes())
        for engine in ENGINES:
            process, gdb = self.start(engine, "--kernel", linux_guest.vmlinuz("cloud-amd64"), "--initrd", initrd,
                                      "--cpus", "2", "--memory", "256M", "--append", "nokaslr quiet cryptomgr.notests")
            # whoever is at level 3 has the IDT that stays
            while gdb.register("cs") & 3 != 3:
                gdb.send("vCont;c")
                gdb.socket.settimeout(2)
                try:
                    gdb.receive()
                except TimeoutError:
                    gdb.interrupt()
                gdb.socket.settimeout(100)
            self.assertIn("x86-64", gdb.description)
            handler = self.gate(gdb, 14)
            self.assertGreater(handler, 0xffffffff80000000)
            self.assertEqual(gdb.ask(f"Z0,{handler:x},1"), "OK")
            seen = set()
            for _ in range(200):
                told = gdb.go()
                self.assertRegex(told, r"^T05thread:[12];swbreak:;$")
                self.assertEqual(gdb.register("rip"), handler)
                seen.add(told)
                if len(seen) == 2:
                    break
            self.assertEqual(len(seen), 2, "both vCPUs came by")
            before = gdb.register("rip")
            self.assertEqual(gdb.go("vCont;s:" + told[10]), f"T05thread:{told[10]};")
            self.assertNotEqual(gdb.register("rip"), before)
            self.assertEqual(gdb.ask(f"z0,{handler:x},1"), "OK")
            gdb.send("c")
            self.assertIn("T02", gdb.interrupt())
            gdb.ask("k")
            process.communicate(timeout=60)


def main():
    if LINUX:
        sys.path.insert(0, os.path.join(SOURCE, "tools"))
        import linux_guest
        linux_guest.vmlinuz("cloud-amd64")  # ends with 77 if there is none
    names = ["Linux"] if LINUX else ["Sector", "Flags", "Real"]
    result = unittest.main(argv=[sys.argv[0], *names], verbosity=2, exit=False).result
    bad = len(result.failures) + len(result.errors)
    for case, reason in result.skipped:
        print(f"skip debug/gdb:{case.id().split('.')[-1]}: {reason}")
    print(f"{result.testsRun - bad - len(result.skipped)} passed, {bad} failed, {len(result.skipped)} skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
