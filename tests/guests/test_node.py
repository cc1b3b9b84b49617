#!/usr/bin/env python3
"""test_node - Debian's Node.js in Debian's cloud kernel on engine translate.

    test_node.py TINAMOU SOURCE [--log FILE] [OPTIONS of tinamou run]

V8 makes code in a thread of its own while another runs, patches and moves it, throws it away
when what it took for granted ends, changes protections of its pages at each turn, compiles
regular expressions and WebAssembly, and two vCPUs share memory through it. What the program
prints in the guest, from V8's interpreter and from each of its compilers, must be what the
same files print on the host. Exit status 77: no kernel or no package to be had.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

PACKAGES = ("nodejs", "libnode108", "libc6", "libstdc++6", "libgcc-s1", "libbrotli1", "libc-ares2", "libicu72",
            "libnghttp2-14", "libssl3", "libuv1", "zlib1g", "node-acorn", "node-cjs-module-lexer", "node-undici")
LOADER = "ld-linux-x86-64.so.2"
BUILTINS = ("cjs-module-lexer/lexer.js", "cjs-module-lexer/dist/lexer.js", "undici/undici-fetch.js", "acorn/dist/acorn.js",
            "acorn-walk/dist/walk.js")  # which Debian's program reads as it starts

PROGRAM = r"""
const { Worker, isMainThread, workerData } = require("worker_threads");
const shared = isMainThread ? new Int32Array(new SharedArrayBuffer(64)) : workerData;

function count(n) {
  const own = Atomics.add(shared, 3, 1) * 2 + 1;
  for (let i = 0; i < n; i++) { Atomics.add(shared, 0, i % 7); Atomics.xor(shared, 1, i * own * 40503); }
  Atomics.add(shared, 2, 1);
  Atomics.notify(shared, 2);
}
function sieve(n) {
  const not = new Uint8Array(n);
  let found = 0;
  for (let i = 2; i < n; i++) {
    if (not[i]) continue;
    found++;
    for (let j = i * i; j < n; j += i) not[j] = 1;
  }
  return found;
}
// Sites that see one shape, then two, then many; small integers that become doubles, then strings.
class Square { constructor(a) { this.a = a; } area() { return this.a * this.a; } }
class Strip { constructor(a, b) { this.b = b; this.a = a; } area() { return this.a * this.b; } }
function shapes(n, kinds) {
  const make = [i => new Square(i % 7), i => new Strip(i % 3, 2), i => ({ area() { return i & 3; } }),
    i => ({ x: 1, area: () => i / 2 }), i => Object.assign(new Square(i % 5), { extra: i })];
  let sum = 0;
  for (let i = 0; i < n; i++) sum += make[i % kinds](i).area();
  return sum;
}
function mixed(n) {
  let sum = 0;
  const add = (a, b) => a + b;
  for (let i = 0; i < n; i++) sum = add(sum, i);
  for (let i = 0; i < n; i++) sum = add(sum, i + 0.5);
  let text = "";
  for (let i = 0; i < n % 400; i++) text = add(text, i);
  return sum + ":" + text.length + ":" + add(1n << 70n, 3n);
}
function thrown(n) {
  let caught = 0;
  const objects = [{ value: 1 }, null, undefined, { value: 3 }];
  for (let i = 0; i < n; i++) {
    try { caught += objects[i % 4].value; } catch (e) { caught += e.message.length; } finally { caught++; }
  }
  const deep = k => k + deep(k + 1);
  for (let i = 0; i < 3; i++) try { deep(0); } catch (e) { caught += e instanceof RangeError; }
  return caught;
}
function texts(n) {
  let line = "";
  for (let i = 0; i < n; i++) line += "key" + i + "=" + (i * 7).toString(16) + "; ";
  let sum = 0;
  for (const m of line.matchAll(/key(\d+)=([0-9a-f]+?);/g)) sum += Number(m[1]) ^ parseInt(m[2], 16);
  const again = JSON.parse(JSON.stringify(line.split("; ").map(s => ({ [s.slice(0, 4)]: s }))));
  return sum + ":" + again.length + ":" + line.replace(/(\w+)=(\w+)/g, "$2=$1").length;
}
function floats(n) {
  let s = 0;
  for (let i = 1; i < n; i++) s += Math.sqrt(i) / (i + 1) + (i % 13) * 1e-3 - Math.fround(i / 3);
  return s.toFixed(9);
}
function functions(n) {
  let s = 0;
  for (let i = 0; i < n; i++) {
    const f = new Function("x", `let s = ${i}; for (let k = 0; k < 200; k++) s = (s * 31 + x + k) % 1000003; return s;`);
    s = (s + f(i)) % 1000003;
  }
  return s;
}
function garbage(n) {
  const kept = new Map();
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const node = { value: i * 31 % 1009, left: kept.get((i * 17) % 1009) };
    kept.set(node.value, node);
    if (node.left) { sum += node.left.value; node.left.left = null; }
  }
  return sum + kept.size;
}
function big(n) {
  let a = 1n;
  for (let i = 1n; i < BigInt(n); i++) a = a * (i * i + 1n) % (2n ** 521n - 1n);
  return (a % 1000000007n).toString();
}
// (func (param i32) (result i32)): the sum of i * i from the parameter down to 1.
const CODE = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0,
  0x0a, 0x1e, 1, 0x1c, 1, 1, 0x7f, 0x03, 0x40, 0x20, 0, 0x20, 0, 0x6c, 0x20, 1, 0x6a, 0x21, 1, 0x20, 0, 0x41, 1,
  0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x0b];
function assembly(n) {
  if (typeof WebAssembly === "undefined") return "";
  const f = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(CODE))).exports.f;
  let s = 0;
  for (let i = 1; i < 50; i++) s = (s + f(n + i)) | 0;
  return s;
}

if (isMainThread) {
  const scale = Number(process.argv[2]);
  for (let t = 0; t < 2; t++) new Worker(__filename, { workerData: shared, argv: process.argv.slice(2) });
  for (let round = 1; round <= 4; round++) {
    console.log(round, sieve(3000 * scale * round), shapes(800 * scale, round + 1), mixed(500 * scale), thrown(100 * scale),
      texts(40 * scale), floats(1000 * scale), functions(5 * scale), garbage(400 * scale), big(10 * scale));
    if (process.argv[3]) console.log(assembly(500 * scale));
  }
  for (let here; (here = Atomics.load(shared, 2)) < 2;) Atomics.wait(shared, 2, here, 100);
  console.log(shared[0], shared[1]);
} else {
  count(2000 * Number(process.argv[2]));
}
"""
MODES = {  # without compilers there is no WebAssembly
    "interpreted": "--jitless @ 8",
    "baseline": "--always-sparkplug --no-opt @ 8 wasm",
    "optimised": "--always-opt @ 4 wasm",
    "both": "@ 12 wasm",
    "early": "--interrupt-budget=2000 --no-lazy-feedback-allocation --stress-concurrent-inlining @ 4 wasm",
    "moved": "--stress-compaction --gc-interval=2000 @ 4 wasm",
    "writable": "--no-write-protect-code-memory --single-threaded-gc @ 8 wasm",
}


def command(words):
    flags, _, rest = words.partition("@")
    return ["/bin/node", "--max-old-space-size=200", *flags.split(), "/program.js", *rest.split()]


def files(folders):
    """Everything the program needs: where it goes, and the file."""
    libraries = [p for folder in folders.values() for p in folder.rglob("x86_64-linux-gnu/*.so*")]
    found = {f"lib64/{p.name}": p for p in libraries if p.parent.name == "x86_64-linux-gnu" and p.is_file()}
    found[f"lib64/{LOADER}"] = next(folders["libc6"].rglob(LOADER))
    for name in BUILTINS:
        found[f"usr/share/nodejs/{name}"] = next(p for f in folders.values() for p in f.glob(f"usr/share/nodejs/{name}"))
    return found | {"bin/node": folders["nodejs"] / "usr/bin/node"}


def native(root, found):
    """What the same files print here, for each mode."""
    for name, path in found.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / name)
    (root / "lib").symlink_to("lib64")
    (root / "program.js").write_text(PROGRAM)
    enter = ["chroot", root] if os.geteuid() == 0 else ["unshare", "--map-root-user", f"--root={root}"]
    results = {}
    for name, words in MODES.items():
        done = subprocess.run([*enter, *command(words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}, timeout=900)
        results[name] = (done.returncode, done.stdout)
    return results


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--log")
    parser.add_argument("tinamou", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    args, options = parser.parse_known_args()
    sys.path.insert(0, str(args.source / "tools"))
    import linux_guest  # by the path above
    try:
        folders = dict(zip(PACKAGES, linux_guest.fetch_all(PACKAGES)))
        guest = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
        found = files(folders)
    except linux_guest.Missing as why:
        print(f"no guest to run: {why}")
        return 77
    guest.cpio.link("lib", "lib64")
    for name, path in found.items():
        guest.add_file(path, name)
    guest.cpio.file("program.js", PROGRAM.encode())
    with tempfile.TemporaryDirectory() as root:
        expected = native(pathlib.Path(root), found)
    machine = linux_guest.tinamou(args.tinamou, "--engine", "translate", "--memory", "1G", "--cpus", "2", *options)
    commands = [(name, " ".join(command(words))) for name, words in MODES.items()]
    results = guest.run(machine, commands, limit=600, timeout=3000, log=args.log)
    wrong = [name for name in MODES if expected[name][0] or results.get(name) != expected[name]]
    print("ok   node" if not wrong else f"FAIL node: {wrong} {[(expected[w], results.get(w)) for w in wrong]}")
    return 1 if wrong else 0


sys.exit(main())
