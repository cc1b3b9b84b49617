#!/usr/bin/env python3
"""test_chroot - the static file runs the guests in an empty chroot, as nobody.

    test_chroot.py SOURCE IMAGES

Exit status 77: not root, so chroot is not to be had.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SOURCE, IMAGES = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "tests/guests"))
import run_guests  # noqa: E402

NOBODY = 65534


def run(root, name, start, memory):
    place = [f"/{name}.bin", "--firmware", "none"] if start == "sector" else ["--flat", f"/{name}.bin@{start.split('@')[1]}"]
    return subprocess.run(
        ["/tinamou", "run", "-q", "--engine", "interpret", "--memory", memory, "--timeout", "20",
         "--serial", "none", *place], stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
        preexec_fn=lambda: enter(root))


def enter(root):
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def main():
    if os.getuid() != 0:
        print("not root: chroot is not to be had")
        return 77
    subprocess.run([SOURCE / "tools/dist"], check=True, capture_output=True, cwd=SOURCE)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        shutil.copy(next((SOURCE / "build/dist").glob("tinamou-*-x86_64")), f"{root}/tinamou")
        for name, modes, start, memory, status, _ in run_guests.guests(SOURCE):
            if not modes <= run_guests.MODES["interpret"]:
                continue
            shutil.copy(IMAGES / f"{name}.bin", root)
            got = run(root, name, start, memory)
            screen = (SOURCE / f"guests/expect/{name}.screen").read_bytes()
            good = got.returncode == status and got.stdout == screen
            passed, failed = passed + good, failed + (not good)
            print(f"{'ok  ' if good else 'FAIL'} {name} {got.returncode} {got.stderr.decode()}".strip())
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
