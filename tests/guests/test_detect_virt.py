#!/usr/bin/env python3
"""test_detect_virt - what Debian's systemd-detect-virt finds in a Linux guest.

    test_detect_virt.py TINAMOU SOURCE

`kvm` with the usual CPU model, whose signature is KVM's; `none` with -hypervisor. It asks
CPUID, the DMI tables, the device tree and /sys/hypervisor. Exit status 77: the kernel or
the program is not to be had.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402

INIT = b"""#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
echo "@ virt $(systemd-detect-virt)"
echo "@ vm $(systemd-detect-virt --vm)"
echo "@ flag $(grep -c '^flags.* hypervisor' /proc/cpuinfo)"
poweroff -f
"""
CASES = [("baseline", ["@ virt kvm", "@ vm kvm", "@ flag 1"]),
         ("baseline,-hypervisor", ["@ virt none", "@ vm none", "@ flag 0"]),
         ("max,-hypervisor", ["@ virt none", "@ vm none", "@ flag 0"])]


def add_with_libraries(cpio, program, folder):
    """The program, and its libraries from folder or from where this system has them."""
    cpio.file("bin/" + program.name, program.read_bytes())
    done = subprocess.run(["ldd", program], text=True, capture_output=True,
                          env=os.environ | {"LD_LIBRARY_PATH": str(folder)})
    missing = re.findall(r"(\S+) => not found", done.stdout)
    if missing:
        raise linux_guest.Missing(f"libraries of {program.name}: {', '.join(missing)}")
    for name, path in re.findall(r"(\S+)(?: => (\S+))? \(0x", done.stdout):
        path = pathlib.Path(path or name)
        if path.is_file():
            place = path.name if path.is_relative_to(folder) else str(path).lstrip("/")
            cpio.file(place if "/" in place else f"lib/x86_64-linux-gnu/{place}",
                      path.read_bytes())


def initramfs():
    cpio = linux_guest.busybox("sh mount grep echo poweroff")
    folder = linux_guest.fetch("libsystemd-shared") / "usr/lib/x86_64-linux-gnu/systemd"
    program = linux_guest.fetch("systemd") / "usr/bin/systemd-detect-virt"
    if not program.exists() or not folder.exists():
        raise linux_guest.Missing("systemd's packages look different from what is expected")
    add_with_libraries(cpio, program, folder)
    cpio.file("init", INIT)
    image = tempfile.NamedTemporaryFile(suffix=".cpio")
    image.write(cpio.bytes())
    image.flush()
    return image


def run(model, initrd, wanted):
    done = subprocess.run(
        [sys.argv[1], "run", "--engine", "interpret", "--kernel",
         linux_guest.vmlinuz("cloud-amd64"), "--initrd", initrd.name, "--memory", "256M",
         "--cpu-model", model, "--append", "quiet panic=-1 cryptomgr.notests", "--timeout", "250",
         "--no-reboot"], stdin=subprocess.DEVNULL, capture_output=True, timeout=280)
    output = done.stdout.decode(errors="replace")
    missing = [line for line in wanted if line not in output]
    bad = done.returncode or missing
    print(f"{'FAIL' if bad else 'ok  '} detect-virt:{model}")
    if bad:
        print(f"status {done.returncode}, missing {missing}\n{output[-3000:]}\n{done.stderr.decode()}")
    return not bad


def main():
    try:
        initrd = initramfs()
        good = [run(model, initrd, wanted) for model, wanted in CASES]
    except linux_guest.Missing as why:
        print(f"no guest to ask: {why}")
        return 77
    return 0 if all(good) else 1


sys.exit(main())
