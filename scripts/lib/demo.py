# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boots a guest, asks its monitors, and moves a writing guest to another process while it runs, checking its memory.

As root the two sides live in two network namespaces joined by a link that --link shapes; otherwise they meet on
loopback and --link limits the sender. Leaves a report of the move. Ctrl-C at any point leaves nothing behind."""
import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until supervise(): nothing is there yet that would have to be removed

import argparse  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import pathlib  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import textwrap  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402

import guests  # noqa: E402
import network  # noqa: E402
import page  # noqa: E402
import recording  # noqa: E402
import sections  # noqa: E402
import view  # noqa: E402
from follow import follow  # noqa: E402
from guests import BARE, GUESTS, MIB  # noqa: E402
from qmp import QmpError  # noqa: E402
from vmm import Vmm, default_binary  # noqa: E402


class DemoError(RuntimeError):
    """The demo cannot go on; the text says why."""


def say(text=""):
    print(f"   {text}" if text else "", flush=True)


def tell(label, text):
    """A labelled fact, in lines that fit the terminal, at most 80 columns."""
    width = max(24, min(80, shutil.get_terminal_size((80, 24)).columns) - 16)
    for at, line in enumerate(textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)):
        say(f"{label if at == 0 else '':<12}{line}")


def title(text):
    print(f"\n\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def boot_kernel(options, scratch):
    """A kernel is booted under KVM and prints what it was given; both monitors are asked about it."""
    title("1. A guest boots and answers")
    serial = f"{scratch}/kernel.serial"
    pathlib.Path(scratch, "initrd").write_text("the contents of an initrd")
    arguments = ["-machine", "q35", *BARE, "-m", "128M", "-serial", f"file:{serial}", "-name", "godwit-demo"]
    kvm = guests.kvm_works()
    if kvm:
        arguments += ["-accel", "kvm", "-kernel", str(GUESTS / "pvh.elf"), "-initrd", f"{scratch}/initrd",
                      "-append", "hello from the command line"]
    else:
        say("(no /dev/kvm here: the machine is built, its CPU executes nothing)")
        arguments += ["-accel", "qtest"]
    with Vmm(options.binary, arguments, "kernel", scratch=scratch) as vm:
        if kvm:
            for line in guests.wait_for_text(serial, "PASS").splitlines()[:4]:
                say(f"serial  {line}")
        for command in ("query-status", "query-kvm"):
            say(f"QMP     {command}: {vm.qmp.execute(command)}")
        for command in ("info status", "info name"):
            say(f"HMP     {command}: {vm.qmp.hmp(command).strip()}")
        say(f"it ends with exit status {vm.quit()}")


class BootSector:
    """The guest under KVM: it checks every page before it writes it again, and beats on its serial line."""

    def __init__(self, options, scratch):
        self.scratch, self.ram = scratch, (options.size + 64) * MIB
        hot = min(8, options.size // 2)  # of what it touched in the beginning
        self.text = f"boot sector under KVM, {options.size + 64} MiB of RAM, rewriting {hot} MiB as fast as it can"
        guests.write_disk(f"{scratch}/disk", options.size * MIB // 2, hot * MIB)
        self.heart = guests.Heartbeat(scratch)

    def arguments(self, side):
        return guests.boot_arguments(self.scratch, self.ram, side)

    def get_going(self, _vm):
        self.heart.wait("source", 2)

    def check(self, _vm):
        self.heart.wait("target", 12)
        return (f"the guest goes on there and finds every page as it left it; by its own beats it stood still for "
                f"{self.heart.gap() * 1e3:.0f} ms")


class Synth:
    """The synthetic workload: what every page must hold follows from its counters."""

    def __init__(self, options, _scratch):
        self.ram, self.set = options.size * MIB, options.size * MIB // 2
        self.rate = options.rate * MIB
        pace = f"{options.rate} MiB/s" if options.rate else "as fast as they can"
        self.text = f"synthetic workload, {options.size} MiB of RAM, 2 CPUs writing {pace} over {options.size // 2} MiB"

    def arguments(self, _side):
        return guests.synth_arguments(self.ram, self.set, self.rate)

    def get_going(self, vm):
        guests.wait_for_bytes(vm, self.set, 4)

    def check(self, vm):
        vm.qmp.execute("stop")
        result = guests.check_synth(vm)
        return f"{view.count(result['pages-checked'])} pages compared with what the CPUs' counters say, 0 wrong"


def live_migration(options, scratch, net):
    title("2. A guest that keeps writing moves while it runs")
    guest = (BootSector if options.kvm else Synth)(options, scratch)
    say(guest.text)
    limit = f", sender limited to {options.link} Mbit/s" if options.link and not net.source else ""
    say(f"over {net.text}{limit}" + (f", {options.delay:g} ms late each way" if options.delay else ""))
    if net.trouble:
        say(f"({net.trouble})")
    say()
    with Vmm(options.binary, guest.arguments("source"), "source", net.source, scratch) as source:
        guest.get_going(source)
        with Vmm(options.binary, [*guest.arguments("target"), "-incoming", "defer"], "target", net.target, scratch) as target:
            target.qmp.execute("migrate-incoming", uri=f"tcp:{net.address}:0")
            port = int(target.qmp.execute("query-migrate")["socket-address"][0]["port"])
            # Where no link can be shaped, the sender holds itself back.
            bandwidth = 0 if net.source else options.link * 125_000
            if options.delay:
                with network.Relay(net, port, options.delay) as relay:
                    return move(options, guest, source, target, f"tcp:{net.address}:{relay.port}", bandwidth)
            return move(options, guest, source, target, f"tcp:{net.address}:{port}", bandwidth)


def move(options, guest, source, target, uri, bandwidth):
    """Moves, checks, tells and reports; false when the guest writes too fast to be moved."""
    settings = {"max_bandwidth": bandwidth}
    if options.downtime is not None:
        settings["downtime_limit"] = options.downtime
    source.qmp.execute("migrate-set-parameters", **settings)
    source.qmp.execute("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}])
    preflight(source, uri)
    source.qmp.execute("migrate", uri=uri)
    history = follow(source.qmp, sys.stdout, interval=0.1, indent="   ", patience=options.patience)
    status = history.info["status"]
    if status == "completed":
        while target.qmp.execute("query-status")["status"] == "inmigrate":
            time.sleep(0.01)
        checked = guest.check(target)
    elif status == "failed":
        raise DemoError(f"the migration failed: {history.info.get('error-desc', 'no reason given')}")
    else:
        checked = give_up(options, guest, source)
    title("Summary")
    for label, text in summary(history.info, checked):
        tell(label, text)
    sides = [recording.side_of(source.qmp, history, "source")]
    if status == "completed":
        sides.append(recording.side_of(target.qmp, role="target"))
    leave_report(options, guest, sides, checked)
    return status == "completed"


def preflight(source, uri):
    """Compares both machines and measures the way before anything moves."""
    try:
        if recording.ask(source.qmp, "migrate-check", uri=uri) is None:
            return
    except QmpError as error:
        tell("check", f"left out: {error}")
        say()
        return
    while (found := source.qmp.execute("query-migrate-check"))["status"] == "running":
        time.sleep(0.02)
    if found["status"] == "failed":
        tell("check", found.get("error-desc", "failed"))
    else:
        told = [f"{what} {said}" for what, said in sections.check_words(found) if what != "peer"]
        tell("check", f"{found['verdict']}: {', '.join(told)}")
        for difference in found.get("differences", ()):
            tell("", difference["desc"])
    say()


def give_up(options, guest, source):
    """Cancels; the guest runs on where it was."""
    source.qmp.execute("migrate_cancel")
    while source.qmp.execute("query-migrate")["status"] not in view.ENDED:
        time.sleep(0.01)
    say()
    say(f"Not over after {options.patience:g} s (--patience): cancelled. The guest runs on at the source:")
    running = source.qmp.execute("query-status")["status"]
    return f"guest {running} at the source" + ("" if options.kvm else f"; {guest.check(source)}")


def summary(info, checked):
    """What a person can quote: labels and texts."""
    ram = info["ram"]
    seconds = info["total-time"] / 1e3
    if "downtime" in info:
        yield "total", view.duration(seconds)
        foretold = info.get("x-downtime", {}).get("predicted")
        yield "downtime", f"{info['downtime']} ms{downtime_parts(info)}" + (f"; predicted {foretold:.1f}" if foretold else "")
    else:
        yield "given up", f"after {view.duration(seconds)}, {ram['dirty-sync-count']} passes"
    yield "throughput", f"{view.size(ram['transferred'] / max(seconds, 1e-3))}/s, {view.size(ram['transferred'])} in all"
    pages = ram["total"] // ram["page-size"]
    skipped = max(0, pages - ram["normal"])  # a page that was sent twice hides one that was not sent at all
    sent = f"{view.count(ram['normal'])} sent in {ram['dirty-sync-count']} passes"
    yield "pages", f"{sent}, at least {view.count(skipped)} of {view.count(pages)} skipped" if "downtime" in info else sent
    yield "memory", checked


def downtime_parts(info):
    kinds = {}
    for part in info.get("x-downtime", {}).get("parts", ()):
        kinds[part["kind"]] = kinds.get(part["kind"], 0) + part.get("duration-us", 0)
    if not kinds:
        return ""
    return " = " + " + ".join(f"{kind}\xa0{took / 1e3:.1f}" for kind, took in kinds.items() if took >= 50)


def leave_report(options, guest, sides, checked):
    kept = recording.save(record_of(options.report), sides, title=guest.text, checked=checked)
    pathlib.Path(options.report).write_text(page.render(kept))
    tell("report", options.report)


def record_of(report):
    """Where the raw record goes: beside the page."""
    return pathlib.Path(report).with_suffix(".json")


def why_not_written(report):
    """A reason why the page or its record could not be kept, None where they can."""
    page_at = pathlib.Path(report)
    if not page_at.name:
        return "the page needs a name"
    record_at = record_of(report)
    if page_at == record_at:
        return f"{report}: the raw record goes to {record_at}, the page needs another name"
    if not page_at.parent.is_dir():
        return f"{page_at.parent} is not a directory"
    for path in (page_at, record_at):
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            return f"{path} cannot be written; name another place"
    return None


def number(kind, least, most=math.inf, above=False):
    """A type for argparse: a finite number in a range, `least` itself left out where it must be above."""
    def convert(text):
        value = kind(text)
        if not least <= value <= most or not math.isfinite(value) or (above and value == least):
            upper = f" and at most {most:.0f}" if most < math.inf else ""
            raise argparse.ArgumentTypeError(f"must be {'more than' if above else 'at least'} {least:g}{upper}")
        return value
    convert.__name__ = kind.__name__  # for "invalid int value"
    return convert


def available_mib():
    """What the host can still give, None where it does not tell."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return None


def parse_arguments():
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    whole, real = number(int, 0), number(float, 0)
    parser.add_argument("--kvm", action="store_true", help="move a boot-sector guest under KVM instead of a synthetic one")
    parser.add_argument("--size", type=number(int, 8), default=512, metavar="MIB", help="RAM of the guest that moves (%(default)s)")
    parser.add_argument("--rate", type=whole, default=60, metavar="MIB_PER_S",
                        help="what it writes, 0 = all it can, as the one under --kvm always does (%(default)s)")
    parser.add_argument("--link", type=number(int, 0, 1_000_000), default=1000, metavar="MBIT", help="limit of the link, 0 = none (%(default)s)")
    parser.add_argument("--delay", type=real, default=0, metavar="MS", help="what each way of the link takes (%(default)s)")
    parser.add_argument("--downtime", type=number(int, 0, 2_000_000), metavar="MS", help="downtime limit of the migration (its default)")
    parser.add_argument("--patience", type=number(float, 0, above=True), default=20, metavar="S", help="give up after so long (%(default)s)")
    parser.add_argument("--report", default="report.html", metavar="FILE", help="where the report goes (%(default)s)")
    parser.add_argument("--skip-boot", action="store_true", help="only move, do not boot the first guest")
    parser.add_argument("--binary", default=default_binary(), help=argparse.SUPPRESS)
    parser.add_argument("--check-options", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kvm and not guests.kvm_works():
        parser.error("--kvm: /dev/kvm is not there or may not be opened")
    # Each side comes to hold the half of the memory that the guest writes to.
    if (available := available_mib()) is not None and options.size > available:
        parser.error(f"--size: this host has {available} MiB of memory available")
    if trouble := why_not_written(options.report):
        parser.error(f"--report: {trouble}")
    return options


def work(options, scratch, mark):
    """The demo itself; its exit status."""
    try:
        if not options.skip_boot:
            boot_kernel(options, scratch)
        with network.Network(options.link, mark) as net:
            return 0 if live_migration(options, scratch, net) else 3
    except KeyboardInterrupt:
        return 130
    except (DemoError, QmpError, RuntimeError, OSError, EOFError) as error:
        print(f"\ndemo: {error}", file=sys.stderr, flush=True)
        return 1


class Interrupted(Exception):
    """A signal asks the demo to end."""


def supervise(options):
    """Runs work() in a session of its own, and afterwards removes what it may have left: every name is known here, and
    every process of it is in its group. So a signal may come at any instant."""
    mark = f"gwd{os.getpid()}"
    asked = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda which, _frame: asked.append(which))
    scratch = tempfile.mkdtemp(prefix="godwit-demo-")
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.default_int_handler)
            status = work(options, scratch, mark)
        except BaseException:  # this process must not run into its parent's code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    status = wait_for(child, asked)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    network.remove(network.names_of(mark))
    shutil.rmtree(scratch, ignore_errors=True)
    if asked:
        print("\ninterrupted; everything was cleaned up", flush=True)
        return 128 + asked[0]
    return status


def wait_for(child, asked):
    """The child's exit status. A signal is passed on once; a child that does not end soon after is not waited for."""
    told_at = None
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if asked and told_at is None:
            os.kill(child, signal.SIGINT)
            told_at = time.monotonic()
        if told_at is not None and time.monotonic() - told_at > 3:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 1
        time.sleep(0.02)


def main():
    if sys.stdout is None:  # closed: who started us does not want to hear
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    options = parse_arguments()
    return 0 if options.check_options else supervise(options)


if __name__ == "__main__":
    sys.exit(main())
