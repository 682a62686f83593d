// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Sizes, numbers, patterns, hexadecimal and base64.
#include "tests/unit/util/must.h"
#include "util/glob.h"
#include "util/hex.h"
#include "util/size.h"

#include <gtest/gtest.h>
#include <span>
#include <string>

namespace godwit::test {
namespace {

TEST(ParseSize, WhatQemuTakesIsTaken)
{
    EXPECT_EQ(must(parse_size("0")), 0u);
    EXPECT_EQ(must(parse_size("4096")), 4096u);
    EXPECT_EQ(must(parse_size("0x20")), 32u);
    EXPECT_EQ(must(parse_size("0x2b")), 43u);
    EXPECT_EQ(must(parse_size("010")), 10u);
    EXPECT_EQ(must(parse_size("1B")), 1u);
    EXPECT_EQ(must(parse_size("1k")), 1024u);
    EXPECT_EQ(must(parse_size("20m")), 20u << 20);
    EXPECT_EQ(must(parse_size("1.5K")), 1536u);
    EXPECT_EQ(must(parse_size(".5G")), 512u << 20);
    EXPECT_EQ(must(parse_size("1.M")), 1u << 20);
    EXPECT_EQ(must(parse_size("+1M")), 1u << 20);
    EXPECT_EQ(must(parse_size("1.00001M")), 1048586u);
    EXPECT_EQ(must(parse_size("0.0000001K")), 0u);
    EXPECT_EQ(must(parse_size("15E")), 15ull << 60);
    EXPECT_EQ(must(parse_size("18446744073709551615")), UINT64_MAX);
    EXPECT_EQ(must(parse_size("128", 1 << 20)), 128u << 20);
    EXPECT_EQ(must(parse_size("128K", 1 << 20)), 128u << 10);
}

TEST(ParseSize, WhatQemuRefusesIsRefused)
{
    for (const char* text : {"",    "M",    "-1M",    "1MM",   "1M ",
                             "1.5", "1.5B", "1e3",    "1e3M",  "1.5e1M",
                             "16E", "17E",  "0x",     "0x20M", "0x2K",
                             ".",   "..5M", "1.5.5M", "++1",   "18446744073709551616",
                             "abc", "1,5M"})
        EXPECT_FALSE(parse_size(text)) << text;
    EXPECT_EQ(parse_size("1MM").error().message(), "'1MM' is not a size");
}

TEST(ParseNumber, FollowsCAndTakesNothingElse)
{
    EXPECT_EQ(must(parse_u64("0x1F")), 31u);
    EXPECT_EQ(must(parse_u64("017")), 15u);
    EXPECT_EQ(must(parse_u64("0")), 0u);
    EXPECT_EQ(must(parse_i64("-0x10")), -16);
    EXPECT_EQ(must(parse_i64("-9223372036854775808")), INT64_MIN);
    EXPECT_DOUBLE_EQ(must(parse_double("-2.5e3")), -2500);
    for (const char* text : {"", "-", "-1", " 1", "1 ", "08", "0x", "1a", "18446744073709551616"})
        EXPECT_FALSE(parse_u64(text)) << text;
    EXPECT_FALSE(parse_i64("9223372036854775808"));
    EXPECT_FALSE(parse_i64("--1"));
    for (const char* text : {"", "inf", "nan", "1x", "1e999"})
        EXPECT_FALSE(parse_double(text)) << text;
}

TEST(ParseBool, KnowsFourWordsForEach)
{
    for (const char* text : {"on", "yes", "true", "y"})
        EXPECT_TRUE(must(parse_bool(text)));
    for (const char* text : {"off", "no", "false", "n"})
        EXPECT_FALSE(must(parse_bool(text)));
    EXPECT_EQ(parse_bool("On").error().message(), "'On' is neither 'on' nor 'off'");
}

TEST(FormatSize, PrintsTheLargestUnitThatFits)
{
    EXPECT_EQ(format_size(0), "0 B");
    EXPECT_EQ(format_size(1023), "1023 B");
    EXPECT_EQ(format_size(128u << 20), "128 MiB");
    EXPECT_EQ(format_size(3ull << 29), "1.5 GiB");
    EXPECT_EQ(format_size(1100), "1.074 KiB");
    EXPECT_EQ(format_size(UINT64_MAX), "15.999 EiB");
}

TEST(Glob, StarsAndQuestionMarks)
{
    EXPECT_TRUE(glob_match("migration_*", "migration_pass_end"));
    EXPECT_TRUE(glob_match("*", ""));
    EXPECT_TRUE(glob_match("a?c*e", "abcde"));
    EXPECT_TRUE(glob_match("*end", "the end of the end"));
    EXPECT_FALSE(glob_match("a?c", "ac"));
    EXPECT_FALSE(glob_match("a*b", "a*c"));
    EXPECT_FALSE(glob_match("", "x"));
    EXPECT_TRUE(glob_match("", ""));
}

TEST(Glob, APatternMadeToExplodeDoesNot)
{
    std::string pattern;
    for (int i = 0; i < 50; ++i)
        pattern += "a*";
    EXPECT_FALSE(glob_match(pattern + "b", std::string(5000, 'a')));
}

TEST(Hex, RoundTripAndErrors)
{
    const auto bytes = must(from_hex("00ffAb"));
    EXPECT_EQ(to_hex(bytes), "00ffab");
    EXPECT_TRUE(must(from_hex("")).empty());
    EXPECT_FALSE(from_hex("0"));
    EXPECT_EQ(from_hex("00zz").error().message(), "no hexadecimal digits at byte 2");
}

TEST(Base64, TheVectorsOfRfc4648)
{
    const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                           {"f", "Zg=="},
                                                           {"fo", "Zm8="},
                                                           {"foo", "Zm9v"},
                                                           {"foob", "Zm9vYg=="},
                                                           {"fooba", "Zm9vYmE="},
                                                           {"foobar", "Zm9vYmFy"}};
    for (const auto& [text, encoded] : vectors) {
        const std::string_view view(text);
        EXPECT_EQ(to_base64(std::as_bytes(std::span(view))), encoded);
        const auto decoded = must(from_base64(encoded));
        EXPECT_EQ(std::string(reinterpret_cast<const char*>(decoded.data()), decoded.size()), text);
    }
    EXPECT_EQ(must(from_base64("Zm9v\nYg==\n")).size(), 4u);
    for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "Zg==Zg==", "Zm9v=", "Zm 9*", "=", "===="})
        EXPECT_FALSE(from_base64(bad)) << bad;
    EXPECT_EQ(from_base64("!!").error().message(), "Base64 data contains invalid characters");
}

}  // namespace
}  // namespace godwit::test
