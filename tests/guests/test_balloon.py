#!/usr/bin/env python3
"""test_balloon - memory goes back to the host from Debian's cloud kernel with its own driver.

    test_balloon.py TINAMOU SOURCE

A guest fills 200 MiB and lets go of them: the machine's resident memory falls by free page
reporting. Then `tinamou balloon` asks for more, and the guest's memory is less; and back, by the monitor.
Exit status 77: the kernel is not to be had.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

TINAMOU, SOURCE = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "virtio_balloon")
MIB = 1 << 20
FILE = 200  # MiB
COMMANDS = [
    ("fill", f"dd if=/dev/zero of=/tmp/f bs=1M count={FILE} 2>/dev/null; ls -s /tmp/f"),
    ("free", "rm /tmp/f; sleep 8"),
    ("squeezed", "n=0; until [ $n = 60 ] || [ $(grep MemFree /proc/meminfo | tr -dc 0-9) -lt 260000 ];"
     " do sleep 1; n=$((n + 1)); done; grep MemFree /proc/meminfo"),
    ("wide", "n=0; until [ $n = 60 ] || [ $(grep MemFree /proc/meminfo | tr -dc 0-9) -gt 350000 ];"
     " do sleep 1; n=$((n + 1)); done; grep MemFree /proc/meminfo"),
]


def children(pid):
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += children(int(child))
    return found


def resident(pid):
    """Bytes of anonymous memory of the largest process."""
    sizes = [0]
    for p in children(pid):
        lines = pathlib.Path(f"/proc/{p}/status").read_text().splitlines()
        sizes += [int(l.split()[1]) * 1024 for l in lines if l.startswith("RssAnon")]
    return max(sizes)


class Machine:
    """Runs the guest, and steers it by what it says."""

    def __init__(self, folder):
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
        self.seen = {}

    def tinamou(self, *words):
        subprocess.run([TINAMOU, *words], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def step(self, name, pid):
        self.seen[name] = resident(pid)
        if name == "free":
            self.tinamou("balloon", "guest", "256M")
        elif name == "squeezed":
            self.tinamou("monitor", "guest", "balloon 512M")

    def __call__(self, kernel, initrd, append, timeout, out):
        p = subprocess.Popen([TINAMOU, "run", "-q", "--name", "guest", "--balloon", "--memory", "512M",
                              "--engine", "translate", "--serial", f"file:{out.name}", "--console", "none",
                              "--no-reboot", "--timeout", str(timeout), "--kernel", kernel,
                              "--initrd", initrd, "--append", append],
                             stdin=subprocess.DEVNULL, env=self.environment)
        while p.poll() is None:
            text = pathlib.Path(out.name).read_text(errors="replace")
            for name, _ in COMMANDS:
                if f"@ end {name} " in text and name not in self.seen:
                    self.step(name, p.pid)
            time.sleep(0.2)


def check(result, seen):
    kib = {name: int("0" + "".join(filter(str.isdigit, result[name][1].decode())))
           for name in ("squeezed", "wide")}
    print({name: f"{size // MIB} MiB" for name, size in seen.items()}, kib)
    wrong = [what for what, right in (
        ("no report of free pages", seen["fill"] - seen["free"] > (FILE - 40) * MIB),
        ("no balloon", kib["squeezed"] < 260000),
        ("no way back", kib["wide"] > 350000)) if not right]
    print(f"FAIL balloon: {wrong}" if wrong else "ok   balloon")
    return 1 if wrong else 0


def main():
    try:
        guest = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
        for name in MODULES:
            guest.add_module(name)
    except linux_guest.Missing as why:
        print(f"no Linux to run: {why}")
        return 77
    for applet in ("dd", "rm", "tr"):
        guest.cpio.link(f"bin/{applet}", "busybox")
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(folder)
        result = guest.run(machine, COMMANDS, limit=90, timeout=300, log=f"{folder}/log")
        return check(result, machine.seen)


sys.exit(main())
