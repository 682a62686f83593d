// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The log: one line a problem, for people.
#pragma once

#include "util/error.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace godwit {

enum class LogLevel : std::uint8_t { Error, Warning, Info, Debug };

std::string_view log_level_name(LogLevel level) noexcept;

struct LogRecord {
    LogLevel level = LogLevel::Info;
    std::string_view category;  ///< the room or thing that speaks: "migration", "kvm"
    std::string_view message;   ///< without a newline at the end
    std::uint64_t unix_time_us = 0;
};

/// Where log records end up.
///
/// Threads  write() and wants() from any thread.
class LogSink {
public:
    virtual ~LogSink() = default;
    virtual bool wants(LogLevel level, std::string_view category) const noexcept = 0;
    virtual void write(const LogRecord& record) noexcept = 0;
};

/// A handle to a sink, with a category. Copy it freely; main() makes the first one and hands it
/// down.
///
/// A default-constructed Log is silent.
class Log {
public:
    Log() noexcept = default;
    explicit Log(std::shared_ptr<LogSink> sink, std::string category = {})
        : sink_(std::move(sink)), category_(std::move(category))
    {}

    /// The same sink under another category.
    Log with_category(std::string category) const { return Log(sink_, std::move(category)); }

    bool wants(LogLevel level) const noexcept { return sink_ && sink_->wants(level, category_); }
    void write(LogLevel level, std::string_view message) const noexcept;

    void error(std::string_view message) const noexcept { write(LogLevel::Error, message); }
    void warn(std::string_view message) const noexcept { write(LogLevel::Warning, message); }
    void info(std::string_view message) const noexcept { write(LogLevel::Info, message); }
    void debug(std::string_view message) const noexcept { write(LogLevel::Debug, message); }

    /// The error's message, and its hint on a line of its own.
    void report(const Error& error) const noexcept;

private:
    std::shared_ptr<LogSink> sink_;
    std::string category_;
};

/// Lines on a descriptor, as QEMU prints them: "PROGRAM: warning: MESSAGE".
///
/// Shape    [TIMESTAMP ][GUEST ]PROGRAM: [warning: |info: |debug: ]MESSAGE, one write() a line.
/// Threads  as LogSink; the setters too.
class StreamLogSink : public LogSink {
public:
    struct Options {
        std::string program;      ///< before every line; empty: no prefix
        std::string guest;        ///< `-msg guest-name=on`: printed between time and program
        bool timestamps = false;  ///< `-msg timestamp=on`: "2026-11-21T07:55:07.123456Z "
        LogLevel level = LogLevel::Info;  ///< what is less important than this is left out
        /// "cat:level" pairs that override `level` for a category.
        std::vector<std::pair<std::string, LogLevel>> categories;
    };

    /// `fd` is borrowed: 2 for stderr.
    StreamLogSink(int fd, Options options);
    /// Creates or empties the file.
    static Result<std::shared_ptr<StreamLogSink>> to_file(const std::string& path, Options options);

    bool wants(LogLevel level, std::string_view category) const noexcept override;
    void write(const LogRecord& record) noexcept override;

    /// Further lines go to `path` (`-D`, HMP logfile); created or emptied.
    Result<void> redirect(const std::string& path);
    void set_level(LogLevel level) noexcept;
    void set_timestamps(bool on) noexcept;
    /// What stands between time and program; empty: nothing.
    void set_guest(std::string name) noexcept;

private:
    mutable std::mutex mutex_;  // guards all below
    UniqueFd owned_;
    int fd_;
    Options options_;
};

/// Keeps what was written, for tests and for `info log`.
class MemoryLogSink : public LogSink {
public:
    struct Line {
        LogLevel level;
        std::string category;
        std::string message;
    };
    explicit MemoryLogSink(std::size_t capacity = 1024) : capacity_(capacity) {}
    bool wants(LogLevel, std::string_view) const noexcept override { return true; }
    void write(const LogRecord& record) noexcept override;
    /// The last `capacity` lines, oldest first.
    std::vector<Line> lines() const;

private:
    mutable std::mutex mutex_;  // guards lines_
    std::size_t capacity_;
    std::vector<Line> lines_;
};

}  // namespace godwit
