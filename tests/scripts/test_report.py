# SPDX-License-Identifier: LGPL-2.1-or-later
"""The report is made of what was recorded, and says it correctly."""
import copy
import html.parser
import json
import pathlib
import runpy
import socket
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts" / "lib"), str(ROOT / "tests" / "scripts")]
import advice  # noqa: E402
import attempt  # noqa: E402
import charts  # noqa: E402
import page  # noqa: E402
import recording  # noqa: E402
import sample  # noqa: E402

VOID = {"meta", "link", "br", "line", "path"}


class Balance(html.parser.HTMLParser):
    """Collects text, and every element that is not closed where it should be."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.texts, self.ids, self.links = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href"):
                self.links.append(value)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))

    def handle_data(self, data):
        self.texts.append(data)


def parsed(made):
    found = Balance()
    found.feed(made)
    return found


def paths_of(found, path=(), each=3):
    """Where every member is; of lists only the first ones are looked into."""
    members = found.items() if isinstance(found, dict) else enumerate(found[:each]) if isinstance(found, list) else ()
    for key, value in members:
        yield (*path, key)
        yield from paths_of(value, (*path, key))


class Report(unittest.TestCase):
    def test_every_section_is_there_and_the_markup_is_balanced(self):
        found = parsed(page.render(sample.recording()))
        self.assertEqual((found.wrong, found.open), ([], []))
        for name in ("summary", "check", "timeline", "curves", "downtime", "devices", "pages", "passes", "forecast", "earlier", "about", "recording"):
            self.assertIn(name, found.ids)
        self.assertEqual([link for link in found.links if not link.startswith("data:")], [])

    def test_the_figures_that_people_quote_are_the_recorded_ones(self):
        text = " ".join(parsed(page.render(sample.recording(checked="0 wrong"))).texts)
        for words in ("3.41 s", "52.2 ms", "predicted 52.1 ms", "104\u202f987", "Memory afterwards: 0 wrong", "31.250 ms, known to within 0.084 ms"):
            self.assertIn(words, text)

    def test_text_of_the_peer_cannot_become_markup(self):
        made = page.render(sample.recording(sample.failed()))
        self.assertNotIn("</script><b>", made)
        self.assertEqual(json.loads(page.extract(made)), sample.recording(sample.failed()))

    def test_what_was_checked_before_is_told_with_every_difference(self):
        text = " ".join(parsed(page.render(sample.recording())).texts)
        for words in ("Checked before: doubtful", "round trip 410 µs", "bandwidth 117 MiB/s", "serial0.fifo", "the properties differ"):
            self.assertIn(words, text)

    def test_an_error_stands_first_with_its_place_and_what_to_do(self):
        found = parsed(page.render(sample.recording(sample.failed())))
        self.assertLess(found.ids.index("errors"), found.ids.index("summary"))
        text = " ".join(found.texts)
        self.assertIn("At the destination, about the version of a device's state", text)
        self.assertIn("version 4 is too new", text)

    def test_a_program_without_a_timeline_gets_a_report_of_what_was_seen(self):
        looks = [{"time": t / 10, "total-time": t * 100, "status": "active" if t < 9 else "completed", "sent": t << 24, "left": (10 - t) << 24,
                  "dirty-rate": 0, "pass": 1, "expected-downtime": None, "throttle": 0} for t in range(10)]
        info = {"status": "completed", "total-time": 900, "downtime": 17, "ram": sample.RAM}
        made = page.render(sample.recording() | {"sides": [{"role": "source", "program": "QEMU 10.0.2", "info": info, "timeline": None, "samples": looks}]})
        found = parsed(made)
        self.assertEqual((found.wrong, found.open), ([], []))
        self.assertIn("curves", found.ids)
        self.assertIn("17 ms", " ".join(found.texts))

    def test_what_was_seen_is_placed_where_the_migration_was_not_where_the_looking_began(self):
        looks = [{"time": 5 + t / 10, "total-time": 400 + t * 100, "status": "active" if t < 5 else "completed", "sent": t << 24, "left": (5 - t) << 24,
                  "dirty-rate": 0, "pass": 1, "expected-downtime": None, "throttle": 0} for t in range(6)]
        found = attempt.from_side({"info": {"status": "completed", "total-time": 900, "ram": sample.RAM}, "timeline": None, "samples": looks})[0]
        self.assertAlmostEqual(found.statuses(attempt.SOURCE)[0][1], 0.4)
        self.assertAlmostEqual(found.last, 0.9)

    def test_mostly_zero_pages_are_a_kind_of_their_own(self):
        kept = sample.recording()
        self.assertNotIn("mostly zero", page.render(kept))
        kept["sides"][0]["info"]["x-mostly-zero"] = {"pages": 4_987, "bytes": 99_740}
        text = " ".join(parsed(page.render(kept)).texts)
        self.assertRegex(text, "sent as they are +100\u202f000")
        self.assertRegex(text, "mostly zero, sent in words +4\u202f987")

    def test_what_devices_outside_sent_and_a_forecast_without_an_upper_end_are_told(self):
        kept = sample.recording()
        kept["sides"][0]["info"]["vfio"] = {"transferred": 64 << 20}
        score = kept["sides"][0]["timeline"][0]["forecast"]["scores"][1]
        del score["total-max"]
        text = " ".join(parsed(page.render(kept)).texts)
        self.assertRegex(text, "device data +64.0 MiB +of devices behind VFIO")
        self.assertIn("3 s at least", text)

    def test_a_side_that_never_migrated_is_no_crash(self):
        made = page.render(sample.recording() | {"sides": [{"role": "source", "info": {"status": "none"}, "timeline": []}]})
        self.assertEqual(parsed(made).open, [])


class Attempts(unittest.TestCase):
    def test_the_destinations_own_record_is_used_where_the_source_has_none(self):
        source = sample.timeline()
        peer = source.pop("peer")
        late = {"side": "destination", "id": 1, "status": "completed", "started": source["started"] + 20_000, "total-us": 1, "events": peer["events"],
                "dropped": 0, "samples": []}
        both = sample.recording(source)
        both["sides"].append({"role": "target", "info": {}, "timeline": [late]})
        found = attempt.attempts_of(both)[0]
        guest = found.of("guest", side=attempt.TARGET)[0]
        told = next(e for e in peer["events"] if e["kind"] == "guest")
        self.assertAlmostEqual(guest.start, told["start-us"] / 1e6 + 0.02)
        self.assertIn("wall clock", found.clock)

    def test_the_downtime_begins_with_the_stop_not_with_what_prepares_it(self):
        told = sample.timeline()
        told["events"][:0] = [sample.event("switchover", "rehearsed", 2_000_000, None, None, 21_139), sample.event("switchover", "drained", 2_000_100, 70_000)]
        found = attempt.attempts_of(sample.recording(told))[0]
        stop = next(e["start-us"] for e in told["events"] if e["name"] == "stop")
        self.assertEqual(min(e.start for e in found.of("switchover", side=attempt.SOURCE)), stop / 1e6)
        texts = parsed(page.render(sample.recording(told))).texts
        self.assertIn("Meanwhile at the destination", texts)
        self.assertEqual([text for text in texts if text.strip() == "preparation"], ["preparation "])

    def test_the_guests_rate_is_that_of_each_pass(self):
        found = attempt.attempts_of(sample.recording())[0]
        points = attempt.dirtied(found)
        self.assertAlmostEqual(points[-1][1], 120_000 * 50 / 0.123, delta=1)
        self.assertEqual([time for time, _ in points], sorted(time for time, _ in points))
        found.dropped = 1
        self.assertEqual(attempt.dirtied(found), [])

    def test_the_parts_of_the_downtime_add_up_to_it_in_the_table_of_kinds(self):
        found = attempt.attempts_of(sample.recording())[0]
        self.assertAlmostEqual(sum(p["duration-us"] for p in found.parts) / 1e3, found.downtime)


class Charts(unittest.TestCase):
    def test_ticks_are_round_and_few(self):
        self.assertEqual(charts.ticks(3.4), [0, 0.5, 1, 1.5, 2, 2.5, 3])
        for span in (1e-6, 0.017, 1, 99, 12345):
            self.assertLessEqual(len(charts.ticks(span)), 9)

    def test_times_of_any_size_read_well(self):
        self.assertEqual([charts.seconds(t) for t in (31e-6, 1.9e-3, 0.0522, 0.25, 3.41, 125)],
                         ["31 µs", "1.9 ms", "52.2 ms", "250 ms", "3.41 s", "2:05 min"])

    def test_a_bar_stays_within_its_track(self):
        axis = charts.Axis(0, 10)
        for begin, end in ((-5, 2), (9.999, 10), (10, 20), (3, 3)):
            left, width = (float(v) for v in __import__("re").findall(r":([\d.]+)%", charts.bar(axis, begin, end, "s1")))
            self.assertLessEqual(left + width, 100.001)
            self.assertGreater(width, 0)


class Input(unittest.TestCase):
    def run_report(self, content, *more):
        with tempfile.TemporaryDirectory(prefix="godwit-report-") as scratch:
            path = pathlib.Path(scratch, "input")
            path.write_text(content)
            return subprocess.run([str(ROOT / "scripts" / "report"), str(path), *more, "-o", "-"], capture_output=True, text=True)

    def test_a_recording_a_bare_timeline_and_a_report_are_taken(self):
        for content in (json.dumps(sample.recording()), json.dumps({"return": [sample.timeline()]}), json.dumps([sample.timeline()]),
                        page.render(sample.recording())):
            run = self.run_report(content)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertIn("52.2 ms", run.stdout)

    def test_the_raw_record_comes_out_of_a_report_again(self):
        self.assertEqual(json.loads(self.run_report(page.render(sample.recording()), "--json").stdout), sample.recording())

    def test_a_side_that_is_gone_does_not_cost_the_others_report(self):
        run = self.run_report(json.dumps(sample.recording()), "/nonexistent/target.qmp")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("left out: /nonexistent/target.qmp: No such file", run.stderr)
        with tempfile.TemporaryDirectory(prefix="godwit-report-") as scratch:
            dead = f"{scratch}/dead.qmp"
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(dead)
            run = subprocess.run([str(ROOT / "scripts" / "report"), dead, "-o", "-"], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (1, f"report: {dead}: Connection refused\n"))

    def test_anything_else_is_one_clear_error(self):
        for content in ("", "{", "[]", "{}", '{"format": "godwit-recording", "version": 9}', "<html></html>", "[" * 100_000,
                        '{"format": "godwit-recording", "version": 1, "sides": [1]}'):
            run = self.run_report(content)
            self.assertEqual(run.returncode, 1)
            self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)

    def test_a_record_with_any_member_missing_or_wrong_is_a_page_or_one_clear_error(self):
        script = runpy.run_path(str(ROOT / "scripts" / "report"))
        for change in (lambda holder, key: holder.pop(key), lambda holder, key: holder.__setitem__(key, "nonsense"),
                       lambda holder, key: holder.__setitem__(key, None), lambda holder, key: holder.__setitem__(key, float("nan"))):
            for path in paths_of(sample.recording()):
                changed = copy.deepcopy(sample.recording())
                holder = changed
                for step in path[:-1]:
                    holder = holder[step]
                change(holder, path[-1])
                try:
                    self.assertIn("</html>", script["render"](recording.load(json.dumps(changed))))
                except recording.RecordingError as error:
                    self.assertEqual(len(str(error).splitlines()), 1)

    def test_long_recordings_are_thinned_but_keep_their_ends(self):
        class History:
            samples = [(n / 10, {"status": "active", "ram": sample.RAM | {"transferred": n}}) for n in range(9001)]
        looks = recording.samples_of(History)
        self.assertLessEqual(len(looks), recording.MOST_SAMPLES + 1)
        self.assertEqual((looks[0]["sent"], looks[-1]["sent"]), (0, 9000))


class Advice(unittest.TestCase):
    def test_common_errors_lead_to_their_cause(self):
        for text, what in (("connect: Connection refused", "the connection"), ("Unknown ramblock \"pc.bios\"", "a device or memory block"),
                           ("section '0000:00:01.0/vfio' instance 0: MIG_DATA_WRITE: the server refuses: Invalid argument", "a device outside the program"),
                           ("Length mismatch: pc.ram: 0x8000000 in != 0x4000000", "the size of a memory block"), ("something else", "")):
            self.assertEqual(advice.about(text)[0], what)


if __name__ == "__main__":
    unittest.main()
