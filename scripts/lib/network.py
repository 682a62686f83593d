# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Where the two sides of a migration meet: two network namespaces with a link of known rate, or loopback; and a relay
# that delays what passes.
import os
import pathlib
import shutil
import subprocess
import sys

RELAY = pathlib.Path(__file__).resolve().parent / "relay.py"


def may_build():
    return os.geteuid() == 0 and shutil.which("ip") is not None and shutil.which("tc") is not None


class Network:
    """`rate` in megabits a second, 0 for no limit; `mark` begins the names of the namespaces.

    `source` and `target` are namespaces, None on loopback; `address` is where the target listens; `text` says what was
    built and `trouble` why it is less than what was asked for."""

    def __init__(self, rate=0, mark=None):
        self.mark = mark or f"gwd{os.getpid()}"
        self.names = []
        self.source = self.target = None
        self.address = "127.0.0.1"
        self.text = "loopback"
        self.trouble = ""
        if may_build():
            try:
                self._build(rate)
            except subprocess.CalledProcessError as error:
                self.close()
                self.trouble = f"no network namespaces here: {error.stderr.strip() or error}"
        elif rate:
            self.trouble = "network namespaces need root"

    @staticmethod
    def _ip(*words, tool="ip"):
        subprocess.run([tool, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def _build(self, rate):
        source, target = self.names = names_of(self.mark)
        for name in self.names:
            self._ip("netns", "add", name)
            self._ip("-n", name, "link", "set", "lo", "up")
        self._ip("-n", source, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", target)
        for name, address in ((source, "10.77.0.1/24"), (target, "10.77.0.2/24")):
            self._ip("-n", name, "addr", "add", address, "dev", "eth0")
            self._ip("-n", name, "link", "set", "eth0", "up")
        if rate:
            for name in self.names:
                self._ip("netns", "exec", name, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", f"{rate}mbit",
                         "burst", "256kb", "latency", "50ms")
        self.source, self.target, self.address = source, target, "10.77.0.2"
        self.text = "two network namespaces" + (f", {rate} Mbit/s between them" if rate else "")

    def close(self):
        remove(self.names)
        self.names = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def names_of(mark):
    return [f"{mark}a", f"{mark}b"]


def remove(names):
    for name in names:
        if os.path.exists(f"/run/netns/{name}"):
            subprocess.run(["ip", "netns", "del", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


class Relay:
    """A process in the target's namespace that passes connections on to `port`, each way `delay` milliseconds late."""

    def __init__(self, network, port, delay):
        command = [sys.executable, str(RELAY), network.address, network.address, str(port), str(delay)]
        if network.target:
            command = ["ip", "netns", "exec", network.target, *command]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError("the relay did not come up")
        self.port = int(line)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
