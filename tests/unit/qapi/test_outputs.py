#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the generator writes: files, introspection data and the manual."""

import contextlib
import io
import os
import re
import tempfile
import unittest

from generator import HERE, SCHEMA, Schema, main

from qapi import gen_docs, gen_introspect

KINDS = os.path.join(HERE, 'kinds.json')


def run(*arguments):
    """(exit status, standard error)"""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        status = main.main(list(arguments))
    return status, errors.getvalue()


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix='godwit-qapi-')
        self.addCleanup(self.folder.cleanup)

    def test_what_has_not_changed_is_not_written_again(self):
        self.assertEqual(run(KINDS, '-o', self.folder.name), (0, ''))
        path = os.path.join(self.folder.name, 'kinds_types.h')
        other = os.path.join(self.folder.name, 'kinds_codec.h')
        os.utime(path, ns=(1, 1))
        with open(other, 'a', encoding='utf-8') as stream:
            stream.write('// changed\n')
        os.utime(other, ns=(1, 1))
        self.assertEqual(run(KINDS, '-o', self.folder.name), (0, ''))
        self.assertEqual(os.stat(path).st_mtime_ns, 1)
        self.assertNotEqual(os.stat(other).st_mtime_ns, 1)

    def test_the_list_of_the_build_must_be_right(self):
        status, errors = run(KINDS, '--expect', 'kinds_types.h', 'kinds.cc', 'introspect.cc',
                             'kinds_codec.h', 'kinds_commands.h', 'gone.h')
        self.assertEqual(status, 1)
        self.assertIn('qapi/meson.build lists gone.h, which nothing makes', errors)
        self.assertIn('qapi/meson.build must list kinds_events.h', errors)

    def test_a_bad_schema_is_one_line_and_status_1(self):
        status, errors = run(os.path.join(self.folder.name, 'nope.json'))
        self.assertEqual(status, 1)
        self.assertEqual(errors.count('\n'), 1)
        self.assertIn('nope.json: No such file or directory', errors)


class Headers(unittest.TestCase):
    def test_types_know_nothing_of_json(self):
        for name, text in main.outputs(Schema(SCHEMA)).items():
            if name.endswith('_types.h'):
                self.assertNotIn('json.h', text, name)
                self.assertNotIn('codec', text, name)


class Introspection(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.entries = {e['name']: e for e in gen_introspect.entries(Schema(KINDS))}

    def members(self, name):
        return {m['name']: m for m in self.entries[name]['members']}

    def test_nothing_is_an_empty_object(self):
        command = self.entries['do-nothing']
        self.assertEqual(command['arg-type'], command['ret-type'])
        self.assertEqual(self.entries[command['arg-type']]['members'], [])

    def test_flags_and_features(self):
        self.assertTrue(self.entries['count']['allow-oob'])
        self.assertNotIn('allow-oob', self.entries['do-nothing'])
        self.assertEqual(self.entries['raw']['features'], ['deprecated'])

    def test_an_optional_member_has_a_default_of_null(self):
        members = self.members(self.entries['BOXED_EVENT']['arg-type'])
        self.assertNotIn('default', members['name'])
        self.assertIsNone(members['class']['default'])
        self.assertIn('default', members['class'])

    def test_all_whole_numbers_are_int(self):
        members = self.members(self.entries['count']['arg-type'])
        self.assertEqual({m['type'] for n, m in members.items() if n != 'real'}, {'int'})
        self.assertEqual(self.entries['int']['json-type'], 'int')
        self.assertEqual(self.entries[members['real']['type']]['json-type'], 'number')

    def test_a_list_is_named_after_its_elements(self):
        self.assertEqual(self.entries['count']['ret-type'], '[int]')
        self.assertEqual(self.entries['[int]']['element-type'], 'int')

    def test_a_union_tells_every_case(self):
        arguments = self.members(self.entries['echo-all']['arg-type'])
        shape = self.entries[arguments['shape']['type']]
        self.assertEqual(shape['tag'], 'kind')
        self.assertEqual([v['case'] for v in shape['variants']],
                         ['red', 'dark-green', 'x86_64', '8bit'])
        self.assertEqual(self.entries[shape['variants'][3]['type']]['members'], [])

    def test_an_alternate_has_types_without_names(self):
        arguments = self.members(self.entries['echo-all']['arg-type'])
        either = self.entries[arguments['either']['type']]
        self.assertEqual(either['meta-type'], 'alternate')
        self.assertEqual([list(m) for m in either['members']], [['type']] * 6)

    def test_type_names_tell_nothing(self):
        for name, entry in self.entries.items():
            if entry['meta-type'] in ('enum', 'object', 'alternate'):
                self.assertRegex(name, r'^\d+$')


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema = Schema(SCHEMA)
        cls.text = gen_docs.generate(cls.schema)

    def test_everything_is_in_it(self):
        for module in self.schema.modules:
            for entity in module.entities:
                self.assertIn(f' `{entity.name}`\n', self.text)

    def test_every_link_leads_somewhere(self):
        headings = re.findall(r'^#+ (.*)$', self.text, re.MULTILINE)
        anchors = [re.sub(r'[^a-z0-9 _-]', '', h.lower()).replace(' ', '-') for h in headings]
        self.assertEqual(len(anchors), len(set(anchors)))
        for link in re.findall(r'\]\(#([^)]*)\)', self.text):
            self.assertIn(link, anchors)

    def test_there_is_no_html_and_no_table_is_torn(self):
        outside = re.sub(r'```.*?```', '', self.text, flags=re.DOTALL)
        outside = re.sub(r'`[^`\n]*`', '', outside)
        self.assertNotRegex(outside, r'</?[a-z]+[ >]')
        width = None
        for line in outside.splitlines():
            if not line.startswith('|'):
                width = None
                continue
            bars = len(re.findall(r'(?<!\\)\|', line))
            self.assertTrue(line.endswith('|'), line)
            self.assertIn(width, (None, bars), line)
            width = bars

    def test_members_become_rows(self):
        text = gen_docs.generate(Schema(KINDS))
        self.assertIn('| `class` (optional) | `bool` | a member whose name is a C++ keyword |', text)
        self.assertIn('| `colours` (optional) | list of [Colour](#enum-colour) | a member |', text)
        self.assertIn('**Returns** [Echo](#struct-echo): the arguments', text)
        self.assertIn('Feature `deprecated`: by its authors', text)


if __name__ == '__main__':
    unittest.main()
