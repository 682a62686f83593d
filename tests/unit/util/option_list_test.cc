// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/option_list.h"

#include "tests/unit/util/must.h"
#include "util/json.h"

#include <gtest/gtest.h>
#include <random>

namespace godwit::test {
namespace {

std::string refusal(std::string_view text, std::string_view implied = "driver")
{
    const auto value = parse_keyval(text, implied);
    return value ? "accepted" : value.error().message();
}

std::string keyval(std::string_view text, std::string_view implied = "driver")
{
    return dump_json(must(parse_keyval(text, implied)));
}

TEST(OptionList, KeysAndValuesAreTakenApart)
{
    const OptionList list = must(OptionList::parse("socket,id=c0,path=/a,,b,server=on", "backend"));
    EXPECT_EQ(list.get_string("backend"), "socket");
    EXPECT_EQ(list.get_string("path"), "/a,b");
    EXPECT_EQ(list.all().size(), 4u);
    EXPECT_EQ(list.find("none"), nullptr);
    EXPECT_EQ(list.get_string("none", "else"), "else");
}

TEST(OptionList, AnImpliedKeyMayAlsoBeWrittenOut)
{
    EXPECT_EQ(must(OptionList::parse("backend=null,id=x", "backend")).get_string("backend"),
              "null");
    EXPECT_EQ(must(OptionList::parse("id=x,backend=null", "backend")).get_string("backend"),
              "null");
    EXPECT_EQ(must(OptionList::parse("null,,id=x", "backend")).get_string("backend"), "null,id=x");
}

TEST(OptionList, ACommaAtTheEndAndNoTextAtAllAreAllowed)
{
    EXPECT_EQ(must(OptionList::parse("a=b,")).all().size(), 1u);
    EXPECT_TRUE(must(OptionList::parse("")).empty());
    EXPECT_EQ(must(OptionList::parse("a=b,,")).get_string("a"), "b,");
}

TEST(OptionList, BareWordsAreBooleansAndSaidToBeDeprecated)
{
    const OptionList list = must(OptionList::parse("server,nowait"));
    EXPECT_TRUE(must(list.get_bool("server", false)));
    EXPECT_FALSE(must(list.get_bool("wait", true)));
    EXPECT_EQ(list.deprecations(),
              (std::vector<std::string>{
                  "short-form boolean option 'server' deprecated, please use server=on instead",
                  "short-form boolean option 'nowait' deprecated, please use wait=off instead"}));
}

TEST(OptionList, TheLastOfSeveralCountsAndAllCanBeSeen)
{
    const OptionList list = must(OptionList::parse("a=1,a=2,b=3,a=4"));
    EXPECT_EQ(list.get_string("a"), "4");
    EXPECT_EQ(list.find_all("a"), (std::vector<std::string>{"1", "2", "4"}));
}

TEST(OptionList, ErrorsNameTheKeyInQemusWords)
{
    const OptionList list = must(OptionList::parse("b=maybe,n=12x,s=1.5,id=a"));
    EXPECT_EQ(list.get_bool("b", false).error().message(), "Parameter 'b' expects 'on' or 'off'");
    EXPECT_EQ(list.get_u64("n", 0).error().message(), "Parameter 'n' expects a number");
    const Error size = list.get_size("s", 0).error();
    EXPECT_EQ(size.message(), "Parameter 's' expects a non-negative number below 2^64");
    EXPECT_FALSE(size.hint().empty());
    EXPECT_EQ(list.require_string("path").error().message(), "Parameter 'path' is missing");
    EXPECT_EQ(list.only({"b", "n", "id"}).error().message(), "Invalid parameter 's'");
    EXPECT_TRUE(list.only({"b", "n", "id", "s"}));
}

TEST(OptionList, NumbersAndSizesAreRead)
{
    const OptionList list = must(OptionList::parse("n=0x10,s=1.5G,m=64"));
    EXPECT_EQ(must(list.get_u64("n", 0)), 16u);
    EXPECT_EQ(must(list.get_size("s", 0)), 3ull << 29);
    EXPECT_EQ(must(list.get_size("m", 0, 1 << 20)), 64u << 20);
    EXPECT_EQ(must(list.get_size("none", 7)), 7u);
}

TEST(OptionList, TakeRemovesAKeyAltogether)
{
    OptionList list = must(OptionList::parse("a=1,b=2,a=3"));
    EXPECT_EQ(list.take("a"), "3");
    EXPECT_FALSE(list.has("a"));
    EXPECT_EQ(list.take("a"), std::nullopt);
}

TEST(OptionList, HelpIsFoundWhereverItStands)
{
    EXPECT_TRUE(must(OptionList::parse("help", "x")).find("x") != nullptr);
    EXPECT_TRUE(must(OptionList::parse("virtio-blk,help", "driver")).wants_help());
    EXPECT_TRUE(must(OptionList::parse("a=b,?")).wants_help());
    EXPECT_FALSE(must(OptionList::parse("help=on")).wants_help());
}

TEST(OptionList, WhatIsPrintedIsParsedAgain)
{
    const OptionList list = must(OptionList::parse("a=x,,y,b=,c=="));
    EXPECT_EQ(list.to_string(), "a=x,,y,b=,c==");
    EXPECT_EQ(must(OptionList::parse(list.to_string())).get_string("a"), "x,y");
}

TEST(OptionList, AsJsonLaterKeysReplaceEarlierOnes)
{
    const OptionList list = must(OptionList::parse("a=1,o.x=2,a=3,l.0=p,l.1=q"));
    EXPECT_EQ(dump_json(must(list.to_json())), R"({"a":"3","o":{"x":"2"},"l":["p","q"]})");
}

TEST(OptionList, MoreOptionsThanTheLimitAreRefused)
{
    std::string text;
    for (std::size_t i = 0; i <= kMaxOptions; ++i)
        text += "a=b,";
    EXPECT_EQ(OptionList::parse(text).error().message(), "More than 4096 options");
}

TEST(ParseKeyval, DotsNestAndNumbersMakeLists)
{
    EXPECT_EQ(keyval("file,a.b.c=1,a.b.d=2,list.1.x=9,list.0=8"),
              R"({"driver":"file","a":{"b":{"c":"1","d":"2"}},"list":["8",{"x":"9"}]})");
    EXPECT_EQ(keyval(""), "{}");
    EXPECT_EQ(keyval("a=x,,y,"), R"({"a":"x,y"})");
}

TEST(ParseKeyval, TextThatBeginsWithABraceIsJson)
{
    EXPECT_EQ(keyval(R"({"driver":"x","n":[1,true]})"), R"({"driver":"x","n":[1,true]})");
    EXPECT_EQ(refusal("{foo}"), "JSON parse error, invalid keyword 'foo'");
}

TEST(ParseKeyval, TheTextsOfErrorsAreQemus)
{
    EXPECT_EQ(refusal("driver=n,node-name"), "Expected '=' after parameter 'node-name'");
    EXPECT_EQ(refusal("foo,nobar"), "Expected '=' after parameter 'nobar'");
    EXPECT_EQ(refusal("a..b=c"), "Invalid parameter 'a..b'");
    EXPECT_EQ(refusal("a=1,a.b=2"), "Parameters 'a.*' used inconsistently");
    EXPECT_EQ(refusal("a.b=2,a=1"), "Parameters 'a.*' used inconsistently");
    EXPECT_EQ(refusal("a.0=0,a.2=1"), "Parameter 'a.1' missing");
    EXPECT_EQ(refusal("a.1=1"), "Parameter 'a.0' missing");
    EXPECT_EQ(refusal("a.9999999999999999999999=1"), "Parameter 'a.0' missing");
    EXPECT_EQ(refusal("a.0=1,a.x=2"), "Parameters 'a.*' used inconsistently");
    EXPECT_EQ(refusal("a.0=1,a.00=2"), "Parameters 'a.*' used inconsistently");
    EXPECT_EQ(refusal("x.a.0=1,x.a.2=2"), "Parameter 'x.a.1' missing");
    EXPECT_EQ(refusal("driver=n,=3"), "Invalid parameter ''");
    EXPECT_EQ(refusal(",id=a"), "Invalid parameter ''");
    EXPECT_EQ(refusal("driver=n,1a=3"), "Invalid parameter '1a'");
    EXPECT_EQ(refusal("0=2"), "Invalid parameter '0'");
    EXPECT_EQ(refusal("a.=3"), "Invalid parameter 'a.'");
    EXPECT_EQ(refusal("a b=3"), "Invalid parameter 'a b'");
    EXPECT_EQ(refusal(std::string(128, 'a') + "=1"),
              "Invalid parameter '" + std::string(80, 'a') + "'");
}

TEST(ParseKeyval, AnErrorIsOneLineWhateverTheKey)
{
    EXPECT_EQ(refusal("a\nb=1"), "Invalid parameter 'a\\x0ab'");
    EXPECT_EQ(must(OptionList::parse("a\x1b[2J=x")).get_bool("a\x1b[2J", false).error().message(),
              "Parameter 'a\\x1b[2J' expects 'on' or 'off'");
}

TEST(ParseKeyval, DownstreamNamesAreNames)
{
    EXPECT_EQ(keyval("__org-x_y=3,a_b=4,A=5"), R"({"__org-x_y":"3","a_b":"4","A":"5"})");
}

TEST(ParseKeyval, HelpIsReportedAndNotAMember)
{
    bool help = false;
    EXPECT_EQ(dump_json(must(parse_keyval("x,help", "driver", help))), R"({"driver":"x"})");
    EXPECT_TRUE(help);
    EXPECT_EQ(dump_json(must(parse_keyval("help", "driver", help))), "{}");
    EXPECT_TRUE(help);
    EXPECT_EQ(dump_json(must(parse_keyval("help=1", "driver", help))), R"({"help":"1"})");
    EXPECT_FALSE(help);
}

TEST(ParseKeyval, NestingBeyondTheLimitIsRefused)
{
    std::string key = "a";
    for (std::size_t i = 1; i < kMaxOptionDepth; ++i)
        key += ".a";
    EXPECT_EQ(refusal(key + "=1"), "accepted");
    EXPECT_TRUE(refusal(key + ".a=1").starts_with("Invalid parameter 'a.a."));
}

TEST(OptionList, TenThousandMutantsNeitherCrashNorSpreadOverLines)
{
    const std::string seed =
        "socket,id=c0,path=/tmp/x,,y,server=on,nowait,a.b.0=1,a.b.1=2,size=1.5G";
    std::mt19937 random(13);
    const std::string letters = ",=.0129abno{}\"x";
    for (int i = 0; i < 10000; ++i) {
        std::string text = seed;
        for (unsigned n = random() % 6 + 1; n > 0; --n) {
            const std::size_t at = random() % (text.size() + 1);
            if (random() % 2 == 0 && at < text.size())
                text.erase(at, 1 + random() % 7);
            else
                text.insert(at, 1, letters[random() % letters.size()]);
        }
        const OptionList list = must(OptionList::parse(text, "backend"));
        for (const Option& option : list.all()) {
            const auto size = list.get_size(option.key, 0);
            const auto on = list.get_bool(option.key, false);
            EXPECT_TRUE(size || size.error().message().find('\n') == std::string::npos) << text;
            EXPECT_TRUE(on || on.error().message().find('\n') == std::string::npos) << text;
        }
        EXPECT_EQ(refusal(text).find('\n'), std::string::npos) << text;
        EXPECT_EQ(refusal(text, "").find('\n'), std::string::npos) << text;
    }
}

}  // namespace
}  // namespace godwit::test
