#!/usr/bin/env python3
"""test_frame - GRUB, from BIOS and from UEFI, starts a 64-bit kernel with a linear frame buffer.

    test_frame.py TINAMOU SOURCE IMAGES [--engine NAME] [--keep FOLDER]

guests/frame.S colours each pixel by where it is; the screenshot has to show that. --keep leaves
disk and screenshots there. Exit status 77: no packages.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

STATUS = 43
CONFIG = """insmod all_video
multiboot2 /boot/frame.elf
boot
"""


def expected(width, height):
    return b"".join(bytes((x & 255, y & 255, (x ^ y) & 255)) for y in range(height) for x in range(width))


def run(args, firmware, image, folder):
    shot = folder / f"frame-{firmware}.png"
    done = subprocess.run([args.tinamou, "run", "-q", "--engine", args.engine, "--memory", "256M", "--firmware", firmware,
                           "--disk", f"{image},format=raw,throwaway", "--screenshot", shot, "--timeout", "300"],
                          stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != STATUS:
        return f"status {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
    width, height, pixels = png.read(shot)
    if (width, height) != (1024, 768):
        return f"{width} x {height} pixels"
    return "" if pixels == expected(width, height) else "wrong pixels"


def main(args, folder):
    image = folder / "frame.img"
    try:
        images.grub_disk(image, CONFIG, {"boot/frame.elf": (args.images / "frame.elf").read_bytes()})
    except linux_guest.Missing as why:
        print(f"no boot loader: {why}")
        return 77
    wrong = {firmware: run(args, firmware, image, folder) for firmware in ("bios", "uefi")}
    for firmware, why in wrong.items():
        print(f"{'FAIL' if why else 'ok  '} frame: {firmware} {why}")
    failed = sum(bool(why) for why in wrong.values())
    print(f"{len(wrong) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


parser = argparse.ArgumentParser()
parser.add_argument("tinamou")
parser.add_argument("source", type=pathlib.Path)
parser.add_argument("images", type=pathlib.Path)
parser.add_argument("--engine", default="translate")
parser.add_argument("--keep", type=pathlib.Path)
ARGS = parser.parse_args()
sys.path.insert(0, str(ARGS.source / "tools"))
import images  # noqa: E402  (needs tools)
import linux_guest  # noqa: E402
import png  # noqa: E402

with tempfile.TemporaryDirectory() as temporary:
    sys.exit(main(ARGS, ARGS.keep or pathlib.Path(temporary)))
