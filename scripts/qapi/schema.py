# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the schemas mean: types, commands and events, with every name resolved and checked."""

import os
import re
from dataclasses import dataclass, field

from . import doc as docs
from .source import PlacedDict, SchemaError, parse

# name: (C++ type, JSON type as introspection and error texts say it)
BUILTINS = {
    'str': ('std::string', 'string'),
    'number': ('double', 'number'),
    'bool': ('bool', 'boolean'),
    'null': ('std::monostate', 'null'),
    'any': ('Any', 'value'),
    'int': ('std::int64_t', 'int'),
    'int8': ('std::int8_t', 'int'),
    'int16': ('std::int16_t', 'int'),
    'int32': ('std::int32_t', 'int'),
    'int64': ('std::int64_t', 'int'),
    'uint8': ('std::uint8_t', 'int'),
    'uint16': ('std::uint16_t', 'int'),
    'uint32': ('std::uint32_t', 'int'),
    'uint64': ('std::uint64_t', 'int'),
    'size': ('std::uint64_t', 'int'),
}

_NAME = {
    'type': (re.compile(r'[A-Z][A-Za-z0-9]*$'), 'CamelCase'),
    'command': (re.compile(r'[a-z][a-z0-9_-]*$'), 'lower case'),
    'event': (re.compile(r'[A-Z][A-Z0-9_]*$'), 'UPPER_CASE'),
    'member': (re.compile(r'[A-Za-z][A-Za-z0-9_-]*$'), 'letters, digits, - and _'),
    'value': (re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]*$'), 'letters, digits, - and _'),
}

_KEYS = {
    'enum': ({'data'}, {'features'}),
    'struct': ({'data'}, {'base', 'features'}),
    'union': ({'data', 'base', 'discriminator'}, {'features'}),
    'alternate': ({'data'}, {'features'}),
    'command': (set(), {'data', 'returns', 'gen', 'allow-oob', 'allow-preconfig', 'context',
                        'features'}),
    'event': (set(), {'data', 'features'}),
}

# Names that include/qapi/ has in the same namespace.
_OURS = {'Any', 'CommandContext', 'CommandInfo', 'CommandTable', 'EnumInfo', 'Errc', 'Error',
         'EventSink', 'Json', 'ObjectDecoder', 'Path', 'Result', 'SchemaEnum'}


@dataclass(eq=False)
class Builtin:
    name: str
    kind: str = 'builtin'
    module: object = None


@dataclass(eq=False)
class Array:
    element: object
    kind: str = 'array'

    @property
    def name(self):
        return f'[{self.element.name}]'

    @property
    def module(self):
        return self.element.module


@dataclass(eq=False)
class Member:
    name: str
    type: object
    optional: bool
    features: list
    place: object


@dataclass(eq=False)
class EnumValue:
    name: str
    features: list
    place: object


@dataclass(eq=False)
class Entity:
    """What every definition has. `doc` is a docs.Doc."""
    name: str
    place: object
    module: object
    doc: object
    features: list


@dataclass(eq=False)
class Enum(Entity):
    values: list = field(default_factory=list)
    kind: str = 'enum'


@dataclass(eq=False)
class Struct(Entity):
    """`implicit` ones are the unnamed `data` of a command, an event or the `base` of a union."""
    base: object = None
    members: list = field(default_factory=list)
    implicit: bool = False
    wire_name: str = ''     # of the command, if this is the implicit struct of its arguments
    docs: dict = field(default_factory=dict)
    kind: str = 'struct'

    def all_members(self):
        return (self.base.all_members() if self.base else []) + self.members


@dataclass(eq=False)
class Union(Struct):
    discriminator: str = ''
    variants: list = field(default_factory=list)    # [(case, Struct)] as written
    kind: str = 'union'

    def tag(self):
        return next(m for m in self.all_members() if m.name == self.discriminator)


@dataclass(eq=False)
class Alternate(Entity):
    branches: list = field(default_factory=list)    # [Member]
    kind: str = 'alternate'


@dataclass(eq=False)
class Command(Entity):
    arg: object = None
    returns: object = None
    gen: bool = True
    allow_oob: bool = False
    allow_preconfig: bool = False
    context: bool = False
    kind: str = 'command'


@dataclass(eq=False)
class Event(Entity):
    arg: object = None
    kind: str = 'event'


@dataclass(eq=False)
class Module:
    """One file. `title` and `text` come from its free-form block."""
    name: str
    file: str
    entities: list = field(default_factory=list)
    doc: object = None

    def types(self):
        return [e for e in self.entities if e.kind in ('enum', 'struct', 'union', 'alternate')]

    def commands(self):
        return [e for e in self.entities if e.kind == 'command']

    def events(self):
        return [e for e in self.entities if e.kind == 'event']


def c_name(name):
    """How a member or command is spelled in C++."""
    word = name.replace('-', '_')
    return word + '_' if word in _RESERVED else word


_RESERVED = set('''alignas alignof and and_eq asm auto bitand bitor bool break case catch char class
compl concept const consteval constexpr constinit continue co_await co_return co_yield decltype
default delete do double dynamic_cast else enum explicit export extern false float for friend goto
if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
protected public register reinterpret_cast requires return short signed sizeof static
static_assert static_cast struct switch template this thread_local throw true try typedef typeid
typename union unsigned using virtual void volatile wchar_t while xor xor_eq u linux unix
errno'''.split())


def camel_name(name):
    """'pre-switchover' is PreSwitchover; two digits that would meet keep their '_'."""
    words = re.split(r'[-_]', name)
    result = ''
    for word in words:
        if result and word and result[-1].isdigit() and word[0].isdigit():
            result += '_'
        result += word[:1].upper() + word[1:]
    return '_' + result if result[:1].isdigit() else result


class Schema:
    """Reads `root` and everything it includes. Errors: SchemaError."""

    def __init__(self, root):
        self.modules = []
        self.files = []
        self.types = {name: Builtin(name) for name in BUILTINS}
        self.names = {}
        self._arrays = {}
        self._pending = []
        self._read(root)
        self._resolve()

    # Reading: names first, so that order does not matter.

    def _read(self, file):
        file = os.path.normpath(file)
        if file in self.files:
            return
        self.files.append(file)
        try:
            with open(file, encoding='utf-8') as stream:
                expressions = parse(file, stream.read())
        except OSError as error:
            raise SchemaError(file, error.strerror) from None
        module = Module(os.path.splitext(os.path.basename(file))[0].replace('-', '_'), file)
        for expression in expressions:
            self._expression(module, expression)
        self.modules.append(module)

    def _expression(self, module, expression):
        data, doc = expression.data, expression.doc
        if not data:
            if doc is None:
                raise SchemaError(data.place, 'an empty definition')
            if module.doc is None:
                module.doc = docs.parse(doc)
            return
        if 'include' in data:
            if not isinstance(data['include'], str) or len(data) > 1:
                raise SchemaError(data.place, "'include' takes a file name and nothing else")
            path = os.path.join(os.path.dirname(module.file), data['include'])
            if not os.path.exists(path):
                raise SchemaError(data.place, f"cannot include '{data['include']}': no such file")
            self._read(path)
            return
        kind = next((k for k in _KEYS if k in data), None)
        if kind is None:
            raise SchemaError(data.place, 'neither ' + ', '.join(_KEYS) + ' nor include')
        self._definition(module, kind, data, doc)

    def _definition(self, module, kind, data, doc):
        name = data[kind]
        where = f"{kind} '{name}'"
        required, allowed = _KEYS[kind]
        if not isinstance(name, str):
            raise SchemaError(data.place, f"the name of this {kind} is not a string")
        for key in data:
            if key != kind and key not in required | allowed:
                raise SchemaError(data.places[key], f"{where}: unknown key '{key}'")
        for key in sorted(required):
            if key not in data:
                raise SchemaError(data.place, f"{where}: key '{key}' is missing")
        _check_name(data.place, kind if kind in ('command', 'event') else 'type', name, where)
        if name in self.types or name in self.names:
            first = self.names.get(name)
            at = f', first at {first.place}' if first else ' by a built-in type'
            raise SchemaError(data.place, f"{where}: the name is taken{at}")
        if name in _OURS:
            raise SchemaError(data.place, f"{where}: the name is taken by include/qapi/")
        if doc is None:
            raise SchemaError(data.place, f"{where}: documentation is missing")
        parsed = docs.parse(doc)
        if parsed.symbol != name:
            raise SchemaError(doc.place, f"{where}: its documentation is for '@{parsed.symbol}:'")
        features = self._features(data, where)
        cls = {'enum': Enum, 'struct': Struct, 'union': Union, 'alternate': Alternate,
               'command': Command, 'event': Event}[kind]
        entity = cls(name, data.place, module, parsed, features)
        self.names[name] = entity
        if kind not in ('command', 'event'):
            self.types[name] = entity
        module.entities.append(entity)
        self._pending.append((entity, data, where))

    def _features(self, data, where):
        result = []
        items = data.get('features', [])
        if not isinstance(items, list):
            raise SchemaError(data.places['features'], f"{where}: 'features' is not a list")
        for item in items:
            if isinstance(item, PlacedDict) and set(item) == {'name'}:
                item = item['name']
            if not isinstance(item, str):
                raise SchemaError(data.places['features'], f"{where}: a feature is a name")
            _check_name(data.places['features'], 'member', item, where)
            if item in result:
                raise SchemaError(data.places['features'],
                                  f"{where}: feature '{item}' occurs twice")
            result.append(item)
        return result

    # Resolving: every type name is looked up, every documentation compared.

    def _resolve(self):
        for entity, data, where in self._pending:
            getattr(self, '_resolve_' + entity.kind)(entity, data, where)
        for entity, _, where in self._pending:
            if isinstance(entity, Struct):
                self._check_struct(entity, where)
        for entity, data, where in self._pending:
            if isinstance(entity, (Command, Event)) and entity.arg and entity.arg.implicit:
                self._check_struct(entity.arg, where)
            if isinstance(entity, Union):
                self._check_union(entity, data, where)
            self._check_doc(entity, where)

    def _type(self, place, name, where):
        if isinstance(name, list):
            if len(name) != 1 or not isinstance(name[0], str):
                raise SchemaError(place, f"{where}: a list type is written ['Element']")
            if name[0] == 'bool':
                raise SchemaError(place, f"{where}: there is no list of bool; std::vector<bool> has "
                                  'no elements to read into')
            element = self._type(place, name[0], where)
            return self._arrays.setdefault(name[0], Array(element))
        if not isinstance(name, str):
            raise SchemaError(place, f"{where}: a type is a name or ['Element']")
        if name not in self.types:
            raise SchemaError(place, f"{where}: unknown type '{name}'")
        return self.types[name]

    def _members(self, data, where):
        result = []
        for key, value in data.items():
            place = data.places[key]
            features = []
            name = key.removeprefix('*')
            at = f"{where}, member '{name}'"
            _check_name(place, 'member', name, at)
            if isinstance(value, PlacedDict):
                for extra in value:
                    if extra not in ('type', 'features'):
                        raise SchemaError(value.places[extra], f"{at}: unknown key '{extra}'")
                if 'type' not in value:
                    raise SchemaError(place, f"{at}: key 'type' is missing")
                features = self._features(value, at)
                value = value['type']
            result.append(Member(name, self._type(place, value, at), key != name, features, place))
        return result

    def _struct_like(self, place, value, where, what):
        """A type name, or members in place: an implicit struct."""
        if isinstance(value, PlacedDict):
            return Struct('', value.place, None, None, [], members=self._members(value, where),
                          implicit=True)
        result = self._type(place, value, where)
        if not isinstance(result, Struct):
            raise SchemaError(place, f"{where}: {what} '{value}' is not a struct")
        return result

    def _resolve_enum(self, entity, data, where):
        place = data.places['data']
        if not isinstance(data['data'], list):
            raise SchemaError(place, f"{where}: 'data' is not a list")
        seen = {}
        for item in data['data']:
            features = []
            if isinstance(item, PlacedDict):
                if not set(item) <= {'name', 'features'} or 'name' not in item:
                    raise SchemaError(item.place, f"{where}: a value has a name and features")
                place = item.place
                features = self._features(item, where)
                item = item['name']
            if not isinstance(item, str):
                raise SchemaError(place, f"{where}: a value is a name")
            _check_name(place, 'value', item, where)
            camel = camel_name(item)
            if camel in seen:
                raise SchemaError(place, f"{where}: value '{item}' and '{seen[camel]}' are the "
                                  'same in C++' if item != seen[camel] else
                                  f"{where}: value '{item}' occurs twice")
            seen[camel] = item
            entity.values.append(EnumValue(item, features, place))

    def _resolve_struct(self, entity, data, where):
        if not isinstance(data['data'], PlacedDict):
            raise SchemaError(data.places['data'], f"{where}: 'data' is not an object")
        entity.members = self._members(data['data'], where)
        if 'base' in data:
            base = self._struct_like(data.places['base'], data['base'], where, 'base')
            if base.kind != 'struct' or base.implicit:
                raise SchemaError(data.places['base'], f"{where}: 'base' is the name of a struct")
            entity.base = base

    def _resolve_union(self, entity, data, where):
        base = self._struct_like(data.places['base'], data['base'], where, 'base')
        if base.kind != 'struct':
            raise SchemaError(data.places['base'], f"{where}: 'base' is not a struct")
        entity.base = base
        if not isinstance(data['discriminator'], str):
            raise SchemaError(data.places['discriminator'],
                              f"{where}: 'discriminator' is not a name")
        entity.discriminator = data['discriminator']
        if not isinstance(data['data'], PlacedDict):
            raise SchemaError(data.places['data'], f"{where}: 'data' is not an object")
        for case, name in data['data'].items():
            place = data['data'].places[case]
            if isinstance(name, PlacedDict) and set(name) == {'type'}:
                name = name['type']
            branch = self._struct_like(place, name, f"{where}, branch '{case}'", 'type')
            if branch.implicit:
                raise SchemaError(place, f"{where}, branch '{case}': name a type")
            entity.variants.append((case, branch))

    def _resolve_alternate(self, entity, data, where):
        if not isinstance(data['data'], PlacedDict):
            raise SchemaError(data.places['data'], f"{where}: 'data' is not an object")
        entity.branches = self._members(data['data'], where)
        if len(entity.branches) < 2:
            raise SchemaError(entity.place, f"{where}: an alternate has at least two branches")
        seen = {}
        for branch in entity.branches:
            if branch.optional:
                raise SchemaError(branch.place, f"{where}: a branch is never optional")
            shape = json_shape(branch.type)
            if shape is None:
                raise SchemaError(branch.place, f"{where}, branch '{branch.name}': "
                                  f"'{branch.type.name}' cannot be a branch")
            if shape in seen:
                raise SchemaError(branch.place, f"{where}: branches '{seen[shape]}' and "
                                  f"'{branch.name}' look the same in JSON ({shape})")
            seen[shape] = branch.name

    def _resolve_command(self, entity, data, where):
        for key, attribute in (('gen', 'gen'), ('allow-oob', 'allow_oob'), ('context', 'context'),
                               ('allow-preconfig', 'allow_preconfig')):
            if key in data:
                if not isinstance(data[key], bool):
                    raise SchemaError(data.places[key], f"{where}: '{key}' is true or false")
                setattr(entity, attribute, data[key])
        if 'data' in data:
            entity.arg = self._struct_like(data.places['data'], data['data'], where, 'data')
            if entity.arg.implicit:
                entity.arg.name = camel_name(entity.name) + 'Args'
                entity.arg.module = entity.module
                entity.arg.wire_name = entity.name
                entity.arg.docs = entity.doc.members
                if entity.arg.name in self.types:
                    raise SchemaError(entity.place, f"{where}: its arguments become the type "
                                      f"'{entity.arg.name}', which exists")
        if 'returns' in data:
            entity.returns = self._type(data.places['returns'], data['returns'], where)

    def _resolve_event(self, entity, data, where):
        if 'data' in data:
            entity.arg = self._struct_like(data.places['data'], data['data'], where, 'data')

    # Checks that need everything resolved.

    def _check_struct(self, struct, where):
        seen_types = set()
        base = struct.base
        while base is not None:
            if base is struct or base in seen_types:
                raise SchemaError(struct.place, f"{where}: is its own base")
            seen_types.add(base)
            base = base.base
        seen = {}
        for member in struct.all_members():
            spelled = c_name(member.name)
            if spelled in seen:
                raise SchemaError(member.place, f"{where}: member '{member.name}' clashes with "
                                  f"'{seen[spelled]}'")
            seen[spelled] = member.name

    def _check_union(self, union, data, where):
        tags = [m for m in union.base.all_members() if m.name == union.discriminator]
        place = data.places['discriminator']
        if not tags:
            raise SchemaError(place, f"{where}: discriminator '{union.discriminator}' is no member "
                              'of its base')
        if tags[0].optional or tags[0].type.kind != 'enum':
            raise SchemaError(place, f"{where}: discriminator '{union.discriminator}' is not a "
                              'mandatory enum')
        values = [v.name for v in tags[0].type.values]
        common = {m.name for m in union.all_members()}
        for case, branch in union.variants:
            at = data['data'].places[case]
            if case not in values:
                raise SchemaError(at, f"{where}: branch '{case}' is no value of "
                                  f"'{tags[0].type.name}'")
            for member in branch.all_members():
                if member.name in common:
                    raise SchemaError(at, f"{where}, branch '{case}': member '{member.name}' "
                                      'is in the base too')

    def _check_doc(self, entity, where):
        doc = entity.doc
        if entity.kind == 'enum':
            names = [v.name for v in entity.values]
        elif entity.kind == 'alternate':
            names = [b.name for b in entity.branches]
        elif entity.kind in ('command', 'event'):
            names = [m.name for m in entity.arg.members] if entity.arg and entity.arg.implicit \
                else []
        else:
            names = [m.name for m in entity.members]
            if entity.base and entity.base.implicit:
                names = [m.name for m in entity.base.members] + names
        for name in doc.members:
            if name not in names:
                raise SchemaError(doc.places[name], f"{where}: '@{name}:' is documented but does "
                                  'not exist')
        for name in names:
            if name not in doc.members:
                raise SchemaError(doc.place, f"{where}: '@{name}:' is not documented")
        features = set(entity.features)
        for part in getattr(entity, 'members', []) + getattr(entity, 'values', []) + \
                (entity.arg.members if entity.kind in ('command', 'event') and entity.arg
                 and entity.arg.implicit else []):
            features |= set(part.features)
        for name in doc.features:
            if name not in features:
                raise SchemaError(doc.places[name], f"{where}: feature '@{name}:' is documented "
                                  'but does not exist')
        for name in entity.features:
            if name not in doc.features:
                raise SchemaError(doc.place, f"{where}: feature '@{name}:' is not documented")
        if entity.kind != 'command' and (doc.returns or doc.errors):
            raise SchemaError(doc.place, f"{where}: only a command has 'Returns:' and 'Errors:'")
        if entity.kind == 'command' and bool(entity.returns) != bool(doc.returns):
            raise SchemaError(doc.place, f"{where}: 'Returns:' " + (
                'is missing' if entity.returns else 'is there, but nothing is returned'))
        if doc.since is None:
            raise SchemaError(doc.place, f"{where}: 'Since:' is missing")


def json_shape(type_):
    """Which JSON values a type looks like, to tell the branches of an alternate apart."""
    if type_.kind == 'enum':
        return 'string'
    if type_.kind in ('struct', 'union'):
        return 'object'
    if type_.kind == 'array':
        return 'array'
    if type_.kind == 'builtin':
        shape = BUILTINS[type_.name][1]
        return {'value': None, 'int': 'number'}.get(shape, shape)
    return None


def _check_name(place, kind, name, where):
    pattern, wish = _NAME[kind]
    if not pattern.match(name):
        raise SchemaError(place, f"{where}: the name '{name}' is not {wish}")
