# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines with vfio-user devices: how long they take to stop, how fast their state travels, what pre-copy is worth.

QEMU 10.0 cannot do this, so that what is measured is compared with something else each time: the same devices stopped
one by one, the same sockets with nothing but read() and write() between them (raw_chain.cc), a device without
pre-copy."""
import json
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time

from benchmark import Benchmark, Figure
from migration import prepare, wait_completed
from vmm import Vmm

MIB = 1 << 20
STOP_MS = 20
DEVICES = 8
STATE = 1024 * MIB
BEST_RAW_BUFFER = MIB // 4  # of 64 KiB to 1 MiB, on two cores
DEVICE_FEATURE, VERSION, SET_STATE = 16, 1, 1 << 17 | 2
STOP_COPY, PRE_COPY, PRE_COPY_P2P = 3, 6, 7


class Server:
    """A vfio-user-server beside the program; use as a context manager."""

    def __init__(self, binary, directory, name, *options):
        program = pathlib.Path(binary).resolve().parent / "tests/devices/vfio-user-server/vfio-user-server"
        self.socket = f"{directory}/{name}.sock"
        control = f"{directory}/{name}.ctl"
        self.process = subprocess.Popen([str(program), "--control", control, *options, self.socket])
        deadline = time.monotonic() + 60
        while not pathlib.Path(self.socket).exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program} did not come up")
            time.sleep(0.01)
        self.control = socket.socket(socket.AF_UNIX)
        self.control.connect(control)
        self.lines = self.control.makefile("rw")

    def ask(self, command, **arguments):
        self.lines.write(json.dumps({"command": command, **arguments}) + "\n")
        self.lines.flush()
        return json.loads(self.lines.readline())["return"]

    def step_ns(self, to):
        """When the device last came to a state."""
        return [step["ns"] for step in self.ask("history") if step["to"] == to][-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.close()
        self.process.terminate()
        self.process.wait()


class Client:
    """As much of a vfio-user client as it takes to walk a device's states."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.call(VERSION, struct.pack("<HH", 0, 2) + b'{"capabilities":{}}\0')

    def call(self, command, body):
        self.socket.sendall(struct.pack("<HHIII", 1, command, 16 + len(body), 0, 0) + body)
        head = self.socket.recv(16, socket.MSG_WAITALL)
        _, _, size, flags, error = struct.unpack("<HHIII", head)
        if flags & 0x20:
            raise OSError(error, f"vfio-user command {command}")
        return self.socket.recv(size - 16, socket.MSG_WAITALL) if size > 16 else b""

    def set_state(self, state):
        self.call(DEVICE_FEATURE, struct.pack("<IIIi", 16, SET_STATE, state, -1))


def machine(servers, *more):
    arguments = ["-machine", "q35,memory-backend=ram0", "-m", "64M", "-accel", "qtest", "-nodefaults", "-display", "none",
                 "-object", "memory-backend-memfd,id=ram0,size=64M,share=on", *more]
    for n, server in enumerate(servers):
        arguments += ["-device", f"vfio-user-pci,socket={server.socket},id=dev{n}"]
    return arguments


def move_devices(binary, count, *options):
    """Moves a machine with `count` devices; what its events, parts and devices' clocks say."""
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as scratch:
        servers = [Server(binary, scratch, f"{side}{n}", *options) for side in "st" for n in range(count)]
        here, there = servers[:count], servers[count:]
        try:
            with Vmm(binary, machine(here), "source", scratch=scratch) as source, \
                    Vmm(binary, machine(there, "-incoming", "defer"), "target", scratch=scratch) as target:
                prepare(source.qmp, max_bandwidth=0)
                if "--no-precopy" in options:
                    # All of it goes while the guest stands still: the machine, idle otherwise, must be told that it
                    # may take long and that the link can carry it.
                    source.qmp.execute("migrate-set-parameters", downtime_limit=60000, avail_switchover_bandwidth=10 << 30)
                prepare(target.qmp)
                target.qmp.execute("migrate-incoming", uri="tcp:127.0.0.1:0")
                port = target.qmp.execute("query-migrate")["socket-address"][0]["port"]
                began = time.time()
                source.qmp.execute("migrate", uri=f"tcp:127.0.0.1:{port}")
                wait_completed(source.qmp)
                wait_completed(target.qmp)
                total = time.time() - began
                return {
                    "total": total,
                    "downtime": source.qmp.execute("query-migrate")["downtime"],
                    # From the source's device being in STOP_COPY until the target's has all of it, and found it right.
                    "state": (there[0].step_ns("STOP") - here[0].step_ns("STOP_COPY")) / 1e9,
                    "stop": (max(s.step_ns("STOP_COPY") for s in here)
                             - min(s.step_ns("PRE_COPY_P2P") for s in here)) / 1e6 if "--no-precopy" not in options else 0,
                }
        finally:
            for server in servers:
                server.__exit__()


def stop_together(binary):
    return {"vfio-stop": move_devices(binary, DEVICES, "--stop-delay", str(STOP_MS))["stop"]}


def stop_one_by_one(binary):
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as scratch:
        servers = [Server(binary, scratch, f"d{n}", "--stop-delay", str(STOP_MS)) for n in range(DEVICES)]
        try:
            clients = [Client(server.socket) for server in servers]
            for client in clients:
                client.set_state(PRE_COPY)
            for state in (PRE_COPY_P2P, STOP_COPY):
                for client in clients:
                    client.set_state(state)
            return {"vfio-stop": (max(s.step_ns("STOP_COPY") for s in servers)
                                  - min(s.step_ns("PRE_COPY_P2P") for s in servers)) / 1e6}
        finally:
            for server in servers:
                server.__exit__()


def big_state(binary):
    took = move_devices(binary, 1, "--no-precopy", "--no-page-check", "--state", str(STATE))["state"]
    return {"vfio-state": took, "vfio-state-best": took, "vfio-state-hop": took}


def raw(binary):
    """The same bytes the same way and nothing else: with buffers as large as ours, and as the chain likes them best; and
    over loopback TCP alone."""
    program = pathlib.Path(binary).resolve().parent / "tests/bench/raw-chain"

    def seconds(way, buffer):
        return float(subprocess.run([program, way, str(STATE), str(buffer)], check=True, capture_output=True).stdout)
    return {"vfio-state": seconds("chain", MIB), "vfio-state-best": seconds("chain", BEST_RAW_BUFFER),
            "vfio-state-hop": seconds("hop", BEST_RAW_BUFFER)}


def with_precopy(binary):
    moved = move_devices(binary, 1, "--no-page-check", "--churn", "1000", "--state", str(STATE))
    return {"vfio-downtime": moved["downtime"], "vfio-total": moved["total"]}


def without_precopy(binary):
    moved = move_devices(binary, 1, "--no-page-check", "--churn", "1000", "--no-precopy", "--state", str(STATE))
    return {"vfio-downtime": moved["downtime"], "vfio-total": moved["total"]}


BENCHMARKS = [
    Benchmark("vfio-stop", stop_together, {"vfio-stop": Figure("ms", promise=0.25, limit=2 * STOP_MS)},
              reference=stop_one_by_one),
    Benchmark("vfio-state", big_state, {"vfio-state": Figure("s", promise=1.25), "vfio-state-best": Figure("s"),
                                        "vfio-state-hop": Figure("s")}, rounds=7, reference=raw),
    Benchmark("vfio-precopy", with_precopy, {"vfio-downtime": Figure("ms", promise=0.3), "vfio-total": Figure("s")},
              rounds=3, reference=without_precopy),
]
