// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The back ends of chardevs, one maker each.
#pragma once

#include "io/address.h"
#include "system/chardev.h"
#include "util/registration.h"
#include "util/unique_fd.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace godwit::system {

class MainLoop;
class YankRegistry;

/// What back ends live on.
struct ChardevHost {
    MainLoop& loop;
    std::function<void(std::string_view)> notice;  ///< to the operator
    YankRegistry* yanks = nullptr;                 ///< may be none
};

std::unique_ptr<Chardev> make_null_chardev(std::string label);
/// Created or emptied (or appended to); written at once, never read unless `input` is given.
Result<std::unique_ptr<Chardev>> make_file_chardev(MainLoop& loop, std::string label,
                                                   const std::string& path, bool append,
                                                   const std::string& input);
Result<std::unique_ptr<Chardev>> make_ringbuf_chardev(std::string label, std::uint64_t size);
/// `signals`: control-C ends the program instead of reaching the front end.
Result<std::unique_ptr<Chardev>> make_stdio_chardev(MainLoop& loop, std::string label,
                                                    bool signals);
/// PATH.in and PATH.out, or PATH for both.
Result<std::unique_ptr<Chardev>> make_pipe_chardev(MainLoop& loop, std::string label,
                                                   const std::string& path);
/// `link`: a symbolic link to the slave side, removed again at the end.
Result<std::unique_ptr<Chardev>> make_pty_chardev(MainLoop& loop, std::string label,
                                                  const std::string& link);
Result<std::unique_ptr<Chardev>> make_fd_chardev(MainLoop& loop, std::string label, UniqueFd fd);

struct SocketChardevOptions {
    io::SocketAddress address;
    bool server = false;
    bool wait = true;
    bool nodelay = true;
    bool telnet = false;
    std::uint64_t reconnect_ms = 0;  ///< 0: a client that loses its peer stays alone
};
/// A server with `wait` serves the main loop until somebody has connected.
Result<std::unique_ptr<Chardev>> make_socket_chardev(const ChardevHost& host, std::string label,
                                                     SocketChardevOptions options);

/// Several front ends on one back end; C-a c passes the keyboard on.
class MuxChardev {
public:
    virtual ~MuxChardev() = default;
    virtual const std::string& label() const noexcept = 0;
    /// A place no front end has yet.
    virtual Chardev* free_port() = 0;
    virtual Chardev* first_port() const noexcept = 0;
    virtual Chardev& base() noexcept = 0;
    virtual bool busy() const noexcept = 0;
};
std::unique_ptr<MuxChardev> make_mux(std::unique_ptr<Chardev> base, std::function<void()> quit);

/// Reads from one descriptor and writes to another, without ever waiting: what stdio, pipes, ptys,
/// descriptors and connected sockets share.
///
/// Threads  as Chardev. Both descriptors are non-blocking while open.
class StreamChardev : public Chardev {
public:
    StreamChardev(MainLoop& loop, std::string label) : Chardev(std::move(label)), loop_(&loop) {}
    ~StreamChardev() override;

    using Chardev::write;
    bool write(std::span<const std::byte> data) override;
    std::size_t write_some(std::span<const std::byte> data) override;
    void on_writable(std::function<void()> ready) override;
    std::size_t queued() const override { return queue_.size() - queue_start_; }
    void flush(unsigned ms) override;
    bool connected() const noexcept override { return connected_; }
    void accept_input() override;
    std::vector<UniqueFd> take_fds() override { return std::exchange(fds_, {}); }
    Result<void> move_to(MainLoop& loop) override;

protected:
    /// Starts serving; either may be -1. Tells the front end.
    void open(int in, int out, bool is_socket);
    /// Stops serving and tells the front end; the descriptors are the derived class's to close.
    void close_stream();
    /// Nothing more comes in. By default a socket closes; anything else can still be written to.
    virtual void lost();
    void attached_changed() override { accept_input(); }
    MainLoop& loop() noexcept { return *loop_; }
    /// Bytes queued beyond this are dropped: nobody reads.
    void limit_queue(std::size_t bytes) noexcept { queue_limit_ = bytes; }
    /// A telnet client's commands are cut out of the input.
    void set_telnet(bool on) noexcept { telnet_ = on; }

private:
    void readable();
    void writable();
    long receive(std::span<std::byte> into);
    long send(std::span<const std::byte> from);
    void want_output();
    std::size_t strip_telnet(std::span<std::byte> data);

    MainLoop* loop_;
    int in_ = -1;
    int out_ = -1;
    bool is_socket_ = false;
    bool connected_ = false;
    bool telnet_ = false;
    int telnet_state_ = 0;
    Registration read_watch_;
    Registration end_watch_;
    Registration write_watch_;
    std::string queue_;  // bytes from queue_start_ on are to be written
    std::size_t queue_start_ = 0;
    std::size_t queue_limit_ = SIZE_MAX;
    std::function<void()> on_writable_;
    std::vector<UniqueFd> fds_;
};

}  // namespace godwit::system
