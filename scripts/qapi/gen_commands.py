# SPDX-License-Identifier: LGPL-2.1-or-later
"""qapi/<module>_commands.h and its part of <module>.cc: one interface per module, and its way into the table."""

from . import cxx


def generate(module):
    """(header, body); both None for a module without commands."""
    commands = module.commands()
    if not commands:
        return None, None
    return _header(module, commands), _body(module, commands)


def _modules_of(commands):
    found = set()
    for command in commands:
        if not command.gen:
            continue
        for type_ in (command.arg, cxx.used_types(command.returns)):
            if type_ is not None and type_.module is not None:
                found.add(type_.module)
    return found


def signature(command):
    returns = 'void'
    if command.returns is not None:
        returns = cxx.type_name(command.returns) if command.gen else 'Json'
    parameters = []
    if command.context:
        parameters.append('CommandContext& context')
    if not command.gen:
        parameters.append('const Json& arguments')
    elif command.arg is not None:
        parameters.append(f'const {command.arg.name}& args')
    return f'Result<{returns}> {cxx.c_name(command.name)}({", ".join(parameters)})'


def _header(module, commands):
    includes = {f'qapi/{m.name}_types.h' for m in _modules_of(commands)}
    includes |= {'util/json_fwd.h', 'util/result.h'}
    for command in commands:
        if command.gen and command.returns is not None:
            if command.returns.kind == 'array':
                includes.add('<vector>')
            used = cxx.used_types(command.returns)
            if used.kind == 'builtin' and used.name == 'str':
                includes.add('<string>')
            if used.kind == 'builtin' and used.name == 'any':
                includes.add('qapi/any.h')
    out = cxx.header('The commands of this module, to be implemented by the room they act on.',
                     module, includes)
    out.add('class CommandContext;')
    out.add('class CommandTable;')
    out.add()
    name = cxx.commands_class(module)
    out.add('/// One method a command; arguments and replies are those of the schema.')
    out.add('///')
    out.add('/// Threads  the main thread with the machine lock held, but for out-of-band commands.')
    out.add('/// Errors   become the "error" of the reply; the Errc chooses the class.')
    out.add(f'class {name} {{')
    out.add('public:')
    out.add(f'    virtual ~{name}() = default;')
    for command in commands:
        out.add()
        out.parts.append(cxx.comment(cxx.first_paragraph(command.doc.body), '    '))
        for feature in command.features:
            out.add(f'    /// ({feature})')
        out.add(f'    virtual {signature(command)} = 0;')
    out.add('};')
    out.add()
    out.add('/// Adds the commands to the table, which calls `commands` as long as it lives.')
    out.add(f'void register_commands(CommandTable& table, {name}& commands);')
    out.add()
    return cxx.finish(out)


def _body(module, commands):
    out = cxx.Body({'qapi/codec_templates.h', 'qapi/command_context.h', 'qapi/command_table.h',
                    f'qapi/{module.name}_commands.h'})
    out.includes |= {f'qapi/{m.name}_codec.h' for m in _modules_of(commands)}
    name = cxx.commands_class(module)
    out.add('namespace {')
    out.add()
    for command in commands:
        _call(out, name, command)
    out.add('}  // namespace')
    out.add()
    out.add(f'void register_commands(CommandTable& table, {name}& commands)')
    out.add('{')
    out.add('    struct Row {')
    out.add('        CommandInfo info;')
    out.add(f'        Result<Json> (*call)({name}&, const Json&, CommandContext&);')
    out.add('    };')
    out.add('    static constexpr Row kRows[] = {')
    for command in commands:
        flags = [('allow_oob', command.allow_oob), ('allow_preconfig', command.allow_preconfig),
                 ('deprecated', 'deprecated' in command.features),
                 ('unstable', 'unstable' in command.features)]
        extra = ''.join(f', .{key} = true' for key, value in flags if value)
        out.add(f'        {{{{.name = "{command.name}"{extra}}}, call_{cxx.c_name(command.name)}}},')
    out.add('    };')
    out.add('    for (const Row& row : kRows)')
    out.add('        table.add(row.info, [&commands, call = row.call](const Json& arguments, '
            'CommandContext& context) {')
    out.add('            return call(commands, arguments, context);')
    out.add('        });')
    out.add('}')
    out.add()
    return out


def _call(out, class_name, command):
    context = 'context' if command.context else ''
    out.add(f'Result<Json> call_{cxx.c_name(command.name)}({class_name}& commands, '
            f'const Json& arguments, CommandContext&{" " + context if context else ""})')
    out.add('{')
    passed = [context] if context else []
    if not command.gen:
        passed.append('arguments')
    elif command.arg is None:
        out.add('    if (auto done = decode_nothing(arguments); !done)')
        out.add('        return std::unexpected<Error>(std::move(done).error());')
    else:
        out.add(f'    {command.arg.name} args;')
        out.add('    if (auto done = decode(arguments, Path(), args); !done)')
        out.add('        return std::unexpected<Error>(std::move(done).error());')
        passed.append('args')
    out.add(f'    return encode_reply(commands.{cxx.c_name(command.name)}({", ".join(passed)}));')
    out.add('}')
    out.add()
