#!/usr/bin/env python3
"""test_loaders - boot loaders, made of Debian's packages, start Debian's kernels.

    test_loaders.py TINAMOU SOURCE [--engine NAME] [--only NAME] [--keep FOLDER]

Each is the machine's first disk or disc, started by SeaBIOS or OVMF; the menu, the kernel's
first words and its user space come over the serial port. --keep leaves the images there.
Exit status 77: no packages.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import console

LIMIT = 300  # seconds
GRUB = """serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=60
menuentry "Debian GNU/Linux" {{
	linux /boot/vmlinuz {append}
	initrd /boot/initrd
}}
menuentry "Power off" {{
	halt
}}
"""
ISOLINUX = """serial 0 115200
prompt 1
timeout 600
label linux
 kernel /boot/vmlinuz
 append initrd=/boot/initrd {append}
"""
APPEND = "console=ttyS0 quiet panic=-1 cryptomgr.notests"


def initramfs():
    done = subprocess.run([SOURCE / "tools/guest", "initramfs"], capture_output=True, text=True)
    if done.returncode:
        raise linux_guest.Missing(done.stderr)
    return pathlib.Path(done.stdout.strip())


def kernel_files(flavour):
    return {"boot/vmlinuz": linux_guest.vmlinuz(flavour).read_bytes(),
            "boot/initrd": initramfs().read_bytes()}


def menu(guest):
    seconds = [guest.expect("GNU GRUB", LIMIT), guest.expect("Debian GNU/Linux", LIMIT)]
    guest.type("\n")
    return seconds


def prompt(guest):
    seconds = [guest.expect("boot:", LIMIT)]
    guest.type("linux\n")
    return seconds


def linux(guest):
    return [guest.expect("guest: user space", LIMIT)]


def disk(path):
    images.grub_disk(path, GRUB.format(append=APPEND), kernel_files("amd64"))


def rescue(target):
    return lambda path: images.rescue_iso(path, target, GRUB.format(append=APPEND), kernel_files("cloud-amd64"))


def isolinux(path):
    images.isolinux_iso(path, ISOLINUX.format(append=APPEND), kernel_files("cloud-amd64"))


# name: firmware, how it is attached, maker, what is done with it
CASES = {
    "grub-disk-bios": ("bios", "--disk", disk, menu),
    "grub-disk-uefi": ("uefi", "--disk", disk, menu),
    "grub-rescue-bios": ("bios", "--cdrom", rescue("i386-pc"), menu),
    "grub-rescue-uefi": ("uefi", "--cdrom", rescue("x86_64-efi"), menu),
    "isolinux": ("bios", "--cdrom", isolinux, prompt),
}


def make(name, folder):
    image = folder / f"{name}.img"
    if not image.exists():
        CASES[name][2](image)
    return image


def run(args, name, folder):
    firmware, medium, _, choose = CASES[name]
    image = make(name, folder)
    words = [args.tinamou, "run", "-q", "--engine", args.engine, "--memory", "512M", "--console", "serial",
             "--serial", "stdio", "--firmware", firmware, medium,
             f"{image},format=raw,throwaway" if medium == "--disk" else image]
    with console.Console(words) as guest:
        seconds = choose(guest) + linux(guest)
        return "menu %.1f s, user space %.1f s" % (seconds[-2], seconds[-1])


def main(args, folder):
    failed = 0
    for name in args.only or CASES:
        try:
            print(f"ok   {name}: {run(args, name, folder)}", flush=True)
        except linux_guest.Missing as why:
            print(f"no Debian packages: {why}")
            return 77
        except (console.Gone, RuntimeError) as why:
            failed += 1
            print(f"FAIL {name}: {why}", flush=True)
    print(f"{len(args.only or CASES) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


parser = argparse.ArgumentParser()
parser.add_argument("tinamou")
parser.add_argument("source", type=pathlib.Path)
parser.add_argument("--engine", default="translate")
parser.add_argument("--keep", type=pathlib.Path)
parser.add_argument("--only", action="append", metavar="NAME")
ARGS = parser.parse_args()
SOURCE = ARGS.source
sys.path.insert(0, str(SOURCE / "tools"))
import images  # noqa: E402  (needs tools)
import linux_guest  # noqa: E402

with tempfile.TemporaryDirectory() as temporary:
    sys.exit(main(ARGS, ARGS.keep or pathlib.Path(temporary)))
