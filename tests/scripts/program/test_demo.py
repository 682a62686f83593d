# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demo, the live view and the report with the real program (GODWIT_BINARY, else the release build)."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
import guests  # noqa: E402
import page  # noqa: E402
from vmm import Vmm, default_binary  # noqa: E402

DEMO = [sys.executable, str(ROOT / "scripts" / "lib" / "demo.py"), "--skip-boot"]
MIB = 1 << 20
PATIENCE = 60 * float(os.environ.get("GODWIT_TEST_PATIENCE", "1"))


def start_demo(scratch, *options):
    """In a session of its own, as a shell with job control would start it, and with SIGINT as usual."""
    environment = os.environ | {"TMPDIR": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen([*DEMO, "--report", f"{scratch}/report.html", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, env=environment, cwd=ROOT, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


def left_behind(scratch, process):
    """What still names the demo's scratch directory, and its namespaces."""
    found = [name for name in os.listdir(scratch) if name.startswith("godwit")]
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if scratch in entry.read_text().replace("\0", " "):
                found.append(entry.read_text().replace("\0", " "))
        except OSError:
            pass
    spaces = pathlib.Path("/run/netns")
    return found + ([name for name in os.listdir(spaces) if name.startswith(f"gwd{process.pid}")] if spaces.is_dir() else [])


class Demo(unittest.TestCase):
    def test_it_moves_checks_tells_and_reports(self):
        with tempfile.TemporaryDirectory(prefix="looking-") as scratch:
            demo = start_demo(scratch, "--size", "64", "--rate", "20", "--delay", "5")
            said, _ = demo.communicate(timeout=PATIENCE)
            self.assertEqual(demo.returncode, 0, said)
            for words in ("completed", "total  ", "downtime  ", "throughput  ", "pages  ", "0 wrong", "report.html"):
                self.assertIn(words, said)
            self.assertEqual(left_behind(scratch, demo), [])
            kept = json.loads(page.extract(pathlib.Path(scratch, "report.html").read_text()))
            self.assertEqual([side["info"]["status"] for side in kept["sides"]], ["completed", "completed"])
            self.assertEqual(json.loads(pathlib.Path(scratch, "report.json").read_text()), kept)

    @unittest.skipUnless(guests.kvm_works(), "/dev/kvm may not be used")
    def test_a_guest_under_kvm_tells_the_gap_by_its_own_beats(self):
        with tempfile.TemporaryDirectory(prefix="looking-") as scratch:
            demo = start_demo(scratch, "--size", "32", "--kvm")
            said, _ = demo.communicate(timeout=PATIENCE)
            self.assertEqual(demo.returncode, 0, said)
            self.assertRegex(said.replace("\n", " "), r"by\s+its own beats it stood still for\s+\d+ ms")
            self.assertEqual(left_behind(scratch, demo), [])

    def test_a_guest_that_is_too_fast_is_given_up_and_runs_on(self):
        with tempfile.TemporaryDirectory(prefix="looking-") as scratch:
            demo = start_demo(scratch, "--size", "128", "--rate", "0", "--link", "200", "--downtime", "1", "--patience", "2")
            said, _ = demo.communicate(timeout=PATIENCE)
            self.assertEqual(demo.returncode, 3, said)
            self.assertIn("guest running at the source", said)
            self.assertIn("0 wrong", said)

    def test_an_interrupt_at_any_phase_leaves_nothing(self):
        for phase in ("2. A guest", "over ", "active", "Summary"):
            with self.subTest(phase=phase), tempfile.TemporaryDirectory(prefix="looking-") as scratch:
                # Over the slow link the move never ends by itself, however late the signal comes.
                link = "1000" if phase == "Summary" else "40"
                demo = start_demo(scratch, "--size", "256", "--rate", "40", "--delay", "5", "--link", link)
                for line in demo.stdout:
                    if phase in line:
                        break
                os.kill(demo.pid, signal.SIGINT)
                began = time.monotonic()
                demo.stdout.read()
                demo.stdout.close()
                status = demo.wait(30)
                self.assertLess(time.monotonic() - began, 10)
                self.assertIn(status, (130, 0) if phase == "Summary" else (130,))
                self.assertEqual(left_behind(scratch, demo), [])


class Watch(unittest.TestCase):
    def test_what_was_seen_of_a_program_that_died_is_kept(self):
        busy = guests.synth_arguments(32 * MIB, 8 * MIB)  # all it can: over 1 MiB/s it never gets across
        with tempfile.TemporaryDirectory(prefix="looking-") as scratch, \
                Vmm(default_binary(), [*busy, "-qmp", f"unix:{scratch}/watched,server=on,wait=off"], "s", scratch=scratch) as source, \
                Vmm(default_binary(), [*busy, "-incoming", "defer"], "t", scratch=scratch) as target:
            guests.wait_for_bytes(source, 16 * MIB, PATIENCE)
            target.qmp.execute("migrate-incoming", uri="tcp:127.0.0.1:0")
            port = target.qmp.execute("query-migrate")["socket-address"][0]["port"]
            source.qmp.execute("migrate-set-parameters", max_bandwidth=MIB)
            source.qmp.execute("migrate", uri=f"tcp:127.0.0.1:{port}")
            watch = subprocess.Popen([str(ROOT / "scripts" / "watch"), f"{scratch}/watched", "--record", f"{scratch}/seen.json"],
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            first = watch.stdout.readline()
            source.process.kill()
            said, _ = watch.communicate(timeout=PATIENCE)
            self.assertEqual(watch.returncode, 1, first + said)
            self.assertIn("what was seen until then is in", said)
            made = subprocess.run([str(ROOT / "scripts" / "report"), f"{scratch}/seen.json", "-o", "-"], capture_output=True, text=True)
            self.assertIn("the program went away while the migration was", made.stdout, made.stderr)

    def test_both_sides_are_shown_as_lines_and_recorded(self):
        with tempfile.TemporaryDirectory(prefix="looking-") as scratch:
            def arguments(side):
                return [*guests.synth_arguments(32 * MIB, 8 * MIB, MIB), "-qmp", f"unix:{scratch}/{side}.watch,server=on,wait=off"]
            with Vmm(default_binary(), arguments("s"), "s", scratch=scratch) as source, \
                    Vmm(default_binary(), [*arguments("t"), "-incoming", "defer"], "t", scratch=scratch) as target:
                watches = {side: subprocess.Popen([str(ROOT / "scripts" / "watch"), f"{scratch}/{side}.watch", "--wait", "30", "--interval", "0.02",
                                                   "--record", f"{scratch}/{side}.json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                           for side in "st"}
                target.qmp.execute("migrate-incoming", uri="tcp:127.0.0.1:0")
                port = target.qmp.execute("query-migrate")["socket-address"][0]["port"]
                source.qmp.execute("migrate", uri=f"tcp:127.0.0.1:{port}")
                for side, watch in watches.items():
                    said, _ = watch.communicate(timeout=PATIENCE)
                    self.assertEqual(watch.returncode, 0, said)
                    self.assertIn("completed", said.splitlines()[-1])
                    self.assertEqual(json.loads(pathlib.Path(scratch, f"{side}.json").read_text())["sides"][0]["info"]["status"], "completed")
            made = subprocess.run([str(ROOT / "scripts" / "report"), f"{scratch}/s.json", f"{scratch}/t.json", "-o", "-"], capture_output=True, text=True)
            self.assertEqual(made.returncode, 0, made.stderr)
            self.assertIn("At the destination", made.stdout)


if __name__ == "__main__":
    unittest.main()
