# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of the generator."""

import argparse
import os
import sys

from . import (cxx, examples, gen_codec, gen_commands, gen_docs, gen_events, gen_introspect,
               gen_types)
from .schema import Schema
from .source import SchemaError


def outputs(schema):
    """{file name: text} of all C++ that the schema makes."""
    result = {}
    for module in schema.modules:
        if not module.entities:
            continue
        name = module.name
        result[f'{name}_types.h'] = gen_types.generate(module)
        bodies = []
        for kind, generator in (('codec', gen_codec), ('commands', gen_commands),
                                ('events', gen_events)):
            head, body = generator.generate(module)
            if head is not None:
                result[f'{name}_{kind}.h'] = head
                bodies.append(body)
        result[f'{name}.cc'] = cxx.source(module, bodies)
    result['introspect.cc'] = gen_introspect.generate(schema)
    return result


def write_if_changed(path, text):
    """Leaves the file alone if it holds this text, so that nothing is compiled again for it."""
    try:
        with open(path, encoding='utf-8') as stream:
            if stream.read() == text:
                return
    except FileNotFoundError:
        pass
    with open(path, 'w', encoding='utf-8') as stream:
        stream.write(text)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('schema', help='the root schema')
    parser.add_argument('-o', '--output', metavar='DIR', help='write the C++ files here')
    parser.add_argument('--docs', metavar='FILE', help='write the manual here')
    parser.add_argument('--expect', metavar='FILE', nargs='+',
                        help='refuse to work if these are not exactly the C++ files to write')
    parser.add_argument('--list', action='store_true',
                        help='print the names of the C++ files and write nothing')
    options = parser.parse_args(arguments)
    try:
        schema = Schema(options.schema)
        examples.check(schema)
        files = outputs(schema)
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    if options.expect:
        expected = {os.path.basename(name) for name in options.expect}
        for name in sorted(expected ^ set(files)):
            print(f"{options.schema}: qapi/meson.build lists {name}, which nothing makes"
                  if name in expected else
                  f"{options.schema}: qapi/meson.build must list {name}", file=sys.stderr)
        if expected != set(files):
            return 1
    if options.list:
        print('\n'.join(sorted(files)))
        return 0
    if options.output:
        os.makedirs(options.output, exist_ok=True)
        for name, text in files.items():
            write_if_changed(os.path.join(options.output, name), text)
    if options.docs:
        os.makedirs(os.path.dirname(os.path.abspath(options.docs)), exist_ok=True)
        write_if_changed(options.docs, gen_docs.generate(schema))
    return 0
