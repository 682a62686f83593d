// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Human commands that look at memory and ports: x, xp, print, i, o, sum.
#include "monitor/hmp_runner.h"
#include "system/guest_paging.h"
#include "system/vm.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fmt/format.h>
#include <iterator>
#include <optional>
#include <span>

namespace godwit::monitor {

namespace {

using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;
using system::HmpTable;
using system::PagingMode;

constexpr std::int64_t kMaxItems = 1 << 20;
constexpr std::uint64_t kMaxSum = std::uint64_t{16} << 30;

/// 'c' as a C character constant; not printable ones as escapes.
std::string character(std::uint8_t c)
{
    switch (c) {
    case '\'':
        return "'\\''";
    case '\\':
        return "'\\\\'";
    case '\n':
        return "'\\n'";
    case '\r':
        return "'\\r'";
    default:
        return c >= 0x20 && c < 0x7f ? fmt::format("'{}'", static_cast<char>(c))
                                     : fmt::format("'\\x{:02x}'", c);
    }
}

std::int64_t sign_extend(std::uint64_t value, unsigned bytes)
{
    const unsigned shift = 64 - 8 * bytes;
    return static_cast<std::int64_t>(value << shift) >> shift;
}

/// One number of `bytes` bytes in a column: wide enough for the largest.
std::string formatted(char format, std::uint64_t value, unsigned bytes)
{
    static constexpr std::array<int, 9> kOctal = {0, 3, 6, 0, 11, 0, 0, 0, 22};
    static constexpr std::array<int, 9> kDecimal = {0, 3, 5, 0, 10, 0, 0, 0, 20};
    static constexpr std::array<int, 9> kSigned = {0, 4, 6, 0, 11, 0, 0, 0, 20};
    switch (format) {
    case 'o':
        return fmt::format("{:#0{}o}", value, kOctal[bytes] + 1);
    case 'u':
        return fmt::format("{:{}}", value, kDecimal[bytes]);
    case 'd':
        return fmt::format("{:{}}", sign_extend(value, bytes), kSigned[bytes] - 1);
    case 'c':
        return character(static_cast<std::uint8_t>(value));
    default:
        return fmt::format("0x{:0{}x}", value, bytes * 2);
    }
}

unsigned bytes_of(char size)
{
    return size == 'b' ? 1 : size == 'h' ? 2 : size == 'g' ? 8 : 4;
}

std::uint64_t little_endian(std::span<const std::byte> bytes)
{
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        value |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
    return value;
}

/// Reads guest memory by physical or by virtual address, page by page.
class MemoryView {
public:
    MemoryView(HmpContext& context, bool is_virtual) : memory_(context.vm.memory())
    {
        if (!is_virtual || context.vm.vcpus().empty())
            return;
        const auto reg = [&](const char* name) { return cpu_register(context, name).value_or(0); };
        mode_ = PagingMode{
            .cr0 = reg("cr0"), .cr3 = reg("cr3"), .cr4 = reg("cr4"), .efer = reg("efer")};
    }

    bool read(std::uint64_t address, std::span<std::byte> into)
    {
        while (!into.empty()) {
            const auto part =
                into.first(std::min<std::uint64_t>(into.size(), 4096 - address % 4096));
            const auto physical = mode_ ? translate(memory_, *mode_, address) : address;
            if (!physical || !memory_.read(*physical, part))
                return false;
            address += part.size();
            into = into.subspan(part.size());
        }
        return true;
    }

private:
    system::AddressSpace& memory_;
    std::optional<PagingMode> mode_;
};

/// Bytes as hexadecimal: there is no disassembler here, so `/i` shows what it would read.
void dump_code(MemoryView memory, std::uint64_t address, std::int64_t count, HmpOutput& out)
{
    for (std::int64_t i = 0; i < count; ++i, address += 8) {
        std::array<std::byte, 8> bytes{};
        if (!memory.read(address, bytes))
            return out.print(fmt::format("0x{:08x}: Cannot access memory\n", address));
        std::string line = fmt::format("0x{:08x}: ", address);
        for (const std::byte b : bytes)
            line += fmt::format(" {:02x}", static_cast<unsigned>(b));
        out.print(line + "\n");
    }
}

/// Sixteen bytes a line, as GDB and QEMU print them.
Result<void> dump(MemoryView memory, const HmpArgs& args, HmpOutput& out)
{
    const char format = args.has("format") ? args.text("format")[0] : 'x';
    char size = args.has("size") ? args.text("size")[0] : 'w';
    if (format == 'c' && !args.has("size"))
        size = 'b';
    const auto address = static_cast<std::uint64_t>(args.number("addr"));
    const std::int64_t count = std::clamp<std::int64_t>(args.number("count", 1), 0, kMaxItems);
    if (format == 'i') {
        dump_code(memory, address, count, out);
        return {};
    }
    const unsigned bytes = bytes_of(size);
    std::uint64_t left = static_cast<std::uint64_t>(count) * bytes;
    for (std::uint64_t at = address; left > 0;) {
        std::array<std::byte, 16> line{};
        const std::size_t length = std::min<std::uint64_t>(left, line.size());
        std::string text = fmt::format("{:016x}:", at);
        if (!memory.read(at, std::span(line).first(length))) {
            out.print(text + " Cannot access memory\n");
            break;
        }
        for (std::size_t i = 0; i < length; i += bytes) {
            text += ' ';
            text += formatted(format, little_endian(std::span(line).subspan(i, bytes)), bytes);
        }
        out.print(text + "\n");
        at += length;
        left -= length;
    }
    return {};
}

Result<void> dump_virtual(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    return dump(MemoryView(context, true), args, out);
}

Result<void> dump_physical(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    return dump(MemoryView(context, false), args, out);
}

Result<void> print_value(HmpContext&, const HmpArgs& args, HmpOutput& out)
{
    const auto value = static_cast<std::uint64_t>(args.number("val"));
    switch (args.has("format") ? args.text("format")[0] : 'x') {
    case 'o':
        out.print(fmt::format("{:#o}\n", value));
        break;
    case 'u':
        out.print(fmt::format("{}\n", value));
        break;
    case 'd':
        out.print(fmt::format("{}\n", static_cast<std::int64_t>(value)));
        break;
    case 'c':
        out.print(character(static_cast<std::uint8_t>(value)) + "\n");
        break;
    default:
        out.print(fmt::format("{:#x}\n", value));
    }
    return {};
}

/// The letter of an access and its width; QEMU takes /b, /h(w), /w and calls them b, w, l.
std::pair<char, unsigned> port_access(const HmpArgs& args)
{
    const char size = args.has("size") ? args.text("size")[0] : 'b';
    const unsigned bytes = size == 'b' ? 1 : size == 'h' ? 2 : 4;
    return {bytes == 1 ? 'b' : bytes == 2 ? 'w' : 'l', bytes};
}

Result<void> port_in(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    const auto [letter, bytes] = port_access(args);
    auto port = static_cast<std::uint64_t>(args.number("addr")) & 0xffff;
    if (args.has("index")) {
        context.vm.io().store(port, static_cast<std::uint64_t>(args.number("index")) & 0xff, 1);
        port = (port + 1) & 0xffff;
    }
    const std::uint64_t value = context.vm.io().load(port, bytes);
    out.print(fmt::format("port{}[0x{:04x}] = 0x{:0{}x}\n", letter, port, value, bytes * 2));
    return {};
}

Result<void> port_out(HmpContext& context, const HmpArgs& args, HmpOutput&)
{
    const auto access = port_access(args);
    const auto port = static_cast<std::uint64_t>(args.number("addr")) & 0xffff;
    context.vm.io().store(port, static_cast<std::uint64_t>(args.number("val")), access.second);
    return {};
}

/// The BSD checksum of a range: rotate right by one, add the byte, 16 bits.
Result<void> checksum(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    auto address = static_cast<std::uint64_t>(args.number("start"));
    std::uint64_t left = static_cast<std::uint32_t>(args.number("size"));
    if (left > kMaxSum)
        return Error(Errc::InvalidArgument, "the range is too large");
    std::uint16_t sum = 0;
    std::vector<std::byte> buffer(64 << 10);
    while (left > 0) {
        const auto chunk = std::span(buffer).first(std::min<std::uint64_t>(left, buffer.size()));
        if (!context.vm.memory().read(address, chunk))
            std::ranges::fill(chunk, std::byte{0});
        for (const std::byte b : chunk)
            sum = static_cast<std::uint16_t>((sum >> 1 | sum << 15) + static_cast<unsigned>(b));
        address += chunk.size();
        left -= chunk.size();
    }
    out.print(fmt::format("{:05}\n", sum));
    return {};
}

}  // namespace

void add_memory_commands(HmpTable& table)
{
    table.add({.name = "x",
               .args = "fmt:/,addr:l",
               .params = "/fmt addr",
               .help = "virtual memory dump starting at 'addr'",
               .run = dump_virtual});
    table.add({.name = "xp",
               .args = "fmt:/,addr:l",
               .params = "/fmt addr",
               .help = "physical memory dump starting at 'addr'",
               .run = dump_physical});
    table.add({.name = "print|p",
               .args = "fmt:/,val:l",
               .params = "/fmt expr",
               .help = "print expression value (use $reg for CPU register access)",
               .run = print_value});
    table.add({.name = "i",
               .args = "fmt:/,addr:i,index:i?",
               .params = "/fmt addr",
               .help = "I/O port read",
               .run = port_in});
    table.add({.name = "o",
               .args = "fmt:/,addr:i,val:i",
               .params = "/fmt addr value",
               .help = "I/O port write",
               .run = port_out});
    table.add({.name = "sum",
               .args = "start:i,size:i",
               .params = "addr size",
               .help = "compute the checksum of a memory region",
               .run = checksum});
}

}  // namespace godwit::monitor
