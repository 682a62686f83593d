// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/faults.h"

#include "tests/devices/vfio-user-server/protocol.h"
#include "util/option_list.h"

#include <array>
#include <cerrno>
#include <fmt/format.h>

namespace godwit::vfio_user_server {
namespace {

constexpr std::array<std::string_view, 7> kKinds{
    "refuse", "hang", "short-read", "bad-length", "corrupt", "disconnect", "reset",
};

struct NamedErrno {
    std::string_view name;
    int value;
};
constexpr std::array kErrnos{
    NamedErrno{"EIO", EIO},       NamedErrno{"EINVAL", EINVAL}, NamedErrno{"EBUSY", EBUSY},
    NamedErrno{"ENOMEM", ENOMEM}, NamedErrno{"ENODEV", ENODEV}, NamedErrno{"EFAULT", EFAULT},
    NamedErrno{"ENOTTY", ENOTTY}, NamedErrno{"EPERM", EPERM},   NamedErrno{"ETIMEDOUT", ETIMEDOUT},
};

Error bad(std::string_view key, std::string_view value)
{
    return Error(Errc::InvalidArgument, fmt::format("fault: {}={} is not known", key, value));
}

Result<std::optional<State>> state_or_any(std::string_view key, std::string_view name)
{
    if (name == "*")
        return std::optional<State>();
    const auto state = state_named(name);
    if (!state)
        return bad(key, name);
    return state;
}

Result<void> parse_place(const OptionList& options, Fault& fault)
{
    int places = 0;
    if (const std::string* command = options.find("command")) {
        fault.command = *command;
        bool known = false;
        for (std::uint16_t n = 1; n <= kLastCommand; ++n)
            known |= command_name(n) == fault.command;
        if (!known)
            return bad("command", fault.command);
        if (const std::string* in = options.find("in"))
            fault.in = GW_TRY(state_or_any("in", *in));
        ++places;
    }
    if (const std::string* to = options.find("to")) {
        fault.to = GW_TRY(state_or_any("to", *to));
        if (!fault.to)
            return bad("to", *to);
        ++places;
    }
    if (const std::string* arc = options.find("arc")) {
        const std::size_t colon = arc->find(':');
        if (colon == std::string::npos)
            return bad("arc", *arc);
        fault.on_arc = true;
        fault.arc_from = GW_TRY(state_or_any("arc", arc->substr(0, colon)));
        fault.arc_to = GW_TRY(state_or_any("arc", arc->substr(colon + 1)));
        ++places;
    }
    if (places != 1)
        return Error(Errc::InvalidArgument, "fault: one of command=, to= and arc= says where");
    return {};
}

}  // namespace

std::string_view to_string(FaultKind kind) noexcept
{
    return kKinds[static_cast<std::size_t>(kind)];
}

Result<Fault> Fault::parse(std::string_view text)
{
    const OptionList options = GW_TRY(OptionList::parse(text, "kind"));
    GW_TRY(
        options.only({"kind", "command", "in", "to", "arc", "after", "count", "errno", "leave"}));
    Fault fault;
    const std::string kind = GW_TRY(options.require_string("kind"));
    std::size_t n = 0;
    while (n < kKinds.size() && kKinds[n] != kind)
        ++n;
    if (n == kKinds.size())
        return bad("kind", kind);
    fault.kind = static_cast<FaultKind>(n);
    GW_TRY(parse_place(options, fault));
    fault.after = GW_TRY(options.get_u64("after", 0));
    fault.count = GW_TRY(options.get_u64("count", 1));
    if (const std::string* name = options.find("errno")) {
        for (const NamedErrno& known : kErrnos)
            if (known.name == *name)
                fault.error = known.value;
        if (fault.error == 0)
            return bad("errno", *name);
    }
    if (const std::string* leave = options.find("leave")) {
        if (*leave != "ERROR")
            return bad("leave", *leave);
        fault.leave_error = true;
    }
    return fault;
}

Result<Fault> Fault::from_json(const Json& json)
{
    OptionList options;
    for (const auto& [key, value] : json.items()) {
        if (key == "command" && value == "inject")
            continue;
        options.set(key == "on-command" ? "command" : key,
                    value.is_string() ? value.get<std::string>() : dump_json(value));
    }
    return parse(options.to_string());
}

template <class Matches>
std::optional<Fault> Faults::take(Matches matches)
{
    for (auto it = faults_.begin(); it != faults_.end(); ++it) {
        if (!matches(*it))
            continue;
        if (it->after > 0) {
            --it->after;
            continue;
        }
        Fault fault = *it;
        ++fired_;
        if (it->count > 0 && --it->count == 0)
            faults_.erase(it);
        return fault;
    }
    return std::nullopt;
}

std::optional<Fault> Faults::at_command(std::string_view command, State now)
{
    return take([&](const Fault& f) { return f.command == command && f.in.value_or(now) == now; });
}

std::optional<Fault> Faults::at_wish(State to)
{
    return take([&](const Fault& f) { return f.to == to; });
}

std::optional<Fault> Faults::at_arc(State from, State to)
{
    return take([&](const Fault& f) {
        return f.on_arc && (!f.arc_from || f.arc_from == from) && (!f.arc_to || f.arc_to == to);
    });
}

}  // namespace godwit::vfio_user_server
