#!/usr/bin/env python3
"""Machines by name: the registry, the commands, the JSON socket and its bad clients.

Argument: the executable. Guests are a few bytes of real-mode code.
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

TINAMOU = os.path.abspath(sys.argv.pop(1))
LINE_8N1 = b"\xba\xfb\x03\xb0\x03\xee"  # out 3fbh, 3
FOREVER = b"\xfb\xeb\xfe"               # sti; jmp $
# Every byte that comes in at COM1 goes out again, one higher.
ECHO = LINE_8N1 + b"\xba\xfd\x03\xec\xa8\x01\x74\xf8\xba\xf8\x03\xec\x40\xee\xeb\xf0"
TRIPLE = b"\x0f\x01\x1e\x10\x7c\xcc\0\0\0\0\0\0\0\0\0\0" + b"\0" * 6  # lidt [7c10h]; int3


def sector(code):
    return code.ljust(510, b"\0") + b"\x55\xaa"


def say(text):
    return LINE_8N1 + b"".join(b"\xba\xf8\x03\xb0" + bytes([ch]) + b"\xee" for ch in text.encode())


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("TINAMOU_")}
        self.environment.update(XDG_RUNTIME_DIR=self.folder.name, TINAMOU_ENGINE="interpret")
        self.addCleanup(self.kill_all)

    def kill_all(self):
        for machine in self.list():
            self.tinamou("kill", machine["name"])

    def tinamou(self, *args, status=0, stdin=subprocess.DEVNULL):
        p = subprocess.run([TINAMOU, *args], stdin=stdin, capture_output=True, text=True, timeout=10,
                           env=self.environment)
        self.assertEqual(p.returncode, status, (args, p.stdout, p.stderr))
        return p

    def start(self, name, code=FOREVER, *options):
        path = os.path.join(self.folder.name, name + ".bin")
        with open(path, "wb") as f:
            f.write(sector(code))
        return self.tinamou("run", "--name", name, "--detach", "--firmware", "none", *options, path)

    def list(self):
        return json.loads(self.tinamou("list", "--json").stdout)

    def status(self, name):
        return json.loads(self.tinamou("status", name, "--json").stdout)

    def connect(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.connect(os.path.join(self.folder.name, "tinamou", name + ".sock"))  # waits where many do
        s.settimeout(10)
        self.addCleanup(s.close)
        return s

    def ask(self, s, request):
        s.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
        return json.loads(self.line(s))

    @staticmethod
    def line(s):
        line = b""
        while not line.endswith(b"\n"):
            byte = s.recv(1)
            if not byte:
                break
            line += byte
        return line

    def wait(self, condition):
        for _ in range(500):
            if condition():
                return
            time.sleep(0.02)
        self.fail("waited for too long")


class Named(Case):
    def test_life(self):
        self.assertIn("runs", self.start("one", FOREVER, "-m", "1M").stderr)
        machine = self.status("one")
        self.assertEqual((machine["state"], machine["engine"], machine["memory"]), ("running", "interpret", 1 << 20))
        self.assertIn("one ", self.tinamou("list").stdout)
        self.assertIn("runs already", self.tinamou("run", "--name", "one", "--flat", __file__ + "@0", status=4).stderr)
        self.tinamou("kill", "one")
        self.assertEqual(self.list(), [])
        self.assertIn("no machine called one", self.tinamou("status", "one", status=4).stderr)

    def test_pause(self):
        self.start("one")
        self.tinamou("pause", "one")
        before = self.status("one")
        time.sleep(0.1)
        after = self.status("one")
        self.assertEqual((before["state"], before["instructions"]), ("paused", after["instructions"]))
        self.assertEqual(before["seconds"], after["seconds"])
        self.tinamou("resume", "one")
        self.wait(lambda: self.status("one")["instructions"] > after["instructions"])
        self.tinamou("pause", "one")
        self.tinamou("kill", "one")

    def test_console(self):
        self.start("one", say("hello") + ECHO)
        p = subprocess.Popen([TINAMOU, "console", "one"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=self.environment)
        self.assertEqual(p.stdout.read(5), b"hello")  # said before the console came
        p.stdin.write(b"HAL")
        p.stdin.flush()
        self.assertEqual(p.stdout.read(3), b"IBM")
        self.tinamou("kill", "one")
        self.assertEqual(p.wait(timeout=10), 0)
        p.stdin.close()
        p.stdout.close()

    def test_monitor(self):
        self.start("one")
        self.assertIn("RIP", self.tinamou("monitor", "one", "info registers").stdout.upper())
        self.tinamou("monitor", "one", "stop")
        self.assertEqual(self.status("one")["state"], "paused")
        p = subprocess.run([TINAMOU, "monitor", "one"], input="cont\ninfo status\n", capture_output=True, text=True,
                           timeout=20, env=self.environment)
        self.assertIn("running", p.stdout)
        answer = self.ask(self.connect("one"), {"command": "monitor", "line": "xp /8192xb 0"})
        self.assertTrue(answer["ok"])
        self.assertFalse(self.ask(self.connect("one"), {"command": "monitor"})["ok"])

    def test_screenshot(self):
        self.start("one")
        path = os.path.join(self.folder.name, "screen.png")
        self.tinamou("screenshot", "one", path)
        with open(path, "rb") as f:
            data = f.read()
        self.assertEqual((data[:4], data[-8:-4]), (b"\x89PNG", b"IEND"))
        self.assertFalse(self.ask(self.connect("one"), {"command": "screenshot"})["ok"])
        self.assertEqual([name for name in os.listdir(self.folder.name) if ".part" in name], [])

    def test_stop_without_an_answer(self):
        self.start("one")
        p = self.tinamou("stop", "one", "--timeout", "1", status=124)
        self.assertIn("did not switch itself off", p.stderr)
        self.assertEqual(len(self.list()), 1)

    def test_refused_start(self):
        p = self.tinamou("run", "--name", "one", "--detach", "--flat", "/nowhere@0", status=4)
        self.assertIn("/nowhere", p.stderr)
        self.assertIn("needs --name", self.tinamou("run", "--detach", "x", status=2).stderr)
        self.assertIn("no name for a machine", self.tinamou("run", "--name", "../x", "--flat", __file__ + "@0",
                                                            status=4).stderr)
        self.assertIn("usage", self.tinamou("stop", status=2).stderr)
        self.assertEqual(self.list(), [])

    def test_dead_machines_are_forgotten(self):
        self.start("one")
        os.kill(self.status("one")["pid"], signal.SIGKILL)
        self.wait(lambda: not self.list())
        self.assertEqual([n for n in os.listdir(self.folder.name + "/tinamou") if not n.endswith(".log")], [])
        self.start("one")

    def test_foreign_folder(self):
        os.mkdir(self.folder.name + "/tinamou", 0o755)
        os.chmod(self.folder.name + "/tinamou", 0o755)
        self.assertIn("nobody else can enter", self.tinamou("list", status=4).stderr)
        os.chmod(self.folder.name + "/tinamou", 0o700)

    def test_in_the_foreground(self):
        path = os.path.join(self.folder.name, "x.bin")
        with open(path, "wb") as f:
            f.write(sector(say("hi") + FOREVER))
        p = subprocess.Popen([TINAMOU, "run", "-q", "--name", "x", "--firmware", "none", path], env=self.environment,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.read(2), b"hi")
        self.assertFalse(self.status("x")["detached"])
        self.tinamou("kill", "x")
        self.assertEqual(p.wait(timeout=10), 0)
        p.stdout.close()

    def test_a_fault_beside_others(self):
        self.start("good", ECHO)
        self.start("bad", TRIPLE)
        self.wait(lambda: [m["name"] for m in self.list()] == ["good"])
        with open(self.folder.name + "/tinamou/bad.log") as f:
            self.assertIn("triple fault", f.read())
        s = self.connect("good")
        self.assertTrue(self.ask(s, {"command": "console"})["ok"])
        s.sendall(b"a")
        self.assertEqual(s.recv(1), b"b")


class Socket(Case):
    def setUp(self):
        super().setUp()
        self.start("one", ECHO)

    def test_requests(self):
        s = self.connect("one")
        self.assertEqual(self.ask(s, {"command": "status"})["state"], "running")
        for wrong in (b"{\n", b"[]\n", b"\n", b"1\n", b'{"command": 3}\n', b'{"command": "nix"}\n', b"\xff\xfe\n",
                      b'{"command": "screenshot"}\n', b'{"command":"' + b"\\u0001" * 600 + b'"}\n'):
            answer = self.ask(s, wrong)
            self.assertFalse(answer["ok"])
            self.assertTrue(answer["error"])
        s.sendall(b'{"command":"pause"}\n{"command":"status"}\n{"command":"resume"}\n')
        answers = [json.loads(self.line(s)) for _ in range(3)]
        self.assertEqual(answers[1]["state"], "paused")

    def test_half_closed(self):
        s = self.connect("one")
        s.sendall(b'{"command":"status"}\n')
        s.shutdown(socket.SHUT_WR)
        self.assertEqual(json.loads(self.line(s))["name"], "one")
        self.assertEqual(s.recv(1), b"")

    def test_long_line(self):
        s = self.connect("one")
        try:
            s.sendall(b"x" * 100000)
        except OSError:
            pass
        self.assertIn(b"too long", self.line(s))

    def test_hang_up(self):
        for request in (b"", b"{", b'{"command":"status"}\n', b'{"command":"console"}\n'):
            for _ in range(20):
                s = self.connect("one")
                try:
                    s.sendall(request)
                except BrokenPipeError:
                    pass  # one too many: those before have not been noticed to be gone
                s.close()
        self.assertEqual(self.status("one")["state"], "running")

    def test_too_many(self):
        clients = [self.connect("one") for _ in range(40)]
        answers = 0
        for s in clients:
            try:
                s.sendall(b'{"command":"status"}\n')
                answers += bool(self.line(s))
            except OSError:
                pass
            s.close()
        self.assertGreaterEqual(answers, 8)
        self.assertEqual(self.status("one")["state"], "running")

    def test_one_who_does_not_read(self):
        s = self.connect("one")
        s.settimeout(0.3)
        try:
            for _ in range(100000):
                s.sendall(b'{"command":"nix"}\n' * 50)
        except OSError:
            pass
        self.assertEqual(self.status("one")["state"], "running")

    def test_console_that_does_not_read(self):
        lazy, busy = self.connect("one"), self.connect("one")
        for s in (lazy, busy):
            self.assertTrue(self.ask(s, {"command": "console"})["ok"])
        for _ in range(300):
            busy.sendall(b"A" * 256)
            got = 0
            while got < 256:
                data = busy.recv(256 - got)
                self.assertEqual(data, b"B" * len(data))
                got += len(data)
        self.assertEqual(self.status("one")["state"], "running")

    def test_descriptors_that_nobody_asked_for(self):
        s = self.connect("one")
        before = len(os.listdir(f"/proc/{self.status('one')['pid']}/fd"))
        for _ in range(50):
            with open("/dev/null") as f:
                socket.send_fds(s, [b'{"command":"status"}\n'], [f.fileno()] * 3)
            self.assertTrue(json.loads(self.line(s))["ok"])
        after = len(os.listdir(f"/proc/{self.status('one')['pid']}/fd"))
        self.assertLessEqual(after, before + 2)


if __name__ == "__main__":
    unittest.main()
