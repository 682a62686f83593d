# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts" / "lib"))
import check  # noqa: E402


class Unfinished(unittest.TestCase):
    def programs(self, *programs):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "testlog.json"
            log.write_text("".join(json.dumps(p) + "\n" for p in programs))
            return check.unfinished(log, "unit")

    def test_a_program_out_of_time_is_named(self):
        found = self.programs({"name": "unit / io", "result": "OK", "returncode": 0},
                              {"name": "unit / hw", "result": "TIMEOUT", "returncode": -15})
        self.assertEqual(found, ["unit: unit / hw: timeout, exit status -15"])

    def test_a_program_ended_by_a_signal_is_named(self):
        found = self.programs({"name": "unit / hw", "result": "FAIL", "returncode": -11})
        self.assertEqual(found, ["unit: unit / hw: fail, exit status -11"])

    def test_failed_cases_speak_for_themselves(self):
        self.assertEqual(self.programs({"name": "unit / hw", "result": "FAIL", "returncode": 1},
                                       {"name": "unit / io", "result": "SKIP", "returncode": 77}), [])

    def told(self, failed, *programs):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "testlog.json"
            log.write_text("".join(json.dumps(p) + "\n" for p in programs))
            return check.what_failed(log, failed)

    def test_a_failed_case_is_named_first_and_its_output_is_shown_whole(self):
        output = ("[ RUN      ] A.holds\n[       OK ] A.holds (1 ms)\n[ RUN      ] A.breaks\na.cc:2: Failure\none is not two\n"
                  "[  FAILED  ] A.breaks (3 ms)\n[ RUN      ] A.later\n[       OK ] A.later (0 ms)\n" + "noise\n" * 500)
        told = self.told(["unit.A.breaks"], {"name": "unit / a", "result": "FAIL", "returncode": 1, "stdout": output},
                         {"name": "unit / b", "result": "OK", "returncode": 0, "stdout": "quiet"})
        self.assertEqual(told, "    unit.A.breaks\n[ RUN      ] A.breaks\na.cc:2: Failure\none is not two\n[  FAILED  ] A.breaks (3 ms)")

    def test_a_program_that_broke_off_shows_its_beginning_and_its_end(self):
        output = "".join(f"line {n}\n" for n in range(500))
        told = self.told(["unit: unit / a: fail, exit status -11"], {"name": "unit / a", "result": "FAIL", "returncode": -11, "stdout": output})
        self.assertIn("exit status -11\nline 0\n", told)
        self.assertIn("... 435 lines ...", told)
        self.assertTrue(told.endswith("line 499"))


if __name__ == "__main__":
    unittest.main()
