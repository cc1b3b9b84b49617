#!/usr/bin/env python3
"""test_jvm - Debian's Java virtual machine in Debian's cloud kernel on engine translate.

    test_jvm.py TINAMOU SOURCE [--log FILE] [OPTIONS of tinamou run]

HotSpot makes code while two vCPUs run it: inline caches and entries of methods are patched
under other threads, null pointers and stack overflows are signals, threads are stopped at
pages whose protection changes. The program compiles itself in the guest; what it prints
must be the same from the interpreter (-Xint), from either compiler alone, from both, and
with three ways to collect garbage. Exit status 77: no kernel or no package to be had.
"""
import argparse
import pathlib
import sys

PACKAGE = "openjdk-17-jre-headless"
LIBRARIES = ("libc6", "zlib1g", "libgcc-s1", "libstdc++6")
HOME = "usr/lib/jvm/java-17-openjdk-amd64"
PARTS = ("bin/java", "lib/modules", "lib/jvm.cfg", "lib/libjava.so", "lib/libjli.so", "lib/libjimage.so", "lib/libzip.so",
         "lib/libnio.so", "lib/libnet.so", "lib/libverify.so", "lib/libjsig.so", "lib/server/libjvm.so",
         "lib/server/classes.jsa", "lib/server/classes_nocoops.jsa", "lib/tzdb.dat", "lib/ct.sym",
         "conf/security/java.security")

PROGRAM = r"""
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class Program {
    interface Shape { double area(); }
    record Square(double side) implements Shape { public double area() { return side * side; } }
    record Disc(double r) implements Shape { public double area() { return 3 * r * r; } }
    record Strip(double a, double b) implements Shape { public double area() { return a * b; } }
    static class Node { Node left, right; int value; }

    static int sieve(int n) {
        boolean[] not = new boolean[n];
        int count = 0;
        for (int i = 2; i < n; i++) {
            if (not[i]) continue;
            count++;
            for (long j = (long) i * i; j < n; j += i) not[(int) j] = true;
        }
        return count;
    }
    // Call sites that see one class, then two, then many.
    static double shapes(int rounds, int kinds) {
        double sum = 0;
        for (int i = 0; i < rounds; i++) {
            Shape s = i % kinds == 0 ? new Square(i % 7) : i % kinds == 1 ? new Disc(i % 5) : new Strip(i % 3, 2);
            sum += s.area();
        }
        return sum;
    }
    static int nulls(int rounds) {
        Node[] nodes = {new Node(), null, new Node()};
        int caught = 0;
        for (int i = 0; i < rounds; i++) {
            try { nodes[i % 3].value++; } catch (NullPointerException e) { caught++; }
            try { caught += i / (i % 4); } catch (ArithmeticException e) { caught += 2; }
            try { nodes[i % 5].value--; } catch (RuntimeException e) { caught += 3; }
        }
        return caught;
    }
    static int depth(int n) { return depth(n + 1) + 1; }
    static int overflows(int rounds) {
        int caught = 0;
        for (int i = 0; i < rounds; i++) try { depth(0); } catch (StackOverflowError e) { caught++; }
        return caught;
    }
    static long garbage(int rounds) {
        Map<Integer, Node> kept = new TreeMap<>();
        long sum = 0;
        for (int i = 0; i < rounds; i++) {
            Node n = new Node();
            n.value = i * 31 % 1009;
            n.left = kept.get(n.value / 2);
            kept.put(n.value, n);
            if (n.left != null) { sum += n.left.value; n.left.left = null; }
        }
        return sum + kept.size();
    }
    static long vector(int n) {
        int[] a = new int[n], b = new int[n];
        for (int i = 0; i < n; i++) { a[i] = i * 7; b[i] = ~i; }
        long sum = 0;
        for (int r = 0; r < 20; r++) {
            for (int i = 0; i < n; i++) a[i] += b[i] * 3 ^ r;
            for (int i = 0; i < n; i++) sum += a[i];
        }
        return sum;
    }
    static String floats(int n) {
        double s = 0;
        for (int i = 1; i < n; i++) s += Math.sin(i) * Math.sqrt(i) / Math.log(i + 1) + Math.pow(1.0001, i) % 3;
        return String.format("%.6f", s);
    }
    static long threads(int count, int rounds) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(count);
        ConcurrentHashMap<Integer, Long> map = new ConcurrentHashMap<>();
        Object lock = new Object();
        long[] total = {0};
        List<Future<?>> all = new ArrayList<>();
        for (int t = 0; t < count; t++) {
            int own = t;
            all.add(pool.submit(() -> {
                for (int i = 0; i < rounds; i++) {
                    map.merge(i % 97, (long) i * own, Long::sum);
                    synchronized (lock) { total[0] += i; }
                }
            }));
        }
        for (Future<?> f : all) f.get();
        pool.shutdown();
        return total[0] + map.values().stream().mapToLong(x -> x).sum();
    }
    static String streams(int n) {
        return IntStream.range(0, n).boxed().collect(Collectors.groupingBy(i -> Integer.toString(i % 10, 2),
            TreeMap::new, Collectors.summingInt(i -> i))).toString().hashCode() + ":" +
            IntStream.range(0, n).parallel().mapToObj(i -> "x" + i).mapToInt(String::hashCode).sum();
    }

    public static void main(String[] words) throws Exception {
        int scale = Integer.parseInt(words[0]);
        for (int round = 1; round <= 4; round++) {
            System.out.println(round + " " + sieve(2000 * scale * round) + " " + shapes(1000 * scale, round) + " "
                + nulls(100 * scale) + " " + overflows(2) + " " + garbage(500 * scale) + " " + vector(100 * scale)
                + " " + floats(50 * scale) + " " + threads(3, 200 * scale) + " " + streams(100 * scale));
            if (round == 2) System.gc();
        }
    }
}
"""
JAVA = "/jvm/bin/java -Xmx192m -Xss512k"
MODES = {
    "interpreted": "-Xint",
    "client": "-XX:TieredStopAtLevel=1",
    "server": "-XX:-TieredCompilation",
    "both": "-XX:+UseSerialGC",
    "concurrent": "-XX:+UseG1GC",
    "coloured": "-XX:+UseZGC",
    "early": "-XX:Tier3InvocationThreshold=5 -XX:Tier4InvocationThreshold=20 -XX:+UseParallelGC",
}


def put_jvm(guest, linux_guest):
    folder = linux_guest.fetch(PACKAGE)
    for part in PARTS:
        path = folder / HOME / part
        if path.is_symlink():  # to /etc, within the package
            path = folder / str(path.readlink()).lstrip("/")
        guest.add_file(path, f"jvm/{part}")
    guest.cpio.link("lib", "lib64")
    for package in LIBRARIES:
        for library in linux_guest.fetch(package).rglob("lib/x86_64-linux-gnu/*.so*"):
            if library.parent.name == "x86_64-linux-gnu" and library.exists():
                guest.add_file(library, f"lib64/{library.name}")
    guest.add_file(linux_guest.fetch("libc6") / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2")
    guest.cpio.file("java/Program.java", PROGRAM.encode())


def judge(results):
    """Lines of what differs from the interpreter's results."""
    status, expected = results["interpreted"]
    wrong = [] if status == 0 and expected.count(b"\n") == 4 else ["interpreted"]
    return wrong + [name for name in MODES if results.get(name) != (0, expected)]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--log")
    parser.add_argument("tinamou", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    args, options = parser.parse_known_args()
    sys.path.insert(0, str(args.source / "tools"))
    import linux_guest  # by the path above
    try:
        linux_guest.fetch_all([PACKAGE, *LIBRARIES])
        guest = linux_guest.Guest(linux_guest.kernel("cloud-amd64"))
        put_jvm(guest, linux_guest)
    except linux_guest.Missing as why:
        print(f"no guest to run: {why}")
        return 77
    machine = linux_guest.tinamou(args.tinamou, "--engine", "translate", "--memory", "1G", "--cpus", "2", *options)
    commands = [("compile", f"{JAVA} -m jdk.compiler/com.sun.tools.javac.Main -d /tmp /java/Program.java")]
    commands += [(name, f"{JAVA} {mode} -cp /tmp Program 5") for name, mode in MODES.items()]
    results = guest.run(machine, commands, limit=600, timeout=3000, log=args.log)
    wrong = judge(results)
    print("ok   jvm" if not wrong else f"FAIL jvm: {wrong} {results}")
    return 1 if wrong else 0


sys.exit(main())
