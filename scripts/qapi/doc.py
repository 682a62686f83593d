# SPDX-License-Identifier: LGPL-2.1-or-later
"""The `##` comment blocks: what is said about a definition and each of its members."""

import re
from dataclasses import dataclass, field

from .source import SchemaError


@dataclass
class Doc:
    """One block, taken apart. Every text is Markdown, one paragraph per blank line."""
    place: object
    symbol: str | None = None
    body: list = field(default_factory=list)
    members: dict = field(default_factory=dict)
    features: dict = field(default_factory=dict)
    returns: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    examples: list = field(default_factory=list)    # [(title, place, [lines])]
    since: str | None = None
    places: dict = field(default_factory=dict)


_AT = re.compile(r'@([A-Za-z0-9_.-]+):(?:\s+(.*))?$')
_SECTION = re.compile(r'(Returns|Errors|Since|Features|Note|Notes|Example|Examples):(?:\s*(.*))?$')
_SINCE = re.compile(r'[0-9]+(\.[0-9]+)*$')


def parse(block):
    """Takes a DocBlock apart. Errors: SchemaError, with the line."""
    doc = Doc(block.place)
    current = doc.body
    in_features = False
    for line, place in block.lines:
        at = _AT.match(line)
        section = None if at else _SECTION.match(line)
        if at:
            name, text = at.groups()
            if doc.symbol is None:
                if doc.body and any(doc.body):
                    raise SchemaError(place, "a definition's block starts with its @name:")
                doc.symbol = name
                current = doc.body
            else:
                table = doc.features if in_features else doc.members
                if name in table:
                    raise SchemaError(place, f"'@{name}:' is documented twice")
                current = table.setdefault(name, [])
                doc.places[name] = place
            if text:
                current.append(text)
        elif section and doc.symbol is not None:
            current = _section(doc, section, place)
            in_features = section.group(1) == 'Features'
        elif current is None:
            if line.strip():
                raise SchemaError(place, 'nothing may follow here but another section')
        else:
            current.append(line)
    if doc.symbol is not None:
        _check(doc)
    return doc


def _section(doc, match, place):
    name, text = match.groups()
    if name == 'Since':
        if doc.since is not None:
            raise SchemaError(place, "'Since:' occurs twice")
        if not _SINCE.match(text or ''):
            raise SchemaError(place, f"'Since:' is followed by a version such as 10.0, not '{text}'")
        doc.since = text
        return None
    if name == 'Features':
        if text:
            raise SchemaError(place, "the features follow 'Features:' on lines of their own")
        return None
    if name in ('Example', 'Examples'):
        lines = []
        doc.examples.append((text or '', place, lines))
        return lines
    target = {'Returns': doc.returns, 'Errors': doc.errors}.get(name, doc.notes)
    if name in ('Returns', 'Errors') and target:
        raise SchemaError(place, f"'{name}:' occurs twice")
    if name in ('Note', 'Notes') and target:
        target.append('')
    if text:
        target.append(text)
    return target


def _check(doc):
    for name, lines in list(doc.members.items()) + list(doc.features.items()):
        if not any(line.strip() for line in lines):
            raise SchemaError(doc.places[name], f"'@{name}:' says nothing")
    if not any(line.strip() for line in doc.body):
        raise SchemaError(doc.place, f"'@{doc.symbol}:' says nothing")


def paragraph(lines):
    """The lines as Markdown text: common indentation of continuation lines removed."""
    lines = [line.rstrip() for line in lines]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        return ''
    rest = [line for line in lines[1:] if line.strip()]
    indent = min((len(line) - len(line.lstrip()) for line in rest), default=0)
    if lines[0].startswith(' '):
        indent = min(indent, len(lines[0]) - len(lines[0].lstrip())) if rest else 99
        lines[0] = lines[0][min(indent, len(lines[0]) - len(lines[0].lstrip())):]
    return '\n'.join([lines[0]] + [line[indent:] if line.strip() else '' for line in lines[1:]])
