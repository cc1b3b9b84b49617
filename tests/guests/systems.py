"""systems - what people boot: a firmware, disks and discs, and a mark on the serial line.

Made of Debian's packages (images.py), but for xv6: TINAMOU_XV6 names folders with an xv6.img
and fs.img each, joined by colons, which are brought from outside.
"""
import os
import pathlib

import images
import linux_guest

APPEND = "console=ttyS0 quiet panic=-1 cryptomgr.notests"
GRUB = f"""serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=%d
menuentry "Debian GNU/Linux" {{
	linux /boot/vmlinuz {APPEND}
	initrd /boot/initrd
}}
"""
ISOLINUX = f"""serial 0 115200
default linux
label linux
 kernel /boot/vmlinuz
 append initrd=/boot/initrd {APPEND}
"""
USER_SPACE = "guest: user space"


class System:
    """media: (disk or cdrom, path); the first one boots."""

    def __init__(self, title, mark, media, firmware="bios"):
        self.title, self.mark, self.media, self.firmware = title, mark.encode(), media, firmware


def files(flavour):
    cpio = linux_guest.busybox("sh echo sleep")
    cpio.file("init", f"#!/bin/sh\necho '{USER_SPACE}'\nexec sleep 1000\n".encode())
    return {"boot/vmlinuz": linux_guest.vmlinuz(flavour).read_bytes(), "boot/initrd": cpio.bytes()}


def made(path, maker, *args):
    if not path.exists():
        maker(path, *args)
    return path


def rescue(folder):
    return [("cdrom", made(folder / "rescue.iso", images.rescue_iso, "i386-pc", GRUB % 60, files("cloud-amd64")))]


def isolinux(folder):
    return [("cdrom", made(folder / "isolinux.iso", images.isolinux_iso, ISOLINUX, files("cloud-amd64")))]


def disk(folder):
    return [("disk", made(folder / "disk.img", images.grub_disk, GRUB % 0, files("amd64")))]


def xv6():
    for place in filter(None, os.environ.get("TINAMOU_XV6", "").split(":")):
        path = pathlib.Path(place)
        media = [("disk", path / "xv6.img"), ("disk", path / "fs.img")]
        yield path.name, lambda name=path.name, media=media: System(f"the shell of {name}", "$ ", media)


def all_systems(folder):
    """Names, and a function that makes each: only what is asked for is made, in folder."""
    yield from xv6()
    yield "grub", lambda: System("the menu of a GRUB rescue CD", "Debian GNU/Linux", rescue(folder))
    yield "isolinux", lambda: System("user space of the cloud kernel, by ISOLINUX from a CD", USER_SPACE,
                                     isolinux(folder))
    yield "disk", lambda: System("user space of the generic kernel, by GRUB from a disk", USER_SPACE, disk(folder))
    yield "uefi", lambda: System("the same by OVMF", USER_SPACE, disk(folder), "uefi")
    yield "shell", lambda: System("OVMF's shell", "Shell>", [], "uefi")
