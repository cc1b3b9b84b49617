#!/usr/bin/env python3
"""test_net - Debian's cloud kernel on the network, with its own virtio driver.

    test_net.py TINAMOU SOURCE [--engine ENGINE] [CASE]...

All of it runs in a network namespace with nothing but a loopback device, so that the only
addresses are the host's own; the servers (DNS, TCP, HTTP) are threads of this test. Cases: user,
death, socket, tap. Exit status 77: no namespaces, or the kernel is not to be had.
"""
import hashlib
import http.server
import os
import pathlib
import re
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(sys.argv[2])
BINARY = os.path.abspath(sys.argv[1])
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402

ENGINE = sys.argv[sys.argv.index("--engine") + 1] if "--engine" in sys.argv else "translate"
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "failover",
           "net_failover", "virtio_net")
APPLETS = "ip udhcpc nslookup nc wget ping md5sum dd sed seq hostname ifconfig route touch usleep"
DHCP = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip route add default via $router
echo "nameserver $dns" >/etc/resolv.conf
echo "$ip $mask $router $dns $hostname" >/tmp/lease
"""
SIZE = 4 << 20
DATA = os.urandom(SIZE)
SUM = hashlib.md5(DATA).hexdigest()
ADDRESS = "192.0.2.77"  # what the test's DNS server answers (RFC 5737)


class Dns(socketserver.BaseRequestHandler):
    """Every name has one address."""

    def handle(self):
        data, sock = self.request
        end = data.index(b"\0", 12) + 5
        kind = struct.unpack(">H", data[end - 4:end - 2])[0]
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(ADDRESS)
        count = 1 if kind == 1 else 0
        head = data[:2] + struct.pack(">HHHHH", 0x8180, 1, count, 0, 0)
        sock.sendto(head + data[12:end] + answer * count, self.client_address)


class Web(http.server.BaseHTTPRequestHandler):
    """GET sends the data, PUT says its sum."""

    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(DATA)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(hashlib.md5(body).hexdigest().encode())

    def log_message(self, *words):
        pass


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()


def guest():
    g = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
    for applet in APPLETS.split():
        g.cpio.link(f"bin/{applet}", "busybox")
    for name in MODULES:
        g.add_module(name)
    g.cpio.file("bin/dhcp", DHCP.encode())
    g.cpio.file("etc/none", b"")
    return g


def run(commands, *options, log=None, limit=60):
    machine = linux_guest.tinamou(BINARY, "--engine", ENGINE, "--memory", "256M", *options)
    return guest().run(machine, commands, limit=limit, timeout=240, log=log)


def wrong(name, result, wanted):
    """Each command's output must match its pattern, its status be 0."""
    bad = 0
    for key, pattern in wanted.items():
        status, out = result.get(key, (None, b""))
        if status != 0 or not re.search(pattern, out.decode(errors="replace"), re.S):
            print(f"FAIL {name}:{key}: status {status}, {out[-600:]!r}")
            bad += 1
    print(f"ok   {name}" if not bad else f"FAIL {name}")
    return bad


# ---- cases ----

def ask_port(port, answers):
    """A client of the guest's echo server, behind a forwarded port."""
    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as s:
                s.settimeout(20)
                s.sendall(DATA[:100000])
                s.shutdown(socket.SHUT_WR)
                got = b""
                while part := s.recv(65536):
                    got += part
            if got == DATA[:100000]:
                answers.append(True)
                return
        except OSError:
            pass
        time.sleep(0.2)


def user(folder):
    """DHCP, DNS, TCP both ways, UDP, ICMP, a forwarded port, the card's registers."""
    answers = []
    client = threading.Thread(target=ask_port, args=(2207, answers), daemon=True)
    client.start()
    result = run([
        ("mac", "cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu"),
        ("dhcp", "ip link set lo up; ip link set eth0 up; udhcpc -q -f -n -i eth0 -s /bin/dhcp -x hostname:me; cat /tmp/lease"),
        ("dns", "nslookup some.example 10.0.2.3"),
        ("udp", "nslookup other.example 10.0.2.2"),
        ("ping", "ping -c 3 10.0.2.2"),
        ("download", "wget -q -O - http://10.0.2.2:8080/ | md5sum"),
        ("upload", f"head -c {SIZE} /dev/urandom | base64 >up; md5sum <up; "
                   "wget -q -O - --post-file=up http://10.0.2.2:8080/"),
        ("forward", "nc -l -p 7 -e cat; echo over"),
        ("errors", "ifconfig eth0"),
    ], "--net", "user,mac=52:54:00:aa:bb:cc,hostname=parrot", "-p", "2207:7")
    client.join(1)
    bad = wrong("user", result, {
        "mac": "^52:54:00:aa:bb:cc\n65520\n$",
        "dhcp": r"10\.0\.2\.15 24 10\.0\.2\.2 10\.0\.2\.3 parrot\n$",
        "dns": rf"Address: {ADDRESS}\n",
        "udp": rf"Address: {ADDRESS}\n",
        "ping": "3 packets received",
        "download": f"^{SUM} ",
        "upload": r"^(\w{32})  -\n\1$",
        "forward": "over",
        "errors": r"errors:0 dropped:0.*errors:0 dropped:0",
    })
    if not answers:
        print("FAIL user: nothing came back through the forwarded port")
    return bad + (not answers)


def kill_helper(seen):
    """The process of the network ends once the guest says so, through the serial log."""
    for _ in range(1200):
        time.sleep(0.1)
        if seen.exists() and b"begin lost" in seen.read_bytes():
            for proc in pathlib.Path("/proc").glob("[0-9]*/comm"):
                try:
                    parent = (proc.parent / "stat").read_text().rsplit(")", 1)[1].split()[1]
                    ours = pathlib.Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()[1]
                    if proc.read_text() == "tinamou-net\n" and int(ours) == os.getpid():
                        os.kill(int(proc.parent.name), 9)
                        return
                except OSError:
                    pass


def death(folder):
    """The helper dies: it is said once, the link goes down, the guest goes on."""
    log = folder / "death.log"
    threading.Thread(target=kill_helper, args=(log,), daemon=True).start()
    result = run([
        ("up", "ip link set eth0 up; cat /sys/class/net/eth0/carrier"),
        ("lost", "for i in $(seq 200); do [ $(cat /sys/class/net/eth0/carrier) = 0 ] && break; usleep 100000; done;"
                 "cat /sys/class/net/eth0/carrier"),
        ("after", "ip addr add 10.0.2.15/24 dev eth0; ping -c 1 -W 1 10.0.2.2; echo alive"),
    ], "--net", "user", log=str(log))
    said = log.read_text(errors="replace").count("the link is down")
    if said != 1:
        print(f"FAIL death: said {said} times")
    return wrong("death", result, {"up": "^1", "lost": "^0", "after": "alive"}) + (said != 1)


def pair(folder):
    """Two machines at the two ends of a socket."""
    path, results = folder / "wire", {}
    first = [("net", "ip link set lo up; ip link set eth0 up; ip addr add 192.0.2.1/24 dev eth0"),
             ("mac", "cat /sys/class/net/eth0/address"),
             ("take", "nc -l -p 9 -e md5sum")]
    second = [("net", "ip link set eth0 up; ip addr add 192.0.2.2/24 dev eth0"),
              ("mac", "cat /sys/class/net/eth0/address"),
              ("ping", "for i in $(seq 60); do ping -c 1 -W 1 192.0.2.1 && break; done"),
              ("give", f"head -c {SIZE} /dev/urandom >x; md5sum <x;"
                       "for i in $(seq 60); do nc 192.0.2.1 9 <x && break; sleep 1; done")]

    def one(name, commands):
        results[name] = run(commands, "--net", f"socket={path}", limit=100)

    threads = [threading.Thread(target=one, args=("a", first)), threading.Thread(target=one, args=("b", second))]
    for t in threads:
        t.start()
        time.sleep(1)
    for t in threads:
        t.join()
    a, b = results["a"], results["b"]
    if a["mac"] == b["mac"]:
        print("FAIL socket: both have one address")
    return wrong("socket", b, {"ping": "1 packets received", "give": r"^(\w{32})  -\n\1"}) + (a["mac"] == b["mac"])


def tap(folder):
    """An interface of the host: TCP both ways, with long segments and open checksums."""
    for words in ("tuntap add t0 mode tap", "addr add 192.0.2.1/24 dev t0", "link set t0 up"):
        if subprocess.run(["ip", *words.split()], stderr=subprocess.DEVNULL).returncode:
            print("skip tap: no tap devices here")
            return 0
    result = run([
        ("net", "ip link set lo up; ip link set eth0 up; ip addr add 192.0.2.2/24 dev eth0; sleep 1"),
        ("ping", "ping -c 2 192.0.2.1"),
        ("download", "wget -q -O - http://192.0.2.1:8080/ | md5sum"),
        ("upload", f"head -c {SIZE} /dev/urandom | base64 >up; md5sum <up; "
                   "wget -q -O - --post-file=up http://192.0.2.1:8080/"),
    ], "--net", "tap=t0")
    return wrong("tap", result, {"ping": "2 packets received", "download": f"^{SUM} ",
                                 "upload": r"^(\w{32})  -\n\1$"})


CASES = {"user": user, "death": death, "socket": pair, "tap": tap}


def inside(folder):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    conf = folder / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", conf, os.path.realpath("/etc/resolv.conf")], check=True)
    serve(socketserver.ThreadingUDPServer(("127.0.0.1", 53), Dns))
    serve(http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Web))
    chosen = [c for c in CASES if c in sys.argv] or list(CASES)
    return 1 if sum(CASES[c](folder) for c in chosen) else 0


def main():
    if os.environ.get("TEST_NET_INSIDE"):
        with tempfile.TemporaryDirectory() as folder:
            return inside(pathlib.Path(folder))
    try:
        linux_guest.kernel("cloud-amd64")
    except linux_guest.Missing as why:
        print(f"no Linux to run: {why}")
        return 77
    space = ["unshare", "--map-root-user", "--net", "--mount"]
    if subprocess.run(space + ["true"], stderr=subprocess.DEVNULL).returncode:
        print("no network namespaces here")
        return 77
    if not (pathlib.Path(BINARY).resolve().parent / "tinamou-net").exists():
        print("tinamou-net was not built: no libslirp")
        return 77
    return subprocess.run(space + [sys.executable, *sys.argv],
                          env={**os.environ, "TEST_NET_INSIDE": "1"}).returncode


sys.exit(main())
