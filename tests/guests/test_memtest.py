#!/usr/bin/env python3
"""test_memtest - Debian's memtest86+ finds no error in 64 MiB in one pass.

    test_memtest.py TINAMOU SOURCE [ENGINE]

Its last test lets bits fade, which takes minutes on any machine. Exit status 77: no package.
"""
import pathlib
import sys

import console

LIMIT = 7200  # seconds
SOURCE = pathlib.Path(sys.argv[2])
ENGINE = sys.argv[3] if len(sys.argv) > 3 else "translate"
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402


def main():
    try:
        program = linux_guest.fetch("memtest86+") / "boot/memtest86+x64.bin"
    except linux_guest.Missing as why:
        print(f"no memtest86+: {why}")
        return 77
    words = [sys.argv[1], "run", "-q", "--engine", ENGINE, "--memory", "64M", "--console", "serial", "--serial",
             "stdio", "--kernel", program, "--cmdline", "console=ttyS0,115200"]
    with console.Console(words) as guest:
        try:
            seconds = guest.expect("Pass:  1        Errors: 0 ", LIMIT, ("FAIL", "tinamou: "))
        except console.Gone as why:
            print(f"FAIL memtest: {why}")
            return 1
    print(f"ok   memtest: one pass in {seconds:.0f} s")
    return 0


sys.exit(main())
