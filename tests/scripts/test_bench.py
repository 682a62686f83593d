# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pictures and tables of the benchmarks say what was measured."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts" / "lib"), str(ROOT / "tests" / "bench")]
import plotting  # noqa: E402

FIGURES = {"total": 1.0, "cpu": 0.5, "stop-to-resume": 12.0}
SERIES = {"eighth": {"title": "RAM", "axis": "bytes", "points": [
    {"x": 256 << 20, "test": FIGURES, "reference": {name: 2 * value for name, value in FIGURES.items()}},
    {"x": 16 << 30, "test": {name: 4 * value for name, value in FIGURES.items()}}]}}
ROW = {"name": "bulk-total", "unit": "s", "promise": 0.5, "limit": None, "medians": {"test": 1.0, "reference": 4.0},
       "spread": {"test": 0.01, "reference": 0.02}, "ratio": 0.25, "broken": False}


class Plots(unittest.TestCase):
    def test_each_figure_of_a_series_is_a_picture_with_its_programs_and_ends(self):
        made = plotting.growth(SERIES)
        self.assertEqual(sorted(made), ["growth-eighth-cpu.svg", "growth-eighth-stop-to-resume.svg", "growth-eighth-total.svg"])
        root = xml.fromstring(made["growth-eighth-total.svg"])
        texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
        for text in ("Godwit", "QEMU 10.0.2", "256 MiB", "16 GiB", "4 s"):
            self.assertIn(text, texts)
        spots = [node for node in root.iter("{http://www.w3.org/2000/svg}circle")]
        self.assertEqual(len(spots), 3)
        low, high = (float(node.get("cy")) for node in spots[:2])
        self.assertGreater(low, high)

    def test_ratios_are_bars_as_long_as_they_are(self):
        root = xml.fromstring(plotting.ratios([ROW, ROW | {"name": "half", "ratio": 0.5}]))
        bars = [float(node.get("width")) for node in root.iter("{http://www.w3.org/2000/svg}rect") if node.get("rx") == "2"]
        self.assertAlmostEqual(bars[1] / bars[0], 2, places=1)

    def test_tables_hold_the_figures_and_name_broken_promises(self):
        self.assertIn("| bulk-total | 1 s ± 1% | 4 s ± 2% | 0.25 | 0.5 |", plotting.rows_table([ROW]))
        self.assertIn("**broken**", plotting.rows_table([ROW | {"broken": True}]))
        self.assertIn("| 16 GiB | 4 s |  |", plotting.growth_table(SERIES["eighth"]))

    def test_a_page_shows_every_picture_that_is_drawn(self):
        shown = plotting.page([ROW], SERIES, "images")
        for name in ["ratios.svg", *plotting.growth(SERIES)]:
            self.assertIn(f"(images/{name})", shown)


INSIGHT = {"slow": {"what": "a guest", "total": {"with": 1.01, "without": 1.0, "ratio": 1.01, "error": 0.02},
                    "cpu": {"with": 0.5, "without": 0.5, "ratio": 1.0, "error": 0.01},
                    "counted": {"events": 30, "windows": 40, "seconds": 2e-4, "share": 2e-4}}}

# In place of each measurement: it keeps a figure for what is asked for, unless that is one that fails.
STUB = f"""#!{sys.executable}
import json, sys
words = sys.argv[1:]
if {{"hot", "cpus"}} & set(words):
    sys.exit("it broke")
row, series, insight = {ROW!r}, {SERIES["eighth"]!r}, {INSIGHT["slow"]!r}
if "--json" in words:
    kind, name = words[0].rsplit("/", 1)[1], words[-1]
    name = next((w for w in words if w in ("resting", "slow", "kvm")), name)
    made = {{"run": {{"rows": [row | {{"name": name + "-total"}}]}}, "grow": {{name: series}}, "insight": {{"insight": {{name: insight}}}}}}
    json.dump(made[kind], open(words[words.index("--json") + 1], "w"))
"""


class Run(unittest.TestCase):
    def test_what_makes_no_sense_is_one_clear_line_before_anything_is_measured(self):
        with tempfile.TemporaryDirectory(prefix="godwit-") as scratch:
            pathlib.Path(scratch, "other").write_text("{}")
            for words, told in ((("--rounds", "0"), "must be at least 1"), (("--against", f"{scratch}/none"), "No such file"),
                                (("--against", f"{scratch}/other"), "not what --json keeps"), (("--json", f"{scratch}/none/x"), "not a directory"),
                                (("--reference", f"{scratch}/none"), "is not there"), (("nothing",), "no benchmark is called nothing")):
                with self.subTest(words=words):
                    ran = subprocess.run([str(ROOT / "tests" / "bench" / "run"), "--binary", "/bin/true", "--reference", "/bin/true", *words],
                                         capture_output=True, text=True, timeout=60)
                    self.assertNotEqual(ran.returncode, 0)
                    self.assertIn(told, ran.stderr.splitlines()[-1])
                    self.assertNotIn("Traceback", ran.stderr)

    def test_a_program_that_cannot_be_measured_is_told(self):
        ran = subprocess.run([str(ROOT / "tests" / "bench" / "run"), "--binary", "/bin/true", "--reference", "/bin/true", "--rounds", "1", "idle"],
                             capture_output=True, text=True, timeout=60)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("run: idle: /bin/true did not come up", ran.stderr)


class Everything(unittest.TestCase):
    def test_what_breaks_costs_nothing_else_and_is_told(self):
        with tempfile.TemporaryDirectory(prefix="godwit-") as scratch:
            folder = pathlib.Path(scratch)
            page = folder / "performance.md"
            page.write_text((ROOT / "docs" / "performance.md").read_text())
            (folder / "stub").write_text(STUB)
            (folder / "stub").chmod(0o755)
            ran = subprocess.run([str(ROOT / "tests" / "bench" / "everything"), "2", str(page)], capture_output=True, text=True,
                                 env=os.environ | {"GODWIT_BENCH_RUN": f"{scratch}/stub", "GODWIT_BENCH_KEPT": f"{scratch}/kept"})
            self.assertEqual(ran.returncode, 1, ran.stderr)
            self.assertIn("not measured, or not in full: hot cpus", ran.stderr)
            shown = page.read_text()
            for name in ("start", "idle", "qmp", "bulk", "sparse", "blocks", "small", "shaped"):
                self.assertIn(f"| {name}-total | 1 s", shown)
            self.assertNotIn("| hot-total |", shown)
            for picture in ("ratios", "growth-sixteenth-total", "growth-whole-cpu", "growth-writers-stop-to-resume"):
                self.assertIn(f"images/{picture}.svg", shown)
                self.assertTrue((folder / "images" / f"{picture}.svg").exists(), picture)
            self.assertIn("| slow: a guest | total | 1.0100 s | 1.0000 s | 1.0100 ± 0.0200 | 30 events, 40 samples and verdicts: 200 us, 0.020% of the total |",
                          shown)


if __name__ == "__main__":
    unittest.main()
