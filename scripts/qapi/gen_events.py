# SPDX-License-Identifier: LGPL-2.1-or-later
"""qapi/<module>_events.h and its part of <module>.cc: one function an event."""

from . import cxx


def generate(module):
    """(header, body); both None for a module without events."""
    events = module.events()
    if not events:
        return None, None
    return _header(module, events), _body(module, events)


def _parameters(event):
    if event.arg is None:
        return []
    if event.arg.implicit:
        return [(cxx.parameter_type(m), cxx.c_name(m.name)) for m in event.arg.members]
    return [(f'const {event.arg.name}&', 'data')]


def _signature(event):
    parameters = ''.join(f', {type_} {name}' for type_, name in _parameters(event))
    return f'void emit_{event.name.lower()}(EventSink& sink{parameters})'


def _modules_of(events):
    found = set()
    for event in events:
        if event.arg is None:
            continue
        parts = [m.type for m in event.arg.members] if event.arg.implicit else [event.arg]
        for part in parts:
            part = cxx.used_types(part)
            if part.module is not None:
                found.add(part.module)
    return found


def _header(module, events):
    includes = {f'qapi/{m.name}_types.h' for m in _modules_of(events)}
    for event in events:
        for type_, _ in _parameters(event):
            for word, include in (('std::string', '<string>'), ('std::optional', '<optional>'),
                                  ('std::vector', '<vector>'), ('std::int', '<cstdint>'),
                                  ('std::uint', '<cstdint>'), ('Any', 'qapi/any.h')):
                if word in type_:
                    includes.add(include)
    out = cxx.header('The events of this module.', module, includes)
    out.add('class EventSink;')
    out.add()
    for event in events:
        out.parts.append(cxx.comment(cxx.first_paragraph(event.doc.body)))
        out.add(f'{_signature(event)};')
        out.add()
    return cxx.finish(out)


def _body(module, events):
    out = cxx.Body({'qapi/codec_templates.h', 'qapi/event_sink.h',
                    f'qapi/{module.name}_events.h'})
    out.includes |= {f'qapi/{m.name}_codec.h' for m in _modules_of(events)}
    for event in events:
        out.add(_signature(event))
        out.add('{')
        if event.arg is not None and not event.arg.implicit:
            out.add(f'    sink.emit("{event.name}", encode(data));')
        elif event.arg is None:
            out.add(f'    sink.emit("{event.name}", Json::object());')
        else:
            out.add('    Json event_data = Json::object();')
            for member in event.arg.members:
                out.add(f'    encode_member(event_data, "{member.name}", {cxx.c_name(member.name)});')
            out.add(f'    sink.emit("{event.name}", std::move(event_data));')
        out.add('}')
        out.add()
    return out
