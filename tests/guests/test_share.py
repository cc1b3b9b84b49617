#!/usr/bin/env python3
"""test_share - Debian's cloud kernel mounts folders of the host with its own virtiofs driver.

    test_share.py TINAMOU SOURCE [--engine translate]

Two folders, one read-only: names, contents, attributes, links and renames are the same on both
sides, and nothing of the host beside them is to be seen. Exit status 77: the kernel is not to be had.
"""
import hashlib
import os
import pathlib
import stat
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[2])
ENGINE = "translate" if "translate" in sys.argv else "interpret"
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "fuse", "virtiofs")
SIZE = 3 << 20
COMMANDS = [
    ("mount", "mkdir /rw /ro; mount -t virtiofs share /rw && mount -t virtiofs fixed /ro"),
    ("names", "ls -a /rw; ls /rw/many | wc -l"),
    ("read", "md5sum < /rw/big"),
    ("write", "cp /rw/big /rw/copy && sync && md5sum < /rw/copy"),
    ("small", "for i in 1 2 3 4 5; do echo line $i >> /rw/lines; done; cat /rw/lines"),
    ("attributes", "touch /rw/f; chmod 751 /rw/f; touch -d '2001-02-03 04:05:06' /rw/f; stat -c '%a %Y %s' /rw/f"),
    ("tree", "mkdir -p /rw/d/e; echo x > /rw/d/e/x; mv /rw/d/e /rw/d/g; cat /rw/d/g/x; ln /rw/d/g/x /rw/d/y;"
             " stat -c %h /rw/d/y; ln -s ../../../etc/passwd /rw/d/link; readlink /rw/d/link"),
    ("pages", "dd if=/rw/big of=/rw/direct bs=1M oflag=direct 2>/dev/null; md5sum < /rw/direct;"
              " dd if=/rw/direct bs=1M iflag=direct 2>/dev/null | md5sum"),
    ("remove", "rm /rw/d/g/x; rmdir /rw/d/g; ls /rw/d"),
    ("unlinked", "exec 3<>/rw/gone; echo kept >&3; rm /rw/gone; cat /proc/self/fd/3; ls /rw/gone 2>&1"),
    ("truncate", "truncate -s 5 /rw/copy; stat -c %s /rw/copy"),
    ("space", "df /rw | tail -n 1 | grep -c /rw"),
    ("device", "mknod /rw/null c 1 3; echo $?; mkfifo /rw/pipe; echo $?"),
    ("escape", "cat /rw/out/passwd 2>&1; ls /rw/.. | grep -c rw"),
    ("setuid", "cp /bin/busybox /rw/su; chmod 4755 /rw/su; stat -c %a /rw/su"),
    ("readonly", "cat /ro/hello; echo x > /ro/hello; mkdir /ro/d; rm /ro/hello; touch /ro/hello; ls /ro"),
    ("umount", "umount /rw /ro; mount -t virtiofs share /rw; cat /rw/f; ls /rw/d; umount /rw"),
]


def make(folder):
    (folder / "rw/many").mkdir(parents=True)
    (folder / "ro").mkdir()
    (folder / "outside").write_text("secret\n")
    (folder / "rw/big").write_bytes(os.urandom(SIZE))
    for n in range(700):
        (folder / f"rw/many/file-with-a-name-{n}").touch()
    (folder / "rw/out").symlink_to("/etc")
    (folder / "ro/hello").write_text("hello\n")


def run(folder):
    guest = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
    for applet in ("md5sum cp sync touch chmod stat mv ln readlink rm rmdir truncate df mknod mkfifo "
                   "umount dd").split():
        guest.cpio.link(f"bin/{applet}", "busybox")
    for name in MODULES:
        guest.add_module(name)
    machine = linux_guest.tinamou(os.path.abspath(sys.argv[1]), "--engine", ENGINE, "--memory", "256M",
                                  "--share", folder / "rw", "--share", f"{folder / 'ro'},tag=fixed,ro")
    return guest.run(machine, COMMANDS, limit=60, timeout=240)


def wanted(folder):
    big = f"{hashlib.md5((folder / 'rw/big').read_bytes()).hexdigest()}  -\n"
    return {
        "mount": (0, ""),
        "names": (0, ".\n..\nbig\nmany\nout\n700\n"),
        "read": (0, big),
        "write": (0, big),
        "pages": (0, big + big),
        "small": (0, "".join(f"line {n}\n" for n in range(1, 6))),
        "attributes": (0, "751 981173106 0\n"),
        "tree": (0, "x\n2\n../../../etc/passwd\n"),
        "remove": (0, "link\ny\n"),
        "unlinked": (1, "kept\nls: /rw/gone: No such file or directory\n"),
        "truncate": (0, "5\n"),
        "space": (0, "1\n"),
        "device": (0, "mknod: /rw/null: Operation not permitted\n1\n0\n"),
        "escape": (0, "cat: can't open '/rw/out/passwd': No such file or directory\n1\n"),
        "setuid": (0, "755\n"),
        "readonly": (0, "hello\nsh: can't create /ro/hello: Read-only file system\n"
                        "mkdir: can't create directory '/ro/d': Read-only file system\n"
                        "rm: can't remove '/ro/hello': Read-only file system\n"
                        "touch: /ro/hello: Read-only file system\nhello\n"),
        "umount": (0, "link\ny\n"),
    }


def host_side(folder):
    """What is wrong with what the guest left."""
    rw = folder / "rw"
    f = (rw / "f").stat()
    checks = {
        "lines": (rw / "lines").read_text() == "".join(f"line {n}\n" for n in range(1, 6)),
        "copy": (rw / "copy").read_bytes() == (rw / "big").read_bytes()[:5],
        "mode": stat.S_IMODE(f.st_mode) == 0o751 and int(f.st_mtime) == 981173106,
        "fifo": stat.S_ISFIFO((rw / "pipe").lstat().st_mode),
        "link": os.readlink(rw / "d/link") == "../../../etc/passwd",
        "setuid": not (rw / "su").stat().st_mode & 0o6000,
        "outside": (folder / "outside").read_text() == "secret\n",
        "ro": [p.name for p in (folder / "ro").iterdir()] == ["hello"],
    }
    return [name for name, good in checks.items() if not good]


def main():
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            make(folder)
            result = run(folder)
            wrong = {name: (result.get(name), want) for name, want in wanted(folder).items()
                     if result.get(name) != (want[0], want[1].encode())}
            if host := host_side(folder):
                wrong["host"] = host
            for name, what in wrong.items():
                print(f"FAIL {name}: {what}")
            print(f"{len(COMMANDS) + 1 - len(wrong)} passed, {len(wrong)} failed, 0 skipped")
            return 1 if wrong else 0
    except linux_guest.Missing as why:
        print(f"no Linux to run: {why}")
        return 77


sys.exit(main())
