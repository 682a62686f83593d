// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The flight recorder: what happened lately, in order and with times, at a price that lets it
// always run.
#pragma once

#include "util/json_fwd.h"
#include "util/log.h"
#include "util/mapping.h"
#include "util/result.h"

#include <array>
#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace godwit {

enum class TraceFieldType : std::uint8_t { U64, I64, F64, Text };

struct TraceField {
    std::string_view name;
    TraceFieldType type = TraceFieldType::U64;
};

/// Words of payload an event has room for; a number takes one, a text four.
inline constexpr std::size_t kTraceWords = 10;
inline constexpr std::size_t kTraceTextWords = 4;
/// Bytes of a text that are kept; the rest is cut.
inline constexpr std::size_t kMaxTraceText = kTraceTextWords * 8 - 1;

/// What one kind of event is called and made of; the untyped side of a TraceEvent.
struct TraceEventInfo {
    std::string_view name;
    std::array<TraceField, kTraceWords> fields{};
    std::size_t field_count = 0;
};

namespace detail {

template <class T>
concept TraceText = std::convertible_to<T, std::string_view>;

template <class T>
constexpr TraceFieldType trace_type()
{
    if constexpr (TraceText<T>)
        return TraceFieldType::Text;
    else if constexpr (std::is_floating_point_v<T>)
        return TraceFieldType::F64;
    else if constexpr (std::is_signed_v<T> && !std::is_enum_v<T>)
        return TraceFieldType::I64;
    else
        return TraceFieldType::U64;
}

template <class... T>
constexpr std::size_t trace_words()
{
    return (0 + ... + (TraceText<T> ? kTraceTextWords : 1));
}

}  // namespace detail

/// A kind of event with its field types.
///
///     inline constexpr TraceEvent<std::uint64_t, std::string_view> kPassEnd{
///         "migration_pass_end", {"pages", "reason"}};
///     recorder.record(kPassEnd, pages, "converged");
///
/// Field types: unsigned and signed integers, enums and bool (as u64), double, std::string_view.
/// Must outlive every recorder that saw it: make it a constant at namespace scope. (Plugins are
/// never unloaded.) Name events as in QEMU: room_thing_verb, lower case, underscores.
template <class... Args>
class TraceEvent : public TraceEventInfo {
    static_assert(detail::trace_words<Args...>() <= kTraceWords, "too much payload for one event");

public:
    consteval TraceEvent(std::string_view event_name,
                         std::array<std::string_view, sizeof...(Args)> names)
        : TraceEventInfo{event_name, {}, sizeof...(Args)}
    {
        const std::array<TraceFieldType, sizeof...(Args)> types{detail::trace_type<Args>()...};
        for (std::size_t i = 0; i < sizeof...(Args); ++i)
            fields[i] = {names[i], types[i]};
    }
};

using TraceValue = std::variant<std::uint64_t, std::int64_t, double, std::string>;

/// One event as it is read back.
struct TraceRecord {
    std::uint64_t sequence = 0;  ///< 0 is the first that this recorder saw
    std::uint64_t time_ns = 0;   ///< CLOCK_MONOTONIC
    std::int32_t tid = 0;
    std::string thread;  ///< its name when it first recorded something, or last named itself
    const TraceEventInfo* event = nullptr;
    std::vector<TraceValue> values;  ///< one for each of event->fields

    std::string_view name() const noexcept { return event->name; }
    /// The value of the field called `field`; null if there is none.
    const TraceValue* find(std::string_view field) const noexcept;
    /// "migration_pass_end pages=3 reason=converged".
    std::string to_string() const;
};

/// A ring of the last events.
///
/// Shape    `capacity()` events of 128 bytes each, a power of two; the newest overwrite the oldest.
/// Threads  everything from any thread. record() takes no lock and makes no system call; snapshot()
///          does not stop writers. An event that would have to wait for a slot (a writer was
///          stopped for a whole round of the ring) is dropped and counted.
/// Cost     well under 100 ns an event (tests/bench).
/// Source   the argument why this is safe: docs/developer/logging-and-recorder.md.
class FlightRecorder {
public:
    /// `capacity` is rounded up to a power of two; 0 makes a recorder that keeps nothing.
    explicit FlightRecorder(std::size_t capacity = 8192);
    FlightRecorder(const FlightRecorder&) = delete;
    FlightRecorder& operator=(const FlightRecorder&) = delete;
    ~FlightRecorder();

    template <class... Args>
    void record(const TraceEvent<Args...>& event, std::type_identity_t<Args>... values) noexcept
    {
        std::array<std::uint64_t, kTraceWords> words;
        [[maybe_unused]] std::uint64_t* to = words.data();
        (put(to, values), ...);
        commit(event, words.data(), detail::trace_words<Args...>());
    }

    /// The newest `limit` events, oldest first.
    std::vector<TraceRecord> snapshot(std::size_t limit = SIZE_MAX) const;

    std::size_t capacity() const noexcept { return capacity_; }
    /// Events offered so far, whether kept, overwritten or dropped.
    std::uint64_t recorded() const noexcept;
    /// Events lost because their slot was being written.
    std::uint64_t dropped() const noexcept;

    /// One line an event: "SECONDS.MICROS TID/NAME EVENT field=value ...".
    std::string dump_text(std::size_t limit = SIZE_MAX) const;
    /// The same lines, written to `fd` without a lock or memory from the heap: a handler of SIGSEGV
    /// or SIGABRT may call it. Stops at the first write that does not go through.
    void dump_to(int fd, std::size_t limit = SIZE_MAX) const noexcept;
    /// {"recorded","dropped","capacity","events":[{"seq","time-ns","tid","thread","name","data":{}}]}
    Json dump_json(std::size_t limit = SIZE_MAX) const;

    /// From now on events whose name matches one of `patterns` (see glob.h; a leading '-' takes
    /// names out again) also become log lines; an empty list stops that.
    void echo(std::vector<std::string> patterns, Log log);

    /// Makes events known by name before they happen, for lists of trace points.
    void declare(std::span<const TraceEventInfo* const> events);
    /// What was declared, sorted by name.
    std::vector<const TraceEventInfo*> declared() const;
    /// Whether echo() is on for events of this name.
    bool echoes(std::string_view name) const;

private:
    struct Slot;
    struct Raw;
    struct Echo;

    template <class T>
    static void put(std::uint64_t*& to, const T& value) noexcept
    {
        if constexpr (detail::TraceText<T>) {
            put_text(to, value);
            to += kTraceTextWords;
        } else if constexpr (std::is_floating_point_v<T>) {
            *to++ = std::bit_cast<std::uint64_t>(static_cast<double>(value));
        } else {
            *to++ = static_cast<std::uint64_t>(value);
        }
    }
    static void put_text(std::uint64_t* to, std::string_view text) noexcept;
    void commit(const TraceEventInfo& event, const std::uint64_t* words,
                std::size_t count) noexcept;
    bool read(std::uint64_t number, Raw& raw) const noexcept;
    void echo_event(const TraceEventInfo& event, const std::uint64_t* words,
                    std::uint64_t time_ns) const noexcept;

    std::size_t capacity_;
    Mapping memory_;  // zeros that take no memory until an event is written there
    Slot* slots_ = nullptr;
    alignas(64) std::atomic<std::uint64_t> head_{0};
    alignas(64) std::atomic<std::uint64_t> dropped_{0};
    std::atomic<bool> echoing_{false};
    mutable std::mutex mutex_;  // guards what follows
    std::unique_ptr<Echo> echo_;
    std::vector<const TraceEventInfo*> declared_;
};

}  // namespace godwit
