"""bochs - the rig inside Bochs, which emulates VMX with EPT, and a second SVM.

Same use as rig.Rig. Bochs has no loader for a kernel: it boots isolinux from a
CD made here. Its clock counts instructions, so guest time does not depend on
the host's load. The packages beside Bochs itself are unpacked under build/.

    machine = Bochs("corei7_haswell_4770")     # VMX; "trinity_apu": SVM
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import rig

CONFIG = """cpu: model={model}, count=1, ips=50000000, reset_on_triple_fault=0
memory: guest=384, host=384
romimage: file=/usr/share/seabios/bios-256k.bin
vgaromimage: file=/usr/share/seabios/vgabios-stdvga.bin
ata0-master: type=cdrom, path={folder}/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={folder}/serial
clock: sync=none, time0=946684800
display_library: term
log: {folder}/log
panic: action=fatal
error: action=ignore
info: action=ignore
"""

ISOLINUX = """default k
label k
 kernel vmlinuz
 initrd initrd
 append {append}
"""


class Bochs(rig.Rig):
    flavour = "cloud-amd64"
    program = "bochs"
    append = "mitigations=off nokaslr printk.devkmsg=on"
    # Its serial port loses interrupts; the kernel's own messages go out without any.
    emit = 'while read -r line; do echo "<0>rig: $line" >/dev/kmsg; done'

    def __init__(self, model, modules=()):
        super().__init__(modules)
        self.model = model
        fetch = rig.linux_guest.fetch
        self.loader = [fetch("isolinux") / "usr/lib/ISOLINUX/isolinux.bin",
                       fetch("syslinux-common") / "usr/lib/syslinux/modules/bios/ldlinux.c32"]
        self.genisoimage = fetch("genisoimage") / "usr/bin/genisoimage"
        for needed in ("/usr/share/seabios/bios-256k.bin",
                       "/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so"):
            if not os.path.exists(needed):
                raise rig.Missing(f"{needed} is not installed")

    def make_iso(self, folder, initrd, append):
        root = folder / "cd"
        root.mkdir()
        for file in self.loader:
            shutil.copy(file, root)
        shutil.copy(self.vmlinuz, root / "vmlinuz")
        shutil.copy(initrd, root / "initrd")
        (root / "isolinux.cfg").write_text(ISOLINUX.format(append=append))
        subprocess.run([self.genisoimage, "-quiet", "-o", folder / "boot.iso", "-b",
                        "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4",
                        "-boot-info-table", root], check=True, capture_output=True)

    def boot(self, initrd, append, timeout, out, extra):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            self.make_iso(folder, initrd, append)
            (folder / "config").write_text(CONFIG.format(model=self.model, folder=folder))
            (folder / "continue").write_text("c\n")
            # Its display wants a terminal; script(1) gives it one.
            # Debian's Bochs reads memory that it has not written, and trips over meson's filling.
            environment = {k: v for k, v in os.environ.items() if k != "MALLOC_PERTURB_"}
            process = subprocess.Popen(
                ["script", "-qc", f"bochs -q -f {folder}/config -rc {folder}/continue",
                 "/dev/null"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env=environment, start_new_session=True)
            serial = wait_for_end(process, folder / "serial", timeout)
            log = folder / "log"
            if log.exists() and b"@ done" not in serial:
                serial += b"\n".join(log.read_bytes().splitlines()[-20:])
            out.write(re.sub(rb"^\[ *[\d.]+\] rig: ", b"", serial, flags=re.M))


def wait_for_end(process, serial, timeout):
    """What came over the line until the last word, the end of Bochs, or the timeout."""
    end = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < end:
        if serial.exists() and b"@ done" in serial.read_bytes():
            break
        time.sleep(0.5)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return serial.read_bytes() if serial.exists() else b""
