// SPDX-License-Identifier: LGPL-2.1-or-later
//
// QMP commands about character devices.
#include "system/qmp_private.h"
#include "util/hex.h"
#include "util/option_list.h"

namespace godwit::system {

Result<std::vector<qapi::ChardevInfo>> SystemQmp::query_chardev()
{
    std::vector<qapi::ChardevInfo> list;
    for (const Chardev* chardev : vm_.chardevs().list()) {
        list.push_back({.label = chardev->label(),
                        .filename = chardev->filename(),
                        .frontend_open = chardev->attached()});
    }
    return list;
}

Result<std::vector<qapi::ChardevBackendInfo>> SystemQmp::query_chardev_backends()
{
    std::vector<qapi::ChardevBackendInfo> list;
    for (const std::string_view name : chardev_backend_names())
        list.push_back({.name = std::string(name)});
    return list;
}

namespace {

void set_if(OptionList& options, std::string_view key, const std::optional<bool>& value)
{
    if (value)
        options.set(key, *value ? "on" : "off");
}
void set_if(OptionList& options, std::string_view key, const std::optional<std::string>& value)
{
    if (value)
        options.set(key, *value);
}
void set_if(OptionList& options, std::string_view key, const std::optional<std::int64_t>& value)
{
    if (value)
        options.set(key, std::to_string(*value));
}

Error unsupported(std::string_view what)
{
    return Error(Errc::Unsupported, std::string(what) + " is not supported");
}

/// The schema's structures as -chardev writes them, one overload a kind.
struct ToOptions {
    OptionList& options;

    Result<void> operator()(const std::monostate&) const { return {}; }
    Result<void> operator()(const qapi::ChardevCommonWrapper&) const { return {}; }
    Result<void> operator()(const qapi::ChardevHostdevWrapper& pipe) const
    {
        options.set("path", pipe.data.device);
        return {};
    }
    Result<void> operator()(const qapi::ChardevFileWrapper& file) const
    {
        options.set("path", file.data.out);
        set_if(options, "append", file.data.append);
        set_if(options, "input-path", file.data.in);
        return {};
    }
    Result<void> operator()(const qapi::ChardevPtyWrapper& pty) const
    {
        set_if(options, "path", pty.data.path);
        return {};
    }
    Result<void> operator()(const qapi::ChardevStdioWrapper& stdio) const
    {
        set_if(options, "signal", stdio.data.signal);
        return {};
    }
    Result<void> operator()(const qapi::ChardevRingbufWrapper& ring) const
    {
        set_if(options, "size", ring.data.size);
        return {};
    }
    Result<void> operator()(const qapi::ChardevSocketWrapper& wrapper) const
    {
        const qapi::ChardevSocket& socket = wrapper.data;
        // QMP's default is a server; the command line's is a client.
        options.set("server", socket.server.value_or(true) ? "on" : "off");
        if (socket.server.value_or(true))
            options.set("wait", socket.wait.value_or(false) ? "on" : "off");
        set_if(options, "wait", socket.wait);
        set_if(options, "nodelay", socket.nodelay);
        set_if(options, "telnet", socket.telnet);
        set_if(options, "reconnect", socket.reconnect);
        set_if(options, "reconnect-ms", socket.reconnect_ms);
        if (socket.tls_creds)
            return unsupported("'tls-creds'");
        return std::visit(*this, socket.addr.u);
    }
    Result<void> operator()(const qapi::InetSocketAddressWrapper& inet) const
    {
        options.set("host", inet.data.host);
        options.set("port", inet.data.port);
        set_if(options, "ipv4", inet.data.ipv4);
        set_if(options, "ipv6", inet.data.ipv6);
        if (inet.data.to)
            options.set("to", std::to_string(*inet.data.to));
        return {};
    }
    Result<void> operator()(const qapi::UnixSocketAddressWrapper& address) const
    {
        options.set("path", address.data.path);
        set_if(options, "abstract", address.data.abstract);
        set_if(options, "tight", address.data.tight);
        return {};
    }
    Result<void> operator()(const qapi::VsockSocketAddressWrapper&) const
    {
        return unsupported("a vsock address");
    }
    Result<void> operator()(const qapi::FdSocketAddressWrapper& fd) const
    {
        options.set("fd", fd.data.str);
        return {};
    }
};

}  // namespace

Result<qapi::ChardevReturn> SystemQmp::chardev_add(const qapi::ChardevAddArgs& args)
{
    OptionList options;
    options.set("backend", qapi::to_string(args.backend.type));
    GW_TRY(std::visit(ToOptions{options}, args.backend.u));
    auto made = vm_.chardevs().create(args.id, options);
    if (!made) {
        Error error = std::move(made).error();
        if (error.code() == Errc::Exists)
            return error;
        return std::move(error).context("Failed to add chardev '" + args.id + "'");
    }
    qapi::ChardevReturn reply;
    if (args.backend.type == qapi::ChardevBackendKind::Pty)
        reply.pty = (*made)->filename().substr(4);
    return reply;
}

Result<void> SystemQmp::chardev_remove(const qapi::ChardevRemoveArgs& args)
{
    return vm_.chardevs().remove(args.id);
}

Result<void> SystemQmp::ringbuf_write(const qapi::RingbufWriteArgs& args)
{
    Chardev* chardev = vm_.chardevs().find(args.device);
    if (!chardev)
        return Error(Errc::NotFound, "Device '" + args.device + "' not found");
    bool written = false;
    if (args.format == qapi::DataFormat::Base64) {
        const auto bytes = GW_TRY(from_base64(args.data));
        written = chardev->ring_write(bytes);
    } else {
        written = chardev->ring_write(std::as_bytes(std::span(args.data)));
    }
    if (!written)
        return Error(Errc::InvalidArgument, args.device + " is not a ringbuf device");
    return {};
}

Result<std::string> SystemQmp::ringbuf_read(const qapi::RingbufReadArgs& args)
{
    Chardev* chardev = vm_.chardevs().find(args.device);
    if (!chardev)
        return Error(Errc::NotFound, "Device '" + args.device + "' not found");
    if (args.size <= 0)
        return Error(Errc::InvalidArgument, "size must be greater than zero");
    const auto bytes = chardev->ring_read(static_cast<std::size_t>(args.size));
    if (!bytes)
        return Error(Errc::InvalidArgument, args.device + " is not a ringbuf device");
    if (args.format == qapi::DataFormat::Base64)
        return to_base64(std::as_bytes(std::span(*bytes)));
    return *bytes;
}

}  // namespace godwit::system
