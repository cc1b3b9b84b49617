#!/usr/bin/env python3
"""test_debian - Debian 12 with systemd, as one uses it: by its console and over ssh.

    test_debian.py TINAMOU SOURCE [--engine ENGINE] CASE...

Cases: daily (two vCPUs, raw image: services, network, clock, ssh, apt, reboot, power button),
qcow2 (the same boot from a qcow2 image, poweroff), login (to the prompt only, and poweroff),
cloud (cloud-init's NoCloud seed), root (a folder of the host is the root), day (the README's),
fio (verified data on a raw and a qcow2 disk, TINAMOU_FIO_SECONDS each, or 60), stress (stress-ng
over CPU, memory and I/O for TINAMOU_STRESS_SECONDS in all, or 120). The image comes from
tools/debian-image. Exit status 77: it is not to be had.
"""
import hashlib
import http.server
import os
import pathlib
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(sys.argv[2]).resolve()
BINARY = os.path.abspath(sys.argv[1])
ENGINE = sys.argv[sys.argv.index("--engine") + 1] if "--engine" in sys.argv else "auto"
BOOT = 1800 if ENGINE != "interpret" else 1800  # seconds to the login prompt, at most
PATIENCE = 300 if ENGINE != "interpret" else 600  # for an answer
POWER_BUTTON = b"\x01p"
APPEND = "root=LABEL=root console=ttyS0 quiet systemd.default_timeout_start_sec=900"  # hosts are busy


class Failed(Exception):
    pass


class Machine:
    """A run on a pseudo-terminal, and what is typed and read there."""

    def __init__(self, *options):
        self.front, terminal = pty.openpty()
        self.began = time.monotonic()
        self.process = subprocess.Popen([BINARY, "run", "--engine", ENGINE, *map(str, options)],
                                        stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        self.text, self.seen, self.status = b"", 0, None
        threading.Thread(target=self.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        if any(error):
            sys.stdout.write(self.text[-int(os.environ.get("TAIL", 3000)):].decode(errors="replace"))

    def read(self):
        try:
            while data := os.read(self.front, 65536):
                self.text += data
        except OSError:
            pass

    def type(self, text):
        os.write(self.front, text if isinstance(text, bytes) else text.encode())

    def expect(self, pattern, timeout=60):
        """What stands before the next match, and the match."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = re.search(pattern.encode(), self.text[self.seen:])
            if found:
                before = self.text[self.seen:self.seen + found.start()]
                self.seen += found.end()
                return before.decode(errors="replace"), found
            if self.process.poll() is not None:
                time.sleep(0.5)
                break
            time.sleep(0.05)
        raise Failed(f"no {pattern!r} after {self.text[self.seen:][-300:]!r}")

    def login(self):
        """To the prompt of root's shell; how long the login prompt took."""
        self.expect("login: ", BOOT)
        took = time.monotonic() - self.began
        self.type("root\n")
        self.expect("Password: ", PATIENCE)
        self.type("tinamou\n")
        self.expect("# ", PATIENCE)
        self.run("export TERM=dumb SYSTEMD_PAGER=cat; dmesg -n 1; stty -echo")
        return took

    def run(self, command, timeout=PATIENCE):
        """A command's output; it must end well."""
        self.type(f'{command}; echo "@e""nd $?"\n')
        before, found = self.expect(r"@end (\d+)\r*\n", timeout)
        if found.group(1) != b"0":
            raise Failed(f"{command}: status {found.group(1).decode()}: {before[-800:]}")
        return before.replace("\r", "")

    def wait(self, timeout=PATIENCE):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed("the machine does not end") from None


def image(kind="plain"):
    done = subprocess.run([SOURCE / "tools/debian-image", kind], text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    return pathlib.Path(done.stdout.strip())


def options(folder, *more, disk=None):
    return ["--memory", "1G", "--kernel", folder / "vmlinuz", "--initrd", folder / "initrd.img", "--append", APPEND,
            "--disk", disk or f"{folder}/disk.img,throwaway,format=raw", *more]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def check(what, found, wanted):
    if not re.search(wanted, found, re.S):
        raise Failed(f"{what}: {found!r}, not {wanted!r}")


# ---- pieces ----

def check_services(m, cpus):
    check("state", m.run("systemctl is-system-running --wait", 300), "running")
    check("failed units", m.run("systemctl --failed --no-legend | wc -l"), r"\b0\n")
    check("cpus", m.run("nproc"), rf"\b{cpus}\n")
    check("address", m.run("ip -4 addr show"), r"10\.0\.2\.15/24")
    off = int(re.search(r"(\d{9,})", m.run("date +%s")).group(1)) - time.time()
    if abs(off) > 5:
        raise Failed(f"the clock is {off} s off")


def check_ssh(m, folder, port):
    """A login by key through the forwarded port, and bytes both ways."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    m.run(f"mkdir -p ~/.ssh; echo '{key.with_suffix('.pub').read_text().strip()}' >~/.ssh/authorized_keys")
    return ssh(key, port, "root")


def ssh_command(key, port, user):
    return ["ssh", "-q", "-i", key, "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o",
            "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", f"{user}@127.0.0.1"]


def ssh(key, port, user, timeout=120):
    data = os.urandom(1 << 20)
    done = subprocess.run(ssh_command(key, port, user) + ["tee copy | md5sum; id -un; cat copy"], input=data, capture_output=True,
                          timeout=timeout)
    head = f"{hashlib.md5(data).hexdigest()}  -\n{user}\n".encode()
    if done.stdout != head + data:
        raise Failed(f"ssh: status {done.returncode}, {done.stdout[:200]!r} {done.stderr[:200]!r}")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


def serve_mirror(folder):
    """A mirror with one package on the host's own address; its port."""
    subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "hello"], cwd=folder, check=True)
    deb = next(folder.glob("hello_*.deb"))
    fields = subprocess.run(["dpkg-deb", "-f", deb], text=True, stdout=subprocess.PIPE, check=True).stdout
    (folder / "Packages").write_text(
        f"{fields}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\n"
        f"SHA256: {hashlib.sha256(deb.read_bytes()).hexdigest()}\n")
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *words: Quiet(*words, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def check_apt(m, folder):
    mirror = folder / "mirror"
    mirror.mkdir()
    port = serve_mirror(mirror)
    m.run(f"echo 'deb [trusted=yes] http://10.0.2.2:{port}/ ./' >/etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*")
    m.run("apt-get -q update", 240)
    m.run("DEBIAN_FRONTEND=noninteractive apt-get -q -y install hello </dev/null", 240)
    check("hello", m.run("hello"), "Hello, world!")


def power_off(m, how):
    m.type("poweroff\n" if how == "poweroff" else POWER_BUTTON)
    status = m.wait()
    if status:
        raise Failed(f"{how}: ended with {status}")


# ---- cases ----

def daily(folder):
    port = free_port()
    with Machine(*options(image(), "--cpus", "2", "--net", "user", "-p", f"{port}:22")) as m:
        print(f"     login prompt after {m.login():.1f} s")
        check_services(m, 2)
        check_ssh(m, folder, port)
        check_apt(m, folder)
        m.type("reboot\n")
        m.login()
        check("hello after the reboot", m.run("hello"), "Hello, world!")
        check("failed units", m.run("systemctl is-system-running --wait", 300), "running")
        power_off(m, "the power button")


def qcow2(folder):
    disk = folder / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", image() / "disk.img", disk], check=True)
    with Machine(*options(image(), "--net", "user", disk=disk)) as m:
        print(f"     login prompt after {m.login():.1f} s")
        check_services(m, 1)
        power_off(m, "poweroff")
    done = subprocess.run(["qemu-img", "check", "-q", disk])
    if done.returncode:
        raise Failed("qemu-img check found errors")


def login(folder):
    """On a slow engine the guest's time is its own: a busy host lets no unit time out."""
    clock = ["--clock", "instructions"] if ENGINE == "interpret" else ["--net", "user"]
    with Machine(*options(image(), *clock)) as m:
        print(f"     login prompt after {m.login():.1f} s")
        power_off(m, "poweroff")


def cloud(folder):
    """Nothing is set in the image: user, key and name come from --cloud-init, a file from the user's data."""
    port, key = free_port(), folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    data = folder / "user-data"
    data.write_text("#cloud-config\nwrite_files:\n  - path: /etc/made\n    content: by the user\n")
    seed = f"user=ana,ssh-key={key}.pub,hostname=parrot,file={data}"
    with Machine(*options(image("cloud"), "--net", "user", "-p", f"{port}:22", "--cloud-init", seed)) as m:
        m.expect("parrot login: ", BOOT)
        m.expect("Cloud-init v.* finished", BOOT)
        ssh(key, port, "ana")
        done = subprocess.run(ssh_command(key, port, "ana") + ["hostname; cat /etc/made; sudo id -u"],
                              text=True, stdout=subprocess.PIPE, timeout=120)
        check("what was set up", done.stdout, "^parrot\nby the user0\n$")
        power_off(m, "the power button")


def root(folder):
    """Debian's root is a folder of the host: systemd boots over it, and it stays as it is."""
    files, shared, port = image("folder") / "root", folder / "shared", free_port()
    shared.mkdir()
    with Machine("--memory", "1G", "--root", files, "--net", "user", "-p", f"{port}:22", "--share",
                 f"{shared},tag=shared") as m:
        print(f"     login prompt after {m.login():.1f} s")
        check_services(m, 1)
        check("the root's type", m.run("stat -f -c %T /"), "overlay")
        check_ssh(m, folder, port)
        m.run("echo gone >/root/gone; mount -t virtiofs shared /mnt; echo from the guest >/mnt/note")
        check("what was shared", (shared / "note").read_text(), "from the guest")
        power_off(m, "poweroff")
    if (files / "root/gone").exists():
        raise Failed("the folder was written")


def day(folder):
    """The block of commands in README.md's day, as a reader would run it; a copy of the image is its disk."""
    text = (SOURCE / "README.md").read_text().split("## A day", 1)[1]
    script = re.search(r"```text\n(.*?)```", text, re.S).group(1)
    image("cloud"), image("folder")
    path = f"{pathlib.Path(BINARY).parent}:{os.environ['PATH']}"
    (folder / "tools").symlink_to(SOURCE / "tools")
    (folder / "build").symlink_to(SOURCE / "build")
    done = subprocess.run(["bash", "-ec", script.replace("2222", str(free_port()))], cwd=folder, text=True, timeout=BOOT,
                          env={**os.environ, "PATH": path, "TINAMOU_ENGINE": ENGINE, "XDG_RUNTIME_DIR": str(folder)},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check("the day", done.stdout, "made in the guest.*Linux tinamou 6")
    if done.returncode:
        raise Failed(f"the day ended with {done.returncode}: {done.stdout[-1000:]}")


def fio(folder):
    """fio writes at random, eight at a time, reads each block again and compares its crc32c, on a raw and a qcow2 disk."""
    seconds = int(os.environ.get("TINAMOU_FIO_SECONDS", "60"))
    raw, packed = folder / "raw", folder / "packed.qcow2"
    subprocess.run(["truncate", "-s", "128M", raw], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", packed, "128M"], check=True)
    with Machine(*options(image(), "--disk", f"{raw},format=raw", "--disk", packed)) as m:
        m.login()
        for disk, what in (("vdb", "raw"), ("vdc", "qcow2")):
            out = m.run(f"fio --name={disk} --filename=/dev/{disk} --rw=randwrite --bsrange=4k-64k --iodepth=8 --direct=1 "
                        f"--ioengine=libaio --verify=crc32c --verify_fatal=1 --verify_backlog=256 --time_based "
                        f"--runtime={seconds} --output-format=terse", seconds * 3 + 900)
            words = out[out.index(";fio-"):].split(";")
            verified, written = int(words[5]) // 1024, int(words[46]) // 1024
            print(f"     {what}: {seconds} s, {written} MiB written, {verified} MiB read again and verified", flush=True)
            check("fio's error, and whether it verified", f"{words[4]} {verified > 0}", "^0 True$")
        power_off(m, "poweroff")
    done = subprocess.run(["qemu-img", "check", "-q", packed])
    if done.returncode:
        raise Failed("qemu-img check found errors")


def pack_stress(folder):
    """A disk with stress-ng and its libraries, and room to work in."""
    sys.path.insert(0, str(SOURCE / "tools"))
    import linux_guest  # by the path above
    files = folder / "stress"
    (files / "lib").mkdir(parents=True)
    missing, seen = [linux_guest.fetch("stress-ng") / "usr/bin/stress-ng"], set()
    shutil.copy(missing[0], files)
    while missing:
        for library in set(filter(None, sum(linux_guest.needed(missing.pop()), ()))) - seen:
            found = next(p for f in linux_guest.closure("stress-ng") for p in f.rglob(library))
            shutil.copy(found, files / "lib" / library)
            missing.append(found)
            seen.add(library)
    disk = folder / "stress.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", files, disk, "1500M"], check=True,
                   env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    return disk


def stress(folder):
    """stress-ng --verify with all of its classes cpu, memory and io, one after the other, two of each, on two vCPUs."""
    seconds = int(os.environ.get("TINAMOU_STRESS_SECONDS", "120"))
    left_out = "binderfs,hrtimers,ipsec-mb,jpeg"  # see test_stress.py
    program = "LD_LIBRARY_PATH=/mnt/lib /mnt/stress-ng"
    with Machine(*options(image(), "--cpus", "2", "--net", "user", "--disk", f"{pack_stress(folder)},format=raw")) as m:
        print(f"     login prompt after {m.login():.1f} s")
        m.run("mount /dev/vdb /mnt && mkdir /mnt/work")
        listing = m.run(f"for c in cpu memory io; do {program} --class $c? 2>&1; done")
        names = set(re.findall(r"[a-z0-9-]+", " ".join(re.findall(r"stressors: (.*)", listing)))) - set(left_out.split(","))
        each = max(1, seconds // len(names))
        # In its own folder: with --temp-path elsewhere its io-uring asks for files that are not there.
        out = m.run(f"cd /mnt/work; {program} --seq 2 --class cpu,memory,io --exclude {left_out} --timeout {each} --verify "
                    "--oom-avoid --metrics-brief >/mnt/log 2>&1; echo status $?; "
                    "grep -E 'fail:|error:|skipp|run completed' /mnt/log; "
                    "echo $(grep -cE 'metrc: +\\[[0-9]+\\] [a-z0-9-]+ +[0-9]+ +[0-9.]+ ' /mnt/log) have figures; "
                    "dmesg --level=err,crit,alert,emerg", seconds * 4 + 1800)
        print(f"     {len(names)} stressors, {each} s each", *out.strip().splitlines(), sep="\n     ")
        check("stress-ng", out, r"status [03]\n.*\] successful run")  # 3: something was skipped
        if "fail:" in out or "error:" in out:
            raise Failed("stress-ng found something wrong")
        check_services(m, 2)
        power_off(m, "poweroff")


CASES = {"stress": stress, "fio": fio, "day": day, "daily": daily, "qcow2": qcow2, "login": login, "cloud": cloud, "root": root}


def main():
    failed = 0
    for name in [c for c in CASES if c in sys.argv[3:]]:
        try:
            with tempfile.TemporaryDirectory() as folder:
                CASES[name](pathlib.Path(folder))
            print(f"ok   {name}")
        except (Failed, subprocess.SubprocessError) as why:
            print(f"FAIL {name}: {why}")
            failed += 1
    return 1 if failed else 0


sys.exit(main())
