#!/usr/bin/env python3
"""test_stress - stress-ng with --verify in Debian's cloud kernel on engine interpret.

    test_stress.py TINAMOU SOURCE [--log FILE] [--only NAME,...] [OPTIONS of tinamou run]

Each stressor of the classes cpu, cpu-cache, memory, vm, interrupt, scheduler and
os runs by itself for a few rounds of its own; a wrong result of its own checks,
a signal or no end in time is a failure. What the guest lacks is a skip, and so is
what stress-ng itself runs only when told that it may hang the machine. The
stressors in LEFT_OUT do not run, with the reason. All goes by the instruction
clock, so that a busy host does not matter. Exit status 77: no kernel or no package
to be had.
"""
import argparse
import pathlib
import sys

CLASSES = ("cpu", "cpu-cache", "memory", "vm", "interrupt", "scheduler", "os")
ROUNDS = 2
MORE_ROUNDS = {"cpu": 80,   # each of its methods once
               "sysfs": 100000}  # until its time is over: else it may call its own end a failure
LIMIT = 8  # seconds for each, of the guest
MISSING = (3, 4)  # stress-ng's exit status where the kernel or the CPU lacks something
LEFT_OUT = {
    "binderfs": "has no bound on its rounds",
    "hrtimers": "fires timers as fast as it can, for minutes",
    "ipsec-mb": "fails where the CPU model has no AES",
    "jpeg": "one round takes minutes",
}


def stressors(linux_guest):
    """All of the classes, from the program itself."""
    names = []
    for each in CLASSES:
        listing = linux_guest.run_packaged("stress-ng", "usr/bin/stress-ng", "--class", f"{each}?")
        names += listing.partition("stressors: ")[2].split()
    return sorted(set(names))


def command(name):
    return (f"ifconfig lo 127.0.0.1 up; stress-ng --{name} 1 --{name}-ops {MORE_ROUNDS.get(name, ROUNDS)} --verify "
            f"--timeout {LIMIT // 4} --oom-avoid")


def report(names, results):
    """One line each; returns the numbers of passed, failed and skipped ones."""
    words = []
    for name in names:
        status, output = results.get(name, (None, b"it did not run"))
        lacking = status in MISSING or b"No stress workers invoked" in output
        words.append("ok" if status == 0 else "skip" if lacking else "FAIL")
        lines = output.decode(errors="replace").splitlines() or [""]
        telling = [l for l in lines if "disabled" in l or "fail:" in l or "error:" in l] or lines[-1:]
        print(f"{words[-1]:<4} {name:<16} {status}" if status == 0 else
              f"{words[-1]:<4} {name:<16} {status} {telling[0]}")
    return tuple(words.count(word) for word in ("ok", "FAIL", "skip"))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--log")
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("tinamou", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    args, options = parser.parse_known_args()
    sys.path.insert(0, str(args.source / "tools"))
    import linux_guest  # by the path above
    try:
        guest = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
        guest.cpio.link("bin/ifconfig", "busybox")
        guest.add_packaged("stress-ng", "usr/bin/stress-ng", "bin/stress-ng")
        names = args.only or [n for n in stressors(linux_guest) if n not in LEFT_OUT]
    except linux_guest.Missing as why:
        print(f"no guest to run: {why}")
        return 77
    machine = linux_guest.tinamou(args.tinamou, "--engine", "interpret", "--memory", "1G",
                                  *(options or ["--clock", "instructions"]))
    results = guest.run(machine, [(n, command(n)) for n in names], limit=LIMIT, timeout=7200,
                        log=args.log)
    passed, failed, skipped = report(names, results)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


sys.exit(main())
