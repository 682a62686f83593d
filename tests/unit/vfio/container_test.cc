// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest memory as devices see it, and the pages they write: one suite for every way to find them.
#include "hw/vfio/container.h"

#include "tests/unit/vfio/house.h"

#include <array>

namespace godwit::hw::vfio::test {
namespace {

/// A way in which device writes are found.
struct Way {
    const char* name;
    bool iommufd;
    bool logging;
    bool iommu_dirty;
    bool pins;
    Tracker tracker;
};

void PrintTo(const Way& way, std::ostream* out)
{
    *out << way.name;
}

DeviceSpec spec_of(const Way& way)
{
    DeviceSpec spec;
    spec.bars[0] = {.size = 0x1000};
    spec.logging = way.logging;
    spec.iommu_dirty = way.iommu_dirty;
    spec.pins = way.pins;
    return spec;
}

class ContainerTracking : public testing::TestWithParam<Way> {
protected:
    House house;
    void SetUp() override { house.plug(spec_of(GetParam()), GetParam().iommufd); }
    void write(std::uint64_t iova, std::string_view text)
    {
        VFIO_OK(house.device->dma_write(iova, bytes_of(text)));
    }
};

TEST_P(ContainerTracking, IsTheOneThatFits)
{
    EXPECT_EQ(must(house.pci->container().tracker()), GetParam().tracker);
    house.start_tracking();
    EXPECT_EQ(house.pci->container().untracked_bytes(), 0U);
}

TEST_P(ContainerTracking, FindsEveryPageOnceAndNoOther)
{
    write(0x1000, "before tracking");
    house.start_tracking();
    EXPECT_EQ(house.found(*house.ram), Pages{});
    write(0x3000, "a");
    write(0x5ffe, "across a border");
    write(House::kLow - 4, "last");
    write(House::kHighStart + 0x7000, "high");
    EXPECT_EQ(house.found(*house.ram), (Pages{3, 5, 6, House::kLow / 4096 - 1}));
    EXPECT_EQ(House::take(*house.high), Pages{7});
    EXPECT_EQ(house.found(*house.ram), Pages{});
    write(0x3000, "again");
    EXPECT_EQ(house.found(*house.ram, true), Pages{3}) << "in the last sync";
    EXPECT_EQ(static_cast<char>(house.ram->host()[0x3000]), 'a');
}

TEST_P(ContainerTracking, KeepsWhatWasWrittenToAMappingThatGoes)
{
    system::RamBlock* const gone = house.add_ram("gone", 0x10000000, 0x20000);
    house.start_tracking();
    (void)House::take(*gone);
    write(0x10004000, "in a window that vanishes");
    house.vm->memory().remove(house.region);
    EXPECT_EQ(House::take(*gone), Pages{4});
    EXPECT_FALSE(house.device->dma_write(0x10004000, bytes_of("x")));
    EXPECT_EQ(house.found(*house.ram), Pages{});
}

TEST_P(ContainerTracking, SeesMemoryThatAppearsMeanwhile)
{
    house.start_tracking();
    system::RamBlock* const added = house.add_ram("added", 0x200000000, 0x10000);
    write(0x200002000, "new");
    const Pages pages = house.found(*added, true);
    EXPECT_NE(std::ranges::find(pages, 2U), pages.end());
}

TEST_P(ContainerTracking, StopsAndStartsAgainFromNothing)
{
    house.start_tracking();
    write(0x3000, "a");
    house.tracking.reset();
    write(0x4000, "while nobody looks");
    house.start_tracking();
    EXPECT_EQ(house.found(*house.ram), Pages{});
    write(0x5000, "b");
    EXPECT_EQ(house.found(*house.ram), Pages{5});
}

INSTANTIATE_TEST_SUITE_P(
    Ways, ContainerTracking,
    testing::Values(Way{"type1", false, false, false, true, Tracker::Backend},
                    Way{"logs", false, true, false, false, Tracker::DeviceLogs},
                    Way{"iommufd", true, false, true, false, Tracker::Backend},
                    Way{"logs_before_iommufd", true, true, true, false, Tracker::DeviceLogs}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Container, WithoutATrackerAllThatIsMappedIsDirtyInTheLastSync)
{
    House house;
    house.kernel->container_rules.migration = false;
    house.plug({});
    EXPECT_EQ(must(house.pci->container().tracker()), Tracker::None);
    EXPECT_EQ(house.pci->container().untracked_bytes(), 0U) << "nobody tracks yet";
    house.start_tracking();
    EXPECT_EQ(house.pci->container().untracked_bytes(), House::kLow + House::kHigh);
    VFIO_OK(house.device->dma_write(0x3000, bytes_of("a")));
    EXPECT_EQ(house.found(*house.ram), Pages{});
    EXPECT_EQ(house.found(*house.ram, true), all_pages(*house.ram));
    EXPECT_EQ(House::take(*house.high), all_pages(*house.high));
}

TEST(Container, ATypeOneDeviceThatDoesNotPinDirtiesEverything)
{
    House house;
    house.plug({});
    house.start_tracking();
    EXPECT_EQ(house.found(*house.ram), all_pages(*house.ram));
    EXPECT_EQ(house.found(*house.ram), all_pages(*house.ram));
}

TEST(Container, OneDeviceWithoutALogMakesTheContainerTrack)
{
    House house;
    DeviceSpec able;
    able.logging = true;
    able.pins = true;
    DeviceSpec other;
    other.address = "0000:3c:00.0";
    other.group = 13;
    other.pins = true;
    house.plug(able);
    TestDevice& first = *house.device;
    EXPECT_EQ(must(house.pci->container().tracker()), Tracker::DeviceLogs);
    house.plug(other);
    EXPECT_EQ(house.pci->container().members(), 2U) << "two groups, one container";
    EXPECT_EQ(must(house.pci->container().tracker()), Tracker::Backend);
    house.start_tracking();
    VFIO_OK(first.dma_write(0x3000, bytes_of("a")));
    VFIO_OK(house.device->dma_write(0x4000, bytes_of("b")));
    EXPECT_EQ(house.found(*house.ram), (Pages{3, 4}));
}

TEST(Container, AsksTheLogsOfAllItsDevices)
{
    House house;
    std::vector<TestDevice*> devices;
    for (unsigned n = 0; n < 3; ++n) {
        DeviceSpec spec;
        spec.address = "0000:3b:00." + std::to_string(n);
        spec.group = n;
        spec.logging = true;
        house.plug(spec);
        devices.push_back(house.device);
    }
    house.start_tracking();
    for (std::size_t n = 0; n < devices.size(); ++n)
        VFIO_OK(devices[n]->dma_write(0x1000 * (n + 1), bytes_of("x")));
    EXPECT_EQ(house.found(*house.ram), (Pages{1, 2, 3}));
}

TEST(Container, DeviceLogsCanBeSwitchedOff)
{
    House house;
    DeviceSpec spec;
    spec.logging = true;
    spec.pins = true;
    house.plug(spec, false, Json{{"x-device-dirty-page-tracking", false}});
    EXPECT_EQ(must(house.pci->container().tracker()), Tracker::Backend);
}

TEST(Container, PreCopySyncsCanBeSwitchedOff)
{
    House house;
    DeviceSpec spec;
    spec.logging = true;
    house.plug(spec, false, Json{{"x-pre-copy-dirty-page-tracking", false}});
    house.start_tracking();
    VFIO_OK(house.device->dma_write(0x3000, bytes_of("x")));
    EXPECT_EQ(house.found(*house.ram), Pages{});
    EXPECT_EQ(house.found(*house.ram, true), Pages{3});
}

TEST(Container, LogsWithLargerPagesAreFoldedOut)
{
    for (const std::uint64_t page : {8192U, 65536U, 2U << 20}) {
        House house;
        DeviceSpec spec;
        spec.logging = true;
        spec.log_page = page;
        house.plug(spec);
        house.start_tracking();
        VFIO_OK(house.device->dma_write(0x200000 + 0x3000, bytes_of("x")));
        const Pages pages = house.found(*house.ram);
        ASSERT_EQ(pages.size(), page / 4096) << page;
        EXPECT_EQ(pages.front(), ((0x203000 / page) * page) / 4096) << page;
        EXPECT_EQ(house.found(*house.ram), Pages{}) << page;
    }
}

TEST(Container, TypeOnePagesOf64KiBMapTheAlignedPart)
{
    House house;
    house.kernel->container_rules.page_sizes = 65536;
    DeviceSpec spec;
    spec.pins = true;
    auto* const odd =
        must(house.vm->ram().create({.id = "odd", .used_length = 0x40000, .alignment = 65536}));
    house.vm->memory().add({.name = "odd",
                            .start = 0x10001000,
                            .size = 0x30000,
                            .kind = system::RegionKind::Ram,
                            .block = odd,
                            .block_offset = 0x1000});
    house.plug(spec);
    EXPECT_FALSE(house.device->dma_write(0x10001000, bytes_of("x"))) << "the cut-off part";
    VFIO_OK(house.device->dma_write(0x10010000, bytes_of("x")));
    house.start_tracking();
    (void)House::take(*odd);
    VFIO_OK(house.device->dma_write(0x10025000, bytes_of("x")));
    const Pages pages = house.found(*odd);
    ASSERT_EQ(pages.size(), 16U);
    EXPECT_EQ(pages.front(), 0x20U);
}

TEST(Container, MemoryOffTheIommusPagesIsLeftOut)
{
    House house;
    house.kernel->container_rules.page_sizes = 65536;
    auto* const odd =
        must(house.vm->ram().create({.id = "odd", .used_length = 0x40000, .alignment = 65536}));
    house.vm->memory().add({.name = "odd",
                            .start = 0x10001000,
                            .size = 0x30000,
                            .kind = system::RegionKind::Ram,
                            .block = odd});
    house.plug({});
    EXPECT_FALSE(house.device->dma_write(0x10010000, bytes_of("x")));
    VFIO_OK(house.device->dma_write(0x10000, bytes_of("x")));
}

TEST(Container, MappingsAreNotLargerThanAQuestion)
{
    House house;
    house.kernel->container_rules.max_bitmap_bytes = 16;  // 128 pages
    DeviceSpec spec;
    spec.pins = true;
    house.plug(spec);
    house.start_tracking();
    VFIO_OK(house.device->dma_write(0x3000, bytes_of("x")));
    VFIO_OK(house.device->dma_write(0x200000, bytes_of("x")));
    EXPECT_EQ(house.found(*house.ram), (Pages{3, 512}));
    EXPECT_FALSE(house.pci->container().tracking_error());
}

// One question is about 128 GiB at most.
TEST(Container, ARangeLargerThanAQuestionIsAskedInParts)
{
    constexpr std::uint64_t kStart = std::uint64_t{1} << 40;
    constexpr std::uint64_t kQuestion = std::uint64_t{128} << 30;
    constexpr std::uint64_t kBytes = 2 * kQuestion + (std::uint64_t{1} << 20);
    House house;
    auto* const huge = must(house.vm->ram().create({.id = "huge",
                                                    .used_length = kBytes,
                                                    .alignment = 65536,
                                                    .huge_page_advice = false,
                                                    .reserve = false}));
    house.vm->memory().add({.name = "huge",
                            .start = kStart,
                            .size = kBytes,
                            .kind = system::RegionKind::Ram,
                            .block = huge});
    DeviceSpec spec;
    spec.iommu_dirty = true;
    house.plug(spec, true);
    house.start_tracking();
    (void)House::take(*huge);
    const Pages written{0, kQuestion / 4096 - 1, kQuestion / 4096, 2 * kQuestion / 4096,
                        kBytes / 4096 - 1};
    for (const std::uint64_t page : written)
        VFIO_OK(house.device->dma_write(kStart + page * 4096, bytes_of("x")));
    house.kernel->clear_trace();
    EXPECT_EQ(house.found(*huge), written);
    EXPECT_EQ(std::ranges::count(house.kernel->trace(), "IOMMU_HWPT_GET_DIRTY_BITMAP"), 2 + 3);
    EXPECT_EQ(house.found(*huge), Pages{});
}

TEST(Container, ManyMappingsAreOneErrorWhenTheKernelIsFull)
{
    House house;
    house.kernel->container_rules.max_mappings = 1;
    const Error error = house.refusal({});
    EXPECT_NE(error.message().find("only 1 mappings are possible"), std::string::npos)
        << error.message();
    EXPECT_TRUE(house.vm->memory().listeners().empty());
}

TEST(Container, AFailedQuestionMarksAllItAskedAbout)
{
    House house;
    DeviceSpec spec;
    spec.logging = true;
    house.plug(spec);
    house.start_tracking();
    house.device->faults.log_report = EIO;
    EXPECT_EQ(house.found(*house.ram), all_pages(*house.ram));
    ASSERT_TRUE(house.pci->container().tracking_error());
    EXPECT_NE(house.pci->container().tracking_error()->message().find(spec.address),
              std::string::npos);
}

TEST(Container, ARefusedStartEndsTheStartAndLeavesNothingOn)
{
    House house;
    DeviceSpec able;
    able.logging = true;
    house.plug(able);
    TestDevice& first = *house.device;
    DeviceSpec second = able;
    second.address = "0000:3c:00.0";
    second.group = 13;
    house.plug(second);
    // The second one's log runs already, so its start is refused.
    const std::array<DmaRange, 1> range{{{0, 0x1000}}};
    must(house.pci->backend().log_start(4096, range));
    const auto started = house.dirty.start(system::DirtyClient::Migration);
    ASSERT_FALSE(started);
    EXPECT_NE(started.error().message().find("0000:3c:00.0"), std::string::npos);
    EXPECT_FALSE(first.logging);
    EXPECT_FALSE(house.pci->container().tracking());
}

TEST(Container, IsSyncedBeforeTheAccelerator)
{
    House house;
    house.plug({});
    class Accel final : public system::MemoryListener {
        std::string_view name() const noexcept override { return "accel"; }
    } accel;
    const Registration listening = house.vm->memory().add_listener(accel);
    const auto order = house.vm->memory().listeners();
    ASSERT_EQ(order.size(), 2U);
    EXPECT_EQ(order[0]->name(), "vfio");
    EXPECT_LT(order[0]->priority(), system::kListenerPriorityAccel);
}

TEST(Container, ReadOnlyMemoryIsMappedForReadingAndNeverDirty)
{
    House house;
    system::RamBlock* const rom =
        house.add_ram("rom", 0x10000000, 0x10000, system::RegionKind::Rom);
    DeviceSpec spec;
    spec.logging = true;
    house.plug(spec);
    house.start_tracking();
    (void)House::take(*rom);
    std::array<std::byte, 4> bytes;
    VFIO_OK(house.device->dma_read(0x10000000, bytes));
    EXPECT_FALSE(house.device->dma_write(0x10000000, bytes_of("x")));
    EXPECT_EQ(house.found(*rom, true), Pages{});
}

TEST(Container, UnmapsEverythingWithItsLastDevice)
{
    House house;
    house.plug({});
    EXPECT_NE(house.device->dma, nullptr);
    ASSERT_TRUE(house.vm->devices().remove(house.pci->path()));
    EXPECT_TRUE(house.vm->memory().listeners().empty());
    EXPECT_EQ(house.device->dma, nullptr);
    const auto trace = house.kernel->trace();
    EXPECT_EQ(std::ranges::count(trace, "VFIO_IOMMU_UNMAP_DMA"), 2);
    EXPECT_EQ(trace.back(), "VFIO_GROUP_UNSET_CONTAINER");
}

TEST(Container, NoPageThatADeviceReachesIsExchanged)
{
    for (const bool iommufd : {false, true}) {
        House house;
        house.plug({}, iommufd);
        ASSERT_FALSE(house.vm->ram().may_discard()) << iommufd;
        EXPECT_FALSE(house.ram->discard(0x4000, 0x1000));
        house.ram->host()[0x4000] = std::byte{7};
        std::array<std::byte, 1> seen;
        VFIO_OK(house.device->dma_read(0x4000, seen));
        EXPECT_EQ(seen[0], std::byte{7});
        ASSERT_TRUE(house.vm->devices().remove(house.pci->path()));
        EXPECT_TRUE(house.vm->ram().may_discard()) << iommufd;
    }
}

TEST(Iommufd, IsInUseWhileADeviceIs)
{
    House house;
    DeviceSpec spec;
    spec.iommu_dirty = true;
    house.plug(spec, true);
    EXPECT_FALSE(house.vm->remove_object("iommufd0"));
    ASSERT_TRUE(house.vm->devices().remove(house.pci->path()));
    EXPECT_TRUE(house.vm->remove_object("iommufd0"));
    for (const std::string& call : house.kernel->trace())
        EXPECT_FALSE(call.starts_with("IOMMU_") && call.find(" -") != std::string::npos) << call;
}

TEST(Iommufd, DevicesWithDifferentIommusHaveTheirOwnTables)
{
    House house;
    DeviceSpec able;
    able.iommu_dirty = true;
    house.plug(able, true);
    EXPECT_EQ(must(house.pci->container().tracker()), Tracker::Backend);
    DeviceSpec plain;
    plain.address = "0000:3c:00.0";
    plain.cdev = "vfio1";
    plain.group = 13;
    house.plug(plain, true);
    EXPECT_EQ(house.pci->container().members(), 2U);
    EXPECT_EQ(must(house.pci->container().tracker()), Tracker::None)
        << "one table without dirty bits";
    VFIO_OK(house.device->dma_write(0x1000, bytes_of("shared space")));
}

TEST(TestKernelContainer, RefusesWhatTheHeadersForbid)
{
    OpenDevice open(DeviceSpec{});
    const auto call = [&](auto& argument, unsigned long number) {
        const auto done = open.kernel->call(open.container.get(), number, argument);
        return done ? 0 : done.error().os_errno();
    };
    std::vector<std::byte> memory(0x20000);
    const auto host =
        (reinterpret_cast<std::uintptr_t>(memory.data()) + 4095) & ~std::uintptr_t{4095};
    AbiDmaMap map{.flags = 3, .vaddr = host, .iova = 0x10000, .size = 0x4000};
    EXPECT_EQ(call(map, request::kIommuMapDma), 0);
    EXPECT_EQ(call(map, request::kIommuMapDma), EEXIST);
    std::array<std::uint64_t, 4> words{};
    AbiDirtyBitmap get{.argsz = sizeof get,
                       .flags = kDirtyPagesGet,
                       .iova = 0x10000,
                       .size = 0x4000,
                       .bitmap = {.pgsize = 4096,
                                  .size = 8,
                                  .data = reinterpret_cast<std::uintptr_t>(words.data())}};
    EXPECT_EQ(call(get, request::kIommuDirtyPages), EINVAL) << "not started";
    AbiDirtyBitmap start{.flags = kDirtyPagesStart};
    EXPECT_EQ(call(start, request::kIommuDirtyPages), 0);
    EXPECT_EQ(call(start, request::kIommuDirtyPages), 0) << "idempotent";
    EXPECT_EQ(call(get, request::kIommuDirtyPages), 0);
    EXPECT_EQ(words[0], 0xfU);
    AbiDirtyBitmap both{.flags = kDirtyPagesStart | kDirtyPagesStop};
    EXPECT_EQ(call(both, request::kIommuDirtyPages), EINVAL);
    get.size = 0x2000;
    EXPECT_EQ(call(get, request::kIommuDirtyPages), EINVAL) << "cuts the mapping";
    get.size = 0x4000;
    get.bitmap.pgsize = 8192;
    EXPECT_EQ(call(get, request::kIommuDirtyPages), EINVAL) << "another page size";
    AbiDmaUnmap part{.iova = 0x11000, .size = 0x1000};
    EXPECT_EQ(call(part, request::kIommuUnmapDma), EINVAL);
}

}  // namespace
}  // namespace godwit::hw::vfio::test
