#!/usr/bin/env python3
"""test_traced - a kernel that rewrites its own code while it runs, on engine translate.

    test_traced.py TINAMOU SOURCE [--debug] [--cpus N] [--log FILE] [OPTIONS of tinamou run]

Under a load of forks, pipes and compressions on two vCPUs with full preemption: the function
tracer and the function graph on every function, on and off again and again; kprobes and
return probes on busy functions, optimised to jumps and not; uprobes in busybox. The load's
results must be right, the probes must have counted, and the log has no warning, stall or
unstable clocksource. Debian's cloud kernel, or with --debug the one in the folder
TINAMOU_DEBUG_KERNEL (docs/testing.md), whose own self-tests must have passed as well.
Exit status 77: no kernel to be had.
"""
import argparse
import hashlib
import os
import pathlib
import re
import sys

TRACING = "/sys/kernel/tracing"
LOAD = """load() {
	for n in 1 2 3 4; do
		( for i in 1 2 3 4 5; do head -c 20000 /bin/busybox | gzip | gzip -d | md5sum; ls -l /bin | wc -l >/dev/null; done ) >/tmp/sum.$n &
	done
	wait
	cat /tmp/sum.1 /tmp/sum.2 /tmp/sum.3 /tmp/sum.4 | sort | uniq -c
}
"""
TRACER = """cd %s
for round in 1 2; do
	for tracer in function function_graph; do
		echo $tracer >current_tracer || exit 2
		load
		[ $(head -n 500 trace | wc -l) = 500 ] || exit 3
		echo nop >current_tracer
	done
done
""" % TRACING
PROBES = """cd %s
for f in vfs_read vfs_write do_sys_openat2 __x64_sys_clone kmem_cache_free schedule hrtimer_start_range_ns; do
	echo "p:k/p_$f $f" >>kprobe_events && echo "r:k/r_$f $f" >>kprobe_events || echo "no $f"
done
for optimise in 1 0 1; do
	echo $optimise >/proc/sys/debug/kprobes-optimization
	echo 1 >events/k/enable
	load
	echo 0 >events/k/enable
done
awk '$1 ~ /vfs_read|clone/ && $2 < 100 { bad = 1 } END { print bad ? "unseen" : "counted" }' kprobe_profile
echo >kprobe_events
""" % TRACING
UPROBES = """cd %s
echo "p:u/entry /bin/busybox:$(cat /tests/entry)" >uprobe_events || exit 2
echo 1 >events/u/enable
load
echo 0 >events/u/enable
awk '{ print ($3 > 20) ? "counted" : "unseen" }' uprobe_profile
echo >uprobe_events
""" % TRACING
# Both at once: text is rewritten while other tracers stand in it.
ALL = """cd %s
echo "p:k/p_read vfs_read" >kprobe_events && echo 1 >events/k/enable || exit 2
for n in 1 2 3 4 5 6; do echo function >current_tracer; echo 1 >events/sched/enable; echo nop >current_tracer
	echo 0 >events/sched/enable; done &
load
wait
echo 0 >events/k/enable; echo >kprobe_events
""" % TRACING
BAD = ("WARNING", "BUG", "stall", "unstable", "lockup", "KASAN", "possible recursive", "inconsistent lock", "Call Trace",
       "blocked for more", "FAILED", "not ok ", "Oops", "invalid opcode", "general protection")
APPLETS = "sort uniq md5sum gzip awk sed hexdump seq sh"
# What the log of a kernel with its own tests says of them.
SELF_TESTS = ("- kprobes_test", "Testing tracer function: PASSED", "Good, all")


# Each script, and how often it does the load.
SCRIPTS = {"tracer": (TRACER, 4), "probes": (PROBES, 3), "uprobes": (UPROBES, 1), "all": (ALL, 1)}
COMMANDS = [("mount", f"mount -t tracefs t {TRACING}")] + [(name, f"sh /tests/{name}") for name in SCRIPTS] + [("log", "dmesg")]


def put_files(guest, linux_guest):
    for applet in APPLETS.split():
        guest.cpio.link(f"bin/{applet}", "busybox")
    for name, (body, _) in SCRIPTS.items():
        guest.cpio.file(f"tests/{name}", (LOAD + body).encode())
    program = (linux_guest.fetch("busybox-static") / "bin/busybox").read_bytes()
    entry = int.from_bytes(program[24:32], "little") - 0x400000  # of a program that is not moved
    guest.cpio.file("tests/entry", b"0x%x" % entry)
    return hashlib.md5(program[:20000]).hexdigest()


def judge(results, total, debug):
    """What is wrong, a line each; total: of the load's twenty sums."""
    wrong = []
    for name, (_, loads) in SCRIPTS.items():
        status, output = results.get(name, (None, b""))
        sums = re.findall(r"^ *(\d+) ([0-9a-f]{32}) ", output.decode(errors="replace"), re.M)
        if status or sums != [("20", total)] * loads or b"unseen" in output:
            wrong.append((name, status, output[-600:]))
    log = results["log"][1].decode(errors="replace")
    wrong += [line for line in log.splitlines() if any(word in line for word in BAD)]
    if debug:
        wrong += [f"not in the log: {word}" for word in SELF_TESTS if word not in log]
    return wrong


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--cpus", default="2")
    parser.add_argument("--log")
    parser.add_argument("tinamou", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    args, options = parser.parse_known_args()
    sys.path.insert(0, str(args.source / "tools"))
    import linux_guest  # by the path above
    folder = os.environ.get("TINAMOU_DEBUG_KERNEL")
    if args.debug and not folder:
        print("TINAMOU_DEBUG_KERNEL names no folder with a kernel")
        return 77
    try:
        guest = linux_guest.Guest(pathlib.Path(folder) if args.debug else linux_guest.kernel("cloud-amd64"))
    except linux_guest.Missing as why:
        print(f"no guest to run: {why}")
        return 77
    total = put_files(guest, linux_guest)
    machine = linux_guest.tinamou(args.tinamou, "--engine", "translate", "--memory", "1G", "--cpus", args.cpus, *options)
    results = guest.run(machine, COMMANDS, limit=900, timeout=3400, log=args.log, append="preempt=full")
    wrong = judge(results, total, args.debug)
    print("ok   traced" if not wrong else "FAIL traced\n" + "\n".join(map(str, wrong)))
    return 1 if wrong else 0


sys.exit(main())
