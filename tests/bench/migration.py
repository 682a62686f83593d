# SPDX-License-Identifier: LGPL-2.1-or-later
"""A running boot-sector guest moves between two processes of one program over TCP."""
import dataclasses
import mmap
import os
import tempfile
import time

from benchmark import Benchmark, Figure
from guests import MIB, Heartbeat, boot_arguments, kvm_works, write_disk
from network import Network, may_build
from vmm import Vmm


@dataclasses.dataclass
class Guest:
    """`touched` bytes of `ram` were written once, and the first `hot` of them are rewritten for ever."""
    ram: int
    touched: int
    hot: int
    cpus: int = 1
    blocks: int = 1
    link: int = 0  # Mbit/s between two network namespaces, 0 for loopback


class WarmMemory:
    """Host memory that was in use until a moment ago.

    A hypervisor may take back what its guest, our host, has free (virtio-balloon's page reporting), after a second
    or two. Whoever touches such memory first then pays several times what the move costs, by chance and not by
    merit. So the destination gets memory that we held until the move began."""
    POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14

    def __init__(self, size):
        self.map = None
        if os.environ.get("GODWIT_BENCH_COLD"):
            return
        self.map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.map.madvise(mmap.MADV_HUGEPAGE)
        self.map.madvise(self.POPULATE_WRITE)

    def release(self):
        if self.map:
            self.map.close()


def seconds_of(event):
    return event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6


def wait_completed(qmp):
    while True:
        event = qmp.wait_event("MIGRATION", 120)
        if event["data"]["status"] == "completed":
            return event
        if event["data"]["status"] in ("failed", "cancelled"):
            raise RuntimeError(f"migration {event['data']['status']}: {qmp.execute('query-migrate').get('error-desc')}")


def prepare(qmp, **parameters):
    qmp.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
    if parameters:
        qmp.execute("migrate-set-parameters", **parameters)


def move(source, target, address, memory):
    """Moves once; the figures that both ends' clocks and events give."""
    target.qmp.execute("migrate-incoming", uri=f"tcp:{address}:0")
    port = target.qmp.execute("query-migrate")["socket-address"][0]["port"]
    cpu_before = source.cpu_seconds() + target.cpu_seconds()
    rss_before = source.rss_kib()
    source.forget_peak()
    memory.release()
    began = time.time()
    source.qmp.execute("migrate", uri=f"tcp:{address}:{port}")
    stopped = seconds_of(source.qmp.wait_event("STOP", 120))
    resumed = seconds_of(target.qmp.wait_event("RESUME", 120))
    ended = seconds_of(wait_completed(source.qmp))
    info = source.qmp.execute("query-migrate")
    return {
        "total": ended - began,
        "cpu": source.cpu_seconds() + target.cpu_seconds() - cpu_before,
        "stop-to-resume": (resumed - stopped) * 1e3,
        "sent": info["ram"]["transferred"] / MIB,
        "passes": info["ram"]["dirty-sync-count"],
        "target-resident": target.rss_kib() / 1024,
        "target-peak": target.peak_rss_kib() / 1024,
        "source-extra": max(0, source.peak_rss_kib() - rss_before) / 1024,
    }


def move_guest(binary, guest):
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as scratch, Heartbeat(scratch) as heart, \
            Link(guest.link) as net:
        write_disk(f"{scratch}/disk", guest.touched, guest.hot)

        def arguments(side):
            return boot_arguments(scratch, guest.ram, side, guest.cpus, guest.blocks)
        with Vmm(binary, arguments("source"), "source", net.source, scratch) as source:
            heart.wait("source", 2)
            with Vmm(binary, [*arguments("target"), "-incoming", "defer"], "target", net.target, scratch) as target:
                prepare(source.qmp, max_bandwidth=0)
                prepare(target.qmp)
                figures = move(source, target, net.address, WarmMemory(guest.touched + 96 * MIB))
                heart.wait("target", 12)
                return figures | {"guest-gap": heart.gap() * 1e3}


class Link(Network):
    """As Network, but loopback unless a rate is asked for."""

    def __init__(self, rate):
        if rate:
            super().__init__(rate)
        else:
            self.names, self.source, self.target, self.address = [], None, None, "127.0.0.1"


def obstacle(guest):
    if not kvm_works():
        return "/dev/kvm may not be used"
    return "only root may shape a link" if guest.link and not may_build() else None


def scenario(name, guest, **figures):
    def measure(binary):
        moved = move_guest(binary, guest)
        return {f"{name}-{figure}": moved[figure] for figure in figures}
    return Benchmark(name, measure, {f"{name}-{figure}": what for figure, what in figures.items()},
                     obstacle=lambda: obstacle(guest))


# Of every scenario; what is promised differs.
COMMON = {"total": Figure("s"), "cpu": Figure("s"), "stop-to-resume": Figure("ms"), "guest-gap": Figure("ms"),
          "sent": Figure("MiB"), "source-extra": Figure("MiB", limit=32), "target-peak": Figure("MiB")}
HALVED = {"total": Figure("s", 0.5), "cpu": Figure("s", 0.5), "stop-to-resume": Figure("ms", 0.5)}

BENCHMARKS = [
    scenario("bulk", Guest(1024 * MIB, 900 * MIB, 32 * MIB), **COMMON | HALVED),
    scenario("sparse", Guest(16 * 1024 * MIB, 64 * MIB, 1 * MIB),
             **COMMON | {"total": Figure("s", 0.1), "cpu": Figure("s", 0.1), "target-resident": Figure("MiB", limit=128)}),
    scenario("hot", Guest(512 * MIB, 256 * MIB, 64 * MIB), **COMMON),
    scenario("blocks", Guest(256 * MIB, 200 * MIB, 2 * MIB, blocks=64), **COMMON),
    scenario("small", Guest(128 * MIB, 2 * MIB, 2 * MIB), **COMMON | {"stop-to-resume": Figure("ms", 0.5)}),
    scenario("shaped", Guest(512 * MIB, 300 * MIB, 8 * MIB, link=1000), **COMMON),
]
