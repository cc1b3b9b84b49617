#!/usr/bin/env python3
"""run_blocks - runs every ```sh block of README.md and docs/ as a reader would.

Each block runs by itself with `sh -eu` in the root of the tree, build/ in front
of PATH, no terminal, CI=true; it must end with status 0. A block may say what
it ends with, by a comment in its first line: '# exit status 2'.

Commands that would start this very test again, or take longer than a quick
test may, are looked up in the Makefile instead (make -n): make check,
check-long, driver, bench, sanitize, tsan, clang, fuzz, deb, and make clean.

Every other fenced block must be marked as what it is: text, console (a
picture of a session), c, make or json. An unmarked one is an error, so that
no command escapes by lacking its mark.
"""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NOT_COMMANDS = {"text", "console", "c", "make", "json", "asm"}
LOOKED_UP = re.compile(r"^(make) (?=(check|check-long|driver|bench|sanitize|tsan|clang|fuzz|deb|clean)\b)",
                       re.M)


def blocks(path):
    """Yields (line number, mark, text) of the fenced blocks."""
    mark, start, body = None, 0, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fence = re.match(r"\s*```(\S*)", line)
        if fence and mark is None:
            mark, start, body = fence.group(1), number, []
        elif fence:
            yield start, mark, "\n".join(body) + "\n"
            mark = None
        elif mark is not None:
            body.append(line)


def run(text):
    """(ok, what was seen)"""
    wanted = re.search(r"\A.*# exit status (\d+)", text)
    wanted = int(wanted.group(1)) if wanted else 0
    env = dict(os.environ, CI="true", PATH=f"{ROOT}/build:{os.environ['PATH']}")
    for name in ("MAKEFLAGS", "MAKELEVEL", "TINAMOU_ENGINE", "TINAMOU_OPTIONS"):
        env.pop(name, None)
    done = subprocess.run(["sh", "-eu", "-c", LOOKED_UP.sub(r"\1 -n ", text)], cwd=ROOT, env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120)
    seen = done.stdout.decode(errors="replace")
    return done.returncode == wanted, f"exit status {done.returncode}, not {wanted}\n{seen}"


def main():
    passed = failed = 0
    for path in [ROOT / "README.md"] + sorted((ROOT / "docs").rglob("*.md")):
        for number, mark, text in blocks(path):
            where = f"{path.relative_to(ROOT)}:{number}"
            if mark in NOT_COMMANDS:
                continue
            ok, seen = run(text) if mark == "sh" else (False, f"marked '{mark}'")
            passed, failed = passed + ok, failed + (not ok)
            print(f"{'ok  ' if ok else 'FAIL'} {where}", flush=True)
            if not ok:
                print(text + seen)
    print(f"\n{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
