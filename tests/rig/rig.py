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
import io
import lzma
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
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
run() {{
	name=$1
	shift
	echo "@ begin $name"
	timeout {limit} sh -c "$*" >/tmp/out 2>&1 </dev/null
	status=$?
	base64 /tmp/out
	echo "@ end $name $status"
}}
{commands}
echo "@ done"
poweroff -f
"""


class Missing(Exception):
    """A facility is not here; the text says which."""


def fetch(package):
    """The folder of an unpacked Debian package."""
    done = subprocess.run([ROOT / "tools/fetch", package], text=True, capture_output=True)
    if done.returncode:
        raise Missing(done.stderr.strip().splitlines()[-1] if done.stderr else package)
    return pathlib.Path(done.stdout.strip())


def kernel_package(meta="linux-image-amd64"):
    """It is a meta package: the versioned one it depends on."""
    done = subprocess.run(["apt-cache", "depends", meta], text=True,
                          capture_output=True) if shutil.which("apt-cache") else None
    found = re.search(r"Depends: (linux-image-\S+)", done.stdout) if done else None
    if found:
        return found.group(1)
    flavour = "-cloud-amd64" if "cloud" in meta else "[0-9]-amd64"
    here = sorted((ROOT / "build/packages").glob(f"linux-image-*{flavour}_*"))
    if here:
        return here[-1].name.split("_")[0]
    raise Missing(f"apt does not know {meta} (no package lists?)")


class Cpio:
    """Writes an initramfs (newc), as documented in the kernel's initramfs buffer format."""

    def __init__(self):
        self.out = io.BytesIO()
        self.inode = 1
        self.seen = set()

    def entry(self, name, mode, data=b"", device=(0, 0)):
        encoded = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0]
        self.inode += 1
        self.write(b"070701" + b"".join(b"%08X" % f for f in fields) + encoded)
        self.write(data)

    def write(self, data):
        self.out.write(data + b"\0" * (-len(data) % 4))

    def folders(self, name):
        for parent in reversed(pathlib.PurePath(name).parents):
            if str(parent) not in self.seen | {"."}:
                self.seen.add(str(parent))
                self.entry(str(parent), 0o40755)

    def file(self, name, data, mode=0o755):
        if name not in self.seen:
            self.seen.add(name)
            self.folders(name)
            self.entry(name, 0o100000 | mode, data)

    def link(self, name, target):
        self.folders(name)
        self.entry(name, 0o120777, target.encode())

    def bytes(self):
        self.entry("TRAILER!!!", 0)
        return self.out.getvalue()


def module_bytes(tree, name):
    for path in tree.rglob(f"{name}.ko*"):
        data = path.read_bytes()
        return {".xz": lzma.decompress, ".gz": gzip.decompress}.get(path.suffix, bytes)(data)
    raise Missing(f"the kernel package has no module {name}")


class Rig:
    def __init__(self):
        if not shutil.which(QEMU[0]):
            raise Missing(f"{QEMU[0]} is not installed")
        kernel = fetch(kernel_package())
        self.vmlinuz = next(kernel.glob("boot/vmlinuz-*"))
        self.cpio = Cpio()
        for folder in ("proc", "sys", "dev", "tmp"):
            self.cpio.entry(folder, 0o40755)
            self.cpio.seen.add(folder)
        self.cpio.entry("dev/console", 0o20600)  # replaced by devtmpfs at once
        for name in MODULES:
            self.cpio.file(f"modules/{name}.ko", module_bytes(kernel, name), 0o644)
        self.cpio.file("bin/busybox", (fetch("busybox-static") / "bin/busybox").read_bytes())
        for applet in ("sh mount insmod base64 timeout poweroff echo cat cmp head printf").split():
            self.cpio.link(f"bin/{applet}", "busybox")

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
        self.cpio.file("init", INIT.format(modules=" ".join(MODULES), limit=limit,
                                           commands=lines).encode())
        with tempfile.NamedTemporaryFile(suffix=".cpio") as image:
            image.write(self.cpio.bytes())
            image.flush()
            done = subprocess.run(
                QEMU + ["-kernel", self.vmlinuz, "-initrd", image.name,
                        "-append", "console=ttyS0 quiet panic=-1 rdinit=/init", *extra],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=timeout, cwd=ROOT)
        text = done.stdout.decode(errors="replace").replace("\r", "")
        if log:
            os.makedirs(os.path.dirname(log), exist_ok=True)
            pathlib.Path(log).write_text(text)
        if "@ done" not in text:
            raise RuntimeError("the rig did not come to its end:\n" + text[-3000:])
        pattern = re.compile(r"^@ begin (\S+)\n(.*?)@ end \1 (\d+)$", re.M | re.S)
        return {name: (int(status), decode(body)) for name, body, status in pattern.findall(text)}


def decode(body):
    """Kernel messages may come in between: only base64 lines count."""
    lines = [l for l in body.split("\n") if re.fullmatch(r"[A-Za-z0-9+/]+=*", l)]
    return base64.b64decode("".join(lines))
