"""linux_guest - Debian's kernels and an initramfs with busybox, to run as guests.

Packages are downloaded and unpacked under build/, never installed.

    linux_guest.vmlinuz("cloud-amd64")           # path of the kernel
    cpio = linux_guest.busybox("sh mount cat")   # applets
    cpio.file("init", b"#!/bin/sh\\n...")
    data = cpio.bytes()
"""
import io
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Missing(Exception):
    """A facility is not here; the text says which."""


def fetch(package):
    """The folder of an unpacked Debian package."""
    done = subprocess.run([ROOT / "tools/fetch", package], text=True, capture_output=True)
    if done.returncode:
        raise Missing(done.stderr.strip().splitlines()[-1] if done.stderr else package)
    return pathlib.Path(done.stdout.strip())


def kernel(flavour):
    """The folder of Debian's kernel: "amd64", "cloud-amd64".

    linux-image-FLAVOUR is a meta package that depends on the versioned one.
    """
    meta = f"linux-image-{flavour}"
    done = subprocess.run(["apt-cache", "depends", meta], text=True,
                          capture_output=True) if shutil.which("apt-cache") else None
    found = re.search(r"Depends: (linux-image-\S+)", done.stdout) if done else None
    if found:
        return fetch(found.group(1))
    here = [p.name for p in (ROOT / "build/packages").glob(f"linux-image-*-{flavour}_*")
            if re.fullmatch(rf"linux-image-[\d.]+-\d+-{flavour}_.*", p.name)]
    if here:
        return fetch(sorted(here)[-1].split("_")[0])
    raise Missing(f"apt does not know {meta} (no package lists?)")


def vmlinuz(flavour):
    return next(kernel(flavour).glob("boot/vmlinuz-*"))


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


def busybox(applets, folder=None):
    """An initramfs with busybox, links of these names to it, and the usual folders.

    folder: of the unpacked package, if it is not the host's own busybox-static.
    """
    folder = folder or fetch("busybox-static")
    cpio = Cpio()
    for name in ("proc", "sys", "dev", "tmp"):
        cpio.entry(name, 0o40755)
        cpio.seen.add(name)
    cpio.entry("dev/console", 0o20600, device=(5, 1))  # replaced by devtmpfs at once
    cpio.file("bin/busybox", (folder / "bin/busybox").read_bytes())
    for applet in applets.split():
        cpio.link(f"bin/{applet}", "busybox")
    return cpio
