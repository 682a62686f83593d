# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pictures and tables of the benchmarks say what was measured."""
import pathlib
import sys
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


if __name__ == "__main__":
    unittest.main()
