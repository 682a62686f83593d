# SPDX-License-Identifier: LGPL-2.1-or-later
"""The live view says what query-migrate said, in the width there is."""
import io
import os
import pathlib
import sys
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
import follow  # noqa: E402
import view  # noqa: E402

MIB = view.MIB


def info(status="active", sent=0, remaining=1000 * MIB, dirty_pages=0, **more):
    return {"status": status, "total-time": 1500, "expected-downtime": 20,
            "ram": {"transferred": sent, "remaining": remaining, "total": 1000 * MIB, "dirty-pages-rate": dirty_pages,
                    "page-size": 4096, "dirty-sync-count": 2, "normal": 10, "duplicate": 5}} | more


def history(*samples):
    made = view.History()
    for when, sample in samples:
        made.add(when, sample)
    return made


def text_of(lines):
    return "\n".join(str(line) for line in lines)


FORECAST = {"verdict": "converges", "reason": "what is left halves each pass", "given-at": 1000, "time-left-min": 2500, "time-left-max": 4500}


class View(unittest.TestCase):
    def test_a_low_terminal_gets_as_many_lines_as_it_can_draw_over(self):
        with mock.patch.dict(os.environ, {"COLUMNS": "80", "LINES": "5"}):
            out = io.StringIO()
            screen = follow.Screen(out)
            for _ in range(2):
                screen.draw([view.Line("x")] * 9)
        self.assertEqual(out.getvalue().count("\n"), 8)
        self.assertIn("\x1b[4F", out.getvalue())

    def test_sizes_and_durations_read_well(self):
        self.assertEqual(view.size(1536), "1.5 KiB")
        self.assertEqual(view.size(900 * MIB), "900 MiB")
        self.assertEqual(view.duration(0.0123), "12 ms")
        self.assertEqual(view.duration(125), "2:05 min")

    def test_a_bar_is_always_as_wide_as_asked(self):
        for share in (-1, 0, 0.001, 0.5, 0.999, 1, 7):
            self.assertEqual(len(view.bar(share, 40)), 40)
        self.assertEqual(view.bar(1, 4), "████")

    def test_a_sparkline_reaches_the_top_at_its_greatest_value(self):
        self.assertEqual(view.sparkline([0, 5, 10], 8), "▁▅█")
        self.assertEqual(view.sparkline([0, 0], 8), "▁▁")
        self.assertEqual(len(view.sparkline(range(100), 30)), 30)

    def test_rates_come_from_what_was_sent_between_looks(self):
        made = history((0, info(sent=0)), (1, info(sent=100 * MIB)), (2, info(sent=200 * MIB)))
        self.assertAlmostEqual(made.rate(), 100 * MIB)

    def test_a_rate_that_nobody_measured_yet_is_not_told(self):
        made = history((0, info()))
        self.assertIn("wire      unknown yet", text_of(view.screen(made, "running")))
        self.assertNotIn("wire", view.plain(made, "running"))

    def test_the_guests_rate_is_the_one_that_the_verdict_speaks_of(self):
        made = history((0, info()), (1, info(sent=MIB, dirty_pages=1, **{"x-forecast": FORECAST | {"dirty-rate": 60 * MIB}})))
        self.assertIn("guest     60.0 MiB/s", text_of(view.screen(made, "running")))

    def test_an_eta_counts_what_the_guest_writes_meanwhile(self):
        pages = 50 * MIB // 4096
        made = history(*((t, info(sent=100 * MIB * t, remaining=500 * MIB, dirty_pages=pages)) for t in range(5)))
        least, most = made.eta()
        self.assertAlmostEqual(least, 10.0)
        self.assertAlmostEqual(most, 10.0)

    def test_a_guest_faster_than_the_wire_never_ends_and_is_warned_of(self):
        pages = 200 * MIB // 4096
        made = history(*((t, info(sent=100 * MIB * t, dirty_pages=pages)) for t in range(4)))
        self.assertEqual(made.eta_text(), "never at this rate")
        self.assertTrue(any("faster than the wire" in w for w in made.warnings()))

    def test_a_downtime_limit_that_will_not_do_is_warned_of(self):
        forecast = FORECAST | {"verdict": "above-downtime", "downtime-needed": 925, "downtime-limit": 300}
        made = history((0, info()), (1, info(sent=MIB, **{"x-forecast": forecast})))
        self.assertEqual(made.warnings(), ["needs a downtime of 925 ms, the limit is 300 ms"])

    def test_who_gets_across_is_promised_no_more_than_the_limit(self):
        def downtime(expected, **more):
            made = history((0, info()), (1, info(sent=MIB, **{"expected-downtime": expected}, **more)))
            return next(str(line) for line in view.screen(made, "running", 300) if str(line).startswith("downtime"))
        self.assertIn("300 ms at most", downtime(1226, **{"x-forecast": FORECAST | {"verdict": "converges"}}))
        self.assertIn("20 ms expected", downtime(20, **{"x-forecast": FORECAST | {"verdict": "converges"}}))
        self.assertIn("1226 ms expected", downtime(1226, **{"x-forecast": FORECAST | {"verdict": "never"}}))

    def test_no_line_is_wider_than_the_terminal(self):
        made = history((0, info()), (1, info(sent=MIB, **{"error-desc": "x" * 300, "blocked-reasons": ["y" * 300]})))
        for width in (40, 80, 100):
            for line in view.screen(made, "running", 300, width):
                self.assertLessEqual(len(line), width)

    def test_the_end_is_where_what_is_left_fits_into_the_downtime(self):
        made = history(*((t, info(sent=100 * MIB * t, remaining=500 * MIB)) for t in range(5)))
        self.assertAlmostEqual(made.eta(300)[0], (500 - 30) / 100)

    def test_the_cores_forecast_goes_before_ones_own_and_grows_old(self):
        made = history((0, info()), (1, info(sent=MIB, **{"x-forecast": FORECAST})))
        self.assertEqual(made.eta_text(), "in 2.0 s to 4.0 s")  # given at 1.0 s, looked at after 1.5 s
        endless = {name: value for name, value in FORECAST.items() if name != "time-left-max"}
        self.assertEqual(history((0, info()), (1, info(**{"x-forecast": endless}))).eta_text(), "in 2.0 s at least")
        shown = text_of(view.screen(made, "running"))
        self.assertIn("verdict   converges: what is left halves each pass", shown)
        self.assertIn("converges", view.plain(made, "running"))

    def test_parts_of_the_downtime_are_named_longest_first(self):
        parts = [{"name": n, "kind": "device", "start-us": 0, "duration-us": d} for n, d in (("apic", 100), ("kvm-cpu", 2300), ("ram", 9000))]
        made = history((0, info()), (1, info("completed", downtime=12, **{"x-downtime": {"predicted": 11.0, "parts": parts}})))
        self.assertIn("ram 9.0, kvm-cpu 2.3, apic 0.1", text_of(view.screen(made, "postmigrate")))

    def test_a_painted_line_is_the_line_with_colours(self):
        line = view.Line("a", ("good", "bc"), "d")
        self.assertEqual((str(line), len(line), str(line.cut(2))), ("abcd", 4, "ab"))
        self.assertEqual(line.painted({"good": "\x1b[32m"}), "a\x1b[32mbc\x1b[0md")
        self.assertEqual(line.painted({}), "abcd")

    def test_channels_share_lines_and_are_not_torn_apart(self):
        def shown(count):
            channels = [{"name": f"multifd-{n}", "bytes-per-second": n * MIB} for n in range(count)]
            made = history((0, info()), (1, info(channels=channels)))
            lines = [str(line) for line in view.screen(made, "running", width=60)]
            self.assertLessEqual(max(map(len, lines)), 60)
            return "\n".join(lines)
        self.assertIn("multifd-4 4.0 MiB/s", shown(5))
        self.assertIn("16, 0 B/s to 15.0 MiB/s each", shown(16))

    def test_a_new_attempt_starts_afresh(self):
        made = history((0, info(sent=500 * MIB)), (1, info("failed", sent=600 * MIB)), (2, info("setup", sent=0)))
        self.assertEqual(len(made.samples), 1)
        self.assertEqual(list(made.wire), [])

    def test_the_end_shows_the_downtime_and_a_full_bar(self):
        made = history((0, info()), (1, info("completed", remaining=0, downtime=12)))
        text = text_of(view.screen(made, "postmigrate"))
        self.assertIn("downtime  12 ms", text)
        self.assertIn("100%", text)

    def test_an_incoming_side_without_figures_is_shown_too(self):
        made = history((0, {"status": "active"}))
        self.assertIn("active", text_of(view.screen(made, "inmigrate")))
        self.assertIn("active", view.plain(made, "inmigrate"))


if __name__ == "__main__":
    unittest.main()
