#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares the schema and the error texts with those of a QEMU 10.0, if there is one.

Skipped (exit status 77) without qemu-system-x86_64 of that version.
"""

import json
import os
import shutil
import subprocess
import sys
import unittest

from generator import HERE, SCHEMA, Schema

from qapi import gen_introspect

QEMU = os.environ.get('QEMU', 'qemu-system-x86_64')

# Ours alone.
OURS = {'x-query-trace', 'x-synth-check', 'x-query-synth', 'query-migrate-timeline', 'migrate-check',
        'query-migrate-check', 'MIGRATION_CHECK', 'MIGRATION_FORECAST'}

# Where QEMU has more than we do, on purpose: kinds of objects, character devices and images that
# do not exist here, and what replies tell about them. We have nothing there that QEMU has not.
LESS = {'object-add', 'chardev-add', 'query-block', 'query-named-block-nodes', 'blockdev-add'}

# QEMU says by a feature that savevm picks its images; we have no such images.
FEATURES = {'human-monitor-command': ['savevm-monitor-nodes']}


def ask(*requests):
    """QEMU's replies, events left out."""
    lines = [{'execute': 'qmp_capabilities'}, *requests, {'execute': 'quit'}]
    run = subprocess.run([QEMU, '-machine', 'none', '-S', '-nodefaults', '-display', 'none',
                          '-qmp', 'stdio'], input='\n'.join(map(json.dumps, lines)),
                         capture_output=True, text=True, timeout=60, check=True)
    replies = [json.loads(line) for line in run.stdout.splitlines()]
    replies = [r for r in replies if 'return' in r or 'error' in r]
    return replies[1:1 + len(requests)]


def expand(types, name, seen=()):
    """A type without names: dicts for objects, in a form that can be compared."""
    entry = types[name]
    kind = entry['meta-type']
    if kind == 'builtin':
        return entry['json-type']
    if kind == 'array':
        return [expand(types, entry['element-type'], seen)]
    if name in seen:
        return 'itself'
    seen += (name,)
    result = {'features': entry.get('features', [])}
    if kind == 'enum':
        result['values'] = {m['name']: m.get('features', []) for m in entry['members']}
        result['order'] = [m['name'] for m in entry['members']]
    elif kind == 'alternate':
        result['one of'] = [expand(types, m['type'], seen) for m in entry['members']]
    else:
        result['members'] = {
            m['name']: {'optional': 'default' in m, 'features': m.get('features', []),
                        'type': expand(types, m['type'], seen)} for m in entry['members']}
        if 'tag' in entry:
            result['tag'] = entry['tag']
            result['cases'] = {v['case']: expand(types, v['type'], seen)
                               for v in entry['variants']}
    return result


def without_ours(ours, theirs):
    """`ours` without the members called x-... that they do not have."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return {key: without_ours(value, theirs.get(key)) for key, value in ours.items()
                if key in theirs or not key.startswith('x-')}
    return ours


def more(ours, theirs, path=''):
    """What we have that they have not, as paths."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours:
            if key == 'order':
                continue
            if key not in theirs:
                yield f'{path}/{key}'
            else:
                yield from more(ours[key], theirs[key], f'{path}/{key}')
    elif 'itself' in (ours, theirs):
        return      # QEMU's images contain images; ours stop at one
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs)):
            yield from more(one, other, f'{path}[{index}]')
    elif ours != theirs:
        yield f'{path}: {ours} != {theirs}'


class Qemu(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        reply, = ask({'execute': 'query-qmp-schema'})
        cls.theirs = {e['name']: e for e in reply['return']}
        cls.ours = {e['name']: e for e in gen_introspect.entries(Schema(SCHEMA))}

    def test_commands_and_events_have_the_types_of_qemu(self):
        for name, entry in self.ours.items():
            if entry['meta-type'] not in ('command', 'event') or name in OURS:
                continue
            with self.subTest(name):
                self.assertIn(name, self.theirs)
                other = self.theirs[name]
                self.assertEqual(entry.get('allow-oob'), other.get('allow-oob'))
                missing = FEATURES.get(name, [])
                self.assertEqual(entry.get('features', []),
                                 [f for f in other.get('features', []) if f not in missing])
                for key in ('arg-type', 'ret-type'):
                    if key not in other:
                        continue
                    ours = expand(self.ours, entry[key])
                    theirs = expand(self.theirs, other[key])
                    if name in LESS:
                        self.assertEqual(list(more(ours, theirs)), [])
                    else:
                        self.assertEqual(without_ours(ours, theirs), theirs)

    def test_what_is_ours_alone_is_marked_unstable(self):
        for name in OURS:
            self.assertNotIn(name, self.theirs)
            self.assertEqual(self.ours[name]['features'], ['unstable'])

    def test_the_error_texts_are_those_of_qemu(self):
        with open(os.path.join(HERE, 'error_texts.json'), encoding='utf-8') as stream:
            cases = json.load(stream)
        replies = ask(*({'execute': c['command'], 'arguments': c['arguments']} for c in cases))
        for case, reply in zip(cases, replies, strict=True):
            with self.subTest(case['error']):
                self.assertEqual(reply, {'error': {'class': 'GenericError', 'desc': case['error']}})


def reason_to_skip():
    if shutil.which(QEMU) is None:
        return f'{QEMU} is not installed'
    version = subprocess.run([QEMU, '--version'], capture_output=True, text=True,
                             check=True).stdout.splitlines()[0]
    return None if ' version 10.0' in version else f'{version}: not 10.0'


if __name__ == '__main__':
    REASON = reason_to_skip()
    if REASON:
        print(f'skipped: {REASON}')
        sys.exit(77)
    unittest.main()
