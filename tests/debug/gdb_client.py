"""gdb_client - the debugger's end of GDB's remote protocol, for tests."""
import re
import socket
import time


class Client:
    """Commands are sent as they are written; what goes wrong is an AssertionError."""

    def __init__(self, address, limit=30):
        end = time.monotonic() + limit
        while True:
            try:
                if isinstance(address, int):
                    self.socket = socket.create_connection(("127.0.0.1", address), timeout=limit)
                else:
                    self.socket = socket.socket(socket.AF_UNIX)
                    self.socket.settimeout(limit)
                    self.socket.connect(address)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.data = b""
        self.acks = True

    def close(self):
        self.socket.close()

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        data = re.sub(rb"[$#}*]", lambda m: b"}" + bytes([m.group()[0] ^ 0x20]), data)
        self.raw(b"$" + data + b"#%02x" % (sum(data) & 255))

    def receive(self):
        """One packet; empty at the end of the connection."""
        while True:
            found = re.search(rb"\$([^#]*)#(..)", self.data, re.S)
            if found:
                break
            more = self.socket.recv(65536)
            if not more:
                return ""
            self.data += more
        body, told = found.groups()
        self.data = self.data[found.end():]
        assert int(told, 16) == sum(body) & 255, body
        if self.acks:
            self.raw(b"+")
        return re.sub(rb"}(.)", lambda m: bytes([m.group(1)[0] ^ 0x20]), body, flags=re.S).decode("latin-1")

    def ask(self, text):
        self.send(text)
        return self.receive()

    def start(self):
        """What GDB says first; then its numbers of registers by name."""
        assert "qXfer:features:read+" in self.ask("qSupported:swbreak+;hwbreak+")
        assert self.ask("QStartNoAckMode") == "OK"
        self.acks = False
        text, part = "", "m"
        while part[0] == "m":
            part = self.ask(f"qXfer:features:read:target.xml:{len(text):x},ffb")
            text += part[1:]
        self.description = text
        self.names = {name: n for n, name in enumerate(re.findall(r'<reg name="(\w+)"', text))}

    def register(self, name):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{self.names[name]:x}")), "little")

    def set_register(self, name, value, size=8):
        return self.ask(f"P{self.names[name]:x}={value.to_bytes(size, 'little').hex()}")

    def memory(self, address, size):
        return bytes.fromhex(self.ask(f"m{address:x},{size:x}"))

    def monitor(self, line):
        self.send("qRcmd," + line.encode().hex())
        text = ""
        while (part := self.receive()) != "OK":
            assert part.startswith("O"), part
            text += bytes.fromhex(part[1:]).decode()
        return text

    def go(self, how="vCont;c"):
        """Until it stops again."""
        return self.ask(how)

    def interrupt(self):
        self.raw(b"\3")
        return self.receive()
