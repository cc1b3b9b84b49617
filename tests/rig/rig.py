"""rig - Debian's kernel with kvm-amd inside QEMU TCG, to run programs on real KVM semantics.

QEMU emulates SVM with nested paging, so /dev/kvm in there is backed by the
kernel's own kvm-amd and not by whatever this host has. The machine boots from
the kernel and an initramfs written here; its init runs a list of commands and
sends each one's output base64-coded over the serial line, between markers.

    rig = Rig()                    # raises Missing: no kernel, no QEMU
    rig.add_program("build/static/tinamou", "tinamou")
    results = rig.run([("name", "command line")])   # {name: (status, bytes)}
"""
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import linux_guest  # noqa: E402  (found by the line above)
from linux_guest import Missing  # noqa: E402

# In the order of insmod: each needs those before it.
MODULES = ["irqbypass", "kvm", "ccp", "kvm-amd"]
QEMU = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-display", "none",
        "-monitor", "none", "-no-reboot", "-nic", "none", "-serial", "stdio"]


class Rig(linux_guest.Guest):
    """modules: of the kernel's package, by name, loaded in this order."""

    flavour = "amd64"
    program = QEMU[0]
    append = "no_timer_check"  # it goes by time, and a busy host has none

    def __init__(self, modules=MODULES):
        if not shutil.which(self.program):
            raise Missing(f"{self.program} is not installed")
        super().__init__(linux_guest.kernel(self.flavour))
        for name in modules:
            self.add_module(name)

    def run(self, commands, extra=(), **limits):
        """Boots, runs (name, command) in order; {name: (exit status, output)}."""
        def machine(kernel, initrd, append, timeout, out):
            self.boot(initrd, append, timeout, out, extra)

        return super().run(machine, commands, append=self.append, **limits)

    def boot(self, initrd, append, timeout, out, extra):
        """The serial output of the whole run goes to the file out."""
        linux_guest.run_to_end(QEMU + ["-kernel", self.vmlinuz, "-initrd", initrd, "-append", append,
                                       *extra], timeout, out)
