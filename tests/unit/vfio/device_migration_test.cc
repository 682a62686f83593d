// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What stands in a device's way, in QEMU's words.
#include "migration/service.h"
#include "tests/unit/vfio/house.h"

#include <gmock/gmock.h>

namespace godwit::hw::vfio::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

DeviceSpec able()
{
    DeviceSpec spec;
    spec.logging = true;
    spec.state_bytes = 100;
    return spec;
}

std::vector<std::string> reasons(House& house)
{
    return house.migration->service().blocked_reasons();
}

std::string refusal(House& house, const DeviceSpec& spec, const char* enable)
{
    house.kernel->add(spec);
    Json properties = Json::object({{"host", spec.address}, {"enable-migration", enable}});
    auto added = house.vm->devices().add_builtin("vfio-pci", house.bus.get(), properties);
    return added ? "no error" : added.error().message();
}

TEST(VfioBlockers, ThereIsNoneForADeviceThatCanMove)
{
    House house;
    house.plug(able());
    EXPECT_THAT(reasons(house), IsEmpty());
}

TEST(VfioBlockers, ADeviceThatTheUserKeepsBack)
{
    House house;
    house.plug(able(), false, Json::object({{"enable-migration", "off"}}));
    EXPECT_THAT(reasons(house), ElementsAre("0000:3b:00.0: Migration is disabled for VFIO device"));
}

TEST(VfioBlockers, ADeviceThatCannot)
{
    House house;
    DeviceSpec spec = able();
    spec.dialect = Dialect::None;
    house.plug(spec);
    EXPECT_THAT(reasons(house),
                ElementsAre("0000:3b:00.0: VFIO migration is not supported in kernel"));
    House insisting;
    EXPECT_THAT(refusal(insisting, spec, "on"),
                HasSubstr("0000:3b:00.0: VFIO migration is not supported in kernel"));
    EXPECT_THAT(reasons(insisting), IsEmpty());
}

TEST(VfioBlockers, ADeviceWhoseWritesNobodySeesButNotWhereTheUserInsists)
{
    DeviceSpec spec = able();
    spec.logging = false;
    House house;
    house.plug(spec, true);  // an IOMMU without dirty bits
    EXPECT_THAT(reasons(house), ElementsAre("0000:3b:00.0: VFIO device doesn't support device and "
                                            "IOMMU dirty tracking"));
    House insisting;
    insisting.plug(spec, true, Json::object({{"enable-migration", "on"}}));
    EXPECT_THAT(reasons(insisting), IsEmpty());
}

TEST(VfioBlockers, SeveralDevicesOfWhichOneCannotStopItsPeerTraffic)
{
    constexpr const char* text = "Multiple VFIO devices migration is supported only if all of them "
                                 "support P2P migration";
    House house;
    DeviceSpec without = able();
    without.p2p = false;
    house.plug(without);
    EXPECT_THAT(reasons(house), IsEmpty());
    DeviceSpec second = able();
    second.address = "0000:3c:00.0";
    second.group = 13;
    second.cdev = "vfio1";
    house.plug(second);
    EXPECT_THAT(reasons(house), ElementsAre(text));
    house.vm->devices().unrealize_all();
    EXPECT_THAT(reasons(house), IsEmpty());
}

}  // namespace
}  // namespace godwit::hw::vfio::test
