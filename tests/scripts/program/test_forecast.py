# SPDX-License-Identifier: LGPL-2.1-or-later
"""The forecast over a real link: two network namespaces with a token bucket between them, synth guests at known rates."""
import contextlib
import pathlib
import socket
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
import network  # noqa: E402
from guests import BARE, MIB, check_synth  # noqa: E402
from vmm import Vmm, default_binary  # noqa: E402

LINK = 400  # Mbit/s
WIRE = 46  # MiB/s of it that are left for TCP's payload
STILL, RAM = 48 * MIB, 96 * MIB


def fill(path, count):
    """Writes the first `count` bytes of the guest's memory once, over the qtest protocol."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(f"memset 0x0 {count:#x} 0x5a\n".encode())
        if not sock.recv(64).startswith(b"OK"):
            raise RuntimeError("qtest: memset failed")


class Move:
    """A guest whose first 48 MiB lie still, with a workload behind them, that began to move."""

    def __init__(self, net, scratch, workload):
        arguments = ["-machine", "none", "-m", f"{RAM // MIB}M", *BARE, "-accel", f"synth,{workload}"]
        self.source = Vmm(default_binary(), [*arguments, "-qtest", f"unix:{scratch}/qtest,server=on,wait=off"], "source", net.source, scratch)
        self.target = Vmm(default_binary(), [*arguments, "-incoming", "defer"], "target", net.target, scratch)
        fill(f"{scratch}/qtest", STILL)
        self.target.qmp.execute("migrate-incoming", uri=f"tcp:{net.address}:0")
        port = self.target.qmp.execute("query-migrate")["socket-address"][0]["port"]
        self.source.qmp.execute("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in ("events", "return-path")])
        self.source.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": 300})
        self.before, self.began = self.bytes_written(), time.monotonic()
        self.source.qmp.execute("migrate", uri=f"tcp:{net.address}:{port}")

    def bytes_written(self):
        return sum(cpu["bytes-written"] for cpu in self.source.qmp.execute("x-query-synth"))

    def written(self):
        """MiB/s that the guest wrote since the move began."""
        return (self.bytes_written() - self.before) / MIB / (time.monotonic() - self.began)

    def verdict(self):
        """The first that is given."""
        return self.source.qmp.wait_event("MIGRATION_FORECAST", 60)["data"]

    def cancel(self):
        self.source.qmp.execute("migrate_cancel")
        self.wait("cancelled")

    def wait(self, *statuses):
        while (found := self.source.qmp.wait_event("MIGRATION", 60)["data"]["status"]) not in statuses:
            pass
        return found

    def scores(self):
        return self.source.qmp.execute("query-migrate-timeline", last=1)[0]["forecast"]["scores"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.source.kill()
        self.target.kill()


@unittest.skipUnless(network.may_build(), "only root may make network namespaces, with ip and tc")
class ForecastOverALink(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.net = network.Network(LINK)
        if cls.net.trouble:
            cls.net.close()
            raise unittest.SkipTest(cls.net.trouble)

    @classmethod
    def tearDownClass(cls):
        cls.net.close()

    @contextlib.contextmanager
    def judged(self, workload, rate, verdict):
        """A move, and its first verdict, which must be this within the second pass. `rate` in MiB/s, None for all the guest
        can. Only where the machine ran neither guest nor wire as fast as they should be, which is measured, a move does not
        count and another is begun; if that happens all the time, the test is skipped and says so."""
        least, carried = rate * 0.8 if rate else WIRE * 5, None
        for _ in range(5):
            with tempfile.TemporaryDirectory(prefix="godwit-") as scratch, Move(self.net, scratch, workload) as move:
                found = move.verdict()
                wrote, carried = move.written(), found["wire-rate"] / MIB
                if wrote < least or not 0.75 * WIRE < carried < 1.25 * WIRE:
                    move.cancel()
                    continue
                self.assertEqual(found["verdict"], verdict, found)
                self.assertLessEqual(found["pass"], 2, found)
                yield move, found
                return
        self.skipTest(f"this machine did not run us: the guest wrote {wrote:.1f} MiB/s of {least:.1f} at least, "
                      f"the wire carried {carried:.1f} of {WIRE:.1f}")

    def test_a_slow_writer_converges_and_the_forecast_is_scored(self):
        with self.judged("start=48M,working-set=24M,rate=5M", 5, "converges") as (move, found):
            self.assertIn("time-left-min", found)
            self.assertEqual(move.wait("completed", "failed"), "completed")
            score = move.scores()[0]
            self.assertIs(score["correct"], True, score)
            self.assertIn("in-range", score)
            self.assertGreater(score["total-time"], score["given-at"])
            move.target.qmp.execute("stop")
            self.assertGreater(check_synth(move.target)["pages-checked"], 0)

    def test_a_faster_writer_is_told_the_downtime_it_needs(self):
        with self.judged("start=48M,working-set=40M,rate=160M", 160, "above-downtime") as (move, found):
            self.assertGreater(found["downtime-needed"], 300)
            move.cancel()
            self.assertNotIn("correct", move.scores()[0])

    def test_a_writer_of_everything_never_converges(self):
        with self.judged("working-set=96M", None, "never") as (move, _):
            move.cancel()


if __name__ == "__main__":
    unittest.main()
