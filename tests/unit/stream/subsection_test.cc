// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Subsections, hooks, and loads that go to a copy.
#include "migration/stream/registry.h"
#include "tests/unit/stream/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::migration::stream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

struct Clock {
    std::uint64_t clock = 0x3cb6a67a;
    bool reliable = true;
    std::uint16_t drift = 0;
    std::vector<std::string> calls;
};

constexpr auto kDriftDeep =
    vmstate<Clock>("kvmclock/drift/deep", {.needed = [](const Clock& c) { return c.drift > 100; }},
                   field<&Clock::drift>("drift"));
constexpr auto kDrift =
    vmstate<Clock>("kvmclock/drift",
                   {.current = 2,
                    .needed = [](const Clock& c) { return c.drift != 0; },
                    .pre_save = [](Clock& c) { return c.calls.push_back("drift pre_save"), ok(); },
                    .post_save = [](Clock& c) { c.calls.push_back("drift post_save"); },
                    .pre_load = [](Clock& c) { return c.calls.push_back("drift pre_load"), ok(); },
                    .post_load =
                        [](Clock& c, Version v) {
                            return c.calls.push_back("drift post_load " + std::to_string(v)), ok();
                        }},
                   field<&Clock::drift>("drift"), subsection(kDriftDeep));
constexpr auto kReliable = vmstate<Clock>("kvmclock/clock_is_reliable",
                                          {.needed = [](const Clock& c) { return c.reliable; }},
                                          field<&Clock::reliable>("clock_is_reliable"));
constexpr auto kClock =
    vmstate<Clock>("kvmclock",
                   {.pre_save = [](Clock& c) { return c.calls.push_back("pre_save"), ok(); },
                    .post_save = [](Clock& c) { c.calls.push_back("post_save"); },
                    .pre_load = [](Clock& c) -> Result<void> {
                        return c.reliable = false, c.calls.push_back("pre_load"), ok();
                    },
                    .post_load = [](Clock& c, Version) -> Result<void> {
                        c.calls.push_back("post_load");
                        if (c.clock == 0xdead)
                            return Error(Errc::BadFormat, "dead clock");
                        return ok();
                    }},
                   field<&Clock::clock>("clock"), subsection(kReliable), subsection(kDrift));
static_assert(kClock.well_formed());

const char* const kReliableHex =
    "05 1a 6b766d636c6f636b2f636c6f636b5f69735f72656c6961626c65 00000001 01";
const char* const kDriftHex = "05 0e 6b766d636c6f636b2f6472696674 00000002 0101";
const char* const kDeepHex = "05 13 6b766d636c6f636b2f64726966742f64656570 00000001 0101";

std::string joined(std::initializer_list<const char*> parts)
{
    std::string all;
    for (const char* part : parts)
        all += part;
    return all;
}

TEST(Subsections, FollowTheFieldsInOrderAndNest)
{
    Clock c;
    c.drift = 0x101;
    EXPECT_EQ(saved(kClock, &c),
              from_hex(joined({"000000003cb6a67a", kReliableHex, kDriftHex, kDeepHex})));
    EXPECT_EQ(
        described(kClock, &c),
        R"({"vmsd_name": "kvmclock", "version": 1, "fields": [{"name": "clock", "type": "uint64", "size": 8}], )"
        R"("subsections": [{"vmsd_name": "kvmclock/clock_is_reliable", "version": 1, "fields": [{"name": "clock_is_reliable", "type": "bool", "size": 1}]}, )"
        R"({"vmsd_name": "kvmclock/drift", "version": 2, "fields": [{"name": "drift", "type": "uint16", "size": 2}], )"
        R"("subsections": [{"vmsd_name": "kvmclock/drift/deep", "version": 1, "fields": [{"name": "drift", "type": "uint16", "size": 2}]}]}]})");
}

TEST(Subsections, LoadInAnyOrderAndMayBeAbsent)
{
    Clock c;
    EXPECT_EQ(load_error(kClock, &c,
                         from_hex(joined({"0000000000000001", kDriftHex, kDeepHex, kReliableHex})),
                         1),
              "");
    EXPECT_TRUE(c.reliable);
    EXPECT_EQ(c.drift, 0x101);
    Clock plain;
    EXPECT_EQ(load_error(kClock, &plain, from_hex("0000000000000002"), 1), "");
    EXPECT_FALSE(plain.reliable) << "what pre_load established";
}

TEST(Subsections, HooksRunInsideTheirParents)
{
    Clock c;
    c.drift = 1;
    const Bytes bytes = saved(kClock, &c);
    EXPECT_THAT(c.calls, ElementsAre("pre_save", "drift pre_save", "drift post_save", "post_save"));
    Clock back;
    EXPECT_EQ(load_error(kClock, &back, bytes, 1), "");
    EXPECT_THAT(back.calls,
                ElementsAre("pre_load", "drift pre_load", "drift post_load 2", "post_load"));
}

TEST(Subsections, UnknownOnesOfOursAreRefusedAndForeignOnesLeftToOthers)
{
    Clock c;
    EXPECT_EQ(
        load_error(kClock, &c, from_hex("0000000000000001 05 0a 6b766d636c6f636b2f78 00000001"), 1),
        "unknown subsection 'kvmclock/x', at byte 8");
    const Bytes foreign = from_hex("0000000000000001 05 04 6b766d78");
    StreamReader in{std::span<const std::byte>(foreign)};
    EXPECT_TRUE(load_state(in, kClock, &c, 1));
    EXPECT_EQ(in.position(), 8u);
}

TEST(Subsections, VersionsAreChecked)
{
    Clock c;
    EXPECT_THAT(
        load_error(kClock, &c,
                   from_hex("0000000000000001 05 0e 6b766d636c6f636b2f6472696674 00000003 0001"),
                   1),
        HasSubstr("kvmclock/drift: incoming version_id 3 is too new for local version_id 2"));
    EXPECT_THAT(
        load_error(kClock, &c,
                   from_hex("0000000000000001 05 0e 6b766d636c6f636b2f6472696674 00000000 0001"),
                   1),
        HasSubstr(
            "kvmclock/drift: incoming version_id 0 is too old for local minimum version_id 1"));
}

TEST(Subsections, TruncationAnywhereIsAnErrorOrAnEarlierEnd)
{
    Clock c;
    c.drift = 0x101;
    const Bytes bytes = saved(kClock, &c);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        Clock back;
        StreamReader in{std::span(bytes).first(length)};
        const auto result = load_state(in, kClock, &back, 1);
        // A prefix that stops inside a subsection's header is no subsection; a footer would then be
        // missing. Nothing is ever read past the end.
        EXPECT_LE(in.position(), length);
        if (result)
            EXPECT_TRUE(length >= 8);
        else
            EXPECT_THAT(result.error().message(), HasSubstr("the stream ends at byte"));
    }
}

// --- Loads through the registry --------------------------------------------------------------

struct Device {
    Clock state;
    StateRegistry registry;
    Registration registration;
    std::vector<std::string> calls;
    bool refuse = false;

    Device()
    {
        registration =
            registry
                .add(kClock, state, {},
                     {.pre_save = [this] { return calls.push_back("fetch"), ok(); },
                      .validate = [this](const Clock& loaded) -> Result<void> {
                          calls.push_back("validate " + std::to_string(loaded.clock));
                          if (refuse)
                              return Error(Errc::BadFormat, "not this clock");
                          return ok();
                      },
                      .post_load =
                          [this](Version) {
                              return calls.push_back("use " + std::to_string(state.clock)), ok();
                          }})
                .value();
    }
    std::string load(const Bytes& bytes)
    {
        StreamReader in{std::span<const std::byte>(bytes)};
        auto result = load_entry(in, *registry.entries().front(), 1);
        return result ? "" : result.error().message();
    }
};

TEST(LoadEntry, CommitsACompleteAndValidState)
{
    Device d;
    EXPECT_EQ(d.load(from_hex("0000000000000007")), "");
    EXPECT_EQ(d.state.clock, 7u);
    EXPECT_THAT(d.calls, ElementsAre("validate 7", "use 7"));
}

TEST(LoadEntry, LeavesTheStateAloneWhateverFailsBeforeTheCommit)
{
    Device d;
    EXPECT_THAT(d.load(from_hex("00000000000000")), StartsWith("clock: the stream ends"));
    EXPECT_EQ(d.load(from_hex("000000000000dead")), "dead clock");
    d.refuse = true;
    EXPECT_EQ(d.load(from_hex("0000000000000007")), "not this clock");
    EXPECT_EQ(d.state.clock, 0x3cb6a67au);
    EXPECT_TRUE(d.state.reliable);
    EXPECT_THAT(d.calls, ElementsAre("validate 7"));
}

TEST(SaveEntry, FetchesFirst)
{
    Device d;
    StreamWriter out;
    ASSERT_TRUE(save_entry(out, *d.registry.entries().front()));
    EXPECT_THAT(d.calls, ElementsAre("fetch"));
}

}  // namespace
}  // namespace godwit::migration::stream
