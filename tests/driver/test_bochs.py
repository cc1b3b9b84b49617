#!/usr/bin/env python3
"""test_bochs - the module and engine driver in Bochs: VMX, and a second SVM.

    test_bochs.py SOURCE BUILD vmx|svm

As test_driver.py, on Debian's cloud kernel, with fewer rounds: Bochs
executes some tens of millions of instructions a second.
Exit status 77: a part of the rig is missing.
"""
import sys

import test_driver
from test_driver import SOURCE, rig

import bochs

MODELS = {
    "vmx": ("corei7_haswell_4770", ["this CPU has VMX", "IA32_FEATURE_CONTROL", "EPT yes",
                                    "unrestricted guest yes", "ready: /dev/tinamou, VMX"]),
    "svm": ("trinity_apu", ["this CPU has SVM", "VM_CR", "nested paging (NPT) yes",
                            "ready: /dev/tinamou, SVM"]),
}
# Bochs' SVM panics where a triple fault should exit, and takes no interrupt from a guest
# that was entered with IF clear: no `jmp .` and no random code there. Its VMX does both.
SHUTDOWN = "Bochs' SVM has no intercept of a shutdown"
NO_INTERRUPT = "Bochs' SVM takes no interrupt from a guest entered with IF clear"
NO_RETURN = "Bochs' SVM does not come back from an entry in the BIOS"
STALE_EVENT = "Bochs' SVM tells of an older event when INT n faults in the nested table"
LEFT_OUT = {"vmx": {}, "svm": {"triple_fault": SHUTDOWN, "triple": SHUTDOWN,
                               "signal_with_interrupts_off": NO_INTERRUPT,
                               "banner-07c0": NO_INTERRUPT, "loader:cd": NO_RETURN, "reset:floppy": NO_RETURN,
                               "bios-call": STALE_EVENT}}
FUZZ = {"vmx": "2 1", "svm": "2 1 no-entry"}  # seconds of the guest's clock, seed
ROUNDS = 10


def main():
    kind = sys.argv[3]
    model, wanted = MODELS[kind]
    try:
        machine = bochs.Bochs(model)
        test_driver.fill(machine, "cloud-amd64", on_media=True)
    except rig.Missing as why:
        print(f"the rig is not complete: {why}")
        return 77
    left_out = LEFT_OUT[kind]
    guests = test_driver.all_guests(left_out, on_media=True)
    commands = test_driver.commands(guests, FUZZ[kind], ROUNDS, without=left_out)
    results = machine.run(commands, limit=120, timeout=1500,
                          log=str(SOURCE / f"build/driver-bochs-{kind}.log"))
    for name, why in left_out.items():
        print(f"skip driver-bochs-{kind}:{name}: {why}")
    return test_driver.judge(results, wanted, guests, len(left_out))


if __name__ == "__main__":
    sys.exit(main())
