#!/usr/bin/env python3
"""test_vsock - a guest's AF_VSOCK and unix sockets of the host, with Debian's own driver.

    test_vsock.py TINAMOU SOURCE

A program in the guest (built here) sends a file to a port of the host, and serves a port that this
test connects to; both directions are compared byte by byte. Exit status 77: no kernel or compiler.
"""
import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

TINAMOU, SOURCE = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "tools"))
import linux_guest  # noqa: E402

MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "vsock",
           "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport")
SIZE = 3_000_000
# vsock connect PORT: standard input to the host; vsock listen PORT: one connection, sent back.
PROGRAM = r"""
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static void copy(int from, int to) {
	static char buf[65536];
	ssize_t n;
	while ((n = read(from, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0, w; at < n; at += w)
			if ((w = write(to, buf + at, n - at)) <= 0)
				exit(3);
}
int main(int argc, char **argv) {
	struct sockaddr_vm at = {.svm_family = AF_VSOCK, .svm_port = atoi(argv[2]),
		.svm_cid = VMADDR_CID_ANY};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (!strcmp(argv[1], "connect")) {
		at.svm_cid = VMADDR_CID_HOST;
		if (connect(fd, (void *)&at, sizeof(at)))
			return 1;
		copy(0, fd);
		shutdown(fd, SHUT_WR);
		copy(fd, 1);
		return 0;
	}
	if (bind(fd, (void *)&at, sizeof(at)) || listen(fd, 1))
		return 2;
	if (write(1, "listening\n", 10) != 10)
		return 2;
	fd = accept(fd, NULL, NULL);
	copy(fd, fd);
	return 0;
}
"""
COMMANDS = [
    ("nobody", "echo x | /bin/vsock connect 99; echo $?"),
    ("connect", f"dd if=/dev/zero bs={SIZE} count=1 2>/dev/null | tr '\\0' 'q' | /bin/vsock connect 42"),
    ("listen", "(sleep 1; echo x | /bin/vsock connect 43 >/dev/null) & /bin/vsock listen 1234"),
]


class Host:
    """What programs on the host do."""

    def __init__(self, folder):
        self.path = f"{folder}/v.sock"
        self.received = None
        self.echoed = None
        threading.Thread(target=self.serve, daemon=True).start()
        threading.Thread(target=self.call, args=(self.listen(43),), daemon=True).start()

    def listen(self, port):
        s = socket.socket(socket.AF_UNIX)
        s.bind(f"{self.path}_{port}")
        s.listen()
        return s

    def serve(self):
        connection, _ = self.listen(42).accept()
        data = b""
        while part := connection.recv(65536):
            data += part
        connection.sendall(hashlib.md5(data).hexdigest().encode())
        connection.close()
        self.received = data

    def call(self, listener):
        """When the guest says that it listens."""
        listener.accept()[0].close()
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path)
        s.sendall(b"CONNECT 1234\n")
        if not self.line(s).startswith(b"OK "):
            return
        sent = os.urandom(SIZE)
        writer = threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR)))
        writer.start()
        data = b""
        while part := s.recv(65536):
            data += part
        writer.join()
        self.echoed = data == sent

    @staticmethod
    def line(s):
        line = b""
        while not line.endswith(b"\n") and (byte := s.recv(1)):
            line += byte
        return line


def check(result, host):
    wrong = [what for what, right in (
        ("a port that nobody has", result["nobody"][1].endswith(b"1\n")),
        ("guest to host", host.received == b"q" * SIZE),
        ("the host's answer", result["connect"] == (0, hashlib.md5(b"q" * SIZE).hexdigest().encode())),
        ("host to guest and back", host.echoed is True),
        ("the socket's path is removed", not os.path.exists(host.path))) if not right]
    print(f"FAIL vsock: {wrong} {result}" if wrong else "ok   vsock")
    return 1 if wrong else 0


def main():
    if not shutil.which("cc"):
        print("no C compiler")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        try:
            guest = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
            for name in MODULES:
                guest.add_module(name)
        except linux_guest.Missing as why:
            print(f"no Linux to run: {why}")
            return 77
        pathlib.Path(f"{folder}/vsock.c").write_text(PROGRAM)
        subprocess.run(["cc", "-O2", "-static", "-o", f"{folder}/vsock", f"{folder}/vsock.c"], check=True)
        guest.add_file(f"{folder}/vsock", "bin/vsock")
        for applet in ("dd", "tr"):
            guest.cpio.link(f"bin/{applet}", "busybox")
        host = Host(folder)
        machine = linux_guest.tinamou(TINAMOU, "--engine", "translate", "--memory", "256M",
                                      "--vsock", f"cid=5,socket={host.path}")
        return check(guest.run(machine, COMMANDS, limit=60, timeout=300), host)


sys.exit(main())
