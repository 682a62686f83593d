# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/plugin-abi: the number changes with what plugins see, and with nothing else."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOL = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts" / "plugin-abi"
BASE = {"system/a.h": "// what it is\nstruct A {\n    int x = 1'000;  ///< a number\n};\n", "util/b.h": "struct B;\n"}


class PluginAbi(unittest.TestCase):
    def number(self, files, generated=()):
        with tempfile.TemporaryDirectory() as scratch:
            include = pathlib.Path(scratch, "include")
            for name, text in files.items():
                path = include / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            made = []
            for name, text in generated:
                made.append(pathlib.Path(scratch, name))
                made[-1].write_text(text, encoding="utf-8")
            run = subprocess.run([sys.executable, TOOL, include, *made], capture_output=True, text=True, check=True)
        self.assertRegex(run.stdout, r"^0x[0-9a-f]{8}\n$")
        return run.stdout

    def changed(self, name, old, new):
        return self.number({**BASE, name: BASE[name].replace(old, new)})

    def test_comments_and_layout_do_not_count(self):
        base = self.number(BASE)
        self.assertEqual(base, self.changed("system/a.h", "// what it is", "/* said\notherwise */"))
        self.assertEqual(base, self.changed("system/a.h", "    int x", "\n\tint  x"))

    def test_a_member_a_type_and_a_value_count(self):
        base = self.number(BASE)
        self.assertNotEqual(base, self.changed("system/a.h", "};", "    int y;\n};"))
        self.assertNotEqual(base, self.changed("system/a.h", "int x", "long x"))
        self.assertNotEqual(base, self.changed("system/a.h", "1'000", "2'000"))

    def test_a_header_that_comes_goes_or_moves_counts(self):
        base = self.number(BASE)
        self.assertNotEqual(base, self.number({**BASE, "util/c.h": ""}))
        self.assertNotEqual(base, self.number({"system/a.h": BASE["system/a.h"]}))
        self.assertNotEqual(base, self.number({"io/a.h": BASE["system/a.h"], "util/b.h": BASE["util/b.h"]}))

    def test_generated_headers_count(self):
        base = self.number(BASE, [("x_types.h", "enum class E { A };")])
        self.assertNotEqual(base, self.number(BASE))
        self.assertNotEqual(base, self.number(BASE, [("x_types.h", "enum class E { A, B };")]))

    def test_what_looks_like_a_comment_in_a_string_is_none(self):
        self.assertNotEqual(self.changed("util/b.h", "struct B;", 'auto u = "http://a";'),
                            self.changed("util/b.h", "struct B;", 'auto u = "http://b";'))


if __name__ == "__main__":
    unittest.main()
