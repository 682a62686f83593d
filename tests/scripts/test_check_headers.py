# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/check-headers tells a header that stands alone from one that leans on its includer."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOL = ROOT / "scripts" / "check-headers"


class CheckHeaders(unittest.TestCase):
    def run_on(self, text):
        with tempfile.TemporaryDirectory() as scratch:
            header = pathlib.Path(scratch, "sample.h")
            header.write_text(text, encoding="utf-8")
            return subprocess.run([sys.executable, TOOL, scratch, header], capture_output=True, text=True)

    def test_a_header_with_its_own_includes_passes(self):
        run = self.run_on("#pragma once\n#include <string>\nstruct Sample { std::string name; };\n")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_a_header_that_forgot_an_include_is_named(self):
        run = self.run_on("#pragma once\nstruct Sample { std::string name; };\n")
        self.assertEqual(run.returncode, 1)
        self.assertIn("sample.h: does not compile alone", run.stdout)

    def test_a_header_without_a_guard_is_named(self):
        run = self.run_on("struct Sample {};\n")
        self.assertEqual(run.returncode, 1)
        self.assertIn("sample.h", run.stdout)


if __name__ == "__main__":
    unittest.main()
