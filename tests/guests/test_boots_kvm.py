#!/usr/bin/env python3
"""test_boots_kvm - what people boot, on engine kvm in the nested rig.

    test_boots_kvm.py SOURCE [--only NAME]... [--limit SECONDS]

The static tinamou runs in Debian's kernel with kvm-amd inside QEMU TCG (tests/rig/rig.py), and starts the
systems of systems.py until their mark is on the serial line. Exit status 77: a part of the rig is missing.
"""
import argparse
import pathlib
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("source", type=pathlib.Path)
parser.add_argument("--only", action="append", metavar="NAME")
parser.add_argument("--limit", type=int, default=200)
ARGS = parser.parse_args()
sys.path[:0] = [str(ARGS.source / "tests/rig"), str(ARGS.source / "tools")]
import linux_guest  # noqa: E402
import rig  # noqa: E402
import systems  # noqa: E402

FIRMWARE = {"seabios": ["seabios/bios-256k.bin", "seabios/vgabios-stdvga.bin"],
            "ovmf": ["OVMF/OVMF_CODE_4M.fd", "OVMF/OVMF_VARS_4M.fd"]}
SCRIPT = """#!/bin/sh
# boots MARK OPTION...: until the mark is there
mark=$1
shift
TMPDIR=/tmp /tinamou run -q --engine kvm --memory 320M --console none --serial file:/tmp/serial "$@" </dev/null >/tmp/said 2>&1 &
pid=$!
until grep -q "$mark" /tmp/serial; do
	if ! kill -0 $pid; then
		cat /tmp/said
		tail -n 20 /tmp/serial
		exit 1
	fi
	sleep 1
done 2>/dev/null
"""


def options(system, machine, name):
    words = ["--firmware", system.firmware]
    for n, (kind, path) in enumerate(system.media):
        inside = f"media/{name}-{n}"
        machine.add_file(path, inside)
        words += [f"--{kind}", f"/{inside},format=raw,throwaway" if kind == "disk" else f"/{inside}"]
    return " ".join(words)


def new_machine(folder):
    machine = rig.Rig()
    machine.add_file(next((ARGS.source / "build/dist").glob("tinamou-*-x86_64")), "tinamou")
    for package, names in FIRMWARE.items():
        share = linux_guest.fetch(package) / "usr/share"
        for file in names:
            machine.add_file(share / file, f"usr/share/{file}")
    script = folder / "boots"
    script.write_text(SCRIPT)
    machine.add_file(script, "boots")
    return machine


def boot(name, make, folder):
    """One machine a system: its images fill the memory."""
    machine = new_machine(folder)
    system = make()
    command = f"sh /boots '{system.mark.decode()}' --timeout {ARGS.limit} {options(system, machine, name)}"
    found = machine.run([(name, command)], limit=ARGS.limit + 60, timeout=ARGS.limit + 120, extra=["-m", "2048"])
    status, said = found.get(name, (-1, b"the rig itself did not get so far"))
    print(f"{'ok  ' if status == 0 else 'FAIL'} {name}: {system.title}", flush=True)
    if status:
        print(said.decode(errors="replace")[-1500:])
    return status == 0


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        wanted = [(n, make) for n, make in systems.all_systems(folder) if not ARGS.only or n in ARGS.only]
        try:
            good = sum(boot(n, make, folder) for n, make in wanted)
        except (rig.Missing, StopIteration) as why:
            print(f"no rig: {why or 'the static file is not built'}")
            return 77
    print(f"{good} passed, {len(wanted) - good} failed, 0 skipped")
    return 1 if good < len(wanted) else 0


sys.exit(main())
