// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/config_file.h"

#include <gtest/gtest.h>

namespace godwit::system {
namespace {

TEST(ConfigFile, SectionsBecomeOptionLists)
{
    const auto sections = parse_config("# comment\n"
                                       "\n"
                                       "[machine]\n"
                                       "  type = \"q35\"\n"
                                       "[device \"net0\"]\r\n"
                                       "\tdriver = \"a,b=c\"  # said so\r\n"
                                       "empty=\"\"\n"
                                       "[ memory ]\n"
                                       "size = \"1G\"");
    ASSERT_TRUE(sections) << sections.error().message();
    ASSERT_EQ(sections->size(), 3u);
    EXPECT_EQ((*sections)[0].group, "machine");
    EXPECT_EQ((*sections)[0].options.to_string(), "type=q35");
    EXPECT_EQ((*sections)[1].group, "device");
    EXPECT_EQ((*sections)[1].line, 5u);
    EXPECT_EQ((*sections)[1].options.to_string(), "id=net0,driver=a,,b=c,empty=");
    EXPECT_EQ((*sections)[2].group, "memory");
    EXPECT_EQ((*sections)[2].options.get_string("size"), "1G");
}

TEST(ConfigFile, NothingIsNothing)
{
    for (const char* text : {"", "\n\n", "# only this", "   \t\r\n"})
        EXPECT_TRUE(parse_config(text).value().empty()) << text;
}

TEST(ConfigFile, WhatIsWrongHasALineNumber)
{
    const std::pair<const char*, const char*> cases[] = {
        {"x = \"1\"", "1: no group defined"},
        {"\n[a", "2: expected [group] or [group \"id\"], not '[a'"},
        {"[]", "1: expected [group] or [group \"id\"], not '[]'"},
        {"[a b]", "1: expected [group] or [group \"id\"], not '[a b]'"},
        {"[a \"\"]", "1: expected [group] or [group \"id\"], not '[a \"\"]'"},
        {"[a \"b\"c]", "1: expected [group] or [group \"id\"], not '[a \"b\"c]'"},
        {"[a]\nb", "2: expected key = \"value\", not 'b'"},
        {"[a]\nb = c", "2: expected key = \"value\", not 'b = c'"},
        {"[a]\nb = \"c", "2: expected key = \"value\", not 'b = \"c'"},
        {"[a]\n= \"c\"", "2: expected key = \"value\", not '= \"c\"'"},
    };
    for (const auto& [text, message] : cases) {
        const auto sections = parse_config(text);
        ASSERT_FALSE(sections) << text;
        EXPECT_EQ(sections.error().message(), message);
    }
}

}  // namespace
}  // namespace godwit::system
