# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the cost of a move grows: with RAM of which a sixteenth was touched, with RAM that was touched whole, with vCPUs."""
import tempfile

import guests
from guests import MIB
from migration import Guest, WarmMemory, move, move_guest, obstacle, prepare
from vmm import Vmm

GIB = 1024 * MIB
MARGIN = 2 * MIB  # the boot sector does not write the first MiB


def touched_sixteenth(ram):
    """Below 2 GiB for all sizes: there the machine's RAM has its hole."""
    return Guest(ram, ram // 16 - MARGIN, MIB)


def touched_whole(ram):
    return Guest(ram, ram - 2 * MARGIN, MIB)


def boot_sector(make):
    return lambda binary, x: move_guest(binary, make(x))


def synth(binary, cpus):
    """A quarter of 1 GiB, each vCPU rewriting 40 MiB/s of it: only Godwit has this guest."""
    with tempfile.TemporaryDirectory(prefix="godwit-bench-") as scratch:
        arguments = guests.synth_arguments(GIB, 256 * MIB, 40 * MIB * cpus, cpus)
        with Vmm(binary, arguments, "source", scratch=scratch) as source:
            guests.wait_for_bytes(source, 256 * MIB, 3)
            with Vmm(binary, [*arguments, "-incoming", "defer"], "target", scratch=scratch) as target:
                prepare(source.qmp, max_bandwidth=0)
                prepare(target.qmp)
                figures = move(source, target, "127.0.0.1", WarmMemory(352 * MIB))
                target.qmp.execute("stop")
                guests.check_synth(target)
                return figures


class Series:
    """`measure(binary, x)` for each x; `reference` tells whether the reference program can run it."""

    def __init__(self, name, title, axis, xs, measure, reference=True, needs_kvm=True):
        self.name, self.title, self.axis, self.xs = name, title, axis, xs
        self.measure, self.reference, self.needs_kvm = measure, reference, needs_kvm

    def obstacle(self):
        return obstacle(Guest(MIB, 0, 0)) if self.needs_kvm else None


SIZES = [256 * MIB, 512 * MIB, GIB, 2 * GIB, 4 * GIB, 8 * GIB, 16 * GIB]

SERIES = [
    Series("sixteenth", "RAM, a sixteenth of it touched", "bytes", SIZES, boot_sector(touched_sixteenth)),
    Series("whole", "RAM, all of it touched", "bytes", SIZES[:3], boot_sector(touched_whole)),
    Series("cpus", "vCPUs, one of which works", "count", [1, 2, 3, 4], boot_sector(lambda n: Guest(512 * MIB, 64 * MIB, MIB, cpus=n))),
    Series("writers", "vCPUs that each write 40 MiB/s", "count", [1, 2, 3, 4], synth, reference=False, needs_kvm=False),
]
