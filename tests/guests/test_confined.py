#!/usr/bin/env python3
"""test_confined - engine translate in a container's confinement, see confined.c.

    test_confined.py TINAMOU CONFINED SOURCE

As user 65534 under Docker's default profile, with noexec temporary folders, no /dev/kvm and
512 MiB of address space, `auto` takes translate and Debian's cloud kernel boots. Where memory
may not be executable it refuses in one sentence with the cure. Exit status 77: not root, no
mount namespace or no kernel to be had.
"""
import os
import shutil
import subprocess
import sys
import tempfile

TINAMOU, CONFINED, SOURCE = sys.argv[1:4]
CURE = "let the sandbox allow memfd_create, and mmap of it with PROT_EXEC"


def run(folder, limits, *words):
    """The program and its files lie where the user may read them, and not below /tmp."""
    return subprocess.run([CONFINED, *limits, f"{folder}/tinamou", *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace", timeout=250)


def boots(folder):
    done = run(folder, ["--memory", "512"], "run", "--kernel", f"{folder}/kernel", "--initrd",
               f"{folder}/initrd", "--memory", "192M", "--append", "quiet cryptomgr.notests",
               "--timeout", "200")
    text = done.stdout + done.stderr
    return done.returncode == 0 and "guest: user space" in text and "translate" in text, text[-2000:]


def chosen(folder):
    text = run(folder, ["--memory", "512"], "engines").stdout
    return "translate  ready" in text and "kvm        unusable" in text, text


def refuses(folder, limit):
    done = run(folder, [limit], "run", "-q", "--engine", "translate", "--kernel", f"{folder}/kernel")
    lines = done.stderr.strip().splitlines()
    return done.returncode == 6 and len(lines) == 1 and lines[0].endswith(CURE), done.stderr


def bring(folder):
    for kind, name in (("cloud", "kernel"), ("initramfs", "initrd")):
        done = subprocess.run([f"{SOURCE}/tools/guest", kind], text=True, capture_output=True)
        if done.returncode:
            return done.stderr.strip()
        shutil.copy(done.stdout.strip(), f"{folder}/{name}")
    shutil.copy(TINAMOU, f"{folder}/tinamou")
    os.chmod(folder, 0o755)
    probe = subprocess.run([CONFINED, f"{folder}/tinamou", "--help"], text=True, capture_output=True)
    return probe.stdout.strip() if probe.returncode == 77 else None


def main():
    with tempfile.TemporaryDirectory(dir=f"{SOURCE}/build") as folder:
        missing = bring(folder)
        if missing:
            print(missing)
            return 77
        cases = {"engines": chosen(folder), "boot": boots(folder),
                 "no-memfd": refuses(folder, "--no-memfd"),
                 "no-shared-code": refuses(folder, "--no-shared-code")}
    for name, (good, text) in cases.items():
        print(f"ok   confined:{name}" if good else f"FAIL confined:{name}\n{text}")
    failed = sum(not good for good, _ in cases.values())
    print(f"{len(cases) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
