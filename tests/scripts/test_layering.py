# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/layering finds what it must and nothing else."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOL = ROOT / "scripts" / "layering"


class Layering(unittest.TestCase):
    def run_on(self, files):
        with tempfile.TemporaryDirectory() as scratch:
            for name, text in files.items():
                path = pathlib.Path(scratch, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            run = subprocess.run([sys.executable, TOOL, scratch], capture_output=True, text=True)
        return run.returncode, run.stdout

    def assert_clean(self, files):
        status, text = self.run_on(files)
        self.assertEqual(status, 0, text)

    def assert_refused(self, files, words):
        status, text = self.run_on(files)
        self.assertEqual(status, 1, text)
        self.assertIn(words, text)

    def test_a_lower_public_header_may_be_included(self):
        self.assert_clean({"include/util/a.h": "", "system/b.cc": '#include "util/a.h"\n'})

    def test_an_upward_include_is_named_with_file_and_line(self):
        self.assert_refused({"include/system/a.h": "", "util/b.cc": '\n#include "system/a.h"\n'}, "util/b.cc:2: util")

    def test_rooms_on_one_floor_do_not_include_each_other(self):
        self.assert_refused({"include/accel/a.h": "", "migration/b.cc": '#include "accel/a.h"\n'}, "migration")

    def test_a_private_header_of_another_room_is_refused(self):
        self.assert_refused({"migration/secret.h": "", "hw/b.cc": '#include "migration/secret.h"\n'}, "private")

    def test_a_private_header_of_the_own_room_is_fine(self):
        self.assert_clean({"hw/pci/secret.h": "", "hw/b.cc": '#include "hw/pci/secret.h"\n'})

    def test_a_public_header_may_not_lean_on_a_private_one(self):
        self.assert_refused({"hw/secret.h": "", "include/hw/b.h": '#include "hw/secret.h"\n'}, "public header")

    def test_the_stream_room_is_below_qapi_and_migration_above_it(self):
        self.assert_clean({"include/migration/stream/w.h": "", "qapi/b.cc": '#include "migration/stream/w.h"\n'})
        self.assert_refused({"include/migration/s.h": "", "migration/stream/b.cc": '#include "migration/s.h"\n'}, "floor")

    def test_a_device_may_use_migrations_public_headers(self):
        self.assert_clean({"include/migration/notifier.h": "", "hw/b.cc": '#include "migration/notifier.h"\n'})

    def test_a_plugin_sees_public_headers_only(self):
        self.assert_refused({"hw/pci/secret.h": "", "hw/vfio/b.cc": '#include "hw/pci/secret.h"\n'}, "plugin")

    def test_headers_are_named_from_the_root(self):
        self.assert_refused({"util/near.h": "", "util/b.cc": '#include "near.h"\n'}, "from the root")

    def test_the_tree_itself_is_clean(self):
        run = subprocess.run([sys.executable, TOOL], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout)


if __name__ == "__main__":
    unittest.main()
