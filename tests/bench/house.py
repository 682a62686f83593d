# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cost of a VMM that does nothing: how soon it answers, what it occupies, how fast it talks."""
import json
import socket
import subprocess
import tempfile
import time

from benchmark import Benchmark, Figure
from vmm import Vmm

IDLE = ["-nodefaults", "-display", "none", "-S"]


def start_to_greeting(binary):
    """Milliseconds from fork to the QMP greeting on a socket that the program connects to."""
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as scratch:
        path = f"{scratch}/qmp"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(30)
        began = time.perf_counter()
        process = subprocess.Popen([binary, "-machine", "none", *IDLE, "-qmp", f"unix:{path}"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                raise RuntimeError(f"{binary} did not come up") from None
            greeting = b""
            while b"\n" not in greeting:
                if not (data := peer.recv(4096)):
                    raise RuntimeError(f"{binary} closed its monitor")
                greeting += data
            took = time.perf_counter() - began
            json.loads(greeting)
        finally:
            process.kill()
            process.wait()
    return {"start-to-greeting": took * 1e3}


def idle_resident(binary):
    """MiB resident with a 128 MiB guest that was never touched."""
    with Vmm(binary, ["-machine", "none,memory-backend=ram0", "-object", "memory-backend-ram,id=ram0,size=128M", *IDLE]) as vm:
        vm.qmp.execute("query-status")
        return {"idle-resident": vm.rss_kib() / 1024}


def qmp_round_trip(binary, count=2000):
    """Microseconds for one query-status, request to reply."""
    with Vmm(binary, ["-machine", "none", *IDLE]) as vm:
        sock = vm.qmp.sock
        sock.settimeout(20)
        request = b'{"execute":"query-status"}'
        for _ in range(100):
            vm.qmp.execute("query-status")
        began = time.perf_counter()
        for _ in range(count):
            sock.sendall(request)
            while not sock.recv(4096).endswith(b"\n"):
                pass
        return {"qmp-round-trip": (time.perf_counter() - began) / count * 1e6}


BENCHMARKS = [
    Benchmark("start", start_to_greeting, {"start-to-greeting": Figure("ms", promise=0.3)}, rounds=15),
    Benchmark("idle", idle_resident, {"idle-resident": Figure("MiB", promise=0.3)}),
    Benchmark("qmp", qmp_round_trip, {"qmp-round-trip": Figure("us", promise=1.0)}),
]
