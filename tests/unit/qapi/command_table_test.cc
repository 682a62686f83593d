// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qapi/command_table.h"

#include "qapi/command_context.h"
#include "util/json.h"

#include <gtest/gtest.h>

namespace godwit::qapi {
namespace {

TEST(CommandTable, AnUnknownCommandIsNamedAndHasItsOwnClass)
{
    const CommandTable table;
    CommandContext context;
    const auto reply = table.dispatch("nope", Json::object(), context);
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code(), Errc::CommandNotFound);
    EXPECT_EQ(reply.error().message(), "The command nope has not been found");
    EXPECT_EQ(table.find("nope"), nullptr);
}

TEST(CommandTable, FindsAndRunsWhatWasAddedAndKeepsTheOrder)
{
    CommandTable table;
    table.add({.name = "second", .allow_oob = true},
              [](const Json& arguments, CommandContext&) -> Result<Json> { return arguments; });
    table.add({.name = "first"},
              [](const Json&, CommandContext&) -> Result<Json> { return Json::object(); });
    ASSERT_EQ(table.commands().size(), 2u);
    EXPECT_EQ(table.commands()[0].name, "second");
    ASSERT_NE(table.find("second"), nullptr);
    EXPECT_TRUE(table.find("second")->allow_oob);
    EXPECT_FALSE(table.find("first")->allow_oob);

    CommandContext context;
    const auto reply = table.dispatch("second", Json{{"a", 1}}, context);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->dump(), R"({"a":1})");
}

TEST(CommandContext, WithoutAConnectionThereAreNoDescriptors)
{
    CommandContext context;
    EXPECT_FALSE(context.out_of_band());
    EXPECT_EQ(context.take_received_fd().error().message(),
              "No file descriptor supplied via SCM_RIGHTS");
    EXPECT_EQ(context.take_named_fd("mig").error().message(),
              "File descriptor named 'mig' has not been found");
}

}  // namespace
}  // namespace godwit::qapi
