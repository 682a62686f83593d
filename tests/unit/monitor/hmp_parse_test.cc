// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/hmp_parse.h"

#include <gtest/gtest.h>

namespace godwit::monitor {
namespace {

using system::HmpTable;

std::string error_of(const HmpTable& table, std::string_view line)
{
    auto parsed = parse_hmp_line(table, line, {});
    if (parsed)
        return "no error";
    const std::string& hint = parsed.error().hint();
    return parsed.error().message() + (hint.empty() ? "" : "\n" + hint);
}

HmpTable table()
{
    HmpTable out;
    out.add({.name = "stop|s"});
    out.add({.name = "migrate", .args = "detach:-d,resume:-r,uri:s,check:="});
    out.add({.name = "x", .args = "fmt:/,addr:l"});
    out.add({.name = "set", .args = "name:s,value:S"});
    out.add({.name = "link", .args = "name:s,up:b"});
    out.add({.name = "balloon", .args = "value:M"});
    out.add({.name = "resize", .args = "device:B,size:o"});
    out.add({.name = "port", .args = "addr:i,index:i?"});
    out.add({.name = "info", .args = "item:s?"});
    out.add_info({.name = "status"});
    return out;
}

TEST(HmpParse, FindsCommandsByNameAliasAndTopic)
{
    const HmpTable commands = table();
    EXPECT_EQ(parse_hmp_line(commands, "  s ", {})->command->name, "stop|s");
    EXPECT_EQ(parse_hmp_line(commands, "info status", {})->command->name, "status");
    EXPECT_EQ(parse_hmp_line(commands, "info", {})->command->name, "info");
    EXPECT_EQ(parse_hmp_line(commands, "", {})->command, nullptr);
    EXPECT_EQ(error_of(commands, "foo bar"), "unknown command: 'foo'");
    EXPECT_EQ(error_of(commands, "info foo"), "unknown command: 'info foo'");
}

TEST(HmpParse, ReadsFlagsWordsAndStrings)
{
    const HmpTable commands = table();
    auto line = parse_hmp_line(commands, "migrate -dr \"exec:cat > \\\"f\\\"\"", {});
    ASSERT_TRUE(line) << line.error().message();
    EXPECT_TRUE(line->args.flag("detach"));
    EXPECT_TRUE(line->args.flag("resume"));
    EXPECT_EQ(line->args.text("uri"), "exec:cat > \"f\"");
    EXPECT_FALSE(line->args.flag("check"));
    EXPECT_TRUE(parse_hmp_line(commands, "migrate a check ", {})->args.flag("check"));
    for (const char* other : {"migrate a checks", "migrate a check check", "migrate a b"})
        EXPECT_TRUE(error_of(commands, other)
                        .starts_with("migrate: extraneous characters at the end of line"))
            << other;
    line = parse_hmp_line(commands, "set a  b \"c\" ", {});
    EXPECT_EQ(line->args.text("value"), "b \"c\"");
}

TEST(HmpParse, ReadsNumbersSizesAndSwitches)
{
    const HmpTable commands = table();
    auto line = parse_hmp_line(commands, "x /8xb 0x10+2*(3-1)", {});
    ASSERT_TRUE(line) << line.error().message();
    EXPECT_EQ(line->args.number("count"), 8);
    EXPECT_EQ(line->args.text("format"), "x");
    EXPECT_EQ(line->args.text("size"), "b");
    EXPECT_EQ(line->args.number("addr"), 20);
    line = parse_hmp_line(commands, "x/2g 0x10", {});
    ASSERT_TRUE(line) << line.error().message();
    EXPECT_EQ(line->args.number("count"), 2);
    EXPECT_EQ(line->args.text("size"), "g");
    EXPECT_EQ(line->args.number("addr"), 16);
    EXPECT_EQ(parse_hmp_line(commands, "balloon 3", {})->args.number("value"), 3 << 20);
    EXPECT_EQ(parse_hmp_line(commands, "resize d 2G", {})->args.number("size"), 2ll << 30);
    EXPECT_TRUE(parse_hmp_line(commands, "link n on", {})->args.flag("up"));
    EXPECT_FALSE(parse_hmp_line(commands, "port 1", {})->args.has("index"));
    EXPECT_EQ(parse_hmp_line(commands, "port -1", {})->args.number("addr"), -1);
}

TEST(HmpParse, ErrorsAreWordedAsQemuWordsThem)
{
    const HmpTable commands = table();
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"stop x", "stop|s: extraneous characters at the end of line\n"
                   "Try \"help stop\" for more information"},
        {"info status x", "status: extraneous characters at the end of line\n"
                          "Try \"help info status\" for more information"},
        {"migrate", "migrate: string expected\nTry \"help migrate\" for more information"},
        {"migrate -x a",
         "migrate: unsupported option -x\nTry \"help migrate\" for more information"},
        {"x", "unexpected end of expression\nTry \"help x\" for more information"},
        {"x/2xb", "unexpected end of expression\nTry \"help x\" for more information"},
        {"x /4q 0", "invalid char in format: 'q'\nTry \"help x\" for more information"},
        {"x foo", "invalid char 'f' in expression\nTry \"help x\" for more information"},
        {"x 1/0", "division by zero\nTry \"help x\" for more information"},
        {"x $eax", "unknown register\nTry \"help x\" for more information"},
        {"link n maybe", "Expected 'on' or 'off'\nTry \"help link\" for more information"},
        {"set \"a", "unterminated string\nTry \"help set\" for more information"},
    };
    for (const auto& [line, error] : cases)
        EXPECT_EQ(error_of(commands, line), error) << line;
}

TEST(HmpParse, ExpressionsKnowRegistersAndDoNotNestWithoutEnd)
{
    std::string_view text = "$rip+1 rest";
    const auto value = take_expression(text, [](std::string_view name) {
        return name == "rip" ? std::optional(41u) : std::nullopt;
    });
    ASSERT_TRUE(value);
    EXPECT_EQ(*value, 42);
    EXPECT_EQ(text, "rest");
    const std::string deep(100'000, '(');
    text = deep;
    EXPECT_EQ(take_expression(text, {}).error().message(), "expression is nested too deeply");
    const std::string signs(100'000, '-');
    text = signs;
    EXPECT_FALSE(take_expression(text, {}));
}

}  // namespace
}  // namespace godwit::monitor
