"""console - a machine whose serial port is watched and typed into.

    with console.Console([tinamou, "run", ...]) as guest:
        guest.expect("login: ", 60)
        guest.type("root\\n")

What it says is read by a thread, so a guest never waits for the test.
"""
import subprocess
import threading
import time


class Gone(Exception):
    """What was expected did not come; the text is what came instead."""


class Console:
    def __init__(self, command, folder=None):
        self.seen = ""
        self.at = 0  # what comes before was expected already
        self.ended = False
        self.more = threading.Condition()
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, cwd=folder)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.reader.join(timeout=30)

    def read(self):
        while part := self.process.stdout.read1():
            with self.more:
                self.seen += part.decode(errors="replace").replace("\r", "")
                self.more.notify()
        with self.more:
            self.ended = True
            self.more.notify()

    def expect(self, text, timeout, never=()):
        """Waits for the text behind what was expected before; returns the seconds since the start."""
        end = time.monotonic() + timeout
        with self.more:
            while (found := self.seen.find(text, self.at)) < 0:
                bad = [word for word in never if word in self.seen[self.at:]]
                left = end - time.monotonic()
                if bad or left <= 0 or self.ended:
                    why = f"{bad[0]!r} came" if bad else "too late" if left <= 0 else "it ended"
                    raise Gone(f"no {text!r}, {why}:\n{self.seen[-2000:]}")
                self.more.wait(left)
            self.at = found + len(text)
            return time.monotonic() - self.started

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()
