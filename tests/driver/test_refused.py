#!/usr/bin/env python3
"""test_refused - where the CPU offers nothing, insmod says so and refuses.

    test_refused.py SOURCE BUILD

Exit status 77: a part of the rig is missing.
"""
import sys

import test_driver
from test_driver import SOURCE, rig


def main():
    try:
        machine = rig.Rig(modules=[])
        machine.add_file(test_driver.module("amd64"), "tinamou.ko")
    except rig.Missing as why:
        print(f"the rig is not complete: {why}")
        return 77
    results = machine.run([("insmod", "insmod /tinamou.ko; s=$?; dmesg | grep tinamou:; "
                                      "ls /dev/tinamou; exit $s")],
                          log=str(SOURCE / "build/refused.log"), extra=["-cpu", "Nehalem"])
    status, output = results["insmod"]
    text = output.decode(errors="replace")
    print(text)
    wanted = ["offers neither SVM nor VMX", "Operation not supported", "No such file"]
    bad = [w for w in wanted if w not in text]
    print(f"missing: {bad}" if bad or not status else "refused")
    return 1 if bad or not status else 0


if __name__ == "__main__":
    sys.exit(main())
