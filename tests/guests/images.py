"""images - disks and discs that a boot loader starts from, made of Debian's packages.

Packages are unpacked under build/, never installed; their programs run with the packages'
own libraries. linux_guest.Missing says which one is not to be had.

A disk has an MBR with one partition that is FAT32, so BIOS and UEFI both find it: GRUB's
core image lies between them, and EFI/BOOT/BOOTX64.EFI in the partition.
"""
import functools
import os
import pathlib
import struct
import subprocess
import tempfile

import linux_guest

SECTOR = 512
START = 2048  # of the partition, in sectors
GRUB_CORE = 1  # sector of GRUB's core image, as its boot.img has it
GRUB_BLOCKLIST = 500  # in its first sector: start, 8 bytes; length; segment
GRUB_MODULES = ("normal", "configfile", "echo", "serial", "terminal", "linux", "multiboot", "multiboot2", "fat", "iso9660",
                "part_msdos", "sleep", "reboot", "halt", "ls", "all_video", "gfxterm", "font")
LIBRARIES = {"grub-common": ("libefivar1", "libefiboot1"),
             "xorriso": ("libisoburn1", "libisofs6", "libburn4", "libjte2")}


def package(name):
    return linux_guest.fetch(name)


@functools.cache
def environment():
    """PATH and libraries with the packages' programs."""
    env = dict(os.environ, pkgdatadir=str(package("grub-common") / "usr/share/grub"))
    for name in ("grub-common", "xorriso", "mtools"):
        env["PATH"] = f"{package(name) / 'usr/bin'}:{env['PATH']}"
        for library in LIBRARIES.get(name, ()):
            folder = package(library) / "usr/lib/x86_64-linux-gnu"
            env["LD_LIBRARY_PATH"] = f"{folder}:{env.get('LD_LIBRARY_PATH', '')}".strip(":")
    return env


def call(*words, **more):
    done = subprocess.run([str(w) for w in words], env=environment(), capture_output=True, **more)
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr.decode(errors='replace')[-500:]}")
    return done.stdout


def fat(path, offset, megabytes, files):
    """A FAT32 file system at offset in an image that is there; files: name -> bytes."""
    drive = f"{path}@@{offset}"
    call("mformat", "-i", drive, "-F", "-T", megabytes * 2048, "-h", 16, "-s", 63, "-H", offset // SECTOR, "::")
    made = set()
    for name, data in files.items():
        for parent in list(reversed(pathlib.PurePath(name).parents))[1:]:
            if parent not in made:
                call("mmd", "-i", drive, f"::/{parent}")
                made.add(parent)
        call("mcopy", "-i", drive, "-", f"::/{name}", input=data)


def grub_image(target, prefix, modules):
    """GRUB's core image with these modules; its settings are those of the file grub.cfg at prefix."""
    folder = package("grub-pc-bin" if target == "i386-pc" else "grub-efi-amd64-bin") / "usr/lib/grub" / target
    with tempfile.NamedTemporaryFile() as out:
        call("grub-mkimage", "-d", folder, "-O", target, "-p", prefix, "-o", out.name, *modules)
        return pathlib.Path(out.name).read_bytes()


def grub_boot_code(image):
    """What BIOS starts: GRUB's first sector, and its core image behind it."""
    lib = package("grub-pc-bin") / "usr/lib/grub/i386-pc"
    core = bytearray(grub_image("i386-pc", "(hd0,msdos1)/boot/grub", ("biosdisk",) + GRUB_MODULES))
    struct.pack_into("<QH", core, GRUB_BLOCKLIST, GRUB_CORE + 1, -(-len(core) // SECTOR) - 1)
    assert len(core) < (START - GRUB_CORE) * SECTOR
    boot = (lib / "boot.img").read_bytes()
    image[0:440] = boot[0:440]
    image[GRUB_CORE * SECTOR:GRUB_CORE * SECTOR + len(core)] = core


def disk(path, megabytes, files, boot_code=None):
    """An MBR disk with one active FAT32 partition; boot_code: a function that writes ahead of it."""
    image = bytearray(START * SECTOR)
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x0c, b"\xfe\xff\xff", START,
                        megabytes * 2048 - START)
    image[446:462] = entry
    image[510:512] = b"\x55\xaa"
    if boot_code:
        boot_code(image)
    pathlib.Path(path).write_bytes(image)
    os.truncate(path, megabytes << 20)
    fat(path, START * SECTOR, megabytes - 1, files)


def grub_disk(path, config, files, megabytes=64):
    """BIOS and UEFI start GRUB from it."""
    efi = grub_image("x86_64-efi", "/boot/grub", GRUB_MODULES + ("efi_gop", "search"))
    disk(path, megabytes, {"EFI/BOOT/BOOTX64.EFI": efi, "boot/grub/grub.cfg": config.encode(), **files},
         grub_boot_code)


def rescue_iso(path, target, config, files):
    """What grub-mkrescue makes for one platform, with a menu."""
    lib = package("grub-pc-bin" if target == "i386-pc" else "grub-efi-amd64-bin") / "usr/lib/grub" / target
    with tempfile.TemporaryDirectory() as root:
        for name, data in {"boot/grub/grub.cfg": config.encode(), **files}.items():
            (pathlib.Path(root) / name).parent.mkdir(parents=True, exist_ok=True)
            (pathlib.Path(root) / name).write_bytes(data)
        call("grub-mkrescue", "-d", lib, "--fonts=", "--themes=", "--locales=", "-o", path, root)


def isolinux_iso(path, config, files):
    modules = package("syslinux-common") / "usr/lib/syslinux/modules/bios"
    files = {"isolinux/isolinux.bin": (package("isolinux") / "usr/lib/ISOLINUX/isolinux.bin").read_bytes(),
             "isolinux/ldlinux.c32": (modules / "ldlinux.c32").read_bytes(),
             "isolinux/isolinux.cfg": config.encode(), **files}
    with tempfile.TemporaryDirectory() as root:
        for name, data in files.items():
            (pathlib.Path(root) / name).parent.mkdir(parents=True, exist_ok=True)
            (pathlib.Path(root) / name).write_bytes(data)
        call("xorriso", "-as", "mkisofs", "-o", path, "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat",
             "-no-emul-boot", "-boot-load-size", 4, "-boot-info-table", root)
