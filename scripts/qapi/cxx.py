# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the schema's names and types are spelled in C++, and the frame of every generated file."""

from .doc import paragraph
from .schema import BUILTINS, c_name, camel_name

NAMESPACE = 'godwit::qapi'


def type_name(type_):
    if type_.kind == 'builtin':
        return BUILTINS[type_.name][0]
    if type_.kind == 'array':
        return f'std::vector<{type_name(type_.element)}>'
    return type_.name


def member_type(member):
    name = type_name(member.type)
    return f'std::optional<{name}>' if member.optional else name


def parameter_type(member):
    """Small things by value, the rest by reference."""
    if not member.optional and (member.type.kind == 'enum' or (
            member.type.kind == 'builtin' and member.type.name not in ('str', 'any'))):
        return type_name(member.type)
    return f'const {member_type(member)}&'


def commands_class(module):
    return camel_name(module.name) + 'Commands'


def comment(lines, indent='', mark='///'):
    """Documentation lines as a C++ comment."""
    text = paragraph(lines)
    return ''.join(f'{indent}{mark} {line}'.rstrip() + '\n' for line in text.splitlines())


def first_paragraph(lines):
    result = []
    for line in lines:
        if not line.strip() and result:
            break
        if line.strip():
            result.append(line)
    return result


def used_types(type_):
    """The type itself, or what a list is of."""
    while type_ is not None and type_.kind == 'array':
        type_ = type_.element
    return type_


class File:
    """A generated file, collected line by line."""

    def __init__(self, what, source):
        self.parts = ['// SPDX-License-Identifier: LGPL-2.1-or-later\n',
                      '//\n', f'// {what}\n', f'// Generated from qapi/{source}; do not edit.\n']

    def add(self, text=''):
        self.parts.append(text + '\n')

    def text(self):
        return ''.join(self.parts)


def header(what, module, includes):
    out = File(what, module.file.rsplit('/', 1)[-1])
    out.add('#pragma once')
    out.add()
    _includes(out, includes)
    out.add(f'namespace {NAMESPACE} {{')
    out.add()
    return out


class Body:
    """What one generator contributes to a module's .cc file."""

    def __init__(self, includes=()):
        self.includes = set(includes)
        self.parts = []

    def add(self, text=''):
        self.parts.append(text + '\n')


def source(module, bodies):
    """The .cc file of a module, from what each generator contributes."""
    out = File('Codecs, commands and events of this module.', module.file.rsplit('/', 1)[-1])
    _includes(out, set().union(*(body.includes for body in bodies)))
    out.add(f'namespace {NAMESPACE} {{')
    out.add()
    for body in bodies:
        out.parts += body.parts
    return finish(out)


def _includes(out, includes):
    quoted = sorted({i for i in includes if not i.startswith('<')})
    angled = sorted({i for i in includes if i.startswith('<')})
    for name in quoted:
        out.add(f'#include "{name}"')
    if quoted and angled:
        out.add()
    for name in angled:
        out.add(f'#include {name}')
    if quoted or angled:
        out.add()


def finish(out):
    out.add(f'}}  // namespace {NAMESPACE}')
    return out.text()


__all__ = ['Body', 'c_name', 'camel_name', 'commands_class', 'comment', 'File', 'finish',
           'first_paragraph', 'header', 'member_type', 'NAMESPACE', 'parameter_type', 'source',
           'type_name', 'used_types']
