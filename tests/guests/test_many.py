#!/usr/bin/env python3
"""test_many - many machines on one host: what one sees is not changed by the others.

    test_many.py TINAMOU SOURCE GUESTS

Four systems run alone and then all at once, beside a guest that ends in triple
faults, one that runs a fork bomb, and one that drives hostile virtqueues, which
are started again whenever they end: output and status must be as when alone, of
the kernels to the last byte (they run by the instruction clock). If tools/debian-image
can make it, Debian with systemd comes to its prompt and powers off in their midst, too.
Exit status 77: the kernels are not to be had.
"""
import contextlib
import pathlib
import subprocess
import sys
import tempfile
import threading

import media

BINARY, SOURCE, GUESTS = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402

LIMIT = 1800
APPLETS = "sh mount uname head md5sum awk echo poweroff seq sort"
DAY = b"""#!/bin/sh
mount -t proc proc /proc
uname -sm
seq 1 20000 | sort -r | md5sum
i=0; while [ $i -lt 100 ]; do (echo $i) >/dev/null; i=$((i + 1)); done; echo "loop $i"
poweroff -f
"""
BOMB = b"""#!/bin/sh
bomb() { bomb | bomb & }
bomb
while :; do :; done
"""


def run(words):
    return [BINARY, "run", "-q", "--timeout", str(LIMIT), *map(str, words)]


class Many:
    """The files that the machines start from, for as long as they run."""

    def __init__(self, stack):
        self.stack = stack

    def file(self, data, suffix=""):
        made = self.stack.enter_context(tempfile.NamedTemporaryFile(suffix=suffix))
        made.write(data)
        made.flush()
        return made.name

    def initramfs(self, init, folder=None):
        cpio = linux_guest.busybox(APPLETS, folder)
        cpio.file("init", init)
        return self.file(cpio.bytes(), ".cpio")

    def disk(self, name):
        return self.file(media.make("disk", (GUESTS / f"{name}.bin").read_bytes()))

    def linux(self, kernel, init, *options):
        return run(["--kernel", kernel, "--initrd", init, "--memory", "256M", "--no-reboot",
                    "--append", "panic=-1 cryptomgr.notests", *options])

    def friends(self):
        """{name: (command, status)}"""
        small = linux_guest.fetch_i386("linux-image-686")
        small_init = self.initramfs(DAY, linux_guest.fetch_i386("busybox-static"))
        cloud, clock = linux_guest.vmlinuz("cloud-amd64"), ("--clock", "instructions")
        return {
            "banner": (run(["--flat", f"{GUESTS / 'banner.bin'}@0"]), 0),
            "mp": (run([self.disk("mp"), "--firmware", "none", "--memory", "1M", "--cpus", 2]), 41),
            "cloud": (self.linux(cloud, self.initramfs(DAY), "--cpus", "2", *clock), 0),
            "686": (self.linux(next(small.glob("boot/vmlinuz-*")), small_init, *clock), 0),
        }

    def foes(self):
        cloud = linux_guest.vmlinuz("cloud-amd64")
        queues = run([self.disk("virtqueue"), "--firmware", "none", "--memory", "1M",
                      "--disk", f"{GUESTS / 'frame.elf'},format=raw,bus=virtio,throwaway",
                      "--net", "user", "--share", f"{GUESTS},tag=images,ro"])
        return {
            "triple": run(["--flat", f"{GUESTS / 'triple.bin'}@7c00"]),
            "bomb": self.linux(cloud, self.initramfs(BOMB), "--cpus", "2"),
            "virtqueue": queues,
        }


class Foe(threading.Thread):
    """Runs a command again and again; counts how often it ended, and keeps its statuses."""

    def __init__(self, command):
        super().__init__(daemon=True)
        self.command, self.over, self.statuses = command, False, set()
        self.process, self.count = None, 0
        self.lock = threading.Lock()
        self.start()

    def run(self):
        while True:
            with self.lock:
                if self.over:
                    return
                self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            status = self.process.wait()
            if not self.over:
                self.statuses.add(status)
                self.count += 1

    def end(self):
        with self.lock:
            self.over = True
            self.process.terminate()
        self.join(60)
        return not self.is_alive()


def start(command):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def result(process):
    output, errors = process.communicate(timeout=LIMIT + 60)
    return process.returncode, output, errors


def judge(name, good, why=""):
    print(f"{'ok  ' if good else 'FAIL'} many:{name} {'' if good else why}".rstrip(), flush=True)
    return 0 if good else 1


def in_company(many):
    friends, failed = many.friends(), 0
    alone = {name: result(start(command)) for name, (command, _) in friends.items()}
    for name, (_, status) in friends.items():
        failed += judge(f"{name} alone", alone[name][0] == status, alone[name])
    foes = {name: Foe(command) for name, command in many.foes().items()}
    debian = start([sys.executable, SOURCE / "tests/guests/test_debian.py", BINARY, SOURCE, "login"])
    together = {name: start(command) for name, (command, _) in friends.items()}
    for name, process in together.items():
        got = result(process)
        failed += judge(name, got[:2] == alone[name][:2], (got, alone[name]))
    status, output, _ = result(debian)
    if status == 77:
        print("skip many:debian", output.decode(errors="replace").strip())
    else:
        failed += judge("debian", status == 0, output.decode(errors="replace")[-3000:])
    for name, wanted in (("triple", {8}), ("virtqueue", {57}), ("bomb", set())):
        foe = foes[name]
        ended = foe.end()
        failed += judge(f"{name}, {foe.count} times", ended and foe.statuses == wanted,
                        foe.statuses)
    return failed


def main():
    try:
        with contextlib.ExitStack() as stack:
            return 1 if in_company(Many(stack)) else 0
    except linux_guest.Missing as why:
        print(f"no guest to run: {why}")
        return 77


sys.exit(main())
