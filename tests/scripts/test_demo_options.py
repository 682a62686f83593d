# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demo says what is wrong with its options before it does anything, and a program that does not start is told at once."""
import contextlib
import io
import os
import pathlib
import sys
import tempfile
import time
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "lib"))
import demo  # noqa: E402
from vmm import Vmm  # noqa: E402


def refused(*words):
    """What the demo says to options it does not take; "" where it takes them."""
    said = io.StringIO()
    with mock.patch.object(sys, "argv", ["demo", *words]), contextlib.redirect_stderr(said):
        try:
            demo.parse_arguments()
        except SystemExit as end:
            assert end.code == 2, end.code
    return said.getvalue()


class Options(unittest.TestCase):
    def test_a_value_that_makes_no_sense_is_named(self):
        for option, value in (("--size", "4"), ("--size", "x"), ("--size", "99999999999"), ("--rate", "-5"), ("--link", "-1"),
                              ("--delay", "-3"), ("--delay", "nan"), ("--delay", "inf"), ("--downtime", "-1"), ("--patience", "0"),
                              ("--patience", "nan")):
            with self.subTest(option=option, value=value):
                self.assertIn(option, refused(option, value).rpartition("error:")[2])

    def test_a_report_that_could_not_be_written_is_refused_beforehand(self):
        with tempfile.TemporaryDirectory(prefix="options-") as scratch:
            self.assertEqual(refused("--report", f"{scratch}/new.html", "--size", "8"), "")
            self.assertEqual(os.listdir(scratch), [])
            for where in (f"{scratch}/none/new.html", scratch, f"{scratch}/new.json", ""):
                with self.subTest(where=where):
                    self.assertIn("--report", refused("--report", where, "--size", "8").rpartition("error:")[2])

    def test_a_program_that_ends_at_once_is_not_waited_for(self):
        began = time.monotonic()
        with self.assertRaisesRegex(RuntimeError, r"false did not come up: it ended with exit status 1"):
            Vmm("/bin/false", [])
        self.assertLess(time.monotonic() - began, 10)


if __name__ == "__main__":
    unittest.main()
