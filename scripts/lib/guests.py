# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The two guests that scripts move: a boot sector under KVM and the synthetic workload. Both can show that they are whole.
import os
import pathlib
import select
import struct
import threading
import time

from vmm import ROOT

MIB = 1 << 20
GUESTS = pathlib.Path(os.environ.get("GODWIT_GUESTS") or ROOT / "build" / "release" / "tests" / "guests")
BARE = ["-nodefaults", "-display", "none"]
PARAMETERS_AT = 494  # tests/guests/memory_writer.S


def kvm_works():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
        return True
    except OSError:
        return False


def write_disk(path, touched, hot):
    """A boot disk whose guest touches `touched` bytes from 1 MiB on and rewrites the first `hot` of them for ever."""
    image = bytearray((GUESTS / "memory_writer.img").read_bytes())
    struct.pack_into("<4I", image, PARAMETERS_AT, MIB, MIB + touched, MIB, MIB + hot)
    pathlib.Path(path).write_bytes(image.ljust(MIB, b"\0"))


def boot_arguments(scratch, ram, side, cpus=1, blocks=1):
    """The KVM guest. Each side's serial line goes to a file of its own, so that its heartbeat is told apart.
    With more than one block its RAM is made of so many NUMA nodes."""
    nodes = [word for n in range(blocks) for word in ("-object", f"memory-backend-ram,id=m{n},size={ram // blocks}",
                                                      "-numa", f"node,memdev=m{n}")] if blocks > 1 else []
    return ["-machine", "q35", "-accel", "kvm", "-m", f"{ram // MIB}M", "-smp", str(cpus), *BARE, *nodes,
            "-drive", f"file={scratch}/disk,format=raw,if=none,id=d0", "-device", "ide-hd,drive=d0",
            "-serial", f"file:{scratch}/{side}.serial"]


def synth_arguments(ram, working_set, rate=0, cpus=2):
    """A workload on `cpus` vCPUs that writes `rate` bytes a second, 0 for all it can."""
    properties = [f"working-set={working_set}"] + ([f"rate={rate}"] if rate else [])
    return ["-machine", "none", "-m", f"{ram // MIB}M", "-smp", str(cpus), *BARE, "-accel", ",".join(["synth", *properties])]


def wait_for_text(path, text, seconds=30):
    deadline = time.monotonic() + seconds
    said = ""
    while time.monotonic() < deadline:
        said = pathlib.Path(path).read_text(errors="replace") if os.path.exists(path) else ""
        if text in said:
            return said
        time.sleep(0.02)
    raise RuntimeError(f"the guest did not say {text!r}; it said {said!r}")


class Heartbeat:
    """When each side's boot-sector guest came round: its serial lines are pipes here, read by a thread.

    Make it before the programs start. A beat is a turn over the hot pages, so a gap is told to within one turn."""

    def __init__(self, scratch, sides=("source", "target")):
        self.beats = {side: [] for side in sides}
        self.broken = None
        self.changed = threading.Condition()
        self.ends, self.wake = os.pipe()
        self.pipes = {}
        for side in sides:
            os.mkfifo(f"{scratch}/{side}.serial")
            self.pipes[os.open(f"{scratch}/{side}.serial", os.O_RDWR | os.O_NONBLOCK)] = side
        self.thread = threading.Thread(target=self._listen, name="heartbeat", daemon=True)
        self.thread.start()

    def _listen(self):
        while True:
            ready, _, _ = select.select([self.ends, *self.pipes], [], [])
            now = time.monotonic()
            if self.ends in ready:
                return
            with self.changed:
                for pipe in ready:
                    said = os.read(pipe, 65536)
                    self.beats[self.pipes[pipe]] += [now] * said.count(b"B")
                    if b"X" in said:
                        self.broken = self.pipes[pipe]
                self.changed.notify_all()

    def wait(self, side, turns, seconds=120):
        with self.changed:
            come = self.changed.wait_for(lambda: self.broken or len(self.beats[side]) >= turns, seconds)
        if self.broken:
            raise RuntimeError(f"the guest found wrong memory at the {self.broken}")
        if not come:
            raise RuntimeError(f"the guest did not come to {turns} turns at the {side}")

    def gap(self):
        """Seconds from the last beat at the source to the first at the target, less what a turn takes."""
        there, here = self.beats["target"], self.beats["source"]
        turns = sorted(b - a for a, b in zip(there, there[1:]))
        return max(0.0, there[0] - here[-1] - (turns[len(turns) // 2] if turns else 0.0))

    def close(self):
        os.write(self.wake, b"x")
        self.thread.join()
        for fd in (self.ends, self.wake, *self.pipes):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def wait_for_bytes(vm, count, seconds):
    """Until the synthetic workload wrote `count` bytes, or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if sum(cpu["bytes-written"] for cpu in vm.qmp.execute("x-query-synth")) >= count:
            return
        time.sleep(0.05)


def check_synth(vm):
    """The answer of x-synth-check; an error when a page is wrong."""
    result = vm.qmp.execute("x-synth-check")
    if result["pages-wrong"]:
        raise RuntimeError(f"{result['pages-wrong']} pages are wrong: {result['wrong']}")
    return result
