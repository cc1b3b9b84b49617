"""linux_guest - Debian's kernels and an initramfs with busybox, to run as guests.

Packages are downloaded and unpacked under build/, never installed; those of i386 by an apt
state of their own, so that the system's architectures stay as they are.

    linux_guest.vmlinuz("cloud-amd64")           # path of the kernel
    cpio = linux_guest.busybox("sh mount cat")   # applets
    cpio.file("init", b"#!/bin/sh\\n...")
    data = cpio.bytes()

    guest = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
    guest.add_packaged("stress-ng", "usr/bin/stress-ng", "bin/stress-ng")
    guest.run(linux_guest.tinamou("build/src/tinamou"), [("name", "command line")])
"""
import base64
import functools
import gzip
import io
import lzma
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
STATE = ROOT / "build/apt-i386"


class Missing(Exception):
    """A facility is not here; the text says which."""


def fetch_all(packages):
    """The folders of unpacked Debian packages; those that are not there come by one call of apt."""
    with subprocess.Popen([ROOT / "tools/fetch", *packages], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        try:
            out, errors = process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            print(f"bringing {', '.join(packages)}", file=sys.stderr, flush=True)
            out, errors = process.communicate()
    if process.returncode:
        raise Missing(errors.strip().splitlines()[-1] if errors else " ".join(packages))
    return [pathlib.Path(line) for line in out.splitlines()]


@functools.cache
def fetch(package):
    """The folder of an unpacked Debian package."""
    return fetch_all([package])[0]


def whole_kernel(package):
    """From 7 on a kernel is in three packages: links make one folder of them."""
    folder = fetch(package)
    if not list(folder.glob("boot/vmlinuz-*")):
        for part in ("binary", "modules"):
            shutil.copytree(fetch(package.replace("image", part)), folder, copy_function=os.link,
                            symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("doc"))
        (folder / "boot").mkdir(exist_ok=True)
        vmlinuz = next(folder.glob("usr/lib/modules/*/vmlinuz"))
        os.link(vmlinuz, folder / "boot" / f"vmlinuz-{vmlinuz.parent.name}")
    return folder


def kernel(flavour):
    """The folder of Debian's kernel: "amd64", "cloud-amd64".

    linux-image-FLAVOUR is a meta package that depends on the versioned one.
    """
    meta = f"linux-image-{flavour}"
    done = subprocess.run(["apt-cache", "depends", meta], text=True,
                          capture_output=True) if shutil.which("apt-cache") else None
    found = re.search(r"Depends: (linux-image-\S+)", done.stdout) if done else None
    if found:
        return whole_kernel(found.group(1))
    here = [p.name for p in (ROOT / "build/packages").glob(f"linux-image-*-{flavour}_*")
            if re.fullmatch(rf"linux-image-[\d.]+-\d+-{flavour}_.*", p.name)]
    if here:
        return fetch(sorted(here)[-1].split("_")[0])
    raise Missing(f"apt does not know {meta} (no package lists?)")


def vmlinuz(flavour):
    return next(kernel(flavour).glob("boot/vmlinuz-*"))


def apt_i386(*words, folder=None):
    """apt with its own lists and no installed packages, for i386 only."""
    for part in ("lists/partial", "cache/archives/partial"):
        (STATE / part).mkdir(parents=True, exist_ok=True)
    (STATE / "status").touch()
    options = {"APT::Architecture": "i386", "APT::Architectures": "i386", "Dir::State": STATE,
               "Dir::State::Lists": STATE / "lists", "Dir::State::status": STATE / "status",
               "Dir::Cache": STATE / "cache", "APT::Sandbox::User": "root"}
    words = [words[0], "-q"] + [f"-o{k}={v}" for k, v in options.items()] + list(words[1:])
    return subprocess.run(words, text=True, capture_output=True, cwd=folder,
                          stdin=subprocess.DEVNULL)


def depends(package):
    """The versioned package that a meta package of i386 stands for."""
    found = re.search(r"^Depends:.*?(linux-image-[0-9]\S+)",
                      apt_i386("apt-cache", "show", "--no-all-versions", package).stdout, re.M)
    return found.group(1) if found else package


def fetch_i386(package):
    """The folder of an unpacked i386 package."""
    store = ROOT / "build/packages"
    store.mkdir(parents=True, exist_ok=True)
    here = sorted(store.glob(f"i386-{package}-*"))
    if here:
        return here[-1]
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Missing("no apt on this system")
    apt_i386("apt-get", "update")
    work = store / f"new.{os.getpid()}"
    work.mkdir()
    try:
        done = apt_i386("apt-get", "download", depends(package), folder=work)
        debs = list(work.glob("*.deb"))
        if done.returncode or not debs:
            raise Missing(f"apt cannot download {package} for i386: {done.stderr.strip()}")
        target = store / f"i386-{package}-{debs[0].name.split('_')[1]}"
        subprocess.run(["dpkg-deb", "-x", debs[0], work / "files"], check=True)
        (work / "files").rename(target)
        return target
    finally:
        shutil.rmtree(work)


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
    program = next(p for p in (folder / "bin/busybox", folder / "usr/bin/busybox") if p.exists())
    cpio.file("bin/busybox", program.read_bytes())
    for applet in applets.split():
        cpio.link(f"bin/{applet}", "busybox")
    return cpio


@functools.cache
def closure(package):
    """The folders of a package and of all that it depends on."""
    done = subprocess.run(["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests",
                           "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances",
                           package], text=True, capture_output=True)
    names = re.findall(r"^([a-z0-9]\S*)$", done.stdout, re.M) or [package]
    here = [sorted((ROOT / "build/packages").glob(f"{name}_*")) for name in names]
    if not all(here):
        return fetch_all(names)
    return [there[-1] for there in here]


def needed(path):
    """The libraries and the interpreter that an ELF file names."""
    listing = subprocess.run(["readelf", "-dlW", path], text=True, capture_output=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]|program interpreter: .*?([^/]+)\]", listing)


def run_packaged(package, path, *words):
    """Runs a program of a package here, with the libraries of its packages; what it says."""
    folders = {str(p.parent) for folder in closure(package) for p in folder.rglob("lib*.so.*")}
    loader = next(p for folder in closure(package) for p in folder.rglob("ld-linux-x86-64.so.2"))
    return subprocess.run([loader, "--library-path", ":".join(folders), fetch(package) / path, *words],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


# Runs each command with a limit, its output base64-coded between markers.
INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
cd /tmp
for module in {modules}; do insmod /modules/$module.ko || echo "@ no module $module"; done
emit() {{
	{emit}
}}
run() {{
	name=$1
	shift
	echo "@ begin $name" | emit
	timeout -s KILL {limit} sh -c "$*" >/tmp/out 2>&1 </dev/null
	status=$?
	base64 /tmp/out | emit
	echo "@ end $name $status" | emit
}}
{commands}
echo "@ done" | emit
poweroff -f
"""


APPEND = "console=ttyS0 quiet panic=-1 cryptomgr.notests rdinit=/init"


def run_to_end(command, timeout, out):
    """Its output goes to the file out, up to its end or to the timeout."""
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                       timeout=timeout, cwd=ROOT)
    except subprocess.TimeoutExpired:
        pass


class Guest:
    """A kernel and an initramfs whose init runs a list of commands, in any monitor."""

    emit = "cat"  # how a line goes out

    def __init__(self, kernel_folder, busybox_folder=None):
        self.folder = kernel_folder
        self.vmlinuz = next(kernel_folder.glob("boot/vmlinuz-*"))
        self.modules = []
        self.cpio = busybox("sh mount mkdir insmod rmmod base64 timeout poweroff echo cat cmp head printf "
                            "dmesg grep tail ls uname sleep kill wc", busybox_folder)

    def add_module(self, name):
        """A module of the kernel, to be loaded after those added before."""
        for path in self.folder.rglob(f"{name}.ko*"):
            unpack = {".xz": lzma.decompress, ".gz": gzip.decompress}.get(path.suffix, bytes)
            self.cpio.file(f"modules/{name}.ko", unpack(path.read_bytes()), 0o644)
            self.modules.append(name)
            return
        raise Missing(f"the kernel package has no module {name}")

    def add_file(self, path, name):
        self.cpio.file(name, pathlib.Path(path).read_bytes())

    def add_program(self, path, name):
        """A program with the shared libraries it is linked with here, if any."""
        self.add_file(path, name)
        listing = subprocess.run(["ldd", path], text=True, capture_output=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listing):
            self.cpio.file(library.lstrip("/"), pathlib.Path(library).read_bytes())

    def add_packaged(self, package, path, name):
        """A program of a package, with the libraries of the packages that it depends on."""
        program = fetch(package) / path
        self.add_file(program, name)
        self.cpio.link("lib", "lib64")
        missing = [program]
        while missing:
            for library in filter(None, sum(needed(missing.pop()), ())):
                found = next((p for folder in closure(package) for p in folder.rglob(library)), None)
                if not found:
                    raise Missing(f"no package of {package} has {library}")
                if f"lib64/{library}" not in self.cpio.seen:
                    self.cpio.file(f"lib64/{library}", found.read_bytes())
                    missing.append(found)

    def run(self, machine, commands, limit=30, timeout=120, log=None, append=""):
        """Boots, runs (name, command) in order; {name: (exit status, output)}.

        machine: a function of the paths of kernel and initramfs, the kernel's command line, the
        timeout, and the file for what comes over the guest's serial port.
        """
        lines = "\n".join(f"run {name} {shlex.quote(command)}" for name, command in commands)
        self.cpio.file("init", INIT.format(modules=" ".join(self.modules), limit=limit,
                                           emit=self.emit, commands=lines).encode())
        if log:
            os.makedirs(os.path.dirname(os.path.abspath(log)), exist_ok=True)
        with (tempfile.NamedTemporaryFile(suffix=".cpio") as image,
              open(log, "wb+") if log else tempfile.TemporaryFile() as out):
            image.write(self.cpio.bytes())
            image.flush()
            machine(self.vmlinuz, image.name, f"{APPEND} {append}", timeout, out)
            out.seek(0)
            done = out.read()
        text = done.decode(errors="replace").replace("\r", "")
        if "@ done" not in text:
            raise RuntimeError("the guest did not come to its end:\n" + text[-3000:])
        pattern = re.compile(r"^@ begin (\S+)\n(.*?)@ end \1 (\d+)$", re.M | re.S)
        return {name: (int(status), decode(body)) for name, body, status in pattern.findall(text)}


def decode(body):
    """Kernel messages may come in between: only base64 lines count."""
    lines = [l for l in body.split("\n") if re.fullmatch(r"[A-Za-z0-9+/]+=*", l)]
    return base64.b64decode("".join(lines))


def tinamou(binary, *options):
    """A machine for Guest.run."""
    return lambda kernel, initrd, append, timeout, out: run_to_end(
        [pathlib.Path(binary).resolve(), "run", "-q", "--serial", "stdio", "--no-reboot", *options, "--kernel", kernel,
         "--initrd", initrd, "--append", append], timeout, out)
