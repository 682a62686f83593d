# SPDX-License-Identifier: LGPL-2.1-or-later
"""The reference manual of our QMP, in Markdown without HTML."""

import re

from .doc import paragraph

_KINDS = {'command': 'Command', 'event': 'Event', 'struct': 'Struct', 'union': 'Union',
          'enum': 'Enum', 'alternate': 'Alternate'}

_BUILTINS = [
    ('`str`', 'a string'),
    ('`bool`', '`true` or `false`'),
    ('`int`, `int8` … `int64`', 'a whole number; a narrow one has the range of its bits'),
    ('`uint8` … `uint64`, `size`', 'a whole number that is not negative; `size` counts bytes'),
    ('`number`', 'any number'),
    ('`null`', '`null`'),
    ('`any`', 'any value'),
    ('list of T', 'an array'),
]


def anchor(entity):
    """GitHub's anchor of the entity's heading."""
    return re.sub(r'[^a-z0-9_-]', '', f'{_KINDS[entity.kind].lower()}-{entity.name.lower()}')


def title_anchor(title):
    return re.sub(r'[^a-z0-9 _-]', '', title.lower()).replace(' ', '-')


def inline(lines):
    """Documentation as Markdown; @name is code."""
    return re.sub(r'(?<![\w`])@([A-Za-z0-9_-]*[A-Za-z0-9])', r'`\1`', paragraph(lines))


def cell(lines):
    """The same in one cell of a table."""
    return re.sub(r'\s*\n\s*', ' ', inline(lines)).replace('|', '\\|')


def type_text(type_):
    if type_.kind == 'builtin':
        return f'`{type_.name}`'
    if type_.kind == 'array':
        return f'list of {type_text(type_.element)}'
    return f'[{type_.name}](#{anchor(type_)})'


class _Manual:
    def __init__(self, schema):
        self.schema = schema
        self.out = []

    def add(self, text=''):
        self.out.append(text)

    def text(self):
        modules = [m for m in self.schema.modules if m.entities]
        self.add('# QMP reference')
        self.add()
        self.add('What the machine protocol understands: commands, events, and the types they are made '
                 'of. This page is made from the schemas in `qapi/`. *Since* names the version of QEMU '
                 'that had something first.')
        self.add()
        self._contents(modules)
        self._basics()
        for module in modules:
            self._module(module)
        return '\n'.join(self.out).rstrip() + '\n'

    def _contents(self, modules):
        self.add('## Contents')
        self.add()
        self.add('- [Types that are there without being defined](#built-in-types)')
        for module in modules:
            title, _ = _title(module)
            names = ', '.join(f'[{e.name}](#{anchor(e)})' for e in module.commands())
            events = ', '.join(f'[{e.name}](#{anchor(e)})' for e in module.events())
            self.add(f'- [{title}](#{title_anchor(title)})')
            if names:
                self.add(f'  - commands: {names}')
            if events:
                self.add(f'  - events: {events}')
        self.add()

    def _basics(self):
        self.add('## Built-in types')
        self.add()
        self.add('| type | in JSON |')
        self.add('| --- | --- |')
        for name, meaning in _BUILTINS:
            self.add(f'| {name} | {meaning} |')
        self.add()

    def _module(self, module):
        title, text = _title(module)
        self.add(f'## {title}')
        self.add()
        if text:
            self.add(text)
            self.add()
        for kinds in (('command',), ('event',), ('struct', 'union', 'enum', 'alternate')):
            for entity in module.entities:
                if entity.kind in kinds:
                    self._entity(entity)

    def _entity(self, entity):
        self.add(f'### {_KINDS[entity.kind]} `{entity.name}`')
        self.add()
        self.add(inline(entity.doc.body))
        self.add()
        getattr(self, '_' + entity.kind)(entity)
        for note in _paragraphs(entity.doc.notes):
            self.add('Note: ' + note)
            self.add()
        for name, lines in entity.doc.features.items():
            self.add(f'Feature `{name}`: {inline(lines)}')
            self.add()
        self._examples(entity.doc)
        self.add(f'*Since {entity.doc.since}*')
        self.add()

    def _examples(self, doc):
        for _, _, lines in doc.examples:
            self.add('```')
            self.add(paragraph(lines))
            self.add('```')
            self.add()

    def _command(self, command):
        self._arguments(command, 'argument')
        if command.returns is not None:
            self.add(f'**Returns** {type_text(command.returns)}: {inline(command.doc.returns)}')
            self.add()
        if command.doc.errors:
            self.add('**Errors**')
            self.add()
            self.add(inline(command.doc.errors))
            self.add()
        flags = []
        if command.allow_oob:
            flags.append('It may be executed out of band.')
        if not command.gen:
            flags.append('Its arguments are checked by what they are for, not by this schema alone.')
        if flags:
            self.add(' '.join(flags))
            self.add()

    def _event(self, event):
        self._arguments(event, 'data')

    def _arguments(self, entity, what):
        if entity.arg is None:
            return
        if not entity.arg.implicit:
            self.add(f'**{what.capitalize()}**: the members of {type_text(entity.arg)}.')
            self.add()
            return
        self._members(entity.arg.members, entity.doc.members, what)

    def _members(self, members, docs, what):
        if not members:
            return
        self.add(f'| {what} | type | |')
        self.add('| --- | --- | --- |')
        for member in members:
            optional = ' (optional)' if member.optional else ''
            features = ''.join(f' ({name})' for name in member.features)
            self.add(f'| `{member.name}`{optional}{features} | {type_text(member.type)} '
                     f'| {cell(docs.get(member.name, []))} |')
        self.add()

    def _struct(self, struct):
        if struct.base is not None and not struct.base.implicit:
            self.add(f'All members of {type_text(struct.base)}, and:' if struct.members else
                     f'The members of {type_text(struct.base)}.')
            self.add()
        self._members(struct.members, struct.doc.members, 'member')

    def _union(self, union):
        if union.base.implicit:
            self._members(union.base.members, union.doc.members, 'member')
        else:
            self.add(f'All members of {type_text(union.base)}, and:')
            self.add()
        branches = [(case, type_) for case, type_ in union.variants]
        self.add(f'| `{union.discriminator}` | brings the members of |')
        self.add('| --- | --- |')
        for case, type_ in branches:
            self.add(f'| `{case}` | {type_text(type_)} |')
        if len(branches) < len(union.tag().type.values):
            self.add('| anything else | nothing |')
        self.add()

    def _enum(self, enum):
        self.add('| value | |')
        self.add('| --- | --- |')
        for value in enum.values:
            features = ''.join(f' ({name})' for name in value.features)
            self.add(f'| `{value.name}`{features} | {cell(enum.doc.members[value.name])} |')
        self.add()

    def _alternate(self, alternate):
        self.add('| one of | |')
        self.add('| --- | --- |')
        for branch in alternate.branches:
            self.add(f'| {type_text(branch.type)} | {cell(alternate.doc.members[branch.name])} |')
        self.add()


def _title(module):
    """(title, text) of the module's free-form block."""
    lines = list(module.doc.body) if module.doc else []
    while lines and not lines[0].strip():
        lines.pop(0)
    if lines and lines[0].startswith('= '):
        return lines[0][2:].strip(), inline(lines[1:])
    return module.name.replace('_', ' ').capitalize(), inline(lines)


def _paragraphs(lines):
    result = []
    for line in paragraph(lines).split('\n\n'):
        if line.strip():
            result.append(inline(line.splitlines()))
    return result


def generate(schema):
    return _Manual(schema).text()
