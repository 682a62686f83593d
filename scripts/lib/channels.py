# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What each TCP connection of a program on this host carries, as the kernel counts it (ss, from iproute2). It needs no help of
# the program, so it works for QEMU's multifd connections too.
import os
import re
import shutil
import socket
import struct
import subprocess
import time

LEAST = 64 << 10  # bytes a connection must have carried to be shown: monitors have not


def pid_behind(sock):
    """The process that listens at the other end of a connected unix socket, None where that is not told."""
    if sock.family != socket.AF_UNIX:
        return None
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid if pid > 0 else None


def counted(listing, pid):
    """{"local port→peer's port": bytes acknowledged and received} of a process, from the lines of `ss -tinpOH`."""
    found = {}
    for line in listing.splitlines():
        words = line.split()
        if f"pid={pid}," in line and len(words) > 4 and words[0] == "ESTAB":
            numbers = re.findall(r"\bbytes_(?:acked|received):(\d+)", line)
            local, peer = (address.rsplit(":", 1)[1] for address in words[3:5])
            found[f"{local}→{peer}"] = sum(map(int, numbers))
    return found


class Channels:
    """Looks at a process's connections, at most once in `interval` seconds."""

    def __init__(self, sock, interval=0.5):
        self.pid = pid_behind(sock) if shutil.which("ss") else None
        self.interval = interval
        self.looked, self.before, self.rates = 0.0, {}, []

    def look(self, now=None):
        """[{"name": ..., "bytes-per-second": ...}], by their ports."""
        now = time.monotonic() if now is None else now
        if self.pid and now - self.looked >= self.interval:
            carried = counted(self._listing(), self.pid)
            if self.before:
                self.rates = [{"name": name, "bytes-per-second": max(0, count - self.before.get(name, 0)) / (now - self.looked)}
                              for name, count in sorted(carried.items()) if count >= LEAST]
            self.looked, self.before = now, carried
        return self.rates

    def _listing(self):
        command = ["ss", "-tinpOH"]
        try:
            if os.readlink(f"/proc/{self.pid}/ns/net") != os.readlink("/proc/self/ns/net"):
                command = ["nsenter", "-t", str(self.pid), "-n", *command]
            return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout
        except (OSError, subprocess.TimeoutExpired):
            return ""
