#!/usr/bin/env python3
"""test_virtio - Debian's cloud kernel uses virtio devices with its own drivers.

    test_virtio.py TINAMOU SOURCE [--engine translate]

It copies a read-only disk to another one; the sums are those of the files on the host.
What it says comes over hvc0, and it has random numbers. Exit status 77: the kernel is not to be had.
"""
import hashlib
import os
import pathlib
import sys
import tempfile

SOURCE = pathlib.Path(sys.argv[2])
ENGINE = "translate" if "translate" in sys.argv else "interpret"
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "virtio_blk", "virtio_console", "virtio-rng")
SIZE = 4 << 20
CPUS = 2
COMMANDS = [
    ("size", "cat /sys/block/vda/size /sys/block/vdb/size /sys/block/vda/ro"),
    ("read", "md5sum < /dev/vda"),
    ("direct", "dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | md5sum"),
    ("copy", "dd if=/dev/vda of=/dev/vdb bs=256k conv=fsync 2>/dev/null; md5sum < /dev/vdb"),
    ("random", "cat /sys/class/misc/hw_random/rng_current; head -c 1000 /dev/hwrng | wc -c"),
    ("queues", "ls /sys/block/vda/mq"),
    ("msi", "grep -c virtio0-req /proc/interrupts"),
    ("both", "for n in 0 1; do taskset $((1 << n)) dd if=/dev/vda bs=64k iflag=direct 2>/dev/null |"
     " md5sum & done; wait"),
]


def run(folder):
    files = [folder / "read.img", folder / "write.img"]
    files[0].write_bytes(os.urandom(SIZE))
    files[1].write_bytes(bytes(SIZE))
    guest = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
    for applet in ("md5sum", "dd", "taskset"):
        guest.cpio.link(f"bin/{applet}", "busybox")
    for name in MODULES:
        guest.add_module(name)
    guest.emit = "cat > /dev/hvc0"
    binary = os.path.abspath(sys.argv[1])
    machine = linux_guest.tinamou(binary, "--engine", ENGINE, "--memory", "256M", "--hvc",
                                  "--cpus", str(CPUS),
                                  "--disk", f"{files[0]},ro,format=raw",
                                  "--disk", f"{files[1]},bus=virtio,format=raw")
    result = guest.run(machine, COMMANDS, limit=60, timeout=240, append="cryptomgr.notests")
    return result, [hashlib.md5(f.read_bytes()).hexdigest() for f in files]


def check(result, sums):
    sectors = f"{SIZE // 512}\n"
    wanted = {"size": f"{sectors}{sectors}1\n", "read": f"{sums[0]}  -\n",
              "direct": f"{sums[0]}  -\n", "copy": f"{sums[1]}  -\n", "random": "virtio_rng.0\n1000\n", "queues": "0\n1\n",
              "msi": "2\n", "both": f"{sums[0]}  -\n" * CPUS}
    wrong = {name: result.get(name) for name, text in wanted.items()
             if result.get(name) != (0, text.encode())}
    if sums[0] != sums[1]:
        wrong["host"] = sums
    print(f"FAIL virtio: {wrong}" if wrong else "ok   virtio")
    return 1 if wrong else 0


def main():
    try:
        with tempfile.TemporaryDirectory() as folder:
            return check(*run(pathlib.Path(folder)))
    except linux_guest.Missing as why:
        print(f"no Linux to run: {why}")
        return 77


sys.exit(main())
