#!/usr/bin/env python3
"""test_linux - Debian's cloud kernel boots to user space on a software engine.

    test_linux.py TINAMOU SOURCE [--long] [--engine translate] [--torture MODES]

Two vCPUs, a busybox initramfs, power-off by ACPI. With --long: twice under the
instruction clock with the same serial bytes and count. Exit status 77: the
kernel is not to be had.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[2])
ENGINE = "translate" if "translate" in sys.argv else "interpret"
TORTURE = sys.argv[sys.argv.index("--torture"):][:2] if "--torture" in sys.argv else []
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402

INIT = b"""#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
echo "@ $(uname -sm), $(grep -c ^processor /proc/cpuinfo) processors"
echo "@ sum $(head -c 100000 /bin/busybox | md5sum | cut -c 1-32)"
echo "@ float $(awk 'BEGIN { printf "%.6f", 355 / 113 }')"
i=0; while [ $i -lt 300 ]; do i=$((i + 1)); done; echo "@ loop $i"
poweroff -f
"""
APPLETS = "sh mount uname grep head md5sum cut awk echo poweroff"


def initramfs():
    cpio = linux_guest.busybox(APPLETS)
    cpio.file("init", INIT)
    image = tempfile.NamedTemporaryFile(suffix=".cpio")
    image.write(cpio.bytes())
    image.flush()
    return image


def run(initrd, *options):
    command = [sys.argv[1], "run", "--engine", ENGINE, "--kernel",
               linux_guest.vmlinuz("cloud-amd64"), "--initrd", initrd.name, "--memory", "256M",
               "--append", "quiet panic=-1 cryptomgr.notests", "--timeout", "500", "--no-reboot", "--stats",
               *TORTURE, *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=520)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode()


def wanted(cpus):
    data = (linux_guest.fetch("busybox-static") / "bin/busybox").read_bytes()[:100000]
    import hashlib
    return [f"@ Linux x86_64, {cpus} processors", f"@ sum {hashlib.md5(data).hexdigest()}",
            "@ float 3.141593", "@ loop 300"]


def check(name, cpus, result):
    status, output, messages = result
    missing = [line for line in wanted(cpus) if line not in output]
    if status or missing:
        print(f"FAIL linux:{name} status {status}, missing {missing}\n{output[-3000:]}\n{messages}")
        return False
    rate = re.search(r"(\d+) instructions, ([\d.]+) M/s", output + messages)
    print(f"ok   linux:{name} {rate.group(0) if rate else ''}")
    return True


def instruction_clock(initrd):
    """Runs under the instruction clock are all alike, to the last instruction."""
    def essence(result):
        return result[0], re.sub(r"run time.*|, [\d.]+ M/s|.*: time: .*|[\d.]+ ms", "", result[1])

    first, second = (run(initrd, "--clock", "instructions") for _ in range(2))
    same = essence(first) == essence(second)
    print("ok   linux:repeat" if same else "FAIL linux:repeat two runs differ")
    return check("instructions", 1, first) and same


def old_kernel():
    """The 686 kernel, by the 32-bit boot protocol and PAE."""
    images = []
    for kind in ("686", "initramfs-686"):
        done = subprocess.run([SOURCE / "tools/guest", kind], text=True, capture_output=True)
        if done.returncode:
            print(f"skip linux:686: {done.stderr.strip()}")
            return True
        images.append(done.stdout.strip())
    done = subprocess.run([sys.argv[1], "run", "--engine", ENGINE, "--kernel", images[0],
                           "--initrd", images[1], "--memory", "256M", "--append",
                           "quiet cryptomgr.notests", "--timeout", "150"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=520)
    good = done.returncode == 0 and b"guest: user space" in done.stdout
    print("ok   linux:686" if good else f"FAIL linux:686 {done}")
    return good


def damaged_initrd():
    """The kernel finds no root, panics and restarts the machine, which ends here."""
    with tempfile.NamedTemporaryFile() as noise:
        noise.write(bytes(n * 131 % 251 for n in range(1 << 16)))
        noise.flush()
        status, output, messages = run(noise)
    good = status == 12 and "Kernel panic" in output
    print("ok   linux:damaged-initrd" if good else
          f"FAIL linux:damaged-initrd status {status}\n{output[-2000:]}\n{messages}")
    return good


def main():
    try:
        linux_guest.vmlinuz("cloud-amd64")
        initrd = initramfs()
    except linux_guest.Missing as why:
        print(f"no Linux to run: {why}")
        return 77
    if "--long" in sys.argv:
        good = check("one", 1, run(initrd)) & old_kernel() & instruction_clock(initrd)
        good &= damaged_initrd()
    else:
        good = check("two", 2, run(initrd, "--cpus", "2"))
    return 0 if good else 1


sys.exit(main())
