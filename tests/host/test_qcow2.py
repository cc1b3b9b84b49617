#!/usr/bin/env python3
"""test_qcow2 - our qcow2 against qemu-img and qemu-io.

    test_qcow2.py DISKIO PART [ROUNDS]

PART random: batches of writes, zeroes and discards in flight together, ours and
qemu-io's in turn, on images of many shapes; after each round the content is
what a model says and `qemu-img check` finds nothing. PART kill: kill -9 in
mid-write; check finds at most leaks, and all that was flushed is there. PART
power: the same for a host that loses power (powerloss.c).
PART rest: what is no matter of chance. Exit status 77: qemu-img is missing.
"""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

DISKIO = sys.argv[1]
SECTOR = 512


def run(*args, **kwargs):
    return subprocess.run([str(a) for a in args], text=True, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)


def must(*args, **kwargs):
    done = run(*args, **kwargs)
    assert done.returncode == 0, f"{' '.join(map(str, args))}: {done.stdout}"
    return done.stdout


def diskio(image, lines, *options):
    return run(DISKIO, *options, image, input="\n".join(lines) + "\n")


def diskio_ok(image, lines, *options):
    done = diskio(image, lines, *options)
    assert done.returncode == 0 and not done.stdout, f"diskio {image}: {done.stdout}"


def check(image, allowed=(0,)):
    done = run("qemu-img", "check", "-f", "qcow2", image)
    assert done.returncode in allowed, f"qemu-img check {image}: {done.stdout}"


class Model:
    """The disk's content as one stamp a sector."""

    def __init__(self, size):
        self.stamps = [0] * (size // SECTOR)
        self.size = size

    def fill(self, off, length, stamp):
        first, n = off // SECTOR, length // SECTOR
        self.stamps[first:first + n] = [stamp] * n

    def bytes(self):
        return b"".join(s.to_bytes(4, "little") * (SECTOR // 4) for s in self.stamps)


def compare(image, model, work):
    """Both readers see what the model says."""
    raw = work / "ours.raw"
    diskio_ok(image, [f"s {raw}"], "--ro")
    ours = raw.read_bytes()
    want = model.bytes()
    if ours != want:
        bad = next(i for i in range(0, len(want), SECTOR) if ours[i:i + SECTOR] != want[i:i + SECTOR])
        raise AssertionError(f"{image}: sector {bad // SECTOR}: {ours[bad:bad + 4]} instead of "
                             f"{want[bad:bad + 4]}")
    must("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, image)


def our_batch(rng, model, cluster, discard):
    """Writes in flight together share clusters, but no sector."""
    lines, used = [], []
    for _ in range(rng.randint(1, 12)):
        length = min(rng.choice([1, 2, 8, 9, 127, 128, 300, 3000]), len(model.stamps)) * SECTOR
        off = rng.randrange(0, model.size - length + 1, SECTOR)
        if rng.random() < 0.1:
            off = model.size - length
        if any(off < e and s < off + length for s, e in used):
            continue
        used.append((off, off + length))
        kind = rng.random()
        if kind < 0.1:
            lines.append(f"z {off} {length}")
            model.fill(off, length, 0)
        elif kind < 0.2 and discard:
            first, end = -(-off // cluster) * cluster, (off + length) // cluster * cluster
            if first < end:
                lines.append(f"d {first} {end - first}")
                model.fill(first, end - first, 0)
        else:
            stamp = rng.randrange(1, 1 << 32)
            lines.append(f"w {off} {length} {stamp}")
            model.fill(off, length, stamp)
    lines.append("b")
    if rng.random() < 0.3:
        lines += ["f", "b"]
    return lines


def their_writes(rng, model, image):
    commands = []
    for _ in range(4):
        length = min(rng.choice([1, 8, 128, 200]), len(model.stamps)) * SECTOR
        off = rng.randrange(0, model.size - length + 1, SECTOR)
        byte = rng.randrange(256)
        commands += ["-c", f"write -P {byte} {off} {length}"]
        model.fill(off, length, byte * 0x01010101)
    must("qemu-io", "-f", "qcow2", *commands, image)


def shapes():
    mib = 1 << 20
    yield "plain", 8 * mib, 65536, {}, None
    yield "v2", 8 * mib, 65536, {"compat": "0.10"}, None
    yield "tiny clusters", 4 * mib, 512, {}, None
    yield "wide counts", 4 * mib, 512, {"refcount_bits": 64}, None
    yield "one-bit counts", 8 * mib, 4096, {"refcount_bits": 1}, None
    yield "huge clusters", 9 * mib + 512, 2 * mib, {}, None
    yield "odd size", 3 * mib + 5 * 512, 65536, {}, None
    yield "preallocated", 8 * mib, 65536, {"preallocation": "metadata"}, None
    yield "lazy", 8 * mib, 65536, {"lazy_refcounts": "on"}, None
    yield "on raw", 8 * mib, 65536, {}, "raw"
    yield "on smaller qcow2", 8 * mib, 4096, {}, "qcow2"
    yield "v2 on raw", 8 * mib, 65536, {"compat": "0.10"}, "raw"
    yield "compressed", 8 * mib, 65536, {}, "deflate"
    yield "zstd", 8 * mib, 65536, {"compression_type": "zstd"}, "zstd"


def make(work, size, cluster, options, kind, model, rng):
    """A new image, with the content that its kind brings."""
    image, base = work / "a.qcow2", work / "base"
    for old in (image, base):
        old.unlink(missing_ok=True)
    args = ["-o", ",".join([f"cluster_size={cluster}"] + [f"{k}={v}" for k, v in options.items()])]
    if not kind:
        must("qemu-img", "create", "-q", "-f", "qcow2", *args, image, size)
        return image
    part = size if kind != "qcow2" else size // 2 + SECTOR
    content = Model(part)
    for _ in range(40):
        off = rng.randrange(0, part - 40 * SECTOR, SECTOR)
        content.fill(off, rng.randint(1, 40) * SECTOR, rng.randrange(1 << 32))
    model.stamps[:len(content.stamps)] = content.stamps
    base.write_bytes(content.bytes())
    if kind in ("deflate", "zstd"):
        must("qemu-img", "convert", "-q", "-c", "-f", "raw", "-O", "qcow2", *args, base, image)
        return image
    if kind == "qcow2":
        base.rename(work / "base.raw")
        must("qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", work / "base.raw", base)
    must("qemu-img", "create", "-q", "-f", "qcow2", *args, "-b", "base", "-F", kind, image, size)
    return image


def test_random(work, rounds, seed):
    for number, (name, size, cluster, options, kind) in enumerate(shapes()):
        rng = random.Random(seed * 1000 + number)
        model = Model(size)
        image = make(work, size, cluster, options, kind, model, rng)
        discard = options.get("compat") != "0.10" or not kind
        for i in range(rounds):
            lines = [line for _ in range(6) for line in our_batch(rng, model, cluster, discard)]
            try:
                diskio_ok(image, lines)
                check(image)
                compare(image, model, work)
                if i % 3 == 1:
                    must("qemu-img", "snapshot", "-c", f"s{i}", image) \
                        if options.get("refcount_bits") != 1 else None
                if i % 2:
                    their_writes(rng, model, image)
            except AssertionError as failed:
                kept = pathlib.Path(tempfile.gettempdir()) / "tinamou-qcow2-failed"
                shutil.copytree(work, kept, dirs_exist_ok=True)
                (kept / "script").write_text("\n".join(lines) + "\n")
                raise AssertionError(f"{name}, seed {seed}, round {i}: {failed}; kept in {kept}")
        # What the snapshots hold was not touched.
        for i in range(1, rounds, 3):
            if options.get("refcount_bits") != 1:
                must("qemu-img", "snapshot", "-a", f"s{i}", image)
        check(image)
        print(f"{name}: {rounds} rounds")


# ---- kill -9 ----

def storm_numbers(seed, sectors):
    mask = (1 << 64) - 1
    x, i = seed, 0
    while True:
        roll = []
        for _ in range(3):
            x = (x * 6364136223846793005 + 1442695040888963407) & mask
            roll.append((x >> 33) & 0xffffffff)
        i += 1
        off = roll[0] % sectors
        yield i, off, min(roll[1] % 300 + 1, sectors - off), roll[2] % 16


def possible(seed, sectors, flushed):
    """For each sector the stamps that it may hold, if all up to `flushed` is there."""
    sets = [{0} for _ in range(sectors)]
    batch = [set() for _ in range(sectors)]
    touched = set()
    for i, off, length, kind in storm_numbers(seed, sectors):
        if i > flushed + 400:
            return sets
        for s in range(off, off + length):
            touched.add(s)
            if kind == 0:
                batch[s].add(0)
            elif kind == 1:
                batch[s] |= {0} | (sets[s] if i <= flushed else set())
            else:
                batch[s].add(i)
        if i % 20 == 0:
            for s in touched:
                sets[s] = set(batch[s]) if i <= flushed else sets[s] | batch[s]
                batch[s].clear()
            touched.clear()
    return sets


def storm(image, seed, seconds):
    """Runs a storm, kills it; the last number that was flushed."""
    p = subprocess.Popen([DISKIO, str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdin.write(f"storm {seed}\n")
    p.stdin.flush()
    first = p.stdout.readline()
    time.sleep(seconds)
    p.send_signal(signal.SIGKILL)
    lines = [line for line in [first] + p.stdout.readlines() if line.endswith("\n")]
    p.wait()
    assert all(line.startswith("flushed") for line in lines), lines
    return int(lines[-1].split()[1]) if lines else 0


def test_kill(work, rounds, seed):
    size = 4 << 20
    leaks = writes = 0
    for i in range(rounds):
        rng = random.Random(seed * 1000 + i)
        image, raw = work / "k.qcow2", work / "k.raw"
        image.unlink(missing_ok=True)
        options = rng.choice(["cluster_size=65536", "cluster_size=512", "cluster_size=4096,compat=0.10",
                              "cluster_size=4096,refcount_bits=64"])
        must("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, size)
        flushed = storm(image, i + 1, rng.random() * 0.08)
        writes += flushed
        done = run("qemu-img", "check", "-f", "qcow2", image)
        assert done.returncode in (0, 3), f"round {i}, {options}: {done.stdout}"
        leaks += done.returncode == 3
        try:
            holds_what_was_flushed(image, raw, i + 1, flushed)
        except AssertionError as failed:
            raise AssertionError(f"round {i}, {options}: {failed}")
        diskio_ok(image, ["w 0 65536 7", "f"])
    print(f"{rounds} kills after {writes} flushed writes: {leaks} images with leaks, none worse")


def holds_what_was_flushed(image, raw, seed, flushed):
    must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw)
    data = raw.read_bytes()
    for s, stamps in enumerate(possible(seed, len(data) // SECTOR, flushed)):
        block = data[s * SECTOR:(s + 1) * SECTOR]
        stamp = int.from_bytes(block[:4], "little")
        assert block == block[:4] * 128 and stamp in stamps, \
            f"sector {s} holds {stamp}, flushed {flushed}: {sorted(stamps)}"


def test_power(work, rounds, seed):
    """DISKIO is the one with powerloss.c: of what was not synced, any part may be missing."""
    leaks = writes = 0
    for i in range(rounds):
        rng = random.Random(seed * 1000 + i)
        image, copy = work / "p.qcow2", work / "p.copy"
        image.unlink(missing_ok=True)
        options = rng.choice(["cluster_size=65536", "cluster_size=512", "cluster_size=4096,refcount_bits=64",
                              "cluster_size=4096,compat=0.10"])
        must("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, 4 << 20)
        shutil.copy(image, copy)
        at = rng.randint(1, rng.choice([30, 300, 3000])) if i % 3 == 0 else -rng.randint(1, 40)
        env = dict(os.environ, POWERLOSS=str(copy), POWERLOSS_AT=str(at))
        done = run(DISKIO, image, input=f"storm {i + 1}\n", env=env)
        assert done.returncode == 9, done.stdout
        flushed = max([0] + [int(line.split()[1]) for line in done.stdout.splitlines()])
        writes += flushed
        done = run("qemu-img", "check", "-f", "qcow2", copy)
        assert done.returncode in (0, 3), f"round {i}, {options}: {done.stdout}"
        leaks += done.returncode == 3
        try:
            holds_what_was_flushed(copy, work / "p.raw", i + 1, flushed)
        except AssertionError as failed:
            raise AssertionError(f"round {i}, {options}: {failed}")
    print(f"{rounds} power losses after {writes} flushed writes: {leaks} images with leaks, none worse")


# ---- the rest ----

def test_throwaway(work):
    base, image = work / "t.raw", work / "t.qcow2"
    base.write_bytes(Model(1 << 20).bytes())
    must("qemu-img", "create", "-q", "-f", "qcow2", "-b", "t.raw", "-F", "raw", image)
    for path in (base, image):
        before = path.read_bytes()
        out = work / "t.out"
        diskio_ok(path, ["w 4096 69632 9", "b", f"s {out}"], "--throwaway")
        assert path.read_bytes() == before
        assert out.read_bytes()[4096:4100] == b"\x09\0\0\0"
        assert out.read_bytes()[4096 + 69632:] == bytes((1 << 20) - 4096 - 69632)


def test_locks(work):
    image = work / "l.qcow2"
    must("qemu-img", "create", "-q", "-f", "qcow2", image, "1M")
    p = subprocess.Popen([DISKIO, str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdin.write("o\n")
    p.stdin.flush()
    assert p.stdout.readline() == "open\n"
    done = run("qemu-io", "-c", "write 0 512", "-f", "qcow2", image)
    assert "lock" in done.stdout, done.stdout
    assert "another program" in diskio(image, []).stdout
    p.stdin.close()
    p.wait()
    q = subprocess.Popen(["qemu-io", "-f", "qcow2", str(image)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
    q.stdin.write("write 0 512\n")
    q.stdin.flush()
    assert "wrote" in "".join(q.stdout.readline() for _ in range(1)), "qemu-io did not write"
    assert "another program" in diskio(image, []).stdout
    q.stdin.close()
    q.wait()
    diskio_ok(image, ["w 0 512 1"])


def refused(image, text, *options):
    done = diskio(image, [], *options)
    assert done.returncode == 1 and text in done.stdout, f"{image}: {done.stdout!r}, not {text!r}"


def test_refusals(work):
    a, b = work / "a", work / "b"
    must("qemu-img", "create", "-q", "-f", "qcow2", a, "1M")
    must("qemu-img", "create", "-q", "-f", "qcow2", "-b", "a", "-F", "qcow2", b)
    must("qemu-img", "rebase", "-u", "-b", "b", "-F", "qcow2", a)
    refused(b, "loop")
    must("qemu-img", "rebase", "-u", "-b", "gone", "-F", "raw", a)
    refused(a, "gone: No such file")
    must("qemu-img", "rebase", "-u", "-b", "", a)
    # A guessed qcow2 as a backing file is read, but leads to no further file.
    must("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "a", "-F", "qcow2", b)
    c = work / "c"
    must("qemu-img", "create", "-q", "-f", "qcow2", "-b", "b", "-F", "qcow2", c)
    data = bytearray(c.read_bytes())
    at = data.index(b"\xe2\x79\x2a\xca")
    data[at:at + 4] = b"\x12\x34\x56\x78"
    c.write_bytes(data)
    refused(c, "only guessed")
    must("qemu-img", "rebase", "-u", "-b", "", b)
    diskio_ok(c, ["w 0 512 1", "f"])
    for option, text in (("extended_l2=on", "extended L2"), ("data_file=d.raw", "external data file")):
        must("qemu-img", "create", "-q", "-f", "qcow2", "-o", option, work / "f", "1M", cwd=work)
        refused(work / "f", text)
        (work / "f").unlink()
    data = bytearray(a.read_bytes())
    data[35] = 2  # LUKS
    a.write_bytes(data)
    refused(a, "encrypted")


def set_incompatible(image, bits):
    data = bytearray(image.read_bytes())
    data[72:80] = bits.to_bytes(8, "big")
    image.write_bytes(data)


def test_states(work):
    image, out = work / "s.qcow2", work / "s.out"
    must("qemu-img", "create", "-q", "-f", "qcow2", image, "1M")
    diskio_ok(image, ["w 0 4096 5", "f"])
    set_incompatible(image, 2)
    refused(image, "marked as corrupt")
    diskio_ok(image, [f"s {out}"], "--ro")
    assert out.read_bytes()[:4] == b"\5\0\0\0"
    # A write that would land on the L1 table marks the image.
    set_incompatible(image, 0)
    data = bytearray(image.read_bytes())
    l1 = int.from_bytes(data[40:48], "big")
    l2 = int.from_bytes(data[l1:l1 + 8], "big") & 0xfffffffffffe00
    data[l2:l2 + 8] = (l1 | 1 << 63).to_bytes(8, "big")
    image.write_bytes(data)
    done = diskio(image, ["w 0 512 1", "b", "w 131072 512 1", "b", "f"])
    assert done.stdout.count("corrupt image") == 1, done.stdout
    assert "w 0: 5" in done.stdout and "w 131072: 5" in done.stdout and "f 0: 5" in done.stdout, done.stdout
    assert image.read_bytes()[72:80] == (2).to_bytes(8, "big")


def test_lazy_counts(work):
    """qemu-io dies with lazy counts; what we open is right again, snapshots and all."""
    image = work / "z.qcow2"
    must("qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,cluster_size=4096", image, "4M")
    diskio_ok(image, [f"w {i * 8192} 4096 {i + 1}" for i in range(100)] + ["f"])
    must("qemu-img", "snapshot", "-c", "one", image)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 700k", "-c", "flush", "-c", "abort", image)
    assert int.from_bytes(image.read_bytes()[72:80], "big") & 1, "qemu-io left no dirty bit"
    done = diskio(image, ["w 4096 512 5", "f"])
    assert done.returncode == 0 and "made anew" in done.stdout, done.stdout
    check(image)
    assert image.read_bytes()[79] == 0
    must("qemu-io", "-f", "qcow2", "-c", "read -P 7 8192 4k", image)
    must("qemu-img", "snapshot", "-a", "one", image)
    check(image)
    out = work / "z.out"
    diskio_ok(image, [f"s {out}"], "--ro")
    assert out.read_bytes()[8192 * 99:][:4] == (100).to_bytes(4, "little")


def test_full(work):
    image = work / "e.qcow2"
    must("qemu-img", "create", "-q", "-f", "qcow2", image, "8M")
    lines = [f"w {i * 65536} 65536 {i + 1}" for i in range(64)]
    script = "\n".join(lines) + "\nb\n"
    done = run("sh", "-c", f"trap '' XFSZ; ulimit -f 2048; exec {DISKIO} {image}", input=script)
    assert done.stdout.count("the guest gets an I/O error") == 1, done.stdout
    assert ": 27" in done.stdout, done.stdout
    check(image, (0, 3))
    diskio_ok(image, ["w 4194304 65536 1", "f"])


def main():
    if not shutil.which("qemu-img"):
        print("qemu-img is missing: package qemu-utils")
        sys.exit(77)
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    seed = int(os.environ.get("SEED", "1"))
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        if sys.argv[2] == "random":
            test_random(work, rounds, seed)
        elif sys.argv[2] == "kill":
            test_kill(work, rounds, seed)
        elif sys.argv[2] == "power":
            test_power(work, rounds, seed)
        else:
            for test in (test_throwaway, test_locks, test_refusals, test_states, test_lazy_counts, test_full):
                part = work / test.__name__
                part.mkdir()
                test(part)
                print(f"{test.__name__}: ok")


main()
