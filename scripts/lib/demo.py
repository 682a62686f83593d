# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boots guests, asks their monitors, and moves a writing guest to another process while it runs, checking its memory.

As root the two sides live in two network namespaces with a link between them that --link shapes; otherwise they meet
on loopback."""
import argparse
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import view
from qmp import QmpError
from vmm import ROOT, Vmm, default_binary

MIB = 1 << 20
GUESTS = pathlib.Path(os.environ.get("GODWIT_GUESTS", ROOT / "build" / "release" / "tests" / "guests"))
BARE = ["-nodefaults", "-display", "none"]


def say(text=""):
    print(text, flush=True)


def title(text):
    say(f"\n\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else f"\n{text}")


def kvm_works():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
        return True
    except OSError:
        return False


def wait_for_text(path, text, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        said = pathlib.Path(path).read_text(errors="replace") if os.path.exists(path) else ""
        if text in said:
            return said
        time.sleep(0.02)
    raise RuntimeError(f"the guest did not say {text!r}; it said {said!r}")


class Network:
    """Two network namespaces joined by a link of limited rate, when that is permitted; else loopback."""

    def __init__(self, rate):
        self.names = []
        self.source = self.target = None
        self.address = "127.0.0.1"
        self.text = "loopback"
        if os.geteuid() == 0 and shutil.which("ip"):
            try:
                self._build(rate)
            except subprocess.CalledProcessError as error:
                self.close()
                say(f"(no network namespaces here: {error}; using loopback)")
        elif rate:
            say("(--link needs root; the link is not shaped)")

    @staticmethod
    def _ip(*words, tool="ip"):
        subprocess.run([tool, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def _build(self, rate):
        mark = f"gwd{os.getpid()}"
        source, target = f"{mark}a", f"{mark}b"
        for name in (source, target):
            self._ip("netns", "add", name)
            self.names.append(name)
            self._ip("-n", name, "link", "set", "lo", "up")
        self._ip("-n", source, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", target)
        for name, address in ((source, "10.77.0.1/24"), (target, "10.77.0.2/24")):
            self._ip("-n", name, "addr", "add", address, "dev", "eth0")
            self._ip("-n", name, "link", "set", "eth0", "up")
        if rate:
            self._ip("netns", "exec", source, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", f"{rate}mbit",
                     "burst", "256kb", "latency", "50ms")
        self.source, self.target, self.address = source, target, "10.77.0.2"
        self.text = "two network namespaces" + (f", link limited to {rate} Mbit/s" if rate else "")

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.names = []


def boot_kernel(options, scratch):
    """A kernel is booted under KVM and prints what it was given; both monitors are asked about it."""
    title("1. A guest boots and answers")
    serial = f"{scratch}/kernel.serial"
    pathlib.Path(scratch, "initrd").write_text("the contents of an initrd")
    arguments = ["-machine", "q35", *BARE, "-m", "128M", "-serial", f"file:{serial}", "-name", "godwit-demo"]
    if kvm_works():
        arguments += ["-accel", "kvm", "-kernel", str(GUESTS / "pvh.elf"), "-initrd", f"{scratch}/initrd",
                      "-append", "hello from the command line"]
    else:
        say("(no /dev/kvm here: the machine is built, its CPU executes nothing)")
        arguments += ["-accel", "qtest"]
    with Vmm(options.binary, arguments, "kernel", scratch=scratch) as vm:
        if kvm_works():
            for line in wait_for_text(serial, "PASS").splitlines():
                say(f"   serial  {line}")
        for command in ("query-status", "query-kvm", "query-current-machine", "query-cpus-fast"):
            say(f"   QMP     {command}: {vm.qmp.execute(command)}")
        for command in ("info status", "info name", "info registers"):
            lines = vm.qmp.hmp(command).replace("\r", "").splitlines()
            say(f"   HMP     {command}: {lines[0]}")
            for line in lines[1:4]:
                say(f"           {line}")
        say(f"   it ends with exit status {vm.quit()}")


def writer_disk(path, touched, hot):
    image = bytearray((GUESTS / "memory_writer.img").read_bytes())
    struct.pack_into("<4I", image, 494, MIB, MIB + touched, MIB, MIB + hot)
    pathlib.Path(path).write_bytes(image.ljust(MIB, b"\0"))


def guest_arguments(options, scratch, side):
    """The machine that moves: a synth workload, or with --kvm a boot sector that writes memory."""
    if options.kvm:
        return ["-machine", "q35", "-accel", "kvm", "-m", f"{options.size + 64}M", *BARE,
                "-drive", f"file={scratch}/disk,format=raw,if=none,id=d0", "-device", "ide-hd,drive=d0",
                "-serial", f"file:{scratch}/{side}.serial"]
    rate = f",rate={options.rate}M" if options.rate else ""
    return ["-machine", "none", "-m", f"{options.size}M", "-smp", "2", *BARE,
            "-accel", f"synth,working-set={options.size // 2}M{rate}"]


def let_it_write(options, vm, scratch):
    """Until the guest has something to lose: its working set is written once, or all that it would in four seconds."""
    if options.kvm:
        wait_for_text(f"{scratch}/source.serial", "BB", 120)
        return
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        if sum(cpu["bytes-written"] for cpu in vm.qmp.execute("x-query-synth")) >= options.size * MIB // 2:
            return
        time.sleep(0.05)


def check_memory(options, vm, scratch):
    """What the guest on the destination can show for itself."""
    if options.kvm:
        wait_for_text(f"{scratch}/target.serial", "BB")
        if "X" in pathlib.Path(f"{scratch}/target.serial").read_text():
            raise RuntimeError("the guest found wrong memory on the destination")
        return "the guest checks every page before it writes it again, and goes on"
    vm.qmp.execute("stop")
    result = vm.qmp.execute("x-synth-check")
    if result["pages-wrong"]:
        raise RuntimeError(f"{result['pages-wrong']} pages are wrong: {result['wrong']}")
    return f"{result['pages-checked']} pages compared with what the CPUs' counters say, 0 wrong"


def follow(source):
    """The live view until the migration ended."""
    history = view.History()
    limit = source.qmp.execute("query-migrate-parameters")["downtime-limit"]
    tty = sys.stdout.isatty()
    drawn = 0
    while True:
        info = source.qmp.execute("query-migrate")
        history.add(time.monotonic(), info)
        ended = info.get("status") in view.ENDED
        if tty:
            lines = ["   " + line for line in view.screen(history, source.qmp.execute("query-status")["status"], limit, 76)]
            sys.stdout.write((f"\x1b[{drawn}F" if drawn else "") + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
            sys.stdout.flush()
            drawn = len(lines)
        elif ended or len(history.samples) % 10 == 1:
            say("   " + view.plain(history, source.qmp.execute("query-status")["status"]))
        if ended:
            return info
        time.sleep(0.1)


def live_migration(options, scratch, network):
    title("2. A guest that keeps writing moves while it runs")
    kind = "boot sector under KVM" if options.kvm else "synthetic workload, 2 CPUs"
    say(f"   {kind}, {options.size} MiB of RAM, over {network.text}")
    if options.kvm:
        writer_disk(f"{scratch}/disk", options.size * MIB // 2, 8 * MIB)
    with Vmm(options.binary, guest_arguments(options, scratch, "source"), "source", network.source, scratch) as source:
        let_it_write(options, source, scratch)
        incoming = [*guest_arguments(options, scratch, "target"), "-incoming", "defer"]
        with Vmm(options.binary, incoming, "target", network.target, scratch) as target:
            target.qmp.execute("migrate-incoming", uri=f"tcp:{network.address}:0")
            port = target.qmp.execute("query-migrate")["socket-address"][0]["port"]
            source.qmp.execute("migrate-set-parameters", max_bandwidth=0)
            source.qmp.execute("migrate", uri=f"tcp:{network.address}:{port}")
            info = follow(source)
            if info["status"] != "completed":
                raise RuntimeError(f"the migration {info['status']}: {info.get('error-desc', 'no reason given')}")
            while target.qmp.execute("query-status")["status"] == "inmigrate":
                time.sleep(0.01)
            summary(info, check_memory(options, target, scratch))


def summary(info, checked):
    ram = info["ram"]
    seconds = info["total-time"] / 1e3
    title("Summary")
    say(f"   total       {view.duration(seconds)}")
    say(f"   downtime    {info['downtime']} ms")
    say(f"   sent        {view.size(ram['transferred'])}, {view.size(ram['transferred'] / max(seconds, 1e-3))}/s")
    say(f"   pages       {ram['normal']} sent whole, {ram['duplicate']} zero, {ram['dirty-sync-count']} passes")
    say(f"   memory      {checked}")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--kvm", action="store_true", help="move a boot-sector guest under KVM instead of a synthetic one")
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="RAM of the guest that moves (%(default)s)")
    parser.add_argument("--rate", type=int, default=60, metavar="MIB_PER_S", help="what it writes, 0 = all it can (%(default)s)")
    parser.add_argument("--link", type=int, default=0, metavar="MBIT", help="limit of the link, 0 = none (%(default)s)")
    parser.add_argument("--binary", default=default_binary(), help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse_arguments()
    if options.kvm and not kvm_works():
        sys.exit("demo: --kvm: /dev/kvm is not there or may not be opened")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    network = None
    try:
        with tempfile.TemporaryDirectory(prefix="godwit-demo-") as scratch:
            boot_kernel(options, scratch)
            network = Network(options.link)
            live_migration(options, scratch, network)
    except KeyboardInterrupt:
        say("\ninterrupted; everything was cleaned up")
        return 130
    except (QmpError, RuntimeError, OSError, EOFError) as error:
        say(f"\ndemo: {error}")
        return 1
    finally:
        if network:
            network.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
