# SPDX-License-Identifier: LGPL-2.1-or-later
"""The forecast over a real link: two network namespaces with a token bucket between them, synth guests at known rates."""
import contextlib
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
    def judged(self, workload, verdict):
        """A move whose first verdict is this, within the second pass, and that verdict. A guest or a wire that gets no CPU on
        a busy host is rightly taken for a slow one: such a move is given up, and another begun."""
        for _ in range(5):
            with tempfile.TemporaryDirectory(prefix="godwit-") as scratch, Move(self.net, scratch, workload) as move:
                found = move.verdict()
                if found["verdict"] == verdict and found["pass"] <= 2:
                    self.assertLess(found["wire-rate"], 1.5 * LINK * 125_000, found)
                    yield move, found
                    return
                move.cancel()
        self.fail(f"the last of five first verdicts: {found}")

    def test_a_slow_writer_converges_and_the_forecast_is_scored(self):
        with self.judged("start=48M,working-set=24M,rate=5M", "converges") as (move, found):
            self.assertIn("time-left-min", found)
            self.assertEqual(move.wait("completed", "failed"), "completed")
            score = move.scores()[0]
            self.assertIs(score["correct"], True, score)
            self.assertIn("in-range", score)
            self.assertGreater(score["total-time"], score["given-at"])
            move.target.qmp.execute("stop")
            self.assertGreater(check_synth(move.target)["pages-checked"], 0)

    def test_a_faster_writer_is_told_the_downtime_it_needs(self):
        with self.judged("start=48M,working-set=40M,rate=160M", "above-downtime") as (move, found):
            self.assertGreater(found["downtime-needed"], 300)
            move.cancel()
            self.assertNotIn("correct", move.scores()[0])

    def test_a_writer_of_everything_never_converges(self):
        with self.judged("working-set=96M", "never") as (move, _):
            move.cancel()


if __name__ == "__main__":
    unittest.main()
