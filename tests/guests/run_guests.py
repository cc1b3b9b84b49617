#!/usr/bin/env python3
"""run_guests - every guest of guests/guests.list on every engine that has its modes.

    run_guests.py TINAMOU IMAGES SOURCE [--list FILE] [--engines LIST] [--torture MODES] [--write]

Screen (standard output), serial bytes and exit status must be those of
guests/expect; --write makes these files from the first engine's run. A skip
must stand in tests/skips as 'guests:NAME/ENGINE  reason'.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import media

# Modes of the engines as far as they are built; kvm has what the CPU has. ferr: the machine sees
# the CPU's FERR#, which kvm keeps to itself.
SOFTWARE = {"real", "protected", "paging", "long", "ferr"}
MODES = {
    "kvm": SOFTWARE - {"ferr"},
    "driver": SOFTWARE - {"ferr"},
    "translate": SOFTWARE,
    "interpret": SOFTWARE,
}


# A firmware's version is none of ours.
VERSION = re.compile(rb"SeaBIOS \(version [^)]*\)")


def guests(source, name="guests.list"):
    for line in (source / "guests" / name).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, modes, start, memory, status, *cpus = line.split()
            yield name, set(modes.split(",")), start, memory, int(status), (cpus or ["1"])[0]


def verdicts(tinamou):
    out = subprocess.run([tinamou, "engines"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: line.split()[1] for line in out.splitlines() if line.strip()}


def place(images, name, start, medium):
    """The command line's words for a guest: flat@ADDR, sector, or a medium (NAME:KIND)."""
    image = images / f"{name.split(':')[0]}.bin"
    if start == "sector":
        return [image, "--firmware", "none"]
    if start.startswith("flat@"):
        return ["--flat", f"{image}@{start.split('@')[1]}"]
    medium.write(media.make(name.partition(":")[2] or "disk", image.read_bytes()))
    medium.flush()
    words = [medium.name, "--firmware", start if start == "bios" else "none"]
    if start == "virtio":
        words += ["--disk", f"{images / 'frame.elf'},format=raw,bus=virtio,throwaway", "--net", "user",
                  "--share", f"{images},tag=images,ro"]
    return words


def run(tinamou, images, engine, name, start, memory, cpus, options):
    with tempfile.NamedTemporaryFile() as serial, tempfile.NamedTemporaryFile() as medium:
        result = subprocess.run(
            [tinamou, "run", "-q", "--engine", engine, "--memory", memory, "--cpus", cpus, "--timeout", "60",
             "--serial", f"file:{serial.name}", *options, *place(images, name, start, medium)],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=90, check=False)
        screen = VERSION.sub(b"SeaBIOS", result.stdout)
        return result.returncode, screen, pathlib.Path(serial.name).read_bytes(), result.stderr


def differences(expect, name, status, got, write):
    for kind, data in (("screen", got[1]), ("serial", got[2])):
        path = expect / f"{name.replace(':', '-')}.{kind}"
        if write:
            path.write_bytes(data)
        if path.read_bytes() != data:
            yield f"{kind} differs from {path}"
    if got[0] != status:
        yield f"status {got[0]}, not {status}: {got[3].decode(errors='replace').strip()}"


def allowed_skips(source):
    lines = (source / "tests/skips").read_text().splitlines()
    return {l.split()[0] for l in lines if l.strip() and not l.startswith("#")}


def skip_reason(engine, verdict, modes, name):
    if not modes <= MODES[engine]:
        return "the engine does not have " + ", ".join(sorted(modes - MODES[engine]))
    if verdict == "unusable":
        return "the engine is unusable on this host"
    if name == "pagefault" and engine == "kvm" and verdict == "software-backed":
        return "this /dev/kvm, backed by software, cannot do 32-bit paging"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tinamou")
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--list", default="guests.list")
    parser.add_argument("--engines", default="kvm,translate,interpret")
    parser.add_argument("--torture")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    tinamou, images, source, write = args.tinamou, args.images, args.source, args.write
    engines = args.engines.split(",")
    options = ["--torture", args.torture] if args.torture else []
    found, allowed = verdicts(tinamou), allowed_skips(source)
    passed = failed = skipped = 0
    for name, modes, start, memory, status, cpus in guests(source, args.list):
        for engine in engines:
            reason = skip_reason(engine, found.get(engine, "unusable"), modes, name)
            key = f"guests:{name}/{engine}"
            if reason and key in allowed:
                skipped += 1
                print(f"skip {key}: {reason}")
                continue
            bad = [reason] if reason else list(differences(
                source / "guests/expect", name, status,
                run(tinamou, images, engine, name, start, memory, cpus, options), write))
            failed, passed = failed + bool(bad), passed + (not bad)
            print(f"{'FAIL' if bad else 'ok  '} {key} {'; '.join(bad)}")
    used = [e for e in engines if found.get(e) != "unusable"]
    print(f"guests: {passed} passed, {failed} failed, {skipped} skipped; engines: {' '.join(used)}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
