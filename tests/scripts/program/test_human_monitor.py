# SPDX-License-Identifier: LGPL-2.1-or-later
"""`info migrate` of the human monitor tells the facts that the live view shows: both are asked about the same moves."""
import pathlib
import re
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
import follow  # noqa: E402
import guests  # noqa: E402
import view  # noqa: E402
from vmm import Vmm, default_binary  # noqa: E402

MIB = 1 << 20
# A row of the view, and what the human monitor says instead.
WHILE_IT_RUNS = {
    "left of": ("remaining ram: ", "total ram: ", "transferred ram: "),
    "found zero": ("normal: ", "duplicate: "),
    "wire  ": ("throughput: ",),
    "guest  ": ("guest writes: ",),
    "ends  ": ("forecast: ",),
    "verdict  ": ("forecast: ",),
    "pass ": ("dirty sync count: ",),
}


class Move:
    """A guest that writes all it can over 8 MiB/s; both looks at its source and its target."""

    def __init__(self, scratch):
        words = guests.synth_arguments(64 * MIB, 32 * MIB)
        self.source = Vmm(default_binary(), words, "source", scratch=scratch)
        self.target = Vmm(default_binary(), [*words, "-incoming", "defer"], "target", scratch=scratch)
        self.history = view.History()
        guests.wait_for_bytes(self.source, 32 * MIB, 1)
        for vm in (self.source, self.target):
            vm.qmp.execute("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in ("events", "return-path")])
        self.source.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 8 * MIB, "downtime-limit": 100})
        self.target.qmp.execute("migrate-incoming", uri="tcp:127.0.0.1:0")
        port = self.target.qmp.execute("query-migrate")["socket-address"][0]["port"]
        self.source.qmp.execute("migrate", uri=f"tcp:127.0.0.1:{port}")

    def wait(self, event, wanted):
        while self.source.qmp.wait_event(event, 60)["data"].get("status") not in wanted:
            pass

    def look(self, vm):
        """What the view shows, and what the monitor says."""
        info = vm.qmp.execute("query-migrate")
        if "ram" not in info:
            follow.add_received(info, vm.qmp.execute("query-migrate-timeline", last=1))
        self.history.add(time.monotonic(), info)
        shown = "\n".join(str(line) for line in view.screen(self.history, "running", 100, width=240))
        return info, shown, vm.qmp.hmp("info migrate").replace("\r", "")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.source.kill()
        self.target.kill()


class SameFacts(unittest.TestCase):
    def number(self, pattern, text):
        found = re.search(pattern, text, re.MULTILINE)
        self.assertTrue(found, f"{pattern} in\n{text}")
        return float(found.group(1))

    def test_while_it_runs_and_when_it_is_over(self):
        with tempfile.TemporaryDirectory(prefix="godwit-") as scratch, Move(scratch) as move:
            # Such a guest goes on moving until it may stand still for longer.
            move.source.qmp.wait_event("MIGRATION_FORECAST", 60)
            move.look(move.source)
            info, shown, told = move.look(move.source)
            self.assertEqual(info["status"], "active")
            for row, lines in WHILE_IT_RUNS.items():
                self.assertIn(row, shown)
                for line in lines:
                    self.assertIn(f"\n{line}", told)
            self.assertIn("%", shown)
            for line in ("progress", "channel main"):
                self.assertIn(f"\n{line}: ", told)
            self.assertIn("the guest writes faster than the wire carries", shown)
            self.assertIn("\nwarning: the guest writes faster than the wire carries", told)
            _, _, there = move.look(move.target)
            self.assertIn("\nreceived: ", there)
            self.assertIn("\nchannel main: ", there)
            move.source.qmp.execute("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": 100_000})
            move.wait("MIGRATION", ("completed",))
            info, shown, told = move.look(move.source)
            self.assertEqual(self.number(r"downtime +(\d+) ms", shown), self.number(r"^downtime: (\d+) ms", told))
            parts = re.search(r"downtime +\d+ ms  (.*)", shown).group(1).strip()
            self.assertIn(f"downtime parts: {parts} ms; predicted ", told)
            self.assertIn("\nprogress: 100 %", told)
            self.assertIn("\nforecast at ", told)
            while move.target.qmp.execute("query-status")["status"] == "inmigrate":
                time.sleep(0.01)
            move.history = view.History()
            _, shown, there = move.look(move.target)
            self.assertEqual(self.number(r"loaded +(\d+) device", shown), self.number(r"^loaded: (\d+) device", there))


if __name__ == "__main__":
    unittest.main()
