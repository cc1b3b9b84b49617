#!/usr/bin/env python3
"""test_driver - the kernel module and engine driver, on SVM in QEMU TCG.

    test_driver.py SOURCE BUILD [--smp] [--suite SUITE]

The rig (tests/rig/rig.py) boots Debian's kernel and loads tinamou.ko
beside KVM: insmod's report, the contract case by case, every guest under
--engine driver with the screen, serial bytes and status of guests/expect, the
refusal while KVM has a machine, bad ioctls, 200 rounds of load, run, kill -9, unload, and a log in
which nothing but our lines stands. --smp: two CPUs, five times as many bad ioctls, and the guests
that need a medium or the BIOS. --suite: with the kernel of another suite of Debian.
Exit status 77: a part of the rig is missing.
"""
import os
import pathlib
import re
import subprocess
import sys

SOURCE, BUILD = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
SMP = "--smp" in sys.argv
SUITE = sys.argv[sys.argv.index("--suite") + 1] if "--suite" in sys.argv else None
TEST = ("driver-smp" if SMP else "driver") + (f"-{SUITE}" if SUITE else "")
sys.path[:0] = [str(SOURCE / "tests/rig"), str(SOURCE / "tests/guests")]
import rig  # noqa: E402
import media  # noqa: E402
import run_guests  # noqa: E402

FIRMWARE = [pathlib.Path("/usr/share/seabios") / name
            for name in ("bios-256k.bin", "vgabios-stdvga.bin")]
# What the emulated CPU cannot do; Bochs' can (test_bochs.py).
LEFT_OUT = {"faults": "QEMU's TCG raises no #GP at the end of a segment"}
ROUNDS = 200
# sti; loop: out 80h, al; jmp loop
SPIN = b"\xfb\xe6\x80\xeb\xfc"
REPORT = ["this CPU has SVM", "VM_CR", "nested paging (NPT) yes", "next-RIP", "ready: /dev/tinamou"]
# Lines of the kernel's own that may come late.
OTHERS = re.compile(r"\] (tsc|clocksource|random|sched_clock|process .* changed|Lockdown)\b")


def module(flavour):
    done = subprocess.run([SOURCE / "tools/module", flavour], capture_output=True, text=True, cwd=SOURCE)
    if done.returncode == 77:
        raise rig.Missing(done.stderr.strip().splitlines()[-1])
    if done.returncode or done.stderr:
        raise RuntimeError("tinamou.ko: " + done.stdout + done.stderr)
    return done.stdout.strip().splitlines()[-1]


def use_suite():
    """From here on apt, and what asks it, sees that suite."""
    done = subprocess.run([SOURCE / "tools/suite", SUITE], capture_output=True, text=True)
    if done.returncode:
        raise rig.Missing(done.stderr.strip())
    os.environ.update(SUITE=SUITE, APT_CONFIG=done.stdout.strip())


def static_tinamou():
    subprocess.run([SOURCE / "tools/dist"], check=True, capture_output=True, cwd=SOURCE)
    return next((SOURCE / "build/dist").glob("tinamou-*-x86_64"))


def place(name, start):
    """The command line's words for a guest, as run_guests.place has them on the host."""
    if start == "sector":
        return f"/guests/{name}.bin --firmware none"
    if start.startswith("flat@"):
        return f"--flat /guests/{name}.bin@{start.split('@')[1]}"
    disk = " --disk /media/ide,format=raw,bus=virtio,throwaway" if start == "virtio" else ""
    return f"/media/{name} --firmware {start if start == 'bios' else 'none'}{disk}"


def guest_command(name, start, memory, cpus):
    return (f"/tinamou run -q --engine driver --memory {memory} --cpus {cpus} --timeout 180 "
            f"--serial file:/tmp/serial {place(name, start)} </dev/null 2>/tmp/err; s=$?; "
            "echo; echo ---; cat /tmp/serial; echo; echo ---; cat /tmp/err; exit $s")


def all_guests(left_out, on_media):
    """Rows of the lists of guests, those on media behind the others."""
    lists = ["guests.list", "media.list"] if on_media else ["guests.list"]
    return [g for name in lists for g in run_guests.guests(SOURCE, name)
            if g[0] not in left_out and g[1] <= run_guests.MODES["driver"]]


def add_media(machine):
    for path in FIRMWARE:
        if not path.exists():
            raise rig.Missing(f"{path} is not installed")
        machine.add_file(path, str(path).lstrip("/"))
    for name, *_ in run_guests.guests(SOURCE, "media.list"):
        guest, _, kind = name.partition(":")
        machine.cpio.file(f"media/{name}", media.make(
            kind or "disk", (BUILD / f"guests/{guest}.bin").read_bytes()))


def fill(machine, flavour, on_media):
    """What the machine needs: the module, tinamou, guests, programs."""
    if on_media:
        add_media(machine)
    machine.add_file(module(flavour), "tinamou.ko")
    machine.add_file(static_tinamou(), "tinamou")
    for name in ("contract", "fuzz", "rounds"):
        machine.add_file(BUILD / f"tests/driver/driver-{name}", name)
    for name, *_ in run_guests.guests(SOURCE):
        machine.add_file(BUILD / f"guests/{name}.bin", f"guests/{name}.bin")
    machine.cpio.file("spin.bin", SPIN)


def commands(guests, fuzz, rounds, kvm=False, without=()):
    if SUITE:  # from Linux 6.12 on KVM takes the CPU when it is loaded, unless told not to
        yield "kvm", ("rmmod kvm_amd; rmmod kvm; insmod /modules/kvm.ko enable_virt_at_load=0; "
                      "insmod /modules/kvm-amd.ko")
    yield "insmod", "dmesg -c >/dev/null; insmod /tinamou.ko; s=$?; dmesg | grep tinamou:; exit $s"
    yield "engines", "/tinamou engines"
    yield "contract", " ".join(["/contract", *without])
    for name, _, start, memory, _, cpus in guests:
        yield name, guest_command(name, start, memory, cpus)
    if kvm:
        yield "busy", ("/tinamou run -q --engine kvm --memory 1M --flat /spin.bin@7c00 "
                       "</dev/null >/dev/null 2>&1 & sleep 1; /tinamou engines; "
                       "/tinamou run -q --engine driver /guests/banner.bin; s=$?; kill $!; "
                       "wait; [ $s = 6 ]")
    yield "fuzz", f"/fuzz {fuzz}"
    yield "rmmod", "rmmod tinamou; s=$?; ls /dev/tinamou 2>&1; exit $s"
    yield "rounds", (f"/rounds {rounds} /tinamou.ko /tinamou run -q --engine driver --memory 1M "
                     "--flat /spin.bin@7c00")
    yield "dmesg", "dmesg | grep -v '] rig: '"


def strange_lines(text):
    return [l for l in text.splitlines() if "] tinamou: " not in l and not OTHERS.search(l)
            and "loading out-of-tree module" not in l
            and "module verification failed" not in l]


class Report:
    def __init__(self, results):
        self.results = results
        self.passed = self.failed = 0

    def result(self, name):
        status, output = self.results.get(name, (-1, b""))
        return status, output.decode(errors="replace")

    def line(self, name, bad, note=""):
        self.passed, self.failed = self.passed + (not bad), self.failed + bool(bad)
        print(f"{'FAIL' if bad else 'ok  '} {name} {bad or note}".rstrip())

    def simple(self, name):
        """A command that must end with 0; its last line is shown."""
        status, output = self.result(name)
        last = output.strip().splitlines()[-1:] or [""]
        self.line(name, f"status {status}: {output[-2000:]}" if status else "", last[0])

    def insmod(self, wanted):
        status, output = self.result("insmod")
        bad = [w for w in wanted if w not in output]
        self.line("insmod", f"status {status}, missing {bad}: {output}" if status or bad else "")
        for line in re.findall(r"\] (tinamou: .*)", output):
            print(f"     {line}")

    def contract(self):
        status, output = self.result("contract")
        for line in output.splitlines():
            self.line("contract: " + line.split(" ", 1)[-1], "failed" if line[:2] != "ok" else "")
        if status or not output.strip():
            self.line("contract", f"status {status}")

    def guest(self, name, expected):
        status, _ = self.results.get(name, (-1, b""))
        output = self.results.get(name, (-1, b""))[1]
        screen, serial, err = (output.split(b"\n---\n") + [b"", b""])[:3]
        screen = run_guests.VERSION.sub(b"SeaBIOS", screen)
        expect, file = SOURCE / "guests/expect", name.replace(":", "-")
        bad = []
        if screen != (expect / f"{file}.screen").read_bytes():
            bad.append("screen differs")
        if serial.rstrip(b"\n") != (expect / f"{file}.serial").read_bytes().rstrip(b"\n"):
            bad.append("serial bytes differ")
        if status != expected:
            bad.append(f"status {status}, not {expected}: {err.decode(errors='replace').strip()}")
        self.line(name, "; ".join(bad))

    def busy(self):
        status, output = self.result("busy")
        said = "another hypervisor holds the CPU" in output
        self.line("busy", "" if said and not status else f"status {status}: {output}",
                  "refused while KVM has a machine")

    def dmesg(self):
        status, output = self.result("dmesg")
        strange = strange_lines(output)
        self.line("dmesg", f"status {status}, {strange[:40]}" if status or strange else "",
                  "nothing but our lines")

    def end(self, skipped):
        print(f"{self.passed} passed, {self.failed} failed, {skipped} skipped")
        return 1 if self.failed else 0


def judge(results, wanted, guests, skipped=0):
    """wanted: what insmod's report must contain. The exit status."""
    report = Report(results)
    report.insmod(wanted)
    report.simple("engines")
    report.contract()
    for name, _, _, _, status, *_ in guests:
        report.guest(name, status)
    if "busy" in results:
        report.busy()
    for name in ("fuzz", "rmmod", "rounds"):
        report.simple(name)
    report.dmesg()
    return report.end(skipped)


def main():
    try:
        if SUITE:
            use_suite()
        machine = rig.Rig()
        fill(machine, "amd64", on_media=SMP)
    except rig.Missing as why:
        print(f"the rig is not complete: {why}")
        return 77
    guests = all_guests(LEFT_OUT, on_media=SMP)
    extra = ["-smp", "2", "-accel", "tcg,thread=multi"] if SMP else []
    results = machine.run(commands(guests, "15 1" if SMP else "3 1", ROUNDS, kvm=True), limit=200,
                          timeout=1100 if SMP else 280, extra=extra,
                          log=str(SOURCE / f"build/{TEST}.log"))
    for name, why in LEFT_OUT.items():
        print(f"skip {TEST}:{name}: {why}")
    return judge(results, REPORT, guests, len(LEFT_OUT))


if __name__ == "__main__":
    sys.exit(main())
