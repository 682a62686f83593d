// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/migration_states.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace godwit::hw::vfio {
namespace {

using enum MigrationState;

// Letters in the order of MigrationState's numbers; x: refused.
constexpr std::string_view kLetters = "ESRCLrPp";

MigrationState state_of(char letter)
{
    return static_cast<MigrationState>(kLetters.find(letter));
}

std::string walked(NextState next, StateSet states, char from, char to)
{
    const auto steps = walk(next, states, state_of(from), state_of(to));
    if (!steps)
        return "x";
    std::string letters;
    for (const MigrationState step : *steps)
        letters += kLetters[static_cast<std::size_t>(step)];
    return letters;
}

/// Rows "from: walk walk ..." in the order of `targets`; "-" is no step at all.
void check(NextState next, StateSet states, std::string_view targets,
           const std::vector<std::pair<char, std::vector<std::string>>>& rows)
{
    for (const auto& [from, walks] : rows) {
        ASSERT_EQ(walks.size(), targets.size());
        for (std::size_t i = 0; i < targets.size(); ++i) {
            const std::string expected = walks[i] == "-" ? "" : walks[i];
            EXPECT_EQ(walked(next, states, from, targets[i]), expected)
                << from << " to " << targets[i];
        }
    }
}

TEST(MigrationStates, WalkWithStopCopyOnly)
{
    check(next_state_v2, {}, "SRCL",
          {{'S', {"-", "R", "C", "L"}},
           {'R', {"S", "-", "SC", "SL"}},
           {'C', {"S", "SR", "-", "SL"}},
           {'L', {"S", "SR", "SC", "-"}}});
}

TEST(MigrationStates, WalkWithP2p)
{
    check(next_state_v2, {.p2p = true}, "SRCLr",
          {{'S', {"-", "rR", "C", "L", "r"}},
           {'R', {"rS", "-", "rSC", "rSL", "r"}},
           {'C', {"S", "SrR", "-", "SL", "Sr"}},
           {'L', {"S", "SrR", "SC", "-", "Sr"}},
           {'r', {"S", "R", "SC", "SL", "-"}}});
}

TEST(MigrationStates, WalkWithPreCopy)
{
    check(next_state_v2, {.pre_copy = true}, "SRCLP",
          {{'S', {"-", "R", "C", "L", "RP"}},
           {'R', {"S", "-", "SC", "SL", "P"}},
           {'C', {"S", "SR", "-", "SL", "x"}},
           {'L', {"S", "SR", "SC", "-", "SRP"}},
           {'P', {"RS", "R", "C", "RSL", "-"}}});
}

TEST(MigrationStates, WalkWithAllStates)
{
    check(next_state_v2, {.p2p = true, .pre_copy = true}, "SRCLrPp",
          {{'S', {"-", "rR", "C", "L", "r", "rRP", "rp"}},
           {'R', {"rS", "-", "rSC", "rSL", "r", "P", "rp"}},
           {'C', {"S", "SrR", "-", "SL", "Sr", "x", "x"}},
           {'L', {"S", "SrR", "SC", "-", "Sr", "SrRP", "Srp"}},
           {'r', {"S", "R", "SC", "SL", "-", "RP", "p"}},
           {'P', {"RrS", "R", "pC", "RrSL", "Rr", "-", "p"}},
           {'p', {"rS", "rR", "C", "rSL", "r", "P", "-"}}});
}

TEST(MigrationStates, WalkOfVersionOne)
{
    check(next_state_v1, {.pre_copy = true}, "SRCLP",
          {{'S', {"-", "R", "C", "RL", "RP"}},
           {'R', {"S", "-", "C", "L", "P"}},
           {'C', {"S", "R", "-", "SRL", "x"}},
           {'L', {"RS", "R", "RC", "-", "RP"}},
           {'P', {"CS", "R", "C", "RL", "-"}}});
}

TEST(MigrationStates, NothingLeadsToOrFromErrorOrToStatesThatTheDeviceLacks)
{
    for (const NextState next : {next_state_v2, next_state_v1})
        for (const bool p2p : {false, true})
            for (const bool pre_copy : {false, true}) {
                const StateSet states{p2p, pre_copy};
                for (std::uint32_t s = 0; s < 10; ++s) {
                    const auto state = static_cast<MigrationState>(s);
                    EXPECT_FALSE(next(states, Error, state));
                    EXPECT_FALSE(next(states, state, Error));
                    if (s > 7 || (!p2p && (state == RunningP2p || state == PreCopyP2p)) ||
                        (!pre_copy && is_pre_copy(state))) {
                        EXPECT_FALSE(next(states, Running, state)) << s;
                    }
                }
                EXPECT_FALSE(next_state_v1(states, Running, RunningP2p));
            }
}

TEST(MigrationStates, AWalkPassesNoSavingStateOnItsWay)
{
    const StateSet all{.p2p = true, .pre_copy = true};
    for (std::uint32_t from = 1; from < 8; ++from)
        for (std::uint32_t to = 1; to < 8; ++to) {
            const auto steps = walk(next_state_v2, all, static_cast<MigrationState>(from),
                                    static_cast<MigrationState>(to));
            if (!steps || is_saving(static_cast<MigrationState>(from)))
                continue;
            for (std::size_t i = 0; i + 1 < steps->size(); ++i)
                EXPECT_FALSE(is_saving((*steps)[i])) << from << " to " << to;
        }
}

TEST(MigrationStates, HaveTheNamesOfTheInterfaceAndOfEvents)
{
    EXPECT_EQ(to_string(PreCopyP2p), "PRE_COPY_P2P");
    EXPECT_EQ(event_name(StopCopy), "stop-copy");
    EXPECT_EQ(event_name(RunningP2p), "running-p2p");
}

}  // namespace
}  // namespace godwit::hw::vfio
