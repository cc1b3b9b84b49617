#!/usr/bin/env python3
"""test_root - one command in a guest over a folder of the host: run --root DIR -- CMD.

    test_root.py TINAMOU SOURCE [--engine translate] [quick]

Debian's cloud kernel and busybox in a folder. Streams are separate and carry every byte, the
status is the command's, the folder stays as it was, and each way to fail has its own status
and reason. Exit status 77: the kernel is not to be had.
"""
import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

TINAMOU = os.path.abspath(sys.argv[1])
SOURCE = pathlib.Path(sys.argv[2])
ENGINE = "translate" if "translate" in sys.argv else "interpret"
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402

APPLETS = "sh ls cat echo sleep kill md5sum head pwd env mkdir rm reboot stty touch tee true seq grep"
NEEDED = ("virtio", "fuse", "overlayfs", "char", "block", "net", "core")


def make_root(folder):
    kernel = linux_guest.kernel("cloud-amd64")
    shutil.copytree(kernel / "boot", folder / "boot")
    shutil.copytree(kernel / "lib/modules", folder / "lib/modules")
    for name in ("bin", "proc", "sys", "dev", "tmp", "root", "etc", "work/deep"):
        (folder / name).mkdir(parents=True)
    shutil.copy(linux_guest.fetch("busybox-static") / "bin/busybox", folder / "bin/busybox")
    for name in APPLETS.split():
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc/hello").write_text("hello\n")


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


class Root(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name) / "root"
        cls.folder.mkdir()
        make_root(cls.folder)
        cls.result = pathlib.Path(cls.temporary.name) / "result.json"

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def command(self, *words, options=()):
        return [TINAMOU, "run", "-q", "--engine", ENGINE, "--memory", "256M", "--result", self.result,
                *options, "--root", self.folder, "--", *words]

    def run_it(self, *words, options=(), **kw):
        done = subprocess.run(self.command(*words, options=options), capture_output=True, timeout=200, **kw)
        return done, json.loads(self.result.read_text())

    def test_streams(self):
        data = os.urandom(300000)
        before = names(self.folder)
        script = ("cat; echo error >&2; pwd >&2; echo $A $B >&2; cat /etc/hello > /etc/copy; rm /etc/hello;"
                  " ls /etc >&2; echo again > /dev/stderr; exit 7")
        done, result = self.run_it("/bin/sh", "-c", script, "x", input=data, cwd=self.folder / "work/deep",
                                   options=["--env", "A=one two", "--env", "B"], env={**os.environ, "B": "b"})
        self.assertEqual(done.stderr.decode(), "error\n/work/deep\none two b\ncopy\nagain\n")
        self.assertEqual(done.stdout, data)
        self.assertEqual(done.returncode, 7)
        self.assertEqual((result["reason"], result["status"], result["engine"]), ("exit", 7, ENGINE))
        self.assertGreater(result["seconds"], 0)
        self.assertGreater(result["instructions"], 10_000_000)  # the boot, whoever executed it
        self.assertEqual(names(self.folder), before)

    def test_pipes(self):
        """A slow reader holds the writer; one that goes ends the run as SIGPIPE does."""
        with subprocess.Popen(self.command("seq", "1", "300000"), stdout=subprocess.PIPE) as run:
            time.sleep(6)
            text = run.stdout.read()
        self.assertEqual(text, b"".join(b"%d\n" % n for n in range(1, 300001)))
        with subprocess.Popen(self.command("sh", "-c", "while echo yes; do :; done"), stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL) as run:
            self.assertEqual(run.stdout.read(4), b"yes\n")
            run.stdout.close()
            self.assertEqual(run.wait(100), -13)

    def test_ends(self):
        done, result = self.run_it("/bin/nothing")
        self.assertEqual((done.returncode, result["reason"]), (127, "exit"))
        self.assertIn(b"/bin/nothing: No such file", done.stderr)
        done, result = self.run_it("sh", "-c", "kill -9 $$")
        self.assertEqual((done.returncode, result["reason"]), (137, "signal"))

    def test_failures(self):
        done, result = self.run_it("sh", "-c", "echo c > /proc/sysrq-trigger")
        self.assertEqual((done.returncode, result["reason"]), (10, "panic"))
        self.assertIn(b"Kernel panic", done.stderr)
        done, result = self.run_it("sleep", "1000", options=["--timeout", "12"])
        self.assertEqual((done.returncode, result["reason"]), (124, "timeout"))
        done, result = self.run_it("reboot", "-f", options=["--append", "reboot=t"])
        self.assertEqual((done.returncode, result["reason"]), (8, "triple-fault"))
        done, result = self.run_it("reboot", "-f")
        self.assertEqual((done.returncode, result["reason"]), (12, "reset"))

    def test_terminal(self):
        pid, fd = pty.fork()
        if not pid:
            os.execv(TINAMOU, [str(w) for w in self.command("sh", "-c", "stty size; read x; echo got $x; stty size")])
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
        text = b""
        typed = False
        while True:
            try:
                part = os.read(fd, 1000)
            except OSError:
                break
            text += part
            if b"99" in text and not typed:
                fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 111, 0, 0))
                time.sleep(1)
                os.write(fd, b"key\n")
                typed = True
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertEqual(text, b"33 99\r\nkey\r\ngot key\r\n44 111\r\n")

    def test_jail(self):
        """The front and every thread of the machine and of the share's server are in their jails."""
        with subprocess.Popen(self.command("sh", "-c", "echo up; cat"), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as run:
            self.assertEqual(run.stdout.readline(), b"up\n")
            seen = {}
            children = pathlib.Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            for child in [run.pid, *children]:
                for task in pathlib.Path(f"/proc/{child}/task").iterdir():
                    status = (task / "status").read_text()
                    seen[task.name] = (re.search(r"Seccomp:\t(\d)", status)[1],
                                       re.search(r"NoNewPrivs:\t(\d)", status)[1])
            run.stdin.close()
            self.assertEqual(run.wait(60), 0)
        self.assertGreaterEqual(len(seen), 7)
        self.assertEqual(set(seen.values()), {("2", "1")})

    def test_own_init(self):
        """Without a command the folder's own init is the first process, on the serial line."""
        init = self.folder / "sbin/init"
        init.parent.mkdir()
        init.write_text("#!/bin/sh\ncd /\necho I am $$\necho > /made\nreboot -f\n")
        init.chmod(0o755)
        done = subprocess.run([TINAMOU, "run", "-q", "--engine", ENGINE, "--memory", "256M", "--no-reboot", "--console",
                               "serial", "--root", self.folder], stdin=subprocess.DEVNULL, capture_output=True, timeout=200)
        shutil.rmtree(init.parent)
        self.assertIn(b"I am 1\r\n", done.stdout)
        self.assertEqual(done.returncode, 12)
        self.assertFalse((self.folder / "made").exists())

    def test_wrong(self):
        for words in (["--", "ls"], ["--root", self.folder, "--initrd", "x", "--", "ls"]):
            self.assertEqual(subprocess.run([TINAMOU, "run", *words], capture_output=True).returncode, 2, words)
        done = subprocess.run([TINAMOU, "run", "--root", "/nowhere", "--", "ls"], capture_output=True)
        self.assertEqual(done.returncode, 4)
        empty = pathlib.Path(self.temporary.name) / "empty"
        empty.mkdir()
        done = subprocess.run([TINAMOU, "run", "--root", empty, "--", "ls"], capture_output=True)
        self.assertIn(b"--kernel", done.stderr)


if __name__ == "__main__":
    try:
        linux_guest.kernel("cloud-amd64")
    except linux_guest.Missing as why:
        print(f"no Linux to run: {why}")
        sys.exit(77)
    chosen = ["Root.test_streams", "Root.test_jail", "Root.test_wrong"] if "quick" in sys.argv else []
    unittest.main(argv=sys.argv[:1] + chosen)
