// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/qtest_server.h"

#include "system/vm.h"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <utility>

namespace godwit::monitor {

namespace {

constexpr std::size_t kReadBytes = 64 << 10;
constexpr std::size_t kMaxOutput = 1 << 20;
constexpr unsigned kFlushMs = 200;

}  // namespace

Result<QtestLog> QtestLog::open(const std::string& path)
{
    if (path == "none" || path == "/dev/null")
        return QtestLog();
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!fd)
        return Error::from_errno(path);
    const int number = fd.get();
    return QtestLog(number, std::move(fd));
}

void QtestLog::line(char mark, std::string_view text) noexcept
{
    if (!on())
        return;
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - start_;
    std::string all =
        fmt::format("[{} {}{:.6f}] {}", mark, mark == 'I' ? "" : "+", since.count(), text);
    if (!all.ends_with('\n'))
        all += '\n';
    // A log that cannot be written is not worth more than a lost line.
    [[maybe_unused]] const auto written = ::write(fd_, all.data(), all.size());
}

QtestServer::QtestServer(system::Vm& vm, system::Chardev& chardev, QtestLog log,
                         QtestCommands::LoadModule load_module)
    : vm_(vm), chardev_(chardev), log_(std::move(log)),
      commands_(vm, [this](std::string_view line) { send(line); }, std::move(load_module))
{}

QtestServer::~QtestServer()
{
    stop();
}

Result<void> QtestServer::start()
{
    using Event = system::Chardev::FrontEnd::Event;
    GW_TRY(chardev_.attach({
        .can_receive = [this] { return can_receive(); },
        .receive =
            [this](std::span<const std::byte> bytes) {
                receive({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
            },
        .event =
            [this](Event event) {
                if (event == Event::Break)
                    return;
                input_.clear();
                served_ = scanned_ = 0;
                skipping_ = false;
                commands_.forget_levels();
                log_.line('I', event == Event::Opened ? "OPENED" : "CLOSED");
            },
    }));
    attached_ = true;
    return {};
}

void QtestServer::stop()
{
    if (!std::exchange(attached_, false))
        return;
    chardev_.flush(kFlushMs);
    chardev_.detach();
}

std::size_t QtestServer::can_receive()
{
    held_ = chardev_.queued() > kMaxOutput;
    return held_ ? 0 : kReadBytes;
}

void QtestServer::receive(std::string_view bytes)
{
    input_ += bytes;
    serve();
}

void QtestServer::serve()
{
    while (true) {
        if (chardev_.queued() > kMaxOutput)
            return wait_for_output();
        const auto end = input_.find('\n', std::max(served_, scanned_));
        if (end == std::string::npos)
            break;
        const std::string_view line = std::string_view(input_).substr(served_, end - served_);
        if (!std::exchange(skipping_, false))
            answer(line);
        served_ = scanned_ = end + 1;
    }
    input_.erase(0, served_);
    served_ = 0;
    scanned_ = input_.size();
    if (input_.size() > kMaxLine || skipping_) {
        if (!std::exchange(skipping_, true))
            send("ERR line too long\n");
        input_.clear();
        scanned_ = 0;
    }
}

void QtestServer::answer(std::string_view line)
{
    log_.line('R', line);
    send(commands_.run(line));
}

void QtestServer::send(std::string_view line)
{
    log_.line('S', line);
    chardev_.write(line);
}

void QtestServer::wait_for_output()
{
    if (std::exchange(waiting_, true))
        return;
    chardev_.on_writable([weak = weak_from_this(), &loop = vm_.loop()] {
        loop.post([weak] {
            auto self = weak.lock();
            if (!self || !self->attached_)
                return;
            self->waiting_ = false;
            self->serve();
            if (self->held_)
                self->chardev_.accept_input();
        });
    });
}

}  // namespace godwit::monitor
