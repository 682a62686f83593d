// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Whole migrations with devices behind the test kernel, whose DMA engines write all the while:
// every dialect of device state with every way of finding dirty pages.
#include "tests/unit/vfio/moving.h"

namespace godwit::hw::vfio::test {
namespace {

class VfioMove : public testing::TestWithParam<Kind> {};

TEST_P(VfioMove, LosesNoRecordOfAWritingDevice)
{
    const Kind& kind = GetParam();
    const Json insist{{"enable-migration", "on"}};
    House a;
    House b;
    if (!kind.tracked)
        a.kernel->container_rules.migration = b.kernel->container_rules.migration = false;
    a.plug(spec_of(kind, 0), kind.iommufd, kind.tracked ? Json::object() : insist);
    b.plug(spec_of(kind, 0), kind.iommufd, kind.tracked ? Json::object() : insist);
    ASSERT_TRUE(a.migration->machine_done());
    ASSERT_TRUE(b.migration->machine_done());
    if (!kind.tracked)  // all that is mapped is still to be sent: the operator allows for that
        VFIO_OK(a.migration->service().set_parameters({.avail_switchover_bandwidth = 1U << 30}));
    a.device->fill_internal(5);
    ASSERT_TRUE(a.device->poke(0, std::vector<std::byte>(8)));
    ASSERT_TRUE(a.vm->run_state().start());
    {
        Running to(b);
        Running from(a);
        Engine engine(*a.kernel, *a.device, 0);
        until_around(*a.device);
        move(b, from, to);
    }
    ASSERT_FALSE(HasFailure());
    EXPECT_EQ(b.device->state(), MigrationState::Running);
    EXPECT_EQ(b.device->internal(), a.device->internal());
    expect_ring(b, *b.device, 0);
    EXPECT_EQ(a.device->forbidden_accesses() + b.device->forbidden_accesses(), 0U);

    const std::uint64_t arrived = Engine::next_sequence(*b.device);
    {
        const Engine goes_on(*b.kernel, *b.device, 0);
        while (Engine::next_sequence(*b.device) < arrived + 10)
            std::this_thread::yield();
    }
    expect_ring(b, *b.device, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, VfioMove,
    testing::Values(
        Kind{"v1", Dialect::V1, false, false, false, true, true},
        Kind{"v1_stop_copy", Dialect::V1, false, false, false, true, false},
        Kind{"v1_mapped", Dialect::V1, false, false, false, true, true, true},
        Kind{"v2_type1", Dialect::V2, false, false, false, true, true},
        Kind{"v2_type1_stop_copy", Dialect::V2, false, false, false, true, false},
        Kind{"v2_logs", Dialect::V2, false, true, false, false, true},
        Kind{"v2_logs_stop_copy", Dialect::V2, false, true, false, false, false},
        Kind{"v2_iommufd", Dialect::V2, true, false, true, false, true},
        Kind{"v2_iommufd_stop_copy", Dialect::V2, true, false, true, false, false},
        Kind{"v2_without_p2p", Dialect::V2, false, true, false, false, true, false, false},
        Kind{"v2_untracked", Dialect::V2, false, false, false, true, true, false, true, false}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(VfioMoves, FourDevicesStopTheirPeersFirst)
{
    const Kind kind{"logs", Dialect::V2, false, true, false, false, true};
    House a;
    House b;
    std::vector<TestDevice*> there;
    std::vector<TestDevice*> here;
    for (unsigned n = 0; n < 4; ++n) {
        a.plug(spec_of(kind, n));
        here.push_back(a.device);
        here.back()->fill_internal(n);
        ASSERT_TRUE(here.back()->poke(0, std::vector<std::byte>(8)));
        b.plug(spec_of(kind, n));
        there.push_back(b.device);
    }
    ASSERT_TRUE(a.migration->machine_done());
    ASSERT_TRUE(b.migration->machine_done());
    ASSERT_TRUE(a.vm->run_state().start());
    {
        Running to(b);
        Running from(a);
        std::vector<std::unique_ptr<Engine>> engines;
        for (unsigned n = 0; n < 2; ++n)
            engines.push_back(std::make_unique<Engine>(*a.kernel, *here[n], n));
        until_around(*here[0]);
        until_around(*here[1]);
        move(b, from, to);
    }
    for (unsigned n = 0; n < 4; ++n) {
        EXPECT_EQ(there[n]->internal(), here[n]->internal()) << n;
        EXPECT_NE(here[n]->walked().find("Pp pC"), std::string::npos) << here[n]->walked();
    }
    expect_ring(b, *there[0], 0);
    expect_ring(b, *there[1], 1);
}

}  // namespace
}  // namespace godwit::hw::vfio::test
