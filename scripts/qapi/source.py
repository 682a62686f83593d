# SPDX-License-Identifier: LGPL-2.1-or-later
"""From text to expressions: the QAPI syntax is JSON with single quotes and # comments."""

import re
from dataclasses import dataclass, field


class SchemaError(Exception):
    """What is wrong with a schema, as "file:line: message"."""

    def __init__(self, place, message):
        super().__init__(f'{place}: {message}')
        self.place = place


@dataclass(frozen=True)
class Place:
    """Where in which file; `file` as it was opened."""
    file: str
    line: int

    def __str__(self):
        return f'{self.file}:{self.line}'


class PlacedDict(dict):
    """An object of the schema that knows where it and its members stand."""

    def __init__(self, place):
        super().__init__()
        self.place = place
        self.places = {}


@dataclass
class DocBlock:
    """A comment between two lines of `##`, without the `# ` in front."""
    place: Place
    lines: list = field(default_factory=list)


@dataclass
class Expression:
    """One top-level object and the doc block right before it."""
    data: PlacedDict
    doc: DocBlock | None


_TOKEN = re.compile(r"""
      (?P<space>[ \t\r]+)
    | (?P<newline>\n)
    | (?P<doc>^\#\#[ \t]*$)
    | (?P<comment>\#[^\n]*)
    | (?P<punct>[{}\[\],:])
    | (?P<string>'[^'\\\n]*')
    | (?P<word>true|false)
""", re.VERBOSE | re.MULTILINE)


class _Lexer:
    def __init__(self, file, text):
        self.file = file
        self.text = text
        self.pos = 0
        self.line = 1

    def place(self):
        return Place(self.file, self.line)

    def next(self):
        """(kind, value, place); kind is 'end' at the end of the file."""
        while self.pos < len(self.text):
            match = _TOKEN.match(self.text, self.pos)
            if not match:
                char = self.text[self.pos]
                if char in '\'"':
                    raise SchemaError(self.place(), f'a string starts here that does not end '
                                      f"on this line in a ' of its own")
                raise SchemaError(self.place(), f'stray {char!r}')
            place = self.place()
            self.pos = match.end()
            kind = match.lastgroup
            if kind == 'newline':
                self.line += 1
            elif kind == 'doc':
                return 'doc', self._doc_block(place), place
            elif kind == 'punct':
                return match.group(), match.group(), place
            elif kind == 'string':
                return 'string', match.group()[1:-1], place
            elif kind == 'word':
                return 'bool', match.group() == 'true', place
        return 'end', None, self.place()

    def _doc_block(self, start):
        block = DocBlock(start)
        while True:
            end = self.text.find('\n', self.pos + 1)
            if self.pos + 1 >= len(self.text):
                raise SchemaError(start, "a documentation block starts here and has no end ('##')")
            line = self.text[self.pos + 1:end if end >= 0 else len(self.text)]
            self.pos = end if end >= 0 else len(self.text)
            self.line += 1
            if line.rstrip() == '##':
                return block
            if not line.startswith('#'):
                raise SchemaError(self.place(), "a line of a documentation block starts with '#'")
            if line != '#' and not line.startswith('# '):
                raise SchemaError(self.place(), "a blank follows the '#' of a documentation line")
            block.lines.append((line[2:].rstrip(), self.place()))


class _Parser:
    def __init__(self, file, text):
        self.lexer = _Lexer(file, text)
        self.advance()

    def advance(self):
        self.kind, self.value, self.place = self.lexer.next()

    def expect(self, kind, what):
        if self.kind != kind:
            found = 'the end of the file' if self.kind == 'end' else repr(self.value)
            if self.kind == 'doc':
                found = 'a documentation block'
            raise SchemaError(self.place, f'expected {what}, found {found}')
        value = self.value
        self.advance()
        return value

    def expressions(self):
        doc = None
        while self.kind != 'end':
            if self.kind == 'doc':
                if doc is not None and not _is_free_form(doc):
                    raise SchemaError(doc.place, 'this documentation belongs to no definition')
                if doc is not None:
                    yield Expression(PlacedDict(doc.place), doc)
                doc = self.value
                self.advance()
                continue
            if self.kind != '{':
                self.expect('{', "'{'")
            if doc is not None and _is_free_form(doc):
                yield Expression(PlacedDict(doc.place), doc)
                doc = None
            yield Expression(self.object(), doc)
            doc = None
        if doc is not None:
            if not _is_free_form(doc):
                raise SchemaError(doc.place, 'this documentation belongs to no definition')
            yield Expression(PlacedDict(doc.place), doc)

    def object(self):
        result = PlacedDict(self.place)
        self.expect('{', "'{'")
        if self.kind == '}':
            self.advance()
            return result
        while True:
            place = self.place
            key = self.expect('string', 'a member name in quotes')
            if key in result:
                raise SchemaError(place, f"member '{key}' occurs twice")
            self.expect(':', "':'")
            result[key] = self.any()
            result.places[key] = place
            if self.kind == '}':
                self.advance()
                return result
            self.expect(',', "',' or '}'")

    def array(self):
        result = []
        self.expect('[', "'['")
        if self.kind == ']':
            self.advance()
            return result
        while True:
            result.append(self.any())
            if self.kind == ']':
                self.advance()
                return result
            self.expect(',', "',' or ']'")

    def any(self):
        if self.kind == '{':
            return self.object()
        if self.kind == '[':
            return self.array()
        if self.kind in ('string', 'bool'):
            value = self.value
            self.advance()
            return value
        return self.expect('value', "a string, true, false, '{' or '['")


def _is_free_form(doc):
    """A block that documents no definition does not start with @name:."""
    for line, _ in doc.lines:
        if line.strip():
            return not line.startswith('@')
    return True


def parse(file, text):
    """All top-level expressions of a file, in order. Free-form blocks come with empty data."""
    return list(_Parser(file, text).expressions())
