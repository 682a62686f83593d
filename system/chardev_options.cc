// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/chardev_options.h"

#include "system/chardev_backends.h"
#include "util/size.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace godwit::system {

namespace {

using Notice = std::function<void(std::string_view)>;
using Made = Result<std::unique_ptr<Chardev>>;

Error missing(std::string_view text)
{
    return Error(Errc::InvalidArgument, "chardev: " + std::string(text));
}

Result<int> fd_number(const std::string& text)
{
    const auto fd = parse_u64(text);
    if (!fd || *fd > INT32_MAX)
        return Error(Errc::InvalidArgument, "Unable to parse FD number " + text);
    return static_cast<int>(*fd);
}

Result<UniqueFd> inherited_fd(const std::string& text)
{
    const int fd = GW_TRY(fd_number(text));
    if (::fcntl(fd, F_GETFD) < 0)
        return Error::from_errno("File descriptor '" + text + "'");
    return UniqueFd(fd);
}

Result<io::SocketAddress> socket_address(const OptionList& options)
{
    const std::string* path = options.find("path");
    const std::string* host = options.find("host");
    const std::string* fd = options.find("fd");
    if ((path != nullptr) + (host != nullptr) + (fd != nullptr) > 1) {
        return Error(Errc::InvalidArgument,
                     "None or one of 'path', 'fd' or 'host' option required.");
    }
    if (path) {
        return io::UnixAddress
        {
            .path = *path, .abstract = GW_TRY(options.get_bool("abstract", false))
            , .tight = GW_TRY(options.get_bool("tight", true))
        };
    }
    if (host) {
        const std::string* port = options.find("port");
        if (!port)
            return missing("socket: no port given");
        io::InetAddress inet{.host = *host, .port = *port};
        if (options.has("ipv4"))
            inet.ipv4 = GW_TRY(options.get_bool("ipv4", true));
        if (options.has("ipv6"))
            inet.ipv6 = GW_TRY(options.get_bool("ipv6", true));
        const std::uint64_t to = GW_TRY(options.get_u64("to", 0));
        if (to > UINT16_MAX)
            return Error(Errc::InvalidArgument, "Parameter 'to' expects uint16_t");
        if (to > 0)
            inet.to = static_cast<std::uint16_t>(to);
        return inet;
    }
    const int number = GW_TRY(fd_number(fd ? *fd : std::string()));
    struct stat info{};
    if (::fstat(number, &info) < 0 || !S_ISSOCK(info.st_mode))
        return Error(Errc::InvalidArgument, "File descriptor '" + *fd + "' is not a socket");
    return io::FdAddress{.name = *fd};
}

Made make_socket(const ChardevHost& host, const std::string& label, const OptionList& options)
{
    SocketChardevOptions socket;
    socket.server = GW_TRY(options.get_bool("server", false));
    socket.wait = GW_TRY(options.get_bool("wait", socket.server));
    socket.nodelay = GW_TRY(options.get_bool("nodelay", true));
    if (options.has("delay"))
        socket.nodelay = !GW_TRY(options.get_bool("delay", false));
    socket.telnet = GW_TRY(options.get_bool("telnet", false));
    if (options.has("reconnect") && options.has("reconnect-ms"))
        return Error(Errc::InvalidArgument,
                     "'reconnect' and 'reconnect-ms' are mutually exclusive");
    const std::uint64_t seconds = GW_TRY(options.get_u64("reconnect", 0));
    socket.reconnect_ms = GW_TRY(options.get_u64("reconnect-ms", seconds * 1000));
    for (const char* name : {"tls-creds", "tls-authz", "websocket", "tn3270"}) {
        if (options.has(name) && options.get_string(name) != "off")
            return Error(Errc::Unsupported,
                         "'" + std::string(name) + "' is not supported for socket chardevs");
    }
    if (!socket.server && options.has("wait"))
        return Error(Errc::InvalidArgument,
                     "'wait' option is incompatible with socket in client connect mode");
    if (socket.server && socket.reconnect_ms > 0)
        return Error(Errc::InvalidArgument,
                     "'reconnect' option is incompatible with socket in server listen mode");
    socket.address = GW_TRY(socket_address(options));
    return make_socket_chardev(host, label, std::move(socket));
}

Made make_file(const ChardevHost& host, const std::string& label, const OptionList& options)
{
    const std::string* path = options.find("path");
    if (!path)
        return missing("file: no filename given");
    return make_file_chardev(host.loop, label, *path, GW_TRY(options.get_bool("append", false)),
                             options.get_string("input-path"));
}

Made make_pipe(const ChardevHost& host, const std::string& label, const OptionList& options)
{
    const std::string* path = options.find("path");
    if (!path)
        return missing("pipe: no device path given");
    return make_pipe_chardev(host.loop, label, *path);
}

Made make_pty(const ChardevHost& host, const std::string& label, const OptionList& options)
{
    auto pty = GW_TRY(make_pty_chardev(host.loop, label, options.get_string("path")));
    host.notice("char device redirected to " + pty->filename().substr(4) + " (label " + label +
                ")");
    return pty;
}

Made make_null(const ChardevHost&, const std::string& label, const OptionList&)
{
    return make_null_chardev(label);
}

Made make_ringbuf(const ChardevHost&, const std::string& label, const OptionList& options)
{
    return make_ringbuf_chardev(label, GW_TRY(options.get_size("size", 65536)));
}

Made make_stdio(const ChardevHost& host, const std::string& label, const OptionList& options)
{
    return make_stdio_chardev(host.loop, label, GW_TRY(options.get_bool("signal", true)));
}

Made make_fd(const ChardevHost& host, const std::string& label, const OptionList& options)
{
    return make_fd_chardev(host.loop, label, GW_TRY(inherited_fd(options.get_string("fd"))));
}

struct Backend {
    std::string_view name;
    Made (*make)(const ChardevHost&, const std::string&, const OptionList&);
};
constexpr auto kBackends = std::to_array<Backend>({
    {"socket", make_socket},
    {"file", make_file},
    {"pipe", make_pipe},
    {"pty", make_pty},
    {"null", make_null},
    {"vc", make_null},  // a text console nobody looks at
    {"stdio", make_stdio},
    {"ringbuf", make_ringbuf},
    {"memory", make_ringbuf},
    {"fd", make_fd},
});

Result<OptionList> parse_endpoint_options(std::string_view kind, std::string_view rest)
{
    OptionList options;
    const bool is_unix = kind == "unix";
    if (is_unix) {
        options = GW_TRY(OptionList::parse(rest, "path"));
    } else {
        options = GW_TRY(OptionList::parse(rest, "hostport"));
        const std::string hostport = options.take("hostport").value_or("");
        const std::size_t colon = hostport.rfind(':');
        if (colon == std::string::npos) {
            return Error(Errc::InvalidArgument, "'" + std::string(kind) + ":" + std::string(rest) +
                                                    "' does not have a port");
        }
        std::string host = hostport.substr(0, colon);
        if (host.starts_with('[') && host.ends_with(']'))
            host = host.substr(1, host.size() - 2);
        options.set("host", host);
        options.set("port", hostport.substr(colon + 1));
        if (kind == "telnet")
            options.set("telnet", "on");
    }
    options.set("backend", "socket");
    return options;
}

}  // namespace

std::span<const std::string_view> chardev_backend_names() noexcept
{
    static constexpr auto kNames = [] {
        std::array<std::string_view, kBackends.size()> names;
        for (std::size_t i = 0; i < names.size(); ++i)
            names[i] = kBackends[i].name;
        return names;
    }();
    return kNames;
}

Result<OptionList> parse_short_chardev(std::string_view text)
{
    const std::size_t colon = text.find(':');
    const std::string_view kind = text.substr(0, colon);
    OptionList options;
    if (colon == std::string_view::npos) {
        const std::string_view name = text.substr(0, text.find(','));
        for (const std::string_view plain : {"null", "pty", "stdio", "ringbuf", "vc"}) {
            if (name == plain)
                return OptionList::parse(text, "backend");
        }
    } else {
        const std::string_view rest = text.substr(colon + 1);
        if (kind == "unix" || kind == "tcp" || kind == "telnet")
            return parse_endpoint_options(kind, rest);
        if (kind == "file" || kind == "pipe" || kind == "pty" || kind == "fd") {
            options.set("backend", kind);
            options.set(kind == "fd" ? "fd" : "path", rest);
            return options;
        }
        if (kind == "vc") {
            options.set("backend", "vc");
            return options;
        }
    }
    return Error(Errc::InvalidArgument, "'" + std::string(text) + "' is not a valid char driver");
}

Result<std::unique_ptr<Chardev>> make_chardev(const ChardevHost& host, const std::string& label,
                                              const OptionList& options)
{
    GW_TRY(options.only({"id",       "backend",   "path",      "input-path",   "host",
                         "port",     "fd",        "to",        "ipv4",         "ipv6",
                         "server",   "wait",      "nodelay",   "delay",        "reconnect",
                         "telnet",   "tn3270",    "tls-creds", "reconnect-ms", "tls-authz",
                         "abstract", "websocket", "signal",    "mux",          "size",
                         "append",   "tight",     "localaddr", "localport",    "chardev"}));
    const std::string backend = options.get_string("backend");
    const auto it = std::ranges::find(kBackends, backend, &Backend::name);
    if (it == kBackends.end()) {
        return Error(Errc::InvalidArgument, "'" + backend + "' is not a valid char driver name");
    }
    return it->make(host, label, options);
}

}  // namespace godwit::system
