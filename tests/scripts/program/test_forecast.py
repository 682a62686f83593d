# SPDX-License-Identifier: LGPL-2.1-or-later
"""The forecast over a real link: two network namespaces with a token bucket between them, synth guests at known rates."""
import pathlib
import socket
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
import network  # noqa: E402
from guests import BARE, MIB, check_synth  # noqa: E402
from vmm import Vmm, default_binary  # noqa: E402

LINK = 400  # Mbit/s, which are 47.7 MiB/s
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
        self.source.qmp.execute("migrate", uri=f"tcp:{net.address}:{port}")

    def await_verdict(self, verdict):
        """A guest that gets no CPU for a while, on a busy host, is rightly taken for one that does not write; then this
        verdict comes as the second."""
        return self.source.qmp.wait_event("MIGRATION_FORECAST", 60, {"verdict": verdict})["data"]

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

    def expect(self, move, verdict):
        found = move.await_verdict(verdict)
        self.assertLessEqual(found["pass"], 2, found)
        self.assertLess(found["wire-rate"], 1.5 * LINK * 125_000, found)
        return found

    def test_a_slow_writer_converges_and_the_forecast_is_scored(self):
        with tempfile.TemporaryDirectory(prefix="godwit-") as scratch, Move(self.net, scratch, "start=48M,working-set=24M,rate=5M") as move:
            found = self.expect(move, "converges")
            self.assertIn("time-left-min", found)
            self.assertEqual(move.wait("completed", "failed"), "completed")
            scores = move.scores()
            self.assertIs(scores[-1]["correct"], True, scores)
            self.assertIn("in-range", scores[-1])
            self.assertGreater(scores[-1]["total-time"], scores[-1]["given-at"])
            move.target.qmp.execute("stop")
            self.assertGreater(check_synth(move.target)["pages-checked"], 0)

    def test_a_faster_writer_is_told_the_downtime_it_needs(self):
        with tempfile.TemporaryDirectory(prefix="godwit-") as scratch, Move(self.net, scratch, "start=48M,working-set=40M,rate=160M") as move:
            found = self.expect(move, "above-downtime")
            self.assertGreater(found["downtime-needed"], 300)
            move.source.qmp.execute("migrate_cancel")
            move.wait("cancelled")
            self.assertNotIn("correct", move.scores()[0])

    def test_a_writer_of_everything_never_converges(self):
        with tempfile.TemporaryDirectory(prefix="godwit-") as scratch, Move(self.net, scratch, "working-set=96M") as move:
            self.expect(move, "never")
            move.source.qmp.execute("migrate_cancel")
            move.wait("cancelled")


if __name__ == "__main__":
    unittest.main()
