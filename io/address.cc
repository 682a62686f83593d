// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/address.h"

#include "util/excerpt.h"
#include "util/option_list.h"
#include "util/size.h"

#include <fmt/core.h>
#include <limits>

namespace godwit::io {

namespace {

constexpr std::size_t kMaxRepeated = 200;  // bytes of a bad address that an error repeats

Error bad(std::string_view what, std::string_view text)
{
    return Error(Errc::InvalidArgument, fmt::format("{} '{}'", what, excerpt(text, kMaxRepeated)));
}

// "ipv4", "ipv4=on", "ipv4=off".
Result<bool> parse_flag(const Option& option)
{
    if (option.bare || option.value == "on")
        return option.value == "on";
    if (option.value == "off")
        return false;
    return Error(Errc::InvalidArgument, fmt::format("error parsing '{}' flag '={}'", option.key,
                                                    excerpt(option.value, kMaxRepeated)));
}

// False if `option` is none that an inet address has.
Result<bool> set_inet_option(InetAddress& address, const Option& option)
{
    if (option.key == "to") {
        const auto to = parse_u64(option.value);
        if (!to || *to > std::numeric_limits<std::uint16_t>::max())
            return Error(Errc::InvalidArgument, "error parsing to= argument");
        address.to = static_cast<std::uint16_t>(*to);
    } else if (option.key == "ipv4") {
        address.ipv4 = GW_TRY(parse_flag(option));
    } else if (option.key == "ipv6") {
        address.ipv6 = GW_TRY(parse_flag(option));
    } else if (option.key == "numeric") {
        address.numeric = GW_TRY(parse_flag(option));
    } else if (option.key == "keep-alive") {
        address.keep_alive = GW_TRY(parse_flag(option));
    } else if (option.key == "mptcp") {
        address.mptcp = GW_TRY(parse_flag(option));
    } else {
        return false;
    }
    return true;
}

Result<bool> set_unix_option(UnixAddress& address, const Option& option)
{
    if (option.key == "abstract")
        address.abstract = GW_TRY(parse_flag(option));
    else if (option.key == "tight")
        address.tight = GW_TRY(parse_flag(option));
    else
        return false;
    return true;
}

// Takes HOST:PORT off the front of `text`; what is left are the options.
Result<InetAddress> take_host_and_port(std::string_view& text)
{
    InetAddress address;
    const std::string_view whole = text.substr(0, text.find(','));
    std::size_t colon = whole.find(':');
    if (whole.starts_with('[')) {
        const std::size_t bracket = whole.find(']');
        colon = bracket + 1;
        if (bracket == std::string_view::npos || !whole.substr(colon).starts_with(':') ||
            whole.size() == colon + 1)
            return bad("error parsing IPv6 address", whole);
        address.host = whole.substr(1, bracket - 1);
    } else if (colon == std::string_view::npos) {
        return bad("error parsing address", whole);
    } else if (whole.size() == colon + 1) {
        return bad(colon == 0 ? "error parsing port in address" : "error parsing address", whole);
    } else {
        address.host = whole.substr(0, colon);
    }
    address.port = whole.substr(colon + 1);
    if (address.host.size() > 255 || address.port.size() > 32)
        return bad("error parsing address", whole);
    text.remove_prefix(std::min(whole.size() + 1, text.size()));
    return address;
}

}  // namespace

Result<InetAddress> parse_inet(std::string_view text)
{
    InetAddress address = GW_TRY(take_host_and_port(text));
    const OptionList options = GW_TRY(OptionList::parse(text));
    for (const Option& option : options.all())
        if (!GW_TRY(set_inet_option(address, option)))
            return bad("Invalid parameter", option.key);
    return address;
}

Result<UnixAddress> parse_unix(std::string_view text)
{
    const OptionList options = GW_TRY(OptionList::parse(text, "path"));
    UnixAddress address;
    for (const Option& option : options.all())
        if (option.key == "path")
            address.path = option.value;
        else if (!GW_TRY(set_unix_option(address, option)))
            return bad("Invalid parameter", option.key);
    if (address.path.empty())
        return Error(Errc::InvalidArgument, "invalid Unix socket address");
    return address;
}

Result<VsockAddress> parse_vsock(std::string_view text)
{
    const std::size_t colon = text.find(':');
    if (colon == 0 || colon == std::string_view::npos || colon + 1 == text.size())
        return bad("error parsing address", text);
    VsockAddress address{.cid = std::string(text.substr(0, colon)),
                         .port = std::string(text.substr(colon + 1))};
    if (!parse_u64(address.cid))
        return bad("Failed to parse cid", address.cid);
    if (!parse_u64(address.port))
        return bad("Failed to parse port", address.port);
    return address;
}

Result<FileAddress> parse_file(std::string_view text)
{
    constexpr std::string_view key = ",offset=";
    FileAddress address;
    const std::size_t at = text.find(key);
    address.path = text.substr(0, at);
    if (at == std::string_view::npos)
        return address;
    const std::string_view value = text.substr(at + key.size());
    const bool negative = value.starts_with('-');
    const auto offset = parse_size(negative ? value.substr(1) : value);
    if (!offset || negative ||
        *offset > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return Error(Errc::InvalidArgument,
                     fmt::format("file URI has bad offset {}: {}", excerpt(value, kMaxRepeated),
                                 offset ? "Numerical result out of range" : "Invalid argument"));
    address.offset = *offset;
    return address;
}

Result<SocketAddress> parse_socket_address(std::string_view text)
{
    const auto after = [&](std::string_view scheme) {
        const bool matches = text.starts_with(scheme);
        if (matches)
            text.remove_prefix(scheme.size());
        return matches;
    };
    if (after("unix:")) {
        if (text.empty())
            return Error(Errc::InvalidArgument, "invalid Unix socket address");
        return SocketAddress(UnixAddress{.path = std::string(text)});  // commas are the path's own
    }
    if (after("fd:")) {
        if (text.empty())
            return Error(Errc::InvalidArgument, "invalid file descriptor address");
        return SocketAddress(FdAddress{std::string(text)});
    }
    if (after("vsock:"))
        return SocketAddress(GW_TRY(parse_vsock(text)));
    after("tcp:");
    return SocketAddress(GW_TRY(parse_inet(text)));
}

Result<Address> parse_uri(std::string_view uri)
{
    for (const std::string_view scheme : {"tcp:", "unix:", "vsock:", "fd:"})
        if (uri.starts_with(scheme))
            return to_address(GW_TRY(parse_socket_address(uri)));
    if (uri.starts_with("file:"))
        return Address(GW_TRY(parse_file(uri.substr(5))));
    if (uri.starts_with("exec:"))
        return Address(ExecAddress{{"/bin/sh", "-c", std::string(uri.substr(5))}});
    return Error(Errc::InvalidArgument,
                 fmt::format("unknown migration protocol: {}", excerpt(uri, kMaxRepeated)));
}

namespace {

// False if `option` is none that an endpoint has.
Result<bool> set_endpoint_option(Endpoint& endpoint, const OptionList& all, const Option& option)
{
    if (option.key == "server") {
        endpoint.server = GW_TRY(all.get_bool("server", false));
    } else if (option.key == "wait") {
        endpoint.wait = GW_TRY(all.get_bool("wait", true));
    } else if (option.key == "telnet") {
        endpoint.telnet = GW_TRY(all.get_bool("telnet", false));
    } else if (option.key == "nodelay") {
        endpoint.nodelay = GW_TRY(all.get_bool("nodelay", true));
    } else if (option.key == "delay") {
        endpoint.nodelay = !GW_TRY(all.get_bool("delay", false));
    } else if (option.key == "reconnect") {
        const std::uint64_t seconds = GW_TRY(all.get_u64("reconnect", 0));
        if (seconds > std::numeric_limits<std::uint32_t>::max())
            return Error(Errc::InvalidArgument, "Parameter 'reconnect' expects a number");
        endpoint.reconnect_ms = seconds * 1000;
    } else if (option.key == "reconnect-ms") {
        endpoint.reconnect_ms = GW_TRY(all.get_u64("reconnect-ms", 0));
    } else {
        return false;
    }
    return true;
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text)
{
    Endpoint endpoint;
    OptionList options;
    if (text.starts_with("unix:")) {
        options = GW_TRY(OptionList::parse(text.substr(5), "path"));
        const std::optional<std::string> path = options.take("path");
        if (!path || path->empty())
            return Error(Errc::InvalidArgument, "invalid Unix socket address");
        endpoint.address = UnixAddress{.path = *path};
    } else if (text.starts_with("tcp:")) {
        text.remove_prefix(4);
        endpoint.address = GW_TRY(take_host_and_port(text));
        options = GW_TRY(OptionList::parse(text));
    } else {
        const auto name = excerpt(text.substr(0, text.find(',')), kMaxRepeated);
        return Error(Errc::InvalidArgument, fmt::format("'{}' is not a socket address", name));
    }
    for (const Option& option : options.all()) {
        if (GW_TRY(set_endpoint_option(endpoint, options, option)))
            continue;
        auto* inet = std::get_if<InetAddress>(&endpoint.address);
        auto* local = std::get_if<UnixAddress>(&endpoint.address);
        const bool known = inet != nullptr ? GW_TRY(set_inet_option(*inet, option))
                                           : GW_TRY(set_unix_option(*local, option));
                                           if (!known)
                                               return bad("Invalid parameter", option.key);
    }
    if (endpoint.server && endpoint.reconnect_ms.value_or(0) > 0)
        return Error(Errc::InvalidArgument,
                     "'reconnect' option is incompatible with socket in server listen mode");
    return endpoint;
}

namespace {

struct Printer {
    std::string operator()(const InetAddress& inet) const
    {
        const bool v6 = inet.host.find(':') != std::string::npos;
        std::string text = v6 ? fmt::format("tcp:[{}]:{}", inet.host, inet.port)
                              : fmt::format("tcp:{}:{}", inet.host, inet.port);
        if (inet.to)
            text += fmt::format(",to={}", *inet.to);
        const auto flag = [&](std::string_view name, const std::optional<bool>& value) {
            if (value)
                text += fmt::format(",{}={}", name, *value ? "on" : "off");
        };
        flag("ipv4", inet.ipv4);
        flag("ipv6", inet.ipv6);
        flag("keep-alive", inet.keep_alive);
        flag("mptcp", inet.mptcp);
        if (inet.numeric)
            text += ",numeric=on";
        return text;
    }
    std::string operator()(const UnixAddress& local) const
    {
        std::string text = "unix:" + local.path;
        if (local.abstract)
            text += local.tight ? ",abstract=on" : ",abstract=on,tight=off";
        return text;
    }
    std::string operator()(const VsockAddress& vsock) const
    {
        return fmt::format("vsock:{}:{}", vsock.cid, vsock.port);
    }
    std::string operator()(const FdAddress& fd) const { return "fd:" + fd.name; }
    std::string operator()(const FileAddress& file) const
    {
        return file.offset == 0 ? "file:" + file.path
                                : fmt::format("file:{},offset={}", file.path, file.offset);
    }
    std::string operator()(const ExecAddress& exec) const
    {
        if (exec.args.size() == 3 && exec.args[0] == "/bin/sh" && exec.args[1] == "-c")
            return "exec:" + exec.args[2];
        std::string text = "exec:";
        for (const std::string& arg : exec.args)
            text += (&arg == &exec.args.front() ? "" : " ") + arg;
        return text;
    }
};

}  // namespace

std::string to_string(const Address& address)
{
    return std::visit(Printer{}, address);
}

std::string to_string(const SocketAddress& address)
{
    return std::visit(Printer{}, address);
}

Address to_address(SocketAddress address)
{
    return std::visit([](auto&& kind) { return Address(std::forward<decltype(kind)>(kind)); },
                      std::move(address));
}

std::optional<SocketAddress> to_socket_address(const Address& address)
{
    return std::visit(
        [](const auto& kind) -> std::optional<SocketAddress> {
            if constexpr (std::is_constructible_v<SocketAddress, decltype(kind)>)
                return SocketAddress(kind);
            else
                return std::nullopt;
        },
        address);
}

}  // namespace godwit::io
