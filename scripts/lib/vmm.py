# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Starts a QEMU-compatible program for the scripts, and ends it.
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from qmp import Qmp

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def default_binary():
    return os.environ.get("GODWIT_BINARY") or str(ROOT / "build" / "release" / "godwit-system-x86_64")


class Vmm:
    """One running program with a QMP connection; use as a context manager."""

    def __init__(self, binary, arguments, name="vm", netns=None, scratch=None):
        self.scratch = scratch or tempfile.TemporaryDirectory(prefix="godwit-")
        self.dir = self.scratch if isinstance(self.scratch, str) else self.scratch.name
        self.name = name
        self.qmp_path = os.path.join(self.dir, f"{name}.qmp")
        self.log_path = os.path.join(self.dir, f"{name}.log")
        command = [binary, *arguments, "-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        if netns:
            command = ["ip", "netns", "exec", netns, *command]
        self.qmp = None
        self.started = time.monotonic()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.qmp = Qmp.connect_unix(self.qmp_path, self.started + 30, hopeless=lambda: self.process.poll() is not None)
        except (OSError, EOFError) as error:
            ended = self.process.poll()
            why = f"it ended with exit status {ended}" if ended is not None else str(error)
            said = self.log().rstrip()
            self.kill()
            raise RuntimeError(f"{binary} did not come up: {why}" + (f"\n{said}" if said else "")) from error
        self.greeted = time.monotonic()

    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def rss_kib(self):
        """Resident memory: anonymous, file-backed and shared pages together."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def forget_peak(self):
        """From now on peak_rss_kib() tells the peak since now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_rss_kib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        return 0

    def cpu_seconds(self):
        """User and system time of the process so far, ended threads included, to the nanosecond."""
        return time.clock_gettime(~self.process.pid << 3 | 2)  # clock_getcpuclockid() of another process

    def quit(self):
        try:
            self.qmp.execute("quit")
        except (OSError, EOFError):
            pass
        try:
            return self.process.wait(20)
        finally:
            self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if self.qmp:
            self.qmp.close()
        if not isinstance(self.scratch, str):
            self.scratch.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
