// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/states.h"

#include "tests/devices/vfio-user-server/protocol.h"

#include <array>
#include <gtest/gtest.h>
#include <string>

namespace godwit::vfio_user_server {
namespace {

// S STOP, R RUNNING, C STOP_COPY, L RESUMING, r RUNNING_P2P, P PRE_COPY, p PRE_COPY_P2P
constexpr std::string_view kLetters = "xSRCLrPp";

std::string walk(State from, State to, std::uint64_t flags)
{
    std::string path;
    while (from != to) {
        const auto hop = next_state(from, to, flags);
        if (!hop || path.size() > 8)
            return "x";
        path += kLetters[static_cast<std::size_t>(*hop)];
        from = *hop;
    }
    return path;
}

struct Walks {
    std::uint64_t flags;
    std::string_view states;
    std::vector<std::string_view> paths;  // row by row, "-" for no step
};

class StateWalks : public testing::TestWithParam<Walks> {};

TEST_P(StateWalks, AreTheShortestThatTheKernelAllows)
{
    const auto& [flags, states, paths] = GetParam();
    std::size_t n = 0;
    for (const char from : states)
        for (const char to : states) {
            const std::string path = walk(static_cast<State>(kLetters.find(from)),
                                          static_cast<State>(kLetters.find(to)), flags);
            EXPECT_EQ(path.empty() ? "-" : path, paths[n++]) << from << " to " << to;
        }
}

INSTANTIATE_TEST_SUITE_P(
    Devices, StateWalks,
    testing::Values(
        Walks{
            kMigStopCopy,
            "SRCL",
            {"-", "R", "C", "L", "S", "-", "SC", "SL", "S", "SR", "-", "SL", "S", "SR", "SC", "-"}},
        Walks{kMigStopCopy | kMigP2p,
              "SRCLr",
              {"-",  "rR", "C", "L",   "r",  "rS", "-",  "rSC", "rSL", "r",  "S",  "SrR", "-",
               "SL", "Sr", "S", "SrR", "SC", "-",  "Sr", "S",   "R",   "SC", "SL", "-"}},
        Walks{kMigStopCopy | kMigPreCopy,
              "SRCLP",
              {"-",  "R", "C", "L",  "RP", "S", "-",   "SC", "SL", "P", "S",   "SR", "-",
               "SL", "x", "S", "SR", "SC", "-", "SRP", "RS", "R",  "C", "RSL", "-"}},
        Walks{kMigStopCopy | kMigP2p | kMigPreCopy,
              "SRCLrPp",
              {"-",   "rR", "C",   "L",  "r", "rRP", "rp",   "rS",  "-",    "rSC",
               "rSL", "r",  "P",   "rp", "S", "SrR", "-",    "SL",  "Sr",   "x",
               "x",   "S",  "SrR", "SC", "-", "Sr",  "SrRP", "Srp", "S",    "R",
               "SC",  "SL", "-",   "RP", "p", "RrS", "R",    "pC",  "RrSL", "Rr",
               "-",   "p",  "rS",  "rR", "C", "rSL", "r",    "P",   "-"}}));

TEST(States, OnesThatTheDeviceLacksAndErrorAreRefused)
{
    EXPECT_FALSE(next_state(State::Running, State::PreCopy, kMigStopCopy));
    EXPECT_FALSE(next_state(State::Running, State::Error, 7));
    EXPECT_FALSE(next_state(State::Error, State::Running, 7));
    EXPECT_EQ(state_named("PRE_COPY_P2P"), State::PreCopyP2p);
    EXPECT_FALSE(state_named("PRE-COPY"));
}

}  // namespace
}  // namespace godwit::vfio_user_server
