// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/json.h"

#include "tests/unit/util/must.h"

#include <gtest/gtest.h>
#include <random>
#include <string>

namespace godwit::test {
namespace {

std::string parse_refusal(std::string_view text)
{
    const auto value = parse_json(text);
    return value ? "accepted" : value.error().message();
}

TEST(ParseJson, ValuesOfEveryKindComeThrough)
{
    const Json value = must(parse_json(
        R"( {"null":null,"yes":true,"no":false,"list":[1,-2,3.5,"x",[],{}],"object":{"a":{"b":1}}} )"));
    EXPECT_EQ(
        dump_json(value),
        R"({"null":null,"yes":true,"no":false,"list":[1,-2,3.5,"x",[],{}],"object":{"a":{"b":1}}})");
}

TEST(ParseJson, MembersKeepTheirOrder)
{
    EXPECT_EQ(dump_json(must(parse_json(R"({"z":1,"a":2,"m":3})"))), R"({"z":1,"a":2,"m":3})");
}

TEST(ParseJson, SingleQuotesAreQuotes)
{
    EXPECT_EQ(must(parse_json(R"({'a':'say "x"'})"))["a"], "say \"x\"");
    EXPECT_EQ(must(parse_json(R"("it\'s")")), "it's");
}

TEST(ParseJson, IntegersKeepAll64Bits)
{
    EXPECT_EQ(must(parse_json("18446744073709551615")).get<std::uint64_t>(), UINT64_MAX);
    EXPECT_EQ(must(parse_json("-9223372036854775808")).get<std::int64_t>(), INT64_MIN);
    EXPECT_TRUE(must(parse_json("5")).is_number_unsigned());
    EXPECT_TRUE(must(parse_json("-5")).is_number_integer());
    EXPECT_TRUE(must(parse_json("18446744073709551616")).is_number_float());
    EXPECT_TRUE(must(parse_json("1e2")).is_number_float());
    EXPECT_TRUE(must(parse_json("-0.5E-1")).is_number_float());
}

TEST(ParseJson, EscapesAndSurrogatePairsBecomeUtf8)
{
    EXPECT_EQ(must(parse_json(R"("\"\\/\b\f\n\r\t\u00e9\u20ac\ud83d\ude00")")),
              "\"\\/\b\f\n\r\té€😀");
    EXPECT_EQ(must(parse_json(R"("\u0000")")), "\xc0\x80");
}

TEST(ParseJson, TheTextsOfErrorsAreQemus)
{
    EXPECT_EQ(parse_refusal("{foo}"), "JSON parse error, invalid keyword 'foo'");
    EXPECT_EQ(parse_refusal(R"({"a" 1})"), "JSON parse error, missing : in object pair");
    EXPECT_EQ(parse_refusal(R"({"a":})"), "JSON parse error, expecting value");
    EXPECT_EQ(parse_refusal(R"({"a":1 "b":2})"), "JSON parse error, expected separator in dict");
    EXPECT_EQ(parse_refusal("{1:2}"), "JSON parse error, key is not a string in object");
    EXPECT_EQ(parse_refusal("[1 2]"), "JSON parse error, expected separator in list");
    EXPECT_EQ(parse_refusal("[1,]"), "JSON parse error, expecting value");
    EXPECT_EQ(parse_refusal(R"("abc\q")"), "JSON parse error, invalid escape sequence in string");
    EXPECT_EQ(parse_refusal("nul"), "JSON parse error, invalid keyword 'nul'");
    EXPECT_EQ(parse_refusal(R"({"a":1,"a":2})"), "JSON parse error, duplicate key");
    EXPECT_EQ(parse_refusal("@"), "JSON parse error, stray '@'");
    EXPECT_EQ(parse_refusal("01"), "JSON parse error, stray '01'");
    EXPECT_EQ(parse_refusal("1.e"), "JSON parse error, stray '1.e'");
    EXPECT_EQ(parse_refusal(R"("\ud800")"),
              R"(JSON parse error, \ud800 is not a valid Unicode character)");
    EXPECT_EQ(parse_refusal("[1}"), "JSON parse error, expected separator in list");
    EXPECT_EQ(parse_refusal("]"), "JSON parse error, expecting value");
    EXPECT_EQ(parse_refusal("%d"), "JSON parse error, stray '%'");
    EXPECT_EQ(parse_refusal("[1;2]"), "JSON parse error, stray ';'");
    EXPECT_EQ(parse_refusal(R"({"driver":)"), "JSON parse error, premature EOI");
    EXPECT_EQ(parse_refusal("[[]"), "JSON parse error, premature EOI");
    EXPECT_EQ(parse_refusal(R"({"a":"x)"), "JSON parse error, stray '\"x'");
    EXPECT_EQ(parse_refusal("\"\x80\""), "JSON parse error, invalid UTF-8 sequence in string");
    EXPECT_EQ(parse_refusal("{} x"), "Expecting at most one JSON value");
    EXPECT_EQ(parse_refusal(" "), "Expecting a JSON value");
}

TEST(ParseJson, AControlCharacterInAStringIsRefusedOnOneLine)
{
    EXPECT_EQ(parse_refusal("\"a\nb\""), "JSON parse error, stray '\"a\\x0a'");
}

TEST(ParseJson, NestingStopsAt1024)
{
    const auto nested = [](std::size_t depth) {
        return std::string(depth, '[') + std::string(depth, ']');
    };
    EXPECT_EQ(parse_refusal(nested(kMaxJsonDepth)), "accepted");
    EXPECT_EQ(parse_refusal(nested(kMaxJsonDepth + 1)), "JSON nesting depth limit exceeded");
    EXPECT_EQ(parse_refusal(std::string(10'000'000, '[')), "JSON nesting depth limit exceeded");
}

TEST(ParseJson, AnObjectWithVeryManyMembersIsReadInLinearTime)
{
    std::string text = "{";
    for (int i = 0; i < 200'000; ++i)
        text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":0";
    EXPECT_EQ(must(parse_json(text + "}")).size(), 200'000u);
    EXPECT_EQ(parse_refusal(text + ",\"k7\":0}"), "JSON parse error, duplicate key");
}

TEST(ParseJson, OverlongAndSurrogateUtf8IsRefused)
{
    for (const char* bad : {"\"\xc0\xaf\"", "\"\xe0\x80\xaf\"", "\"\xed\xa0\x80\"",
                            "\"\xf4\x90\x80\x80\"", "\"\xf8\x88\x80\x80\x80\"", "\"\xe2\x82\""})
        EXPECT_EQ(parse_refusal(bad), "JSON parse error, invalid UTF-8 sequence in string");
}

TEST(ParseJson, TenThousandMutantsNeitherCrashNorSpreadOverLines)
{
    const std::string seed =
        R"({"execute":"migrate","arguments":{"uri":"tcp:\u00e9","n":[1,-2.5e3,true,null]}})";
    const std::string letters = "{}[]:,\"'\\u0123-.eE+tnf \n\x01\x80\xc3";
    std::mt19937 random(11);
    for (int i = 0; i < 10000; ++i) {
        std::string text = seed;
        for (unsigned n = random() % 4 + 1; n > 0; --n) {
            const std::size_t at = random() % text.size();
            if (random() % 2 == 0)
                text.erase(at, 1 + random() % 5);
            else
                text.insert(at, 1, letters[random() % letters.size()]);
            if (text.empty())
                text = "x";
        }
        const auto value = parse_json(text);
        if (value)
            EXPECT_EQ(must(parse_json(dump_json(*value))), *value) << text;
        else
            EXPECT_EQ(value.error().message().find('\n'), std::string::npos) << text;
    }
}

TEST(DumpJson, BytesThatAreNoUtf8AreReplaced)
{
    EXPECT_EQ(dump_json(Json("a\xff")), "\"a\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace godwit::test
