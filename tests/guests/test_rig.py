#!/usr/bin/env python3
"""test_rig - every guest under --engine kvm on real KVM semantics; programs that use it.

    test_rig.py SOURCE IMAGES

The static tinamou runs inside QEMU TCG, on Debian's kernel with kvm-amd
(tests/rig/rig.py). Screen, serial bytes and status must be those of
guests/expect, as everywhere. The examples and the tests of engine kvm run there too, as
they were built. Exit status 77: a part of the rig is missing.
"""
import pathlib
import subprocess
import sys

SOURCE, IMAGES = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
sys.path[:0] = [str(SOURCE / "tests/rig"), str(SOURCE / "tests/guests")]
import rig  # noqa: E402
import run_guests  # noqa: E402

# What this rig's own CPU cannot do: QEMU's TCG checks no segment limits.
LEFT_OUT = {"faults": "QEMU's TCG raises no #GP at the end of a segment"}


# Beside the guests: name, executable below the build folder, arguments.
PROGRAMS = [(f"example-{p.stem}", f"examples/{p.stem}", "")
            for p in sorted((SOURCE / "examples/kvm").glob("*.c"))]
PROGRAMS += [("test_kvm", "tests/engine/test_kvm", "emulated"),
             ("test_insn", "tests/insn/test_insn", "--oracle kvm --kind real --cases 8000")]


def command(name, start, memory):
    image = f"/guests/{name}.bin"
    place = image if start == "sector" else f"--flat {image}@{start.split('@')[1]}"
    return (f"/tinamou run -q --engine kvm --memory {memory} --timeout 20 "
            f"--serial file:/tmp/serial {place} </dev/null 2>/tmp/err; s=$?; "
            "echo; echo ---; cat /tmp/serial; echo; echo ---; cat /tmp/err; exit $s")


def main():
    dist = subprocess.run([SOURCE / "tools/dist"], capture_output=True, text=True, cwd=SOURCE)
    if dist.returncode:
        print(dist.stdout + dist.stderr)
        return 1
    try:
        machine = rig.Rig()
    except rig.Missing as why:
        print(f"the rig is not complete: {why}")
        return 77
    machine.add_file(next((SOURCE / "build/dist").glob("tinamou-*-x86_64")), "tinamou")
    guests = list(run_guests.guests(SOURCE))
    for name, *_ in guests:
        machine.add_file(IMAGES / f"{name}.bin", f"guests/{name}.bin")
    commands = [(name, f"sh -c {quote(command(name, start, memory))}")
                for name, _, start, memory, _ in guests]
    for name, path, _ in PROGRAMS:
        machine.add_program(IMAGES.parent / path, f"programs/{name}")
    commands += [(name, f"/programs/{name} {arguments}") for name, _, arguments in PROGRAMS]
    results = machine.run([("engines", "/tinamou engines")] + commands,
                          log=str(SOURCE / "build/rig.log"))
    print(results["engines"][1].decode().strip())
    return report(guests, results)


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def report(guests, results):
    passed = failed = 0
    for name, _, _, _, status in guests:
        got_status, output = results.get(name, (-1, b""))
        screen, serial, err = (output.split(b"\n---\n") + [b"", b""])[:3]
        expect = SOURCE / "guests/expect"
        bad = []
        if name in LEFT_OUT:
            print(f"left out {name}: {LEFT_OUT[name]}")
            continue
        if screen != (expect / f"{name}.screen").read_bytes():
            bad.append("screen differs")
        if serial.rstrip(b"\n") != (expect / f"{name}.serial").read_bytes().rstrip(b"\n"):
            bad.append("serial bytes differ")
        if got_status != status:
            bad.append(f"status {got_status}, not {status}: {err.decode(errors='replace').strip()}")
        failed, passed = failed + bool(bad), passed + (not bad)
        print(f"{'FAIL' if bad else 'ok  '} {name} {'; '.join(bad)}")
    for name, *_ in PROGRAMS:
        got_status, output = results.get(name, (-1, b""))
        failed, passed = failed + bool(got_status), passed + (not got_status)
        print(f"{'FAIL' if got_status else 'ok  '} {name}")
        if got_status:
            print(f"status {got_status}\n{output.decode(errors='replace')[-3000:]}")
    print(f"{passed} passed, {failed} failed, {len(LEFT_OUT)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
