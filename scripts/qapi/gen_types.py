# SPDX-License-Identifier: LGPL-2.1-or-later
"""qapi/<module>_types.h: plain structs and enums, without JSON."""

from . import cxx
from .schema import SchemaError

_BUILTIN_INCLUDES = {'str': '<string>', 'any': 'qapi/any.h', 'null': '<variant>'}


def own_types(module):
    """All types a module defines, the argument structs of its commands among them, each after
    those it contains."""
    wanted = module.types() + [c.arg for c in module.commands()
                               if c.arg and c.arg.implicit and c.gen]
    done, order, active = set(), [], []

    def visit(type_):
        if type_ in done or type_ not in wanted:
            return
        if type_ in active:
            raise SchemaError(type_.place, f"type '{type_.name}' contains itself")
        active.append(type_)
        for part in contained(type_):
            if part.kind != 'array':
                visit(part)
            elif cxx.used_types(part) not in active:
                visit(cxx.used_types(part))
        active.pop()
        done.add(type_)
        order.append(type_)

    for type_ in wanted:
        visit(type_)
    return order


def contained(type_):
    if type_.kind in ('struct', 'union'):
        parts = [m.type for m in type_.all_members()]
        if type_.kind == 'union':
            parts += [branch for _, branch in type_.variants]
        return parts
    if type_.kind == 'alternate':
        return [b.type for b in type_.branches]
    return []


def foreign_modules(module, types):
    """Modules whose types these types contain."""
    found = set()
    for type_ in types:
        for part in contained(type_):
            part = cxx.used_types(part)
            if part.module is not None and part.module is not module:
                found.add(part.module)
    return found


def branch_types(union):
    """The distinct types of the branches, in order; those without members are std::monostate."""
    result = []
    for _, branch in union.variants:
        if branch.all_members() or branch.kind == 'union':
            if branch not in result:
                result.append(branch)
    return result


def generate(module):
    types = own_types(module)
    includes = {f'qapi/{m.name}_types.h' for m in foreign_modules(module, types)}
    for type_ in types:
        includes |= _includes_of(type_)
    out = cxx.header('Types of the schema.', module, includes)
    for type_ in types:
        {'enum': _enum, 'struct': _struct, 'union': _struct, 'alternate': _alternate}[type_.kind](
            out, type_)
    return cxx.finish(out)


def _includes_of(type_):
    result = set()
    if type_.kind == 'enum':
        return {'qapi/enum.h', '<array>', '<string_view>'}
    if type_.kind in ('alternate', 'union'):
        result.add('<variant>')
    if type_.kind != 'alternate' and any(m.optional for m in type_.all_members()):
        result.add('<optional>')
    for part in contained(type_):
        if part.kind == 'array':
            result.add('<vector>')
        part = cxx.used_types(part)
        if part.kind == 'builtin' and part.name not in ('bool', 'number'):
            result.add(_BUILTIN_INCLUDES.get(part.name, '<cstdint>'))
    return result


def _enum(out, enum):
    out.parts.append(cxx.comment(cxx.first_paragraph(enum.doc.body)))
    out.add(f'enum class {enum.name} {{')
    for value in enum.values:
        out.parts.append(cxx.comment(cxx.first_paragraph(enum.doc.members[value.name]), '    '))
        out.add(f'    {cxx.camel_name(value.name)},')
    out.add('};')
    out.add()
    out.add('template <>')
    out.add(f'struct EnumInfo<{enum.name}> {{')
    out.add(f'    static constexpr std::array<std::string_view, {len(enum.values)}> names{{')
    for value in enum.values:
        out.add(f'        "{value.name}",')
    out.add('    };')
    out.add('};')
    out.add()


def _struct(out, struct):
    if struct.implicit:
        out.add(f'/// Arguments of {struct.wire_name}.')
        docs = struct.docs
    else:
        out.parts.append(cxx.comment(cxx.first_paragraph(struct.doc.body)))
        docs = struct.doc.members
    out.add(f'struct {struct.name} {{')
    for member in struct.all_members():
        lines = docs.get(member.name) or _inherited_doc(struct, member)
        out.parts.append(cxx.comment(cxx.first_paragraph(lines), '    '))
        initial = '' if member.optional or cxx.type_name(member.type) in (
            'std::string', 'Any') or member.type.kind in (
            'array', 'struct', 'union', 'alternate') else '{}'
        out.add(f'    {cxx.member_type(member)} {cxx.c_name(member.name)}{initial};')
    if struct.kind == 'union':
        names = ['std::monostate'] + [b.name for b in branch_types(struct)]
        out.add(f'    /// What `{cxx.c_name(struct.discriminator)}` calls for; std::monostate where '
                'it calls for nothing.')
        out.add(f'    std::variant<{", ".join(names)}> u;')
    out.add('};')
    out.add()


def _inherited_doc(struct, member):
    base = struct.base
    while base is not None:
        if base.doc is not None and member.name in base.doc.members:
            return base.doc.members[member.name]
        base = base.base
    return []


def _alternate(out, alternate):
    out.parts.append(cxx.comment(cxx.first_paragraph(alternate.doc.body)))
    out.add(f'struct {alternate.name} {{')
    names = ', '.join(cxx.type_name(b.type) for b in alternate.branches)
    out.add(f'    std::variant<{names}> u;')
    out.add('};')
    out.add()
