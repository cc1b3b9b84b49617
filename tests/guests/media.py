"""media - makes a disk, a floppy or a CD-ROM image of a guest's bytes."""

CD_SECTOR = 2048
FLOPPY_SIZE = 1474560


def both_endian(value, size):
    return value.to_bytes(size, "little") + value.to_bytes(size, "big")


def volume_descriptor(kind, body=b""):
    return (bytes([kind]) + b"CD001\x01" + body).ljust(CD_SECTOR, b"\0")


def primary(sectors):
    """ISO 9660 (ECMA-119), 8.4: as much as says that it is a volume."""
    body = b"\0" + b"TINAMOU".ljust(32) + b"TEST".ljust(32) + bytes(8) + both_endian(sectors, 4)
    body += bytes(32) + both_endian(1, 2) + both_endian(1, 2) + both_endian(CD_SECTOR, 2)
    return volume_descriptor(1, body)


def boot_catalog(start, sectors):
    """El Torito 1.0: a validation entry, and one that starts without emulation."""
    check = bytearray(b"\x01\0\0\0" + b"tinamou".ljust(24, b"\0") + b"\0\0\x55\xaa")
    words = sum(int.from_bytes(check[i:i + 2], "little") for i in range(0, 32, 2))
    check[28:30] = (-words & 0xffff).to_bytes(2, "little")
    entry = b"\x88\0" + bytes(4) + sectors.to_bytes(2, "little") + start.to_bytes(4, "little")
    return bytes(check + entry.ljust(32, b"\0")).ljust(CD_SECTOR, b"\0")


def cd(guest):
    """What of the guest is not its boot sector lies where it is on a disk: ahead of the volume."""
    boot_record = volume_descriptor(0, b"EL TORITO SPECIFICATION".ljust(64, b"\0") + (19).to_bytes(4, "little"))
    system_area = guest.ljust(16 * CD_SECTOR, b"\0")
    return (system_area + primary(21) + boot_record + volume_descriptor(255) + boot_catalog(20, 4) +
            guest[:CD_SECTOR])


MAKERS = {
    "disk": lambda guest: guest,
    "floppy": lambda guest: guest.ljust(FLOPPY_SIZE, b"\0"),
    "cd": cd,
}


def make(kind, guest):
    return MAKERS[kind](guest)
