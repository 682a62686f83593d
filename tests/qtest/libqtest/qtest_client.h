// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A client of the qtest protocol: ports, guest memory, clock, interrupts.
#pragma once

#include "tests/qtest/libqtest/stream.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::qtest {

/// Units     guest-physical addresses and bytes; times in nanoseconds.
/// Failures  an answer that is not OK fails the test; ask() gives any answer.
/// Threads   one.
class QtestClient {
public:
    QtestClient() = default;
    explicit QtestClient(UniqueFd fd) : stream_(std::move(fd)) {}

    /// One line without newline; its answer, interrupt lines taken out. "" when none came.
    std::string ask(std::string_view line);
    /// What stands behind OK.
    std::string ok(std::string_view line);

    std::uint8_t inb(std::uint16_t port);
    std::uint16_t inw(std::uint16_t port);
    std::uint32_t inl(std::uint16_t port);
    void outb(std::uint16_t port, std::uint8_t value);
    void outw(std::uint16_t port, std::uint16_t value);
    void outl(std::uint16_t port, std::uint32_t value);

    std::uint8_t readb(std::uint64_t address);
    std::uint16_t readw(std::uint64_t address);
    std::uint32_t readl(std::uint64_t address);
    std::uint64_t readq(std::uint64_t address);
    void writeb(std::uint64_t address, std::uint8_t value);
    void writew(std::uint64_t address, std::uint16_t value);
    void writel(std::uint64_t address, std::uint32_t value);
    void writeq(std::uint64_t address, std::uint64_t value);

    std::vector<std::byte> read(std::uint64_t address, std::uint64_t length);
    void write(std::uint64_t address, std::span<const std::byte> bytes);
    void memset(std::uint64_t address, std::uint64_t length, std::uint8_t value);

    /// The new time.
    std::int64_t clock_step(std::optional<std::int64_t> ns = {});
    std::int64_t clock_set(std::int64_t ns);

    void intercept_in(std::string_view path);
    void intercept_out(std::string_view path, std::string_view name = {});
    void set_irq_in(std::string_view path, std::string_view name, unsigned n, int level);
    /// Level of an intercepted line, as told so far.
    bool irq(unsigned n) const;

    bool open() const noexcept { return stream_.open() && !stream_.ended(); }
    void close() { stream_.close(); }
    void set_story(std::function<std::string()> story) { story_ = std::move(story); }

private:
    std::uint64_t number(std::string_view line);
    std::string story() const { return story_ ? story_() : std::string(); }

    Stream stream_;
    std::map<unsigned, bool> irqs_;
    std::function<std::string()> story_;
};

}  // namespace godwit::qtest
