# SPDX-License-Identifier: LGPL-2.1-or-later
"""A running boot-sector guest moves between two processes of one program over TCP loopback."""
import tempfile
import time

from benchmark import Benchmark, Figure
from guests import MIB, boot_arguments, wait_for_turns, write_disk
from vmm import Vmm


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


def move(source, target):
    """Moves once; the figures that both ends' clocks and events give."""
    target.qmp.execute("migrate-incoming", uri="tcp:127.0.0.1:0")
    port = target.qmp.execute("query-migrate")["socket-address"][0]["port"]
    cpu_before = source.cpu_seconds() + target.cpu_seconds()
    rss_before = source.rss_kib()
    began = time.time()
    source.qmp.execute("migrate", uri=f"tcp:127.0.0.1:{port}")
    stopped = seconds_of(source.qmp.wait_event("STOP", 120))
    resumed = seconds_of(target.qmp.wait_event("RESUME", 120))
    ended = seconds_of(wait_completed(source.qmp))
    info = source.qmp.execute("query-migrate")
    return {
        "total": ended - began,
        "cpu": source.cpu_seconds() + target.cpu_seconds() - cpu_before,
        "stop-to-resume": (resumed - stopped) * 1e3,
        "sent": info["ram"]["transferred"] / MIB,
        "target-resident": target.rss_kib() / 1024,
        "source-extra": max(0, source.peak_rss_kib() - rss_before) / 1024,
    }


def move_guest(binary, ram, touched, hot):
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as scratch:
        write_disk(f"{scratch}/disk", touched, hot)
        with Vmm(binary, boot_arguments(scratch, ram, "source"), "source", scratch=scratch) as source:
            wait_for_turns(f"{scratch}/source.serial", 2)
            incoming = [*boot_arguments(scratch, ram, "target"), "-incoming", "defer"]
            with Vmm(binary, incoming, "target", scratch=scratch) as target:
                prepare(source.qmp, max_bandwidth=0)
                prepare(target.qmp)
                figures = move(source, target)
                wait_for_turns(f"{scratch}/target.serial", 2)
                return figures


def scenario(name, ram, touched, hot, **figures):
    def measure(binary):
        moved = move_guest(binary, ram, touched, hot)
        return {f"{name}-{figure}": moved[figure] for figure in figures}
    return Benchmark(name, measure, {f"{name}-{figure}": what for figure, what in figures.items()})


BENCHMARKS = [
    scenario("bulk", 1024 * MIB, 900 * MIB, 32 * MIB, total=Figure("s", 0.5), cpu=Figure("s", 0.5),
             **{"stop-to-resume": Figure("ms", 0.5), "sent": Figure("MiB"), "source-extra": Figure("MiB", limit=32)}),
    scenario("sparse", 16 * 1024 * MIB, 64 * MIB, 1 * MIB, total=Figure("s", 0.1), cpu=Figure("s", 0.1),
             **{"sent": Figure("MiB"), "target-resident": Figure("MiB", limit=128)}),
    scenario("small", 128 * MIB, 2 * MIB, 2 * MIB, **{"stop-to-resume": Figure("ms", 0.5), "total": Figure("s")}),
]
