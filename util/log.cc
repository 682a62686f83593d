// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/log.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>
#include <utility>

namespace godwit {

namespace {

std::uint64_t unix_time_us() noexcept
{
    using namespace std::chrono;
    return static_cast<std::uint64_t>(
        duration_cast<microseconds>(system_clock::now().time_since_epoch()).count());
}

std::string format_time(std::uint64_t unix_us)
{
    const auto seconds = static_cast<std::time_t>(unix_us / 1'000'000);
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z ", utc.tm_year + 1900,
                       utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                       unix_us % 1'000'000);
}

std::string_view prefix_of(LogLevel level) noexcept
{
    switch (level) {
    case LogLevel::Error:
        return "";
    case LogLevel::Warning:
        return "warning: ";
    case LogLevel::Info:
        return "info: ";
    case LogLevel::Debug:
        return "debug: ";
    }
    return "";
}

void write_fully(int fd, std::string_view text) noexcept
{
    while (!text.empty()) {
        const ssize_t wrote = ::write(fd, text.data(), text.size());
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return;  // there is nobody left to tell
        text.remove_prefix(static_cast<std::size_t>(wrote));
    }
}

Result<UniqueFd> create_log_file(const std::string& path)
{
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644));
    if (!fd)
        return Error::from_errno(path);
    return fd;
}

}  // namespace

std::string_view log_level_name(LogLevel level) noexcept
{
    switch (level) {
    case LogLevel::Error:
        return "error";
    case LogLevel::Warning:
        return "warning";
    case LogLevel::Info:
        return "info";
    case LogLevel::Debug:
        return "debug";
    }
    return "unknown";
}

void Log::write(LogLevel level, std::string_view message) const noexcept
{
    if (!wants(level))
        return;
    sink_->write({.level = level,
                  .category = category_,
                  .message = message,
                  .unix_time_us = unix_time_us()});
}

void Log::report(const Error& error) const noexcept
{
    write(LogLevel::Error, error.message());
    if (!error.hint().empty())
        write(LogLevel::Error, error.hint());
}

StreamLogSink::StreamLogSink(int fd, Options options) : fd_(fd), options_(std::move(options)) {}

Result<std::shared_ptr<StreamLogSink>> StreamLogSink::to_file(const std::string& path,
                                                              Options options)
{
    auto sink = std::make_shared<StreamLogSink>(-1, std::move(options));
    GW_TRY(sink->redirect(path));
    return sink;
}

bool StreamLogSink::wants(LogLevel level, std::string_view category) const noexcept
{
    const std::lock_guard lock(mutex_);
    for (const auto& [name, limit] : options_.categories)
        if (name == category)
            return level <= limit;
    return level <= options_.level;
}

void StreamLogSink::write(const LogRecord& record) noexcept
{
    const std::lock_guard lock(mutex_);
    std::string line;
    if (options_.timestamps)
        line += format_time(record.unix_time_us);
    if (!options_.guest.empty())
        line += options_.guest + ' ';
    if (!options_.program.empty())
        line += options_.program + ": ";
    line += prefix_of(record.level);
    for (const char c : record.message)  // what a peer or a file said stays on its line
        line += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? '?' : c;
    line += '\n';
    write_fully(fd_, line);
}

Result<void> StreamLogSink::redirect(const std::string& path)
{
    UniqueFd file = GW_TRY(create_log_file(path));
    const std::lock_guard lock(mutex_);
    owned_ = std::move(file);
    fd_ = owned_.get();
    return ok();
}

void StreamLogSink::set_level(LogLevel level) noexcept
{
    const std::lock_guard lock(mutex_);
    options_.level = level;
}

void StreamLogSink::set_timestamps(bool on) noexcept
{
    const std::lock_guard lock(mutex_);
    options_.timestamps = on;
}

void StreamLogSink::set_guest(std::string name) noexcept
{
    const std::lock_guard lock(mutex_);
    options_.guest = std::move(name);
}

void MemoryLogSink::write(const LogRecord& record) noexcept
{
    const std::lock_guard lock(mutex_);
    if (lines_.size() == capacity_ && !lines_.empty())
        lines_.erase(lines_.begin());
    if (capacity_ > 0)
        lines_.push_back({record.level, std::string(record.category), std::string(record.message)});
}

std::vector<MemoryLogSink::Line> MemoryLogSink::lines() const
{
    const std::lock_guard lock(mutex_);
    return lines_;
}

}  // namespace godwit
