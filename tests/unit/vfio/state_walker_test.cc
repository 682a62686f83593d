// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Devices of the test kernel, taken from state to state in both dialects.
#include "hw/vfio/state_walker.h"
#include "tests/unit/vfio/support.h"

#include <cerrno>

namespace godwit::hw::vfio::test {
namespace {

using enum MigrationState;

DeviceSpec spec_of(Dialect dialect, StateSet states)
{
    DeviceSpec spec;
    spec.dialect = dialect;
    spec.p2p = states.p2p;
    spec.precopy = states.pre_copy;
    spec.state_bytes = 2 * kChunk;
    return spec;
}

std::vector<MigrationState> states_of(StateSet set)
{
    std::vector<MigrationState> all;
    for (std::uint32_t s = 1; s < 8; ++s)
        if (set.has(static_cast<MigrationState>(s)))
            all.push_back(static_cast<MigrationState>(s));
    return all;
}

class EveryDialect : public ::testing::TestWithParam<std::tuple<Dialect, bool, bool>> {
protected:
    StateSet states() const
    {
        const auto [dialect, p2p, pre_copy] = GetParam();
        return dialect == Dialect::V1 ? StateSet{.pre_copy = true} : StateSet{p2p, pre_copy};
    }
    NextState next() const
    {
        return std::get<0>(GetParam()) == Dialect::V1 ? next_state_v1 : next_state_v2;
    }
    DeviceSpec spec() const { return spec_of(std::get<0>(GetParam()), states()); }
};

TEST_P(EveryDialect, WalksWhereTheTableLeads)
{
    for (const MigrationState from : states_of(states()))
        for (const MigrationState to : states_of(states())) {
            OpenDevice open(spec());
            auto walker = must(StateWalker::create(*open.backend));
            EXPECT_EQ(walker->states(), states());
            VFIO_OK(walker->walk(from));
            // The device checks what it got when it leaves RESUMING, and here it got nothing.
            if (from == Resuming && to != Resuming)
                continue;
            const auto steps = walk(next(), states(), from, to);
            auto done = walker->walk(to);
            EXPECT_EQ(done.has_value(), steps.has_value())
                << to_string(from) << " to " << to_string(to) << ": " << message_of(done);
            EXPECT_EQ(walker->state(), steps ? to : from);
            EXPECT_EQ(open.device.state(), steps ? to : from);
        }
}

TEST_P(EveryDialect, ARefusedStepIsNamedAndTheDeviceIsAskedWhereItIs)
{
    for (const MigrationState from : states_of(states()))
        for (const MigrationState to : states_of(states())) {
            const auto steps = walk(next(), states(), from, to);
            if (!steps || from == Resuming)
                continue;
            for (std::size_t i = 0; i < steps->size(); ++i) {
                OpenDevice open(spec());
                auto walker = must(StateWalker::create(*open.backend));
                VFIO_OK(walker->walk(from));
                // A state may be passed once only, for the refusal to be at this step.
                open.device.faults.enter[(*steps)[i]] = {.error = EIO};
                auto done = walker->walk(to);
                const MigrationState before = i == 0 ? from : (*steps)[i - 1];
                if (done)  // version 1 knows a way around
                    continue;
                const std::string text = message_of(done);
                EXPECT_NE(text.find(std::string(to_string(before)) + " -> "), std::string::npos)
                    << text;
                EXPECT_NE(text.find(to_string(to)), std::string::npos) << text;
                EXPECT_EQ(walker->state(), open.device.state());
                // And the device can still be brought back.
                open.device.faults.enter.clear();
                VFIO_OK(walker->walk(Running));
                EXPECT_EQ(open.device.state(), Running);
            }
        }
}

TEST_P(EveryDialect, OnlyAResetLeadsOutOfTheErrorState)
{
    OpenDevice open(spec());
    auto walker = must(StateWalker::create(*open.backend));
    open.device.faults.enter[StopCopy] = {.error = EIO, .lands_in = Error};
    ASSERT_FALSE(walker->walk(StopCopy));
    EXPECT_EQ(walker->state(), Error);
    open.device.faults.enter.clear();
    auto stuck = walker->walk(Running);
    EXPECT_EQ(message_of(stuck), "no way leads from device state ERROR to RUNNING");
    VFIO_OK(open.backend->reset());
    walker->was_reset();
    VFIO_OK(walker->walk(StopCopy));
}

INSTANTIATE_TEST_SUITE_P(V2, EveryDialect,
                         ::testing::Combine(::testing::Values(Dialect::V2), ::testing::Bool(),
                                            ::testing::Bool()));
INSTANTIATE_TEST_SUITE_P(V1, EveryDialect, ::testing::Values(std::tuple(Dialect::V1, false, true)));

TEST(StateWalker, ADeviceWithoutMigrationIsUnsupported)
{
    OpenDevice open(spec_of(Dialect::None, {}));
    auto walker = StateWalker::create(*open.backend);
    ASSERT_FALSE(walker);
    EXPECT_EQ(walker.error().code(), Errc::Unsupported) << walker.error().message();
}

}  // namespace
}  // namespace godwit::hw::vfio::test
