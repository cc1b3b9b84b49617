#!/usr/bin/env python3
"""test_xv6 - xv6 from its two IDE disks: to its shell, or usertests to their end.

    test_xv6.py TINAMOU [--engine NAME] [--cpus N] [--firmware NAME] [--usertests] [--check]

TINAMOU_XV6 names folders with an xv6.img and fs.img each, joined by colons; they are brought
from outside. Exit status 77: there are none.
"""
import argparse
import os
import pathlib
import sys

import console

BOOT, TESTS = 180, 14400  # seconds
NEVER = ("panic", "FAILED", "tinamou:")


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("tinamou")
    parser.add_argument("--engine", default="translate")
    parser.add_argument("--cpus", default="1")
    parser.add_argument("--firmware", default="bios")
    parser.add_argument("--usertests", action="store_true")
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def command(args, folder):
    words = [args.tinamou, "run", "-q", "--engine", args.engine, "--cpus", f"{args.cpus},sockets={args.cpus}", "--serial", "stdio",
             "--console", "serial", "--firmware", args.firmware, "--disk", f"{folder / 'xv6.img'},format=raw,throwaway",
             "--disk", f"{folder / 'fs.img'},format=raw,throwaway"]
    return words + (["--check"] if args.check else [])


def run(args, folder):
    """Returns the seconds to the shell and to the end of the tests."""
    with console.Console(command(args, folder)) as guest:
        for cpu in range(1, int(args.cpus)):
            guest.expect(f"cpu{cpu}: starting", BOOT)
        guest.expect("init: starting sh\n", BOOT, NEVER)
        shell = guest.expect("$ ", BOOT, NEVER)
        if not args.usertests:
            guest.type("echo hello | cat\n")
            return shell, guest.expect("hello\n$ ", BOOT, NEVER)
        guest.type("usertests\n")
        return shell, guest.expect("ALL TESTS PASSED", TESTS, NEVER)


def main():
    args = options()
    folders = [pathlib.Path(f) for f in os.environ.get("TINAMOU_XV6", "").split(":") if f]
    if not folders:
        print("TINAMOU_XV6 names no folder with xv6's disks")
        return 77
    failed = 0
    for folder in folders:
        try:
            print("ok   %s: shell at %.1f s, end at %.1f s" % (folder.name, *run(args, folder)), flush=True)
        except console.Gone as why:
            failed += 1
            print(f"FAIL {folder.name}: {why}", flush=True)
    print(f"{len(folders) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
