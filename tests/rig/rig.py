"""rig - Debian's kernel with kvm-amd inside QEMU TCG, to run programs on real KVM semantics.

QEMU emulates SVM with nested paging, so /dev/kvm in there is backed by the
kernel's own kvm-amd and not by whatever this host has. The machine boots from
the kernel and an initramfs written here; its init runs a list of commands and
sends each one's output base64-coded over the serial line, between markers.

    rig = Rig()                    # raises Missing: no kernel, no QEMU
    rig.add_program("build/static/tinamou", "tinamou")
    results = rig.run([("name", "command line")])   # {name: (status, bytes)}
"""
import base64
import gzip
import lzma
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import linux_guest  # noqa: E402  (found by the line above)
from linux_guest import Missing  # noqa: E402

# In the order of insmod: each needs those before it.
MODULES = ["irqbypass", "kvm", "ccp", "kvm-amd"]
QEMU = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-display", "none",
        "-monitor", "none", "-no-reboot", "-nic", "none", "-serial", "stdio"]

INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
for module in {modules}; do insmod /modules/$module.ko || echo "@ no module $module"; done
emit() {{
	{emit}
}}
run() {{
	name=$1
	shift
	echo "@ begin $name" | emit
	timeout {limit} sh -c "$*" >/tmp/out 2>&1 </dev/null
	status=$?
	base64 /tmp/out | emit
	echo "@ end $name $status" | emit
}}
{commands}
echo "@ done" | emit
poweroff -f
"""


def module_bytes(tree, name):
    for path in tree.rglob(f"{name}.ko*"):
        data = path.read_bytes()
        return {".xz": lzma.decompress, ".gz": gzip.decompress}.get(path.suffix, bytes)(data)
    raise Missing(f"the kernel package has no module {name}")


class Rig:
    """modules: of the kernel's package, by name, loaded in this order."""

    flavour = "amd64"
    program = QEMU[0]
    append = "console=ttyS0 quiet panic=-1 rdinit=/init"
    emit = "cat"  # how a line goes out

    def __init__(self, modules=MODULES):
        if not shutil.which(self.program):
            raise Missing(f"{self.program} is not installed")
        kernel = linux_guest.kernel(self.flavour)
        self.vmlinuz = next(kernel.glob("boot/vmlinuz-*"))
        self.cpio = linux_guest.busybox(
            "sh mount insmod rmmod dmesg base64 timeout poweroff echo cat cmp head printf sleep ls")
        self.modules = modules
        for name in modules:
            self.cpio.file(f"modules/{name}.ko", module_bytes(kernel, name), 0o644)

    def add_file(self, path, name):
        self.cpio.file(name, pathlib.Path(path).read_bytes())

    def add_program(self, path, name):
        """A program with the shared libraries it is linked with, if any."""
        self.add_file(path, name)
        listing = subprocess.run(["ldd", path], text=True, capture_output=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listing):
            self.cpio.file(library.lstrip("/"), pathlib.Path(library).read_bytes())

    def run(self, commands, limit=30, timeout=120, log=None, extra=()):
        """Boots, runs (name, command) in order; {name: (exit status, output)}."""
        lines = "\n".join(f"run {name} {shlex.quote(command)}" for name, command in commands)
        self.cpio.file("init", INIT.format(modules=" ".join(self.modules), limit=limit,
                                           emit=self.emit, commands=lines).encode())
        with tempfile.NamedTemporaryFile(suffix=".cpio") as image:
            image.write(self.cpio.bytes())
            image.flush()
            done = self.boot(image.name, timeout, list(extra))
        text = done.decode(errors="replace").replace("\r", "")
        if log:
            os.makedirs(os.path.dirname(log), exist_ok=True)
            pathlib.Path(log).write_text(text)
        if "@ done" not in text:
            raise RuntimeError("the rig did not come to its end:\n" + text[-3000:])
        pattern = re.compile(r"^@ begin (\S+)\n(.*?)@ end \1 (\d+)$", re.M | re.S)
        return {name: (int(status), decode(body)) for name, body, status in pattern.findall(text)}

    def boot(self, initramfs, timeout, extra):
        """The machine's serial output, up to its end."""
        return run_to_end(QEMU + ["-kernel", self.vmlinuz, "-initrd", initramfs, "-append",
                                  self.append, *extra], timeout)


def run_to_end(command, timeout):
    """Its output, up to its end or to the timeout."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, cwd=ROOT).stdout
    except subprocess.TimeoutExpired as late:
        return late.stdout or b""


def decode(body):
    """Kernel messages may come in between: only base64 lines count."""
    lines = [l for l in body.split("\n") if re.fullmatch(r"[A-Za-z0-9+/]+=*", l)]
    return base64.b64decode("".join(lines))
