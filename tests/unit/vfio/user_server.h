// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The other end of a vfio-user socket, as a test wants it: it answers what the test tells it to.
#pragma once

#include "hw/vfio/vfio_user_connection.h"
#include "io/socket.h"
#include "util/thread.h"

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace godwit::hw::vfio::user {

/// A message as it came.
struct Message {
    Header header;
    std::vector<std::byte> payload;
    std::vector<UniqueFd> fds;

    template <class T>
    T as(std::size_t offset = 0) const
    {
        T value{};
        if (payload.size() >= offset + sizeof value)
            std::memcpy(&value, payload.data() + offset, sizeof value);
        return value;
    }
};

/// Serves one end of a socketpair in a thread of its own.
///
/// Threads  on() before connect(); handlers run in the server's thread.
class TestServer {
public:
    using Handler = std::function<void(TestServer&, Message&)>;

    TestServer()
    {
        auto pair = io::socket_pair();
        ours_ = std::move(pair->first);
        theirs_ = std::move(pair->second);
        on(Command::Version,
           [](TestServer& s, Message& m) { s.answer_version(m, s.capabilities); });
    }
    ~TestServer() { (void)ours_->shutdown(io::Shutdown::Both); }

    void on(Command command, Handler handler)
    {
        handlers_[static_cast<std::uint16_t>(command)] = std::move(handler);
    }
    std::string capabilities = R"({"capabilities":{"max_msg_fds":4,"max_data_xfer_size":65536}})";

    Result<std::unique_ptr<Connection>> connect(Connection::Options options = {})
    {
        thread_ = NamedThread("server", [this](const std::stop_token&) { run(); });
        return Connection::adopt(std::move(theirs_), "test.sock", std::move(options));
    }

    void answer(const Message& to, std::span<const std::byte> payload = {},
                std::span<const int> fds = {}, std::uint32_t error = 0)
    {
        Header h = to.header;
        h.flags = kTypeReply | (error != 0 ? kError : 0);
        h.error = error;
        h.size = static_cast<std::uint32_t>(sizeof h + payload.size());
        send(h, payload, fds);
    }
    template <class T>
    void answer_with(const Message& to, const T& value, std::span<const int> fds = {})
    {
        answer(to, std::as_bytes(std::span(&value, 1)), fds);
    }
    void refuse(const Message& to, int error)
    {
        answer(to, {}, {}, static_cast<std::uint32_t>(error));
    }
    void answer_version(const Message& to, const std::string& json, Version version = {},
                        std::span<const int> fds = {})
    {
        std::vector<std::byte> payload(sizeof version + json.size() + 1);
        std::memcpy(payload.data(), &version, sizeof version);
        std::memcpy(payload.data() + sizeof version, json.c_str(), json.size() + 1);
        answer(to, payload, fds);
    }
    void send(const Header& header, std::span<const std::byte> payload,
              std::span<const int> fds = {})
    {
        std::vector<std::byte> whole(sizeof header + payload.size());
        std::memcpy(whole.data(), &header, sizeof header);
        if (!payload.empty())
            std::memcpy(whole.data() + sizeof header, payload.data(), payload.size());
        if (fds.empty())
            (void)ours_->write_all(whole);
        else
            (void)ours_->write_with_fds(whole, fds);
    }
    /// A request of the server's own, and its answer.
    Message ask(std::uint16_t command, std::span<const std::byte> payload)
    {
        send({.id = 77,
              .command = command,
              .size = static_cast<std::uint32_t>(sizeof(Header) + payload.size())},
             payload);
        return receive().value_or(Message{});
    }
    void close() { (void)ours_->shutdown(io::Shutdown::Both); }
    Result<Message> receive()
    {
        Message m;
        const auto raw = std::as_writable_bytes(std::span(&m.header, 1));
        std::size_t have = 0;
        while (have < raw.size()) {
            auto got = GW_TRY(ours_->read_with_fds(raw.subspan(have)));
            if (got.bytes == 0)
                return Error(Errc::Closed, "closed");
            have += got.bytes;
            for (UniqueFd& fd : got.fds)
                m.fds.push_back(std::move(fd));
        }
        m.payload.resize(m.header.size - sizeof(Header));
        GW_TRY(ours_->read_exact(m.payload));
        return m;
    }

private:
    void run()
    {
        for (;;) {
            auto m = receive();
            if (!m)
                return;
            const auto found = handlers_.find(m->header.command);
            if (found == handlers_.end())
                refuse(*m, 95);
            else
                found->second(*this, *m);
        }
    }

    std::unique_ptr<io::SocketChannel> ours_;
    std::unique_ptr<io::SocketChannel> theirs_;
    std::map<std::uint16_t, Handler> handlers_;
    NamedThread thread_;
};

}  // namespace godwit::hw::vfio::user
