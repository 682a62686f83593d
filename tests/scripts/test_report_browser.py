# SPDX-License-Identifier: LGPL-2.1-or-later
"""The report in a real browser. GODWIT_SCREENSHOTS=DIRECTORY keeps what it looked like."""
import os
import pathlib
import struct
import sys
import tempfile
import unittest
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts" / "lib"), str(ROOT / "tests" / "scripts")]
import chromium  # noqa: E402
import page  # noqa: E402
import sample  # noqa: E402

# The text that is shown, with the colour it has on its ground: WCAG's contrast, the least of the page.
CONTRAST = """(() => {
  const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = c => {
    const [r, g, b] = c.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(c)) return c;
    }
    return 'rgb(255,255,255)';
  };
  let least = 99;
  for (const e of document.querySelectorAll('p, h1, h2, h3, td, th, dt, dd, small, .label, .figure, .key, .ticks span, .scale span')) {
    if (!e.textContent.trim()) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()"""


def colours(png):
    """How many different bytes the first rows of pixels hold: a blank page has one or two."""
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IDAT":
            data += png[at + 8:at + 8 + length]
        at += length + 12
    return len(set(zlib.decompress(data)))


@unittest.skipIf(chromium.why_missing(), chromium.why_missing())
class ReportInChromium(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="godwit-report-")
        cls.path = pathlib.Path(cls.scratch.name, "report.html")
        cls.path.write_text(page.render(sample.recording(checked="65 536 pages, 0 wrong")))
        cls.browser = chromium.Chromium()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.scratch.cleanup()

    def keep(self, name, data):
        if directory := os.environ.get("GODWIT_SCREENSHOTS"):
            pathlib.Path(directory, name).write_bytes(data)

    def test_it_shows_its_content_and_complains_of_nothing(self):
        self.browser.open(self.path)
        shown = self.browser.value("document.body.innerText")
        for words in ("A guest of 512 MiB", "52.2 ms", "Timeline", "At the destination", "kvm-cpu", "Pages by kind", "Forecast", "65 536 pages, 0 wrong"):
            self.assertIn(words, shown)
        self.assertEqual(self.browser.complaints, [])
        self.assertEqual([url for url in self.browser.requests() if not url.startswith(("file:", "data:"))], [])
        self.assertEqual(self.browser.value("JSON.parse(document.getElementById('recording').textContent).sides.length"), 1)

    def test_it_fits_any_width_in_light_and_dark(self):
        for width, scheme in ((1000, "light"), (1000, "dark"), (390, "light")):
            with self.subTest(width=width, scheme=scheme):
                self.browser.open(self.path, width, scheme=scheme)
                self.assertLessEqual(self.browser.value("document.documentElement.scrollWidth"), width)
                self.assertGreaterEqual(self.browser.value(CONTRAST), 4.5)
                png = self.browser.screenshot()
                self.assertGreater(colours(png), 50)
                self.keep(f"report-{width}-{scheme}.png", png)

    def test_bars_lie_where_their_times_are(self):
        self.browser.open(self.path)
        left, width = self.browser.value("""(() => { const bars = [...document.querySelectorAll('#timeline .row')]
            .find(r => r.textContent.startsWith('passes')).querySelectorAll('.bar');
            const whole = bars[1].parentElement.getBoundingClientRect(), second = bars[1].getBoundingClientRect();
            return [(second.left - whole.left) / whole.width, second.width / whole.width]; })()""")
        events, _, _ = sample.source_events()
        second = [e for e in events if e["kind"] == "pass"][1]
        whole = max(e["start-us"] + e.get("duration-us", 0) for e in events)
        self.assertAlmostEqual(left, second["start-us"] / whole, delta=0.01)
        self.assertAlmostEqual(width, second["duration-us"] / whole, delta=0.01)

    def test_it_prints_on_few_pages(self):
        self.browser.open(self.path, scheme="dark")
        pdf = self.browser.pdf()
        self.assertTrue(pdf.startswith(b"%PDF"))
        self.assertLess(pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page "), 8)
        self.keep("report.pdf", pdf)


if __name__ == "__main__":
    unittest.main()
