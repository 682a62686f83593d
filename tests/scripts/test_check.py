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


if __name__ == "__main__":
    unittest.main()
