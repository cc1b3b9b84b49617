#!/usr/bin/env python3
"""test_rig - every guest under --engine kvm on real KVM semantics; programs that use it.

    test_rig.py SOURCE IMAGES [--long]

The static tinamou runs inside QEMU TCG, on Debian's kernel with kvm-amd
(tests/rig/rig.py). Screen, serial bytes and status must be those of
guests/expect, as everywhere. The examples and the tests of engine kvm run there too, as
they were built, and Debian's cloud kernel boots to user space. With --long: Linux only, on one
and two vCPUs, 64- and 32-bit, with nested and with shadow paging. Exit status 77: a part of the
rig is missing.
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


# Name, kernel and initramfs by their names in tools/guest, options.
LINUX = [("linux", "cloud", "initramfs", "")]
LINUX_LONG = LINUX + [("linux-two", "cloud", "initramfs", "--cpus 2"),
                      ("linux-686", "686", "initramfs-686", ""),
                      ("linux-686-two", "686", "initramfs-686", "--cpus 2")]
SHADOW_PAGING = ["-cpu", "max,-npt"]


def command(name, start, memory):
    image = f"/guests/{name}.bin"
    place = f"{image} --firmware none" if start == "sector" else f"--flat {image}@{start.split('@')[1]}"
    return (f"/tinamou run -q --engine kvm --memory {memory} --timeout 20 "
            f"--serial file:/tmp/serial {place} </dev/null 2>/tmp/err; s=$?; "
            "echo; echo ---; cat /tmp/serial; echo; echo ---; cat /tmp/err; exit $s")


def guest_file(kind):
    done = subprocess.run([SOURCE / "tools/guest", kind], capture_output=True, text=True)
    if done.returncode == 77:
        raise rig.Missing(done.stderr.strip())
    done.check_returncode()
    return done.stdout.strip()


def linux_command(kernel, initramfs, options):
    return (f"/tinamou run --engine kvm --memory 256M --timeout 60 --no-reboot {options} "
            f"--kernel /linux/{kernel} --initrd /linux/{initramfs} --append quiet </dev/null")


def new_machine(linux):
    machine = rig.Rig()
    machine.add_file(next((SOURCE / "build/dist").glob("tinamou-*-x86_64")), "tinamou")
    for _, kernel, initramfs, _ in linux:
        for kind in (kernel, initramfs):
            machine.add_file(guest_file(kind), f"linux/{kind}")
    return machine


def run_all():
    machine = new_machine(LINUX)
    guests = [g for g in run_guests.guests(SOURCE) if g[1] <= run_guests.MODES["kvm"]]
    for name, *_ in guests:
        machine.add_file(IMAGES / f"{name}.bin", f"guests/{name}.bin")
    commands = [(name, f"sh -c {quote(command(name, start, memory))}")
                for name, _, start, memory, *_ in guests]
    for name, path, _ in PROGRAMS:
        machine.add_program(IMAGES.parent / path, f"programs/{name}")
    commands += [(name, f"/programs/{name} {arguments}") for name, _, arguments in PROGRAMS]
    commands += [(name, linux_command(*how)) for name, *how in LINUX]
    results = machine.run([("engines", "/tinamou engines")] + commands,
                          limit=90, timeout=580, log=str(SOURCE / "build/rig.log"))
    print(results["engines"][1].decode().strip())
    counts = [report_guests(guests, results), report_programs(results),
              report_linux(LINUX, results)]
    passed, failed = (sum(column) for column in zip(*counts))
    print(f"{passed} passed, {failed} failed, {len(LEFT_OUT)} skipped")
    return 1 if failed else 0


def run_linux():
    passed = failed = 0
    for paging, extra in (("nested", ()), ("shadow", SHADOW_PAGING)):
        print(f"{paging} paging:")
        results = new_machine(LINUX_LONG).run(
            [(name, linux_command(*how)) for name, *how in LINUX_LONG], limit=90, timeout=400,
            log=str(SOURCE / f"build/rig-{paging}.log"), extra=extra)
        good, bad = report_linux(LINUX_LONG, results)
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


def main():
    dist = subprocess.run([SOURCE / "tools/dist"], capture_output=True, text=True, cwd=SOURCE)
    if dist.returncode:
        print(dist.stdout + dist.stderr)
        return 1
    try:
        return run_linux() if "--long" in sys.argv else run_all()
    except rig.Missing as why:
        print(f"the rig is not complete: {why}")
        return 77


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def report_guests(guests, results):
    passed = failed = 0
    for name, _, _, _, status, *_ in guests:
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
    return passed, failed


def report_programs(results):
    good = [verdict(name, results, lambda output: True) for name, *_ in PROGRAMS]
    return sum(good), len(good) - sum(good)


def report_linux(linux, results):
    good = [verdict(name, results, lambda output: b"guest: user space" in output)
            for name, *_ in linux]
    return sum(good), len(good) - sum(good)


def verdict(name, results, right):
    """Status 0 and the right output."""
    status, output = results.get(name, (-1, b""))
    good = status == 0 and right(output)
    print(f"{'ok  ' if good else 'FAIL'} {name}")
    if not good:
        print(f"status {status}\n{output.decode(errors='replace')[-3000:]}")
    return good


if __name__ == "__main__":
    sys.exit(main())
