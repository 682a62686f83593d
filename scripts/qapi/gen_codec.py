# SPDX-License-Identifier: LGPL-2.1-or-later
"""qapi/<module>_codec.h and its part of <module>.cc: between JSON and the types of a module."""

from . import cxx
from .gen_types import branch_types, foreign_modules, own_types
from .schema import json_shape


def generate(module):
    """(header, body)"""
    types = [t for t in own_types(module) if t.kind != 'enum']
    out = cxx.header('decode() and encode() for the types of this module.', module,
                     {'qapi/codec.h', f'qapi/{module.name}_types.h'})
    for type_ in types:
        out.add(f'Result<void> decode(const Json& value, const Path& path, {type_.name}& out);')
        out.add(f'Json encode(const {type_.name}& value);')
        if type_.kind != 'alternate':
            out.add(f'Result<void> decode_members(ObjectDecoder& in, {type_.name}& out);')
            out.add(f'void encode_members(Json& out, const {type_.name}& value);')
        out.add()
    head = cxx.finish(out)

    out = cxx.Body({'qapi/codec_templates.h', f'qapi/{module.name}_codec.h'})
    out.includes |= {f'qapi/{m.name}_codec.h' for m in foreign_modules(module, types)}
    for type_ in types:
        if type_.kind == 'alternate':
            _alternate(out, type_)
        else:
            _struct(out, type_)
    return head, out


def _struct(out, struct):
    members = struct.all_members()
    branches = branch_types(struct) if struct.kind == 'union' else []
    empty = not members and not branches
    unused = '[[maybe_unused]] ' if empty else ''
    out.add(f'Result<void> decode_members({unused}ObjectDecoder& in, {unused}{struct.name}& out)')
    out.add('{')
    for member in members:
        out.add(f'    if (auto done = decode_member(in, "{member.name}", '
                f'out.{cxx.c_name(member.name)}); !done)')
        out.add('        return done;')
    if branches:
        _decode_branches(out, struct, branches)
    out.add('    return {};')
    out.add('}')
    out.add()
    out.add(f'Result<void> decode(const Json& value, const Path& path, {struct.name}& out)')
    out.add('{')
    out.add('    auto in = ObjectDecoder::open(value, path);')
    out.add('    if (!in)')
    out.add('        return std::unexpected<Error>(std::move(in).error());')
    out.add('    if (auto done = decode_members(*in, out); !done)')
    out.add('        return done;')
    out.add('    return in->finish();')
    out.add('}')
    out.add()
    out.add(f'void encode_members({unused}Json& out, {unused}const {struct.name}& value)')
    out.add('{')
    for member in members:
        out.add(f'    encode_member(out, "{member.name}", value.{cxx.c_name(member.name)});')
    for branch in branches:
        out.add(f'    if (const auto* branch = std::get_if<{branch.name}>(&value.u))')
        out.add('        encode_members(out, *branch);')
    out.add('}')
    out.add()
    out.add(f'Json encode(const {struct.name}& value)')
    out.add('{')
    out.add('    Json out = Json::object();')
    out.add('    encode_members(out, value);')
    out.add('    return out;')
    out.add('}')
    out.add()


def _decode_branches(out, union, branches):
    tag = union.tag()
    out.add(f'    switch (out.{cxx.c_name(union.discriminator)}) {{')
    for branch in branches:
        for case, type_ in union.variants:
            if type_ is branch:
                out.add(f'    case {tag.type.name}::{cxx.camel_name(case)}:')
        out.add(f'        return decode_members(in, out.u.emplace<{branch.name}>());')
    out.add('    default:')
    out.add('        out.u.emplace<std::monostate>();')
    out.add('    }')


def _alternate(out, alternate):
    out.add(f'Result<void> decode(const Json& value, const Path& path, {alternate.name}& out)')
    out.add('{')
    checks = {'string': 'is_string', 'boolean': 'is_boolean', 'null': 'is_null',
              'number': 'is_number', 'object': 'is_object', 'array': 'is_array'}
    for index, branch in enumerate(alternate.branches):
        out.add(f'    if (value.{checks[json_shape(branch.type)]}())')
        out.add(f'        return decode(value, path, out.u.emplace<{index}>());')
    out.add(f'    return std::unexpected<Error>(wrong_type(path, "{alternate.name}"));')
    out.add('}')
    out.add()
    out.add(f'Json encode(const {alternate.name}& value)')
    out.add('{')
    out.add('    return std::visit([](const auto& branch) { return encode(branch); }, value.u);')
    out.add('}')
    out.add()
