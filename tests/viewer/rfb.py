"""rfb - a small VNC client for tests: RFB 3.8 (RFC 6143), no password, raw rectangles.

    client = Client(path or (host, port))
    client.frame(lambda c: ...)      # waits until the condition holds of a picture
    client.type("dir\\n")

A thread reads all the time, as clients do: a server waits for those that do not.
"""
import socket
import struct
import threading
import time

KEYS = {"\n": 0xff0d, "\t": 0xff09, "\b": 0xff08, "\x1b": 0xff1b}
SHIFT = 0xffe1
SHIFTED = '~!@#$%^&*()_+{}|:"<>?'
RAW, DESKTOP_SIZE = 0, -223


def connect(sock, address, limit=10):
    """A path is there a moment before its server listens."""
    end = time.monotonic() + limit
    while True:
        try:
            return sock.connect(address)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
        time.sleep(0.02)


class Client:
    def __init__(self, address, timeout=20):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        connect(self.socket, address)
        self.handshake()
        self.socket.settimeout(None)
        self.lock = threading.Lock()
        self.ask(whole=True)
        self.reader = threading.Thread(target=self.read_all, daemon=True)
        self.reader.start()

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError("the server closed the connection")
            data += part
        return data

    def unpack(self, form):
        return struct.unpack(form, self.read(struct.calcsize(form)))

    def handshake(self):
        self.version = self.read(12)
        self.socket.sendall(b"RFB 003.008\n")
        kinds = self.read(self.read(1)[0])
        assert 1 in kinds, f"security types {kinds}"
        self.socket.sendall(b"\x01")
        assert self.unpack(">I") == (0,)
        self.socket.sendall(b"\x01")  # shared
        self.width, self.height = self.unpack(">HH")
        self.read(16)
        self.name = self.read(self.unpack(">I")[0]).decode()
        # 32 bits, depth 24, little endian, true colour, 8 bits each of red, green, blue.
        self.socket.sendall(struct.pack(">B3x4B3H3B3x", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.socket.sendall(struct.pack(">BxHii", 2, 2, RAW, DESKTOP_SIZE))
        self.pixels = bytearray(self.width * self.height * 4)

    def ask(self, whole=False):
        self.socket.sendall(struct.pack(">BBHHHH", 3, not whole, 0, 0, self.width, self.height))

    def rectangle(self):
        x, y, width, height, encoding = self.unpack(">HHHHi")
        if encoding == DESKTOP_SIZE:
            with self.lock:
                self.width, self.height = width, height
                self.pixels = bytearray(width * height * 4)
            return True
        assert encoding == RAW, encoding
        data = self.read(width * height * 4)
        with self.lock:
            for row in range(height):
                at = ((y + row) * self.width + x) * 4
                self.pixels[at:at + width * 4] = data[row * width * 4:(row + 1) * width * 4]
        return False

    def message(self):
        """Takes one message; true if the size changed."""
        kind = self.read(1)[0]
        if kind == 0:
            count = self.unpack(">xH")[0]
            return any([self.rectangle() for _ in range(count)])
        if kind == 3:  # cut text
            self.read(self.unpack(">3xI")[0])
        assert kind in (0, 2, 3), kind
        return False

    def read_all(self):
        """Takes what comes until the connection's end, and asks for more."""
        try:
            while True:
                self.ask(whole=self.message())
        except (OSError, EOFError):
            self.socket.close()

    def frame(self, wanted, limit=30):
        """Waits for wanted(self); false: not in time, or the connection is closed."""
        end = time.monotonic() + limit
        while time.monotonic() < end and self.reader.is_alive():
            with self.lock:
                if wanted(self):
                    return True
            time.sleep(0.02)
        return False

    def rgb(self):
        """All pixels, three bytes each."""
        out = bytearray(self.width * self.height * 3)
        out[0::3], out[1::3], out[2::3] = self.pixels[2::4], self.pixels[1::4], self.pixels[0::4]
        return bytes(out)

    def key(self, keysym, down):
        self.socket.sendall(struct.pack(">BBxxI", 4, down, keysym))

    def type(self, text):
        for c in text:
            shift = c.isupper() or c in SHIFTED
            if shift:
                self.key(SHIFT, True)
            self.key(KEYS.get(c, ord(c)), True)
            self.key(KEYS.get(c, ord(c)), False)
            if shift:
                self.key(SHIFT, False)

    def pointer(self, x, y, buttons):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the server was first
