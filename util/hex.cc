// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/hex.h"

#include <array>
#include <cstdint>
#include <fmt/core.h>

namespace godwit {

namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNone = 0xff;

constexpr std::array<std::uint8_t, 256> make_reverse(std::string_view alphabet)
{
    std::array<std::uint8_t, 256> table{};
    table.fill(kNone);
    for (std::size_t i = 0; i < alphabet.size(); ++i)
        table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
    return table;
}

constexpr std::array<std::uint8_t, 256> make_hex_reverse()
{
    auto table = make_reverse(kDigits);
    for (unsigned i = 10; i < 16; ++i)
        table['A' + i - 10] = static_cast<std::uint8_t>(i);
    return table;
}

constexpr auto kHexValue = make_hex_reverse();
constexpr auto kBase64Value = make_reverse(kBase64);

std::uint8_t value_of(const std::array<std::uint8_t, 256>& table, char c) noexcept
{
    return table[static_cast<unsigned char>(c)];
}

}  // namespace

std::string to_hex(std::span<const std::byte> bytes)
{
    std::string text(bytes.size() * 2, '0');
    char* to = text.data();
    for (const std::byte byte : bytes) {
        *to++ = kDigits[std::to_integer<unsigned>(byte >> 4)];
        *to++ = kDigits[std::to_integer<unsigned>(byte & std::byte{0xf})];
    }
    return text;
}

Result<std::vector<std::byte>> from_hex(std::string_view text)
{
    if (text.size() % 2 != 0)
        return Error(Errc::BadFormat, "odd number of hexadecimal digits");
    std::vector<std::byte> bytes(text.size() / 2);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const unsigned high = value_of(kHexValue, text[2 * i]);
        const unsigned low = value_of(kHexValue, text[2 * i + 1]);
        if (high == kNone || low == kNone)
            return Error(Errc::BadFormat, fmt::format("no hexadecimal digits at byte {}", 2 * i));
        bytes[i] = static_cast<std::byte>(high << 4 | low);
    }
    return bytes;
}

std::string to_base64(std::span<const std::byte> bytes)
{
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k)
            group = group << 8 | (k < count ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0);
        for (std::size_t k = 0; k < 4; ++k)
            text += k <= count ? kBase64[group >> (18 - 6 * k) & 0x3f] : '=';
    }
    return text;
}

Result<std::vector<std::byte>> from_base64(std::string_view text)
{
    std::vector<std::byte> bytes;
    bytes.reserve(text.size() / 4 * 3);
    std::uint32_t group = 0;
    unsigned held = 0;  // characters in `group`
    unsigned padding = 0;
    for (const char c : text) {
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            continue;
        if (c == '=') {
            ++padding;
            continue;
        }
        const unsigned value = value_of(kBase64Value, c);
        if (value == kNone || padding > 0)
            return Error(Errc::BadFormat, "Base64 data contains invalid characters");
        group = group << 6 | value;
        if (++held == 4) {
            for (const int shift : {16, 8, 0})
                bytes.push_back(static_cast<std::byte>(group >> shift & 0xff));
            group = held = 0;
        }
    }
    if (held == 1 || (held == 0 ? padding != 0 : held + padding != 4))
        return Error(Errc::BadFormat, "Base64 data contains invalid characters");
    if (held >= 2)
        bytes.push_back(static_cast<std::byte>(group >> (held == 2 ? 4 : 10) & 0xff));
    if (held == 3)
        bytes.push_back(static_cast<std::byte>(group >> 2 & 0xff));
    return bytes;
}

}  // namespace godwit
