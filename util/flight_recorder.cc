// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/flight_recorder.h"

#include "util/glob.h"
#include "util/json.h"
#include "util/thread.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fmt/core.h>
#include <unistd.h>

namespace godwit {

// A slot is a seqlock whose data are atomics, so that reading while somebody writes is defined.
// `turn` is 2 * number + 1 while event `number` is being written and 2 * number + 2 once it is
// there. Data are stored with release and loaded with acquire: a reader that sees a word of a later
// event also sees that event's odd turn, or a newer one, when it looks at the turn again.
struct alignas(64) FlightRecorder::Slot {
    std::atomic<std::uint64_t> turn{0};
    std::atomic<const TraceEventInfo*> event{nullptr};
    std::atomic<std::uint64_t> time_ns{0};
    std::atomic<std::uint64_t> tid{0};
    std::array<std::atomic<std::uint64_t>, 2> thread{};
    std::array<std::atomic<std::uint64_t>, kTraceWords> words{};
};

struct FlightRecorder::Echo {
    std::vector<std::string> patterns;
    Log log;

    bool matches(std::string_view name) const noexcept
    {
        bool match = false;
        for (const std::string_view pattern : patterns) {
            if (pattern.starts_with('-'))
                match = match && !glob_match(pattern.substr(1), name);
            else
                match = match || glob_match(pattern, name);
        }
        return match;
    }
};

namespace {

std::uint64_t monotonic_ns() noexcept
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec);
}

std::string read_text(const std::uint64_t* words)
{
    std::array<char, kTraceTextWords * 8> text;
    std::memcpy(text.data(), words, text.size());
    return {text.data(), ::strnlen(text.data(), kMaxTraceText)};
}

std::vector<TraceValue> read_values(const TraceEventInfo& event, const std::uint64_t* words)
{
    std::vector<TraceValue> values;
    for (std::size_t i = 0; i < event.field_count; ++i) {
        switch (event.fields[i].type) {
        case TraceFieldType::U64:
            values.emplace_back(*words++);
            break;
        case TraceFieldType::I64:
            values.emplace_back(static_cast<std::int64_t>(*words++));
            break;
        case TraceFieldType::F64:
            values.emplace_back(std::bit_cast<double>(*words++));
            break;
        case TraceFieldType::Text:
            values.emplace_back(read_text(words));
            words += kTraceTextWords;
            break;
        }
    }
    return values;
}

// What came from outside must not move a terminal's cursor.
char printable(char c) noexcept
{
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
}

std::string value_text(const TraceValue& value)
{
    std::string text = std::visit([](const auto& v) { return fmt::format("{}", v); }, value);
    std::ranges::transform(text, text.begin(), printable);
    return text;
}

// A line that is put together without memory from anywhere else, for signal handlers.
class SafeLine {
public:
    void put(char c) noexcept
    {
        if (size_ < text_.size() - 1)
            text_[size_++] = printable(c);
    }
    void put(std::string_view text) noexcept
    {
        for (const char c : text)
            put(c);
    }
    void put(std::uint64_t number, int digits = 1) noexcept
    {
        std::array<char, 20> reversed;
        int count = 0;
        for (; number > 0 || count < digits; number /= 10)
            reversed[static_cast<std::size_t>(count++)] = static_cast<char>('0' + number % 10);
        while (count > 0)
            put(reversed[static_cast<std::size_t>(--count)]);
    }
    // Returns the word behind the value.
    const std::uint64_t* put_value(TraceFieldType type, const std::uint64_t* word) noexcept
    {
        switch (type) {
        case TraceFieldType::U64:
            put(*word);
            return word + 1;
        case TraceFieldType::I64:
            if (static_cast<std::int64_t>(*word) < 0)
                put('-');
            put(static_cast<std::int64_t>(*word) < 0 ? 0 - *word : *word);
            return word + 1;
        case TraceFieldType::F64: {
            std::array<char, 32> digits;
            const auto end = std::to_chars(digits.data(), digits.data() + digits.size(),
                                           std::bit_cast<double>(*word))
                                 .ptr;
            put(std::string_view(digits.data(), end));
            return word + 1;
        }
        case TraceFieldType::Text: {
            std::array<char, kTraceTextWords * 8> bytes;
            std::memcpy(bytes.data(), word, bytes.size());
            put(std::string_view(bytes.data(), ::strnlen(bytes.data(), kMaxTraceText)));
            return word + kTraceTextWords;
        }
        }
        return word;
    }
    bool write(int fd) noexcept
    {
        text_[size_++] = '\n';
        return ::write(fd, text_.data(), size_) == static_cast<ssize_t>(size_);
    }

private:
    std::array<char, 512> text_;
    std::size_t size_ = 0;
};

}  // namespace

const TraceValue* TraceRecord::find(std::string_view field) const noexcept
{
    for (std::size_t i = 0; i < values.size(); ++i)
        if (event->fields[i].name == field)
            return &values[i];
    return nullptr;
}

std::string TraceRecord::to_string() const
{
    std::string text(name());
    for (std::size_t i = 0; i < values.size(); ++i)
        text += fmt::format(" {}={}", event->fields[i].name, value_text(values[i]));
    return text;
}

FlightRecorder::FlightRecorder(std::size_t capacity)
    : capacity_(capacity == 0 ? 0 : std::bit_ceil(capacity))
{
    // An untouched slot is a Slot of zeros: constructing them here would occupy them all at once.
    static_assert(std::is_trivially_destructible_v<Slot>);
    if (capacity_ == 0)
        return;
    if (auto memory = Mapping::anonymous(capacity_ * sizeof(Slot))) {
        memory_ = std::move(*memory);
        slots_ = reinterpret_cast<Slot*>(memory_.data());
    } else {
        capacity_ = 0;  // a recorder that keeps nothing
    }
}

FlightRecorder::~FlightRecorder() = default;

void FlightRecorder::put_text(std::uint64_t* to, std::string_view text) noexcept
{
    std::memset(to, 0, kTraceTextWords * sizeof *to);
    if (!text.empty())
        std::memcpy(to, text.data(), std::min(text.size(), kMaxTraceText));
}

void FlightRecorder::commit(const TraceEventInfo& event, const std::uint64_t* words,
                            std::size_t count) noexcept
{
    constexpr auto relaxed = std::memory_order_relaxed;
    constexpr auto release = std::memory_order_release;
    const std::uint64_t now = monotonic_ns();
    if (echoing_.load(relaxed)) [[unlikely]]
        echo_event(event, words, now);
    const std::uint64_t number = head_.fetch_add(1, relaxed);
    if (capacity_ == 0)
        return;
    Slot& slot = slots_[number & (capacity_ - 1)];
    std::uint64_t turn = slot.turn.load(relaxed);
    // Odd: somebody a round behind still writes here. Larger: somebody a round ahead was here.
    if (turn % 2 != 0 || turn > 2 * number ||
        !slot.turn.compare_exchange_strong(turn, 2 * number + 1, std::memory_order_acq_rel,
                                           relaxed)) [[unlikely]] {
        dropped_.fetch_add(1, relaxed);
        return;
    }
    const ThreadIdentity& thread = this_thread_identity();
    const auto name = std::bit_cast<std::array<std::uint64_t, 2>>(thread.name);
    slot.event.store(&event, release);
    slot.time_ns.store(now, release);
    slot.tid.store(static_cast<std::uint64_t>(thread.tid), release);
    slot.thread[0].store(name[0], release);
    slot.thread[1].store(name[1], release);
    for (std::size_t i = 0; i < count; ++i)
        slot.words[i].store(words[i], release);
    slot.turn.store(2 * number + 2, release);
}

// One event as it lies in its slot.
struct FlightRecorder::Raw {
    const TraceEventInfo* event = nullptr;
    std::uint64_t time_ns = 0;
    std::int32_t tid = 0;
    std::array<char, 16> thread{};
    std::array<std::uint64_t, kTraceWords> words;
};

// False if event `number` is not there yet, was dropped, or was overwritten meanwhile.
bool FlightRecorder::read(std::uint64_t number, Raw& raw) const noexcept
{
    constexpr auto acquire = std::memory_order_acquire;
    const Slot& slot = slots_[number & (capacity_ - 1)];
    if (slot.turn.load(acquire) != 2 * number + 2)
        return false;
    raw.event = slot.event.load(acquire);
    raw.time_ns = slot.time_ns.load(acquire);
    raw.tid = static_cast<std::int32_t>(slot.tid.load(acquire));
    const std::array<std::uint64_t, 2> name{slot.thread[0].load(acquire),
                                            slot.thread[1].load(acquire)};
    for (std::size_t i = 0; i < kTraceWords; ++i)
        raw.words[i] = slot.words[i].load(acquire);
    raw.thread = std::bit_cast<std::array<char, 16>>(name);
    return slot.turn.load(std::memory_order_relaxed) == 2 * number + 2;
}

std::vector<TraceRecord> FlightRecorder::snapshot(std::size_t limit) const
{
    const std::uint64_t head = head_.load(std::memory_order_acquire);
    const std::uint64_t count = std::min<std::uint64_t>({head, capacity_, limit});
    std::vector<TraceRecord> records;
    records.reserve(count);
    Raw raw;
    for (std::uint64_t number = head - count; number < head; ++number)
        if (read(number, raw))
            records.push_back({.sequence = number,
                               .time_ns = raw.time_ns,
                               .tid = raw.tid,
                               .thread = raw.thread.data(),
                               .event = raw.event,
                               .values = read_values(*raw.event, raw.words.data())});
    return records;
}

std::uint64_t FlightRecorder::recorded() const noexcept
{
    return head_.load(std::memory_order_relaxed);
}

std::uint64_t FlightRecorder::dropped() const noexcept
{
    return dropped_.load(std::memory_order_relaxed);
}

std::string FlightRecorder::dump_text(std::size_t limit) const
{
    std::string text;
    for (const TraceRecord& record : snapshot(limit))
        text += fmt::format("{}.{:06} {}/{} {}\n", record.time_ns / 1'000'000'000,
                            record.time_ns % 1'000'000'000 / 1000, record.tid, record.thread,
                            record.to_string());
    return text;
}

void FlightRecorder::dump_to(int fd, std::size_t limit) const noexcept
{
    const std::uint64_t head = head_.load(std::memory_order_acquire);
    const std::uint64_t count = std::min<std::uint64_t>({head, capacity_, limit});
    Raw raw;
    for (std::uint64_t number = head - count; number < head; ++number) {
        if (!read(number, raw))
            continue;
        SafeLine line;
        line.put(raw.time_ns / 1'000'000'000);
        line.put('.');
        line.put(raw.time_ns % 1'000'000'000 / 1000, 6);
        line.put(' ');
        line.put(static_cast<std::uint64_t>(raw.tid));
        line.put('/');
        line.put(std::string_view(raw.thread.data()));
        line.put(' ');
        line.put(raw.event->name);
        const std::uint64_t* word = raw.words.data();
        for (std::size_t i = 0; i < raw.event->field_count; ++i) {
            line.put(' ');
            line.put(raw.event->fields[i].name);
            line.put('=');
            word = line.put_value(raw.event->fields[i].type, word);
        }
        if (!line.write(fd))
            return;
    }
}

Json FlightRecorder::dump_json(std::size_t limit) const
{
    Json events = Json::array();
    for (TraceRecord& record : snapshot(limit)) {
        Json data = Json::object();
        for (std::size_t i = 0; i < record.values.size(); ++i)
            std::visit(
                [&](auto& value) {
                    data[std::string(record.event->fields[i].name)] = std::move(value);
                },
                record.values[i]);
        Json entry = Json::object();
        entry["seq"] = record.sequence;
        entry["time-ns"] = record.time_ns;
        entry["tid"] = record.tid;
        entry["thread"] = std::move(record.thread);
        entry["name"] = std::string(record.name());
        entry["data"] = std::move(data);
        events.push_back(std::move(entry));
    }
    Json result = Json::object();
    result["recorded"] = recorded();
    result["dropped"] = dropped();
    result["capacity"] = capacity();
    result["events"] = std::move(events);
    return result;
}

void FlightRecorder::echo(std::vector<std::string> patterns, Log log)
{
    const std::lock_guard lock(mutex_);
    echoing_.store(!patterns.empty(), std::memory_order_relaxed);
    echo_ = std::make_unique<Echo>(Echo{std::move(patterns), std::move(log)});
}

void FlightRecorder::echo_event(const TraceEventInfo& event, const std::uint64_t* words,
                                std::uint64_t time_ns) const noexcept
{
    const std::lock_guard lock(mutex_);
    if (!echo_ || !echo_->matches(event.name))
        return;
    TraceRecord record{.time_ns = time_ns};
    record.event = &event;
    record.values = read_values(event, words);
    echo_->log.info(record.to_string());
}

void FlightRecorder::declare(std::span<const TraceEventInfo* const> events)
{
    const std::lock_guard lock(mutex_);
    for (const TraceEventInfo* event : events)
        if (std::ranges::find(declared_, event) == declared_.end())
            declared_.push_back(event);
}

std::vector<const TraceEventInfo*> FlightRecorder::declared() const
{
    const std::lock_guard lock(mutex_);
    std::vector<const TraceEventInfo*> events = declared_;
    std::ranges::sort(events, {}, &TraceEventInfo::name);
    return events;
}

bool FlightRecorder::echoes(std::string_view name) const
{
    const std::lock_guard lock(mutex_);
    return echo_ && echo_->matches(name);
}

}  // namespace godwit
