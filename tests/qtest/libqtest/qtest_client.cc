// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/libqtest/qtest_client.h"

#include "util/hex.h"
#include "util/size.h"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace godwit::qtest {

namespace {

constexpr std::size_t kChunk = 1 << 20;  // bytes a request carries

}  // namespace

std::string QtestClient::ask(std::string_view line)
{
    if (!stream_.send(std::string(line) + "\n")) {
        ADD_FAILURE() << "cannot send '" << line.substr(0, 80) << "'" << story();
        return {};
    }
    const Deadline deadline;
    while (auto answer = stream_.line(deadline)) {
        unsigned n = 0;
        char what[8] = {};
        if (std::sscanf(answer->c_str(), "IRQ %7s %u", what, &n) != 2)
            return std::move(*answer);
        irqs_[n] = std::string_view(what) == "raise";
    }
    ADD_FAILURE() << "no answer to '" << line.substr(0, 80) << "'" << story();
    return {};
}

std::string QtestClient::ok(std::string_view line)
{
    const std::string answer = ask(line);
    if (answer == "OK")
        return {};
    if (answer.starts_with("OK "))
        return answer.substr(3);
    ADD_FAILURE() << "'" << line.substr(0, 80) << "': " << answer.substr(0, 200) << story();
    return {};
}

std::uint64_t QtestClient::number(std::string_view line)
{
    const std::string text = ok(line);
    const auto value = parse_u64(text);
    EXPECT_TRUE(value) << "'" << line << "': " << text;
    return value.value_or(0);
}

std::uint8_t QtestClient::inb(std::uint16_t port)
{
    return static_cast<std::uint8_t>(number(fmt::format("inb {:#x}", port)));
}
std::uint16_t QtestClient::inw(std::uint16_t port)
{
    return static_cast<std::uint16_t>(number(fmt::format("inw {:#x}", port)));
}
std::uint32_t QtestClient::inl(std::uint16_t port)
{
    return static_cast<std::uint32_t>(number(fmt::format("inl {:#x}", port)));
}
void QtestClient::outb(std::uint16_t port, std::uint8_t value)
{
    ok(fmt::format("outb {:#x} {:#x}", port, value));
}
void QtestClient::outw(std::uint16_t port, std::uint16_t value)
{
    ok(fmt::format("outw {:#x} {:#x}", port, value));
}
void QtestClient::outl(std::uint16_t port, std::uint32_t value)
{
    ok(fmt::format("outl {:#x} {:#x}", port, value));
}

std::uint8_t QtestClient::readb(std::uint64_t address)
{
    return static_cast<std::uint8_t>(number(fmt::format("readb {:#x}", address)));
}
std::uint16_t QtestClient::readw(std::uint64_t address)
{
    return static_cast<std::uint16_t>(number(fmt::format("readw {:#x}", address)));
}
std::uint32_t QtestClient::readl(std::uint64_t address)
{
    return static_cast<std::uint32_t>(number(fmt::format("readl {:#x}", address)));
}
std::uint64_t QtestClient::readq(std::uint64_t address)
{
    return number(fmt::format("readq {:#x}", address));
}
void QtestClient::writeb(std::uint64_t address, std::uint8_t value)
{
    ok(fmt::format("writeb {:#x} {:#x}", address, value));
}
void QtestClient::writew(std::uint64_t address, std::uint16_t value)
{
    ok(fmt::format("writew {:#x} {:#x}", address, value));
}
void QtestClient::writel(std::uint64_t address, std::uint32_t value)
{
    ok(fmt::format("writel {:#x} {:#x}", address, value));
}
void QtestClient::writeq(std::uint64_t address, std::uint64_t value)
{
    ok(fmt::format("writeq {:#x} {:#x}", address, value));
}

std::vector<std::byte> QtestClient::read(std::uint64_t address, std::uint64_t length)
{
    std::vector<std::byte> out;
    while (out.size() < length) {
        const std::uint64_t want = std::min<std::uint64_t>(length - out.size(), kChunk);
        const auto bytes =
            from_base64(ok(fmt::format("b64read {:#x} {:#x}", address + out.size(), want)));
        if (!bytes || bytes->size() != want) {
            ADD_FAILURE() << "short read at " << address + out.size() << story();
            out.resize(length);
            break;
        }
        out.insert(out.end(), bytes->begin(), bytes->end());
    }
    return out;
}

void QtestClient::write(std::uint64_t address, std::span<const std::byte> bytes)
{
    while (!bytes.empty()) {
        const auto part = bytes.first(std::min(bytes.size(), kChunk));
        ok(fmt::format("b64write {:#x} {:#x} {}", address, part.size(), to_base64(part)));
        address += part.size();
        bytes = bytes.subspan(part.size());
    }
}

void QtestClient::memset(std::uint64_t address, std::uint64_t length, std::uint8_t value)
{
    ok(fmt::format("memset {:#x} {:#x} {:#x}", address, length, value));
}

std::int64_t QtestClient::clock_step(std::optional<std::int64_t> ns)
{
    return static_cast<std::int64_t>(
        number(ns ? fmt::format("clock_step {}", *ns) : std::string("clock_step")));
}

std::int64_t QtestClient::clock_set(std::int64_t ns)
{
    return static_cast<std::int64_t>(number(fmt::format("clock_set {}", ns)));
}

void QtestClient::intercept_in(std::string_view path)
{
    ok(fmt::format("irq_intercept_in {}", path));
}

void QtestClient::intercept_out(std::string_view path, std::string_view name)
{
    ok(name.empty() ? fmt::format("irq_intercept_out {}", path)
                    : fmt::format("irq_intercept_out {} {}", path, name));
}

void QtestClient::set_irq_in(std::string_view path, std::string_view name, unsigned n, int level)
{
    ok(fmt::format("set_irq_in {} {} {} {}", path, name, n, level));
}

bool QtestClient::irq(unsigned n) const
{
    const auto found = irqs_.find(n);
    return found != irqs_.end() && found->second;
}

}  // namespace godwit::qtest
