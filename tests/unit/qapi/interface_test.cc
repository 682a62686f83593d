// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Commands and events through the generated interfaces.
#include "qapi/command_context.h"
#include "qapi/command_table.h"
#include "qapi/event_sink.h"
#include "qapi/introspect.h"
#include "qapi/kinds_commands.h"
#include "qapi/kinds_events.h"
#include "qapi/migration_types.h"
#include "util/json.h"

#include <gtest/gtest.h>
#include <string>
#include <utility>
#include <vector>

namespace godwit::qapi {
namespace {

class Kinds : public KindsCommands {
public:
    Result<Echo> echo_all(const EchoAllArgs& args) override
    {
        return Echo{.derived = args.derived,
                    .shape = args.shape,
                    .either = args.either,
                    .colours = args.colours.value_or(std::vector<Colour>{})};
    }
    Result<std::vector<std::int64_t>> count(const Numbers& args) override
    {
        if (!args.int_)
            return Error(Errc::DeviceNotFound, "nothing to count");
        return std::vector<std::int64_t>{*args.int_, *args.int_ + 1};
    }
    Result<void> do_nothing() override
    {
        ++calls;
        return {};
    }
    Result<void> with_context(CommandContext& context, const WithContextArgs& args) override
    {
        auto fd = context.take_named_fd(args.name);
        if (!fd)
            return std::move(fd).error();
        return {};
    }
    Result<Json> raw(const Json& arguments) override { return arguments; }

    int calls = 0;
};

class Interface : public testing::Test {
protected:
    Interface() { register_commands(table_, kinds_); }

    std::string reply(const char* name, const char* arguments)
    {
        const auto value = table_.dispatch(name, *parse_json(arguments), context_);
        return value ? value->dump() : "error: " + value.error().message();
    }

    Kinds kinds_;
    CommandTable table_;
    CommandContext context_;
};

TEST_F(Interface, ArgumentsArriveAndRepliesComeBack)
{
    EXPECT_EQ(reply("echo-all", R"({"derived":{"name":"n","colour":"red"},
                                    "shape":{"kind":"red","value":7},
                                    "either":["x"],"colours":["8bit"]})"),
              R"({"derived":{"name":"n","colour":"red"},"shape":{"kind":"red","value":7},)"
              R"("either":["x"],"colours":["8bit"]})");
    EXPECT_EQ(reply("count", R"({"int":4})"), "[4,5]");
}

TEST_F(Interface, ACommandThatReturnsNothingRepliesWithAnEmptyObject)
{
    EXPECT_EQ(reply("do-nothing", "{}"), "{}");
    EXPECT_EQ(kinds_.calls, 1);
}

TEST_F(Interface, ArgumentsThatDoNotFitNeverReachTheCommand)
{
    EXPECT_EQ(reply("do-nothing", R"({"foo":1})"), "error: Parameter 'foo' is unexpected");
    EXPECT_EQ(kinds_.calls, 0);
    EXPECT_EQ(reply("echo-all", "{}"), "error: Parameter 'derived' is missing");
}

TEST_F(Interface, AnErrorOfTheCommandKeepsItsClass)
{
    const auto value = table_.dispatch("count", Json::object(), context_);
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error().code(), Errc::DeviceNotFound);
    EXPECT_EQ(value.error().message(), "nothing to count");
}

TEST_F(Interface, ACommandWithContextSeesTheConnection)
{
    EXPECT_EQ(reply("with-context", R"({"name":"mig"})"),
              "error: File descriptor named 'mig' has not been found");
}

TEST_F(Interface, AnUngeneratedCommandGetsItsArgumentsUntouched)
{
    EXPECT_EQ(reply("raw", R"({"anything":[1]})"), R"({"anything":[1]})");
}

TEST_F(Interface, FlagsOfTheSchemaAreInTheTable)
{
    EXPECT_TRUE(table_.find("count")->allow_oob);
    EXPECT_FALSE(table_.find("do-nothing")->allow_oob);
    EXPECT_TRUE(table_.find("raw")->allow_preconfig);
    EXPECT_TRUE(table_.find("raw")->deprecated);
    EXPECT_FALSE(table_.find("raw")->unstable);
}

class Recorder : public EventSink {
public:
    void emit(std::string_view event, Json data) override
    {
        seen.emplace_back(std::string(event) + " " + data.dump());
    }
    std::vector<std::string> seen;
};

TEST(Events, CarryTheirData)
{
    Recorder recorder;
    emit_bare(recorder);
    emit_full_event(recorder, Colour::DarkGreen, std::nullopt, {1, 2});
    emit_full_event(recorder, Colour::Red, "n", {});
    emit_boxed_event(recorder, {.name = "s"});
    EXPECT_EQ(recorder.seen, (std::vector<std::string>{
                                 "BARE {}", R"(FULL_EVENT {"colour":"dark-green","list":[1,2]})",
                                 R"(FULL_EVENT {"colour":"red","name":"n","list":[]})",
                                 R"(BOXED_EVENT {"name":"s"})"}));
}

TEST(Introspection, IsJsonAndKnowsItself)
{
    const auto schema = parse_json(schema_json());
    ASSERT_TRUE(schema) << schema.error().message();
    bool found = false;
    for (const Json& entry : *schema)
        found = found || entry["name"] == "query-qmp-schema";
    EXPECT_TRUE(found);
}

TEST(MigrationSchema, HasTheCapabilitiesAndStatusesOfQemuInItsOrder)
{
    EXPECT_EQ(kEnumCount<MigrationCapability>, 22u);
    EXPECT_EQ(static_cast<int>(MigrationCapability::Xbzrle), 0);
    EXPECT_EQ(to_string(static_cast<MigrationCapability>(10)), "multifd");
    EXPECT_EQ(static_cast<int>(MigrationCapability::MappedRam), 21);
    EXPECT_EQ(to_string(MigrationStatus::PostcopyRecoverSetup), "postcopy-recover-setup");
}

}  // namespace
}  // namespace godwit::qapi
