"""png - reads the pictures that tinamou writes: 8 bits a colour, no filters."""
import struct
import zlib


def read(path):
    """Width, height, RGB bytes; checks every CRC."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 2)
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, line = zlib.decompress(packed), width * 3 + 1
    assert not any(raw[i * line] for i in range(height))
    return width, height, b"".join(raw[i * line + 1:(i + 1) * line] for i in range(height))
