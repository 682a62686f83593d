// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Chardevs on stream sockets, as server (one client at a time) or as client.
#include "io/listener.h"
#include "io/socket.h"
#include "system/chardev_backends.h"
#include "system/main_loop.h"
#include "system/yank.h"
#include "util/thread.h"

#include <chrono>
#include <optional>
#include <poll.h>

namespace godwit::system {

namespace {

/// What a client that does not reconnect gives its server to take it.
constexpr std::chrono::seconds kConnectTime(20);

using Connection = std::unique_ptr<io::SocketChannel>;

class SocketChardev : public StreamChardev {
public:
    SocketChardev(const ChardevHost& host, std::string name, SocketChardevOptions options)
        : StreamChardev(host.loop, std::move(name)), options_(std::move(options)),
          notice_(host.notice), yanks_(host.yanks)
    {
        if (yanks_ != nullptr)
            yankable_ = yanks_->add({YankInstance::Type::Chardev, label()});
        set_telnet(options_.telnet);
    }
    ~SocketChardev() override { cancel_.request(); }

    Result<void> start();
    std::string filename() const override;
    Result<void> move_to(MainLoop& to) override;

private:
    Result<void> listen();
    Result<void> connect_now();
    void watch_listener();
    void accept_one();
    void connect_later();
    void connect_in_background();
    void connected_to(Result<Connection> connection);
    void use(Connection connection);
    void lost() override;

    SocketChardevOptions options_;
    std::function<void(std::string_view)> notice_;
    YankRegistry* yanks_;
    Registration yankable_;
    std::unique_ptr<io::Listener> listener_;
    std::vector<Registration> listen_watches_;
    Connection connection_;
    Registration breaker_;  // goes before the connection does
    Registration timer_;
    bool complained_ = false;
    io::Cancel cancel_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    NamedThread connector_;  // last: ends before what it reports to
};

Result<void> SocketChardev::start()
{
    cancel_ = GW_TRY(io::Cancel::create());
    if (options_.server)
        return listen();
    if (options_.reconnect_ms > 0) {
        connect_in_background();
        return {};
    }
    return connect_now();
}

/// Waits for the peer, but not longer than kConnectTime; a signal during the start-up ends that.
Result<void> SocketChardev::connect_now()
{
    const io::Deadline deadline = io::deadline_in(kConnectTime);
    if (!std::holds_alternative<io::InetAddress>(options_.address) || loop().serving()) {
        use(GW_TRY(io::connect_socket(options_.address, {.patience = {.deadline = deadline}})));
        return {};
    }
    // Names are looked up and hosts may be silent: in a thread, while the loop takes signals.
    std::optional<Result<Connection>> outcome;
    connector_ = NamedThread("chr/connect", [&](const std::stop_token&) {
        auto result = std::make_shared<Result<Connection>>(io::connect_socket(
            options_.address, {.patience = {.cancel = cancel_, .deadline = deadline}}));
        loop().post([&outcome, result] { outcome = std::move(*result); });
    });
    while (!outcome) {
        loop().run_once(true);
        if (loop().quitting())
            cancel_.request();
    }
    use(GW_TRY(std::move(*outcome)));
    return {};
}

Result<void> SocketChardev::listen()
{
    listener_ = GW_TRY(io::Listener::create(options_.address));
    watch_listener();
    if (!options_.wait)
        return {};
    notice_("QEMU waiting for connection on: " + filename());
    while (!connected()) {
        loop().run_once(true);
        if (loop().quitting())
            return Error(Errc::Cancelled, "interrupted while waiting for a connection");
    }
    return {};
}

void SocketChardev::watch_listener()
{
    for (const int fd : listener_->poll_fds())
        listen_watches_.push_back(loop().watch(fd, POLLIN, [this](unsigned) { accept_one(); }));
}

Result<void> SocketChardev::move_to(MainLoop& to)
{
    GW_TRY(StreamChardev::move_to(to));
    if (!listen_watches_.empty()) {
        listen_watches_.clear();
        watch_listener();
    }
    if (timer_)
        connect_later();
    return {};
}

void SocketChardev::accept_one()
{
    auto connection = listener_->try_accept();
    if (!connection || !*connection)
        return;
    // One client at a time; others wait in the kernel's queue.
    listen_watches_.clear();
    use(std::move(*connection));
}

void SocketChardev::use(Connection connection)
{
    connection_ = std::move(connection);
    complained_ = false;
    if (yanks_ != nullptr)
        breaker_ = yanks_->add({YankInstance::Type::Chardev, label()},
                               [c = connection_.get()] { (void)c->shutdown(io::Shutdown::Both); });
    open(connection_->fd(), connection_->fd(), true);
}

void SocketChardev::lost()
{
    close_stream();
    breaker_.reset();
    connection_.reset();
    if (options_.server)
        watch_listener();
    else if (options_.reconnect_ms > 0)
        connect_later();
}

void SocketChardev::connect_later()
{
    const auto ms = std::min<std::uint64_t>(options_.reconnect_ms, 3'600'000);
    timer_ = loop().after_ms(static_cast<unsigned>(ms), [this] { connect_in_background(); });
}

/// A peer that does not answer must not hold up the main loop.
void SocketChardev::connect_in_background()
{
    connector_ = {};
    connector_ = NamedThread("chr/connect", [this, alive = std::weak_ptr(alive_),
                                             main_loop = &loop()](const std::stop_token&) {
        auto result = std::make_shared<Result<Connection>>(
            io::connect_socket(options_.address, {.patience = {.cancel = cancel_}}));
        main_loop->post([this, alive, result] {
            if (alive.lock())
                connected_to(std::move(*result));
        });
    });
}

void SocketChardev::connected_to(Result<Connection> connection)
{
    if (connection)
        return use(std::move(*connection));
    if (!std::exchange(complained_, true)) {
        notice_("Unable to connect character device " + label() + ": " +
                connection.error().message());
    }
    connect_later();
}

// As QEMU words it: tcp with both ends, unix with whichever end has a path.
std::string SocketChardev::filename() const
{
    io::SocketAddress address = options_.address;
    if (listener_ && !listener_->addresses().empty())
        address = listener_->addresses().front();
    const std::string role = options_.server ? ",server=on" : "";
    if (!connected())
        return "disconnected:" + io::to_string(address) + role;
    const auto here = connection_->local_address();
    const auto there = connection_->peer_address();
    if (!here || !there)
        return io::to_string(address) + role;
    if (std::holds_alternative<io::InetAddress>(*here))
        return io::to_string(*here) + role + " <-> " + io::to_string(*there).substr(4);
    if (std::holds_alternative<io::FdAddress>(address))
        address = *there;
    return io::to_string(address) + role;
}

}  // namespace

Result<std::unique_ptr<Chardev>> make_socket_chardev(const ChardevHost& host, std::string label,
                                                     SocketChardevOptions options)
{
    auto chardev = std::make_unique<SocketChardev>(host, std::move(label), std::move(options));
    GW_TRY(chardev->start());
    return chardev;
}

}  // namespace godwit::system
