# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that the examples in the documentation fit the schema, so that they stay true."""

import json
import re

from .schema import BUILTINS
from .source import SchemaError

_ARROW = re.compile(r'\s*(->|<-) ?')


def check(schema):
    """Errors: SchemaError for the first example that does not fit."""
    commands = {c.name: c for m in schema.modules for c in m.commands()}
    events = {e.name: e for m in schema.modules for e in m.events()}
    for module in schema.modules:
        for entity in module.entities:
            for _, place, lines in entity.doc.examples:
                _Example(commands, events, entity, place).check(lines)


class _Example:
    def __init__(self, commands, events, entity, place):
        self.commands = commands
        self.events = events
        self.entity = entity
        self.place = place

    def fail(self, message):
        raise SchemaError(self.place, f"example of '{self.entity.name}': {message}")

    def check(self, lines):
        asked = None
        for arrow, text in self._messages(lines):
            try:
                message = json.loads(text)
            except ValueError as error:
                self.fail(f'not JSON: {error}')
            if not isinstance(message, dict):
                self.fail('a message is an object')
            if arrow == '->':
                asked = self._request(message)
            elif 'event' in message:
                self._event(message)
            elif 'return' in message:
                self._reply(asked, message['return'])
            elif 'error' not in message:
                self.fail('neither a reply nor an event')

    def _messages(self, lines):
        result = []
        for line in lines:
            match = _ARROW.match(line)
            if match:
                result.append([match.group(1), line[match.end():]])
            elif line.strip():
                if not result:
                    self.fail("the first line starts with '->' or '<-'")
                result[-1][1] += '\n' + line
        return result

    def _request(self, message):
        name = message.get('execute', message.get('exec-oob'))
        if name not in self.commands:
            self.fail(f"there is no command '{name}'")
        command = self.commands[name]
        self._object(command.arg, message.get('arguments', {}), 'arguments', command.gen)
        return command

    def _reply(self, command, value):
        if command is None:
            self.fail('a reply without a request')
        if command.returns is None:
            if value != {}:
                self.fail(f"'{command.name}' returns nothing")
        else:
            self._value(command.returns, value, 'return')

    def _event(self, message):
        event = self.events.get(message['event'])
        if event is None:
            self.fail(f"there is no event '{message['event']}'")
        self._object(event.arg, message.get('data', {}), 'data', True)

    def _object(self, type_, value, path, strict):
        if not isinstance(value, dict):
            self.fail(f'{path}: an object is due')
        members = {m.name: m for m in type_.all_members()} if type_ is not None else {}
        if type_ is not None and type_.kind == 'union':
            members |= self._branch(type_, value, path)
        for name, member in members.items():
            if name in value:
                self._value(member.type, value[name], f'{path}.{name}')
            elif not member.optional:
                self.fail(f'{path}.{name} is missing')
        for name in value:
            if strict and name not in members:
                self.fail(f'{path}.{name} is unknown')

    def _branch(self, union, value, path):
        if union.discriminator not in value:
            self.fail(f'{path}.{union.discriminator} is missing')
        branch = dict(union.variants).get(value[union.discriminator])
        if branch is None:
            return {}
        members = {m.name: m for m in branch.all_members()}
        if branch.kind == 'union':
            members |= self._branch(branch, value, path)
        return members

    def _value(self, type_, value, path):
        if type_.kind == 'array':
            if not isinstance(value, list):
                self.fail(f'{path}: an array is due')
            for index, item in enumerate(value):
                self._value(type_.element, item, f'{path}[{index}]')
        elif type_.kind == 'enum':
            if value not in [v.name for v in type_.values]:
                self.fail(f"{path}: '{value}' is no {type_.name}")
        elif type_.kind == 'alternate':
            self._alternate(type_, value, path)
        elif type_.kind == 'builtin':
            if not _fits(BUILTINS[type_.name][1], value):
                self.fail(f'{path}: {json.dumps(value)} is no {type_.name}')
        else:
            self._object(type_, value, path, True)

    def _alternate(self, type_, value, path):
        for branch in type_.branches:
            try:
                self._value(branch.type, value, path)
                return
            except SchemaError:
                continue
        self.fail(f'{path}: {json.dumps(value)} is no {type_.name}')


def _fits(shape, value):
    if isinstance(value, bool):
        return shape in ('boolean', 'value')
    return {'string': isinstance(value, str), 'number': isinstance(value, (int, float)),
            'int': isinstance(value, int), 'null': value is None, 'value': True}.get(shape, False)
