// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/json_stream.h"

#include "util/json.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace godwit::test {
namespace {

/// What came out of a stream: dumped messages, and errors with "! " before them.
std::vector<std::string> read_all(JsonStream& stream, std::string_view bytes)
{
    std::vector<std::string> out;
    stream.feed(bytes, [&](Result<Json> message) {
        out.push_back(message ? dump_json(*message) : "! " + message.error().message());
    });
    return out;
}

std::vector<std::string> read_all(std::string_view bytes)
{
    JsonStream stream;
    return read_all(stream, bytes);
}

using Lines = std::vector<std::string>;

TEST(JsonStream, AMessageEndsWhereItsBracesCloseWithoutANewline)
{
    EXPECT_EQ(read_all(R"({"a":{"b":[1,2]}}{"c":null})"),
              (Lines{R"({"a":{"b":[1,2]}})", R"({"c":null})"}));
}

TEST(JsonStream, AMessageCutAtEveryByteIsReadTheSame)
{
    const std::string text = R"({"execute":"x\u20ac\"","n":[-1.5e+3,0,true,'q"']} )";
    const Lines whole = read_all(text);
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        JsonStream stream;
        Lines parts = read_all(stream, text.substr(0, cut));
        const Lines rest = read_all(stream, text.substr(cut));
        parts.insert(parts.end(), rest.begin(), rest.end());
        EXPECT_EQ(parts, whole) << "cut at " << cut;
    }
}

TEST(JsonStream, ParseErrorsAreWordedAsQemuWordsThem)
{
    const std::vector<std::pair<std::string, std::string>> cases = {
        {R"({"a"})", "missing : in object pair"},
        {R"({"a":1 "b":2})", "expected separator in dict"},
        {"{1:2}", "key is not a string in object"},
        {R"({"a":})", "expecting value"},
        {"[1 2]", "expected separator in list"},
        {R"({"a":foo})", "invalid keyword 'foo'"},
        {R"({"a":1,"a":2})", "duplicate key"},
        {"}", "expecting value"},
        {"]", "expecting value"},
        {":", "expecting value"},
        {R"({"a":])", "expecting value"},
        {"[1,]", "expecting value"},
        {R"("\q")", "invalid escape sequence in string"},
        {R"("\ud800")", R"(\ud800 is not a valid Unicode character)"},
        {R"("\ud800\ud800")", R"(\ud800 is not a valid Unicode character)"},
        {R"("\u12")", R"(\u12" is not a valid Unicode character)"},
        {R"("\uffff")", R"(\uffff is not a valid Unicode character)"},
        {"\"\xc3(\"", "invalid UTF-8 sequence in string"},
        {"\"\xed\xa0\x80\"", "invalid UTF-8 sequence in string"},
        {"\"\xf4\x90\x80\x80\"", "invalid UTF-8 sequence in string"},
    };
    for (const auto& [text, error] : cases)
        EXPECT_EQ(read_all(text), Lines{"! JSON parse error, " + error}) << text;
}

TEST(JsonStream, AStrayByteIsOneErrorAndInputIsSkippedToTheNextPossibleStart)
{
    EXPECT_EQ(read_all("# garbage \" 1 true {\"a\":1}"),
              (Lines{"! JSON parse error, stray '#'", R"({"a":1})"}));
    EXPECT_EQ(read_all("#\tx\n1 "), (Lines{"! JSON parse error, stray '#'", "1"}));
    EXPECT_EQ(read_all("{\"a\":01}"),
              (Lines{"! JSON parse error, stray '01'", "! JSON parse error, expecting value"}));
    EXPECT_EQ(read_all("\"a\nb\"\n2 "), (Lines{"! JSON parse error, stray '\"a\\x0a'", "2"}));
    EXPECT_EQ(read_all("{\"a\":-}"), Lines{"! JSON parse error, stray '-}'"});
    EXPECT_EQ(read_all("1.5.5 \n"), (Lines{"1.5", "! JSON parse error, stray '.'"}));
}

TEST(JsonStream, NumbersStayExactInSixtyFourBits)
{
    EXPECT_EQ(read_all("[18446744073709551615,-9223372036854775808,0.1,-0]"),
              Lines{"[18446744073709551615,-9223372036854775808,0.1,0]"});
    EXPECT_EQ(read_all("-9223372036854775809 "), Lines{"-9.223372036854776e+18"});
}

TEST(JsonStream, DepthTokensAndBytesAreBounded)
{
    JsonStream deep({.token_bytes = 100, .tokens = 50, .depth = 4});
    EXPECT_EQ(read_all(deep, "[[[[1]]]]"), Lines{"[[[[1]]]]"});
    EXPECT_EQ(read_all(deep, "[[[[["), Lines{"! JSON nesting depth limit exceeded"});
    EXPECT_TRUE(deep.idle());
    std::string many = "[";
    for (int i = 0; i < 30; ++i)
        many += "1,";
    EXPECT_EQ(read_all(deep, many).at(0), "! JSON token count limit exceeded");
    deep.reset();
    EXPECT_EQ(read_all(deep, "\"" + std::string(200, 'x')).at(0),
              "! JSON token size limit exceeded");
}

TEST(JsonStream, TheDefaultDepthIsQemus)
{
    EXPECT_EQ(read_all(std::string(1024, '[') + std::string(1024, ']')).size(), 1u);
    EXPECT_EQ(read_all(std::string(1025, '[')), Lines{"! JSON nesting depth limit exceeded"});
}

TEST(JsonStream, AnObjectWithManyMembersIsReadInLinearTime)
{
    std::string text = "{";
    for (int i = 0; i < 100'000; ++i)
        text += "\"k" + std::to_string(i) + "\":1,";
    text += "\"end\":1}";
    const Lines out = read_all(text);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0].size(), text.size());
}

}  // namespace
}  // namespace godwit::test
