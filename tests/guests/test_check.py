#!/usr/bin/env python3
"""test_check - whole boots of Debian's kernels under --check, with a load in the shell.

    test_check.py TINAMOU SOURCE [--kernel cloud|686] [--rounds N] [OPTIONS of tinamou run]

Every block of translated code is compared with interpret, none is left out: boot, forks,
pipes, finds, compressions with their sums, signals, power-off. A sum that is wrong or a
difference is a failure. Exit status 77: no kernel to be had.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time

LOAD = {
    "forks": "i=0; while [ $i -lt 40 ]; do (exit $i); [ $? = $i ] || exit 1; i=$((i + 1)); done",
    "pipes": "seq 3000 | tr 0-9 a-j | sort -r | tr a-j 0-9 | sort -n | md5sum",
    "finds": "find /sys /proc/sys -type f | grep -c . ; find / -xdev | sort | wc -l; ls -lR /dev | wc -l",
    "gzip": "dd if=/bin/busybox bs=4k count=30 2>/dev/null | gzip -9 | gunzip | md5sum",
    "bzip2": "dd if=/bin/busybox bs=4k count=15 2>/dev/null | bzip2 | bunzip2 | md5sum",
    "awk": "awk 'BEGIN { for (i = 1; i < 3000; i++) s += sqrt(i) * sin(i); printf \"%.9f\\n\", s }'",
    "signals": "sleep 100 & kill -STOP $!; kill -CONT $!; kill $!; wait $!; echo $?",
    "exec": "i=0; while [ $i -lt 20 ]; do env true || exit 1; i=$((i + 1)); done",
}
APPLETS = ("mount sh seq tr sort md5sum find grep wc ls dd gzip gunzip bzip2 bunzip2 awk sleep kill env true "
           "poweroff")
INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
round=0; while [ $round -lt {rounds} ]; do round=$((round + 1))
{load}
done
echo "@ done"
poweroff -f
"""


def native(command):
    """What it says on this host, where that does not depend on the host."""
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout.split()[0]


def image(linux_guest, folder, rounds):
    load = "\n".join(f"echo \"@ {name} $({command}) $?\"" for name, command in LOAD.items())
    cpio = linux_guest.busybox(APPLETS, folder)
    cpio.file("init", INIT.format(rounds=rounds, load=load).encode())
    return cpio.bytes()


def sums(folder):
    """What gzip and bzip2 must give back, and the pipe."""
    busybox = folder / "bin/busybox"
    return {"gzip": native(f"head -c 122880 {busybox} | md5sum"),
            "bzip2": native(f"head -c 61440 {busybox} | md5sum"),
            "pipes": native("seq 3000 | md5sum"), "signals": "143"}


def kernel_of(linux_guest, name):
    """The path of a kernel, and the folder of its busybox."""
    if name == "686":
        folder = linux_guest.fetch_i386("linux-image-686")
        return next(folder.glob("boot/vmlinuz-*")), linux_guest.fetch_i386("busybox-static")
    return linux_guest.vmlinuz("cloud-amd64"), linux_guest.fetch("busybox-static")


def boot(linux_guest, args, name, options):
    kernel, busybox = kernel_of(linux_guest, name)
    start = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".cpio") as initrd:
        initrd.write(image(linux_guest, busybox, args.rounds))
        initrd.flush()
        done = subprocess.run(
            [args.tinamou, "run", "--engine", "translate", "--check", "--kernel", kernel, "--initrd",
             initrd.name, "--memory", "256M", "--no-reboot", "--append",
             "quiet panic=-1 cryptomgr.notests", *options],
            stdin=subprocess.DEVNULL, capture_output=True)
    text = (done.stdout + done.stderr).decode(errors="replace").replace("\r", "")
    bad = [f"{what} {found}" for what, found in re.findall(r"^@ (\w+) (\S+).*$", text, re.M)
           if sums(busybox).get(what, found) != found]
    good = done.returncode == 0 and "@ done" in text and "no difference" in text and not bad
    told = re.search(r"check: .*", text)
    print(f"{'ok  ' if good else 'FAIL'} check:{name} {told.group(0) if told else text[-6000:]}; "
          f"{time.monotonic() - start:.0f} s", *bad, flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--kernel", choices=("cloud", "686"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("tinamou")
    parser.add_argument("source", type=pathlib.Path)
    args, options = parser.parse_known_args()
    sys.path.insert(0, str(args.source / "tools"))
    import linux_guest  # by the path above
    good = True
    try:
        for name in (args.kernel,) if args.kernel else ("cloud", "686"):
            good &= boot(linux_guest, args, name, options)
    except linux_guest.Missing as why:
        print(f"no Linux to run: {why}")
        return 77
    return 0 if good else 1


sys.exit(main())
