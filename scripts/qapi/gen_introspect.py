# SPDX-License-Identifier: LGPL-2.1-or-later
"""qapi_introspect.cc: the schema as query-qmp-schema tells it.

Types carry numbers for names, as in QEMU: the names are nobody's business, the shape is.
"""

import json

from . import cxx
from .schema import BUILTINS


class _Introspection:
    def __init__(self):
        self.entries = []
        self.numbers = {}
        self.queue = []
        self.builtins = {}
        self.arrays = {}

    def name(self, type_):
        """The masked name; the type itself is told later."""
        if type_ is None:
            type_ = _EMPTY
        if type_.kind == 'builtin':
            return self._builtin(type_)
        if type_.kind == 'array':
            name = f'[{self.name(type_.element)}]'
            if name not in self.arrays:
                self.arrays[name] = type_
                self.queue.append((name, type_))
            return name
        if type_ not in self.numbers:
            self.numbers[type_] = str(len(self.numbers))
            self.queue.append((self.numbers[type_], type_))
        return self.numbers[type_]

    def _builtin(self, type_):
        json_type = BUILTINS[type_.name][1]
        name = {'value': 'any', 'string': 'str', 'boolean': 'bool'}.get(json_type, json_type)
        self.builtins[name] = json_type
        return name

    def flush(self):
        while self.queue:
            name, type_ = self.queue.pop(0)
            self.entries.append(getattr(self, '_' + type_.kind)(name, type_))

    def _array(self, name, type_):
        return {'name': name, 'meta-type': 'array', 'element-type': self.name(type_.element)}

    def _enum(self, name, type_):
        return with_features({
            'name': name, 'meta-type': 'enum',
            'members': [with_features({'name': v.name}, v.features) for v in type_.values],
            'values': [v.name for v in type_.values]}, type_.features)

    def _members(self, members):
        result = []
        for member in members:
            entry = {'name': member.name, 'type': self.name(member.type)}
            if member.optional:
                entry['default'] = None
            result.append(with_features(entry, member.features))
        return result

    def _struct(self, name, type_):
        return with_features({'name': name, 'meta-type': 'object',
                              'members': self._members(type_.all_members())}, type_.features)

    def _union(self, name, type_):
        entry = self._struct(name, type_)
        branches = dict(type_.variants)
        entry['tag'] = type_.discriminator
        entry['variants'] = [{'case': v.name, 'type': self.name(branches.get(v.name))}
                             for v in type_.tag().type.values]
        return entry

    def _alternate(self, name, type_):
        return with_features({'name': name, 'meta-type': 'alternate',
                              'members': [{'type': self.name(b.type)} for b in type_.branches]},
                             type_.features)


class _Empty:
    kind = 'struct'
    features = []

    @staticmethod
    def all_members():
        return []


_EMPTY = _Empty()


def with_features(entry, features):
    if features:
        entry['features'] = list(features)
    return entry


def entries(schema):
    """The reply of query-qmp-schema, as Python data."""
    told = _Introspection()
    told.name(None)
    for module in schema.modules:
        for command in module.commands():
            entry = {'name': command.name, 'meta-type': 'command',
                     'arg-type': told.name(command.arg), 'ret-type': told.name(command.returns)}
            if command.allow_oob:
                entry['allow-oob'] = True
            told.entries.append(with_features(entry, command.features))
        for event in module.events():
            told.entries.append(with_features({'name': event.name, 'meta-type': 'event',
                                               'arg-type': told.name(event.arg)}, event.features))
    told.flush()
    for name, json_type in told.builtins.items():
        told.entries.append({'name': name, 'meta-type': 'builtin', 'json-type': json_type})
    return told.entries


def generate(schema):
    out = cxx.File('The reply of query-qmp-schema.', '*.json')
    out.add('#include "qapi/introspect.h"')
    out.add()
    out.add(f'namespace {cxx.NAMESPACE} {{')
    out.add()
    out.add('std::string_view schema_json() noexcept')
    out.add('{')
    out.add('    return')
    text = ['[']
    all_entries = entries(schema)
    for index, entry in enumerate(all_entries):
        end = ',' if index + 1 < len(all_entries) else ''
        text.append(json.dumps(entry, separators=(',', ':')) + end)
    text.append(']')
    out.add('\n'.join(f'        R"json({line})json"' for line in text) + ';')
    out.add('}')
    out.add()
    return cxx.finish(out)
