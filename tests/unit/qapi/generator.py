# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the generator's tests share: where it is, and schemas from strings."""

import os
import re
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
SCHEMA = os.path.join(ROOT, 'qapi', 'schema.json')
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, 'scripts'))

from qapi import examples, main  # noqa: E402
from qapi.schema import Schema  # noqa: E402
from qapi.source import SchemaError  # noqa: E402


def load(text, **others):
    """A Schema from the text of its root, with other files beside it: name='text'."""
    with tempfile.TemporaryDirectory(prefix='godwit-qapi-') as folder:
        for name, body in {'root': text, **others}.items():
            with open(os.path.join(folder, name + '.json'), 'w', encoding='utf-8') as stream:
                stream.write(body)
        schema = Schema(os.path.join(folder, 'root.json'))
        examples.check(schema)
        return schema


def error_of(text, **others):
    """The error as "FILE:LINE: message", FILE without its folder; None if there is none."""
    try:
        load(text, **others)
    except SchemaError as error:
        return re.sub(r'(?<!\w)/[^\s:]*/', '', str(error))
    return None


class SchemaTest(unittest.TestCase):
    def check(self, text, message):
        """Expects one error, on the line where the text has its mark."""
        line = text[:text.index('§')].count('\n') + 1
        self.assertEqual(error_of(text.replace('§', '')), f'root.json:{line}: {message}')


def documented(name, *members, returns=False, tail=''):
    """A documentation block for a definition. A member that starts with § marks its line."""
    lines = [f'@{name}:', '', 'Something.', '']
    for member in members:
        mark = '§' if member.startswith('§') else ''
        lines += [f'{mark}@{member.removeprefix("§")}: a member', '']
    if returns:
        lines += ['Returns: something', '']
    lines.append('Since: 10.0')
    lines += tail.splitlines()
    return '##\n' + ''.join(f'# {line}'.rstrip() + '\n' for line in lines) + '##\n'


__all__ = ['documented', 'error_of', 'load', 'main', 'ROOT', 'SCHEMA', 'Schema', 'SchemaError', 'SchemaTest', 'HERE']
