#!/usr/bin/env python3
"""test_kernels - kernels that print what they were handed, started by each protocol.

    test_kernels.py TINAMOU KERNEL...

With modules and without, on every engine that is usable here.
"""
import pathlib
import subprocess
import sys
import tempfile

TINAMOU, KERNELS = sys.argv[1], sys.argv[2:]
EXIT = (0x10 << 1) | 1


def engines():
    lines = subprocess.run([TINAMOU, "engines"], text=True, capture_output=True).stdout
    return [line.split()[0] for line in lines.splitlines() if line.split()[1] != "unusable"]


def run(engine, kernel, *options):
    done = subprocess.run([TINAMOU, "run", "-q", "--engine", engine, "--timeout", "20",
                           "--memory", "16M", "--kernel", kernel, *options],
                          stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def check(engine, kernel, folder):
    one, two = folder / "one", folder / "two"
    one.write_text("first")
    two.write_text("the second")
    first = "" if "pvh" in kernel else kernel + " "
    cases = [(["--append", "x=1 y"], f"{first}x=1 y\n"),
             (["--append", "x", "--initrd", f"{one},{two} a=b"],
              f"{first}x\n{one}\nfirst\n{two} a=b\nthe second\n")]
    good = True
    for options, want in cases:
        status, output = run(engine, kernel, *options)
        if status != EXIT or output != want:
            print(f"FAIL {engine} {kernel} {options}: status {status}, {output!r}, not {want!r}")
            good = False
    return good


def main():
    with tempfile.TemporaryDirectory() as folder:
        results = [check(engine, kernel, pathlib.Path(folder))
                   for engine in engines() for kernel in KERNELS]
    print(f"kernels: {sum(results)} of {len(results)} passed")
    return 0 if all(results) and results else 1


sys.exit(main())
