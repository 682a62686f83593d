# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The two guests that scripts move: a boot sector under KVM and the synthetic workload. Both can show that they are whole.
import os
import pathlib
import struct
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


def boot_arguments(scratch, ram, side):
    """The KVM guest. Each side's serial line goes to a file of its own, so that its heartbeat is told apart."""
    return ["-machine", "q35", "-accel", "kvm", "-m", f"{ram // MIB}M", *BARE,
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


def wait_for_turns(path, turns, seconds=120):
    """Until the boot-sector guest has been `turns` times over its hot pages: all is touched then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        said = pathlib.Path(path).read_bytes() if os.path.exists(path) else b""
        if b"X" in said:
            raise RuntimeError(f"the guest found wrong memory: {path}")
        if said.count(b"B") >= turns:
            return
        time.sleep(0.02)
    raise RuntimeError(f"the guest did not come to {turns} turns: {path}")


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
