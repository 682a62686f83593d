// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The PCI function that a guest finds: configuration space, BARs, interrupts, and what migrates of
// them.
#include "hw/vfio/device.h"

#include "migration/stream/reader.h"
#include "migration/stream/writer.h"
#include "tests/unit/vfio/house.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace godwit::hw::vfio::test {
namespace {

constexpr std::uint64_t kBar0 = 0xe0000000;
constexpr std::uint64_t kBar2 = 0x800000000;
constexpr std::uint64_t kBar4 = 0xe1000000;

/// Registers in BAR 0 (partly mappable), memory in BAR 2, MSI-X tables in BAR 4.
DeviceSpec full_spec()
{
    DeviceSpec spec;
    spec.bars[0] = {.size = 0x4000, .areas = {{0x1000, 0x2000}}};
    spec.bars[2] = {.size = 0x10000, .wide = true, .whole_mmap = true};
    spec.bars[4] = {.size = 0x1000};
    spec.msi_vectors = 4;
    spec.msix_vectors = 3;
    spec.msix_bar = 4;
    return spec;
}

struct Plugged : House {
    explicit Plugged(DeviceSpec spec = full_spec(), const Json& more = Json::object())
    {
        plug(std::move(spec), false, more);
        config(pci::kBar0, kBar0, 4);
        config(pci::kBar0 + 8, static_cast<std::uint32_t>(kBar2), 4);
        config(pci::kBar0 + 12, kBar2 >> 32, 4);
        config(pci::kBar0 + 16, kBar4, 4);
    }
    std::uint64_t load(std::uint64_t at, unsigned size) { return vm->memory().load(at, size); }
    void store(std::uint64_t at, std::uint64_t value, unsigned size)
    {
        vm->memory().store(at, value, size);
    }
    void enable_msix(unsigned masked = 3)
    {
        for (unsigned n = 0; n < 3; ++n) {
            store(kBar4 + 16 * n, 0xfee00000, 4);
            store(kBar4 + 16 * n + 8, 0x40 + n, 4);
            store(kBar4 + 16 * n + 12, n == masked ? 1 : 0, 4);
        }
        const unsigned cap = pci->find_capability(pci::kCapMsix);
        config(cap + 2, 0x8000, 2);
    }
    std::vector<std::byte> saved()
    {
        migration::stream::StreamWriter out;
        const auto done = pci->save_config(out);
        EXPECT_TRUE(done) << message_of(done);
        return out.take();
    }
    Result<void> load_bytes(std::span<const std::byte> bytes)
    {
        migration::stream::StreamReader in(bytes);
        return pci->load_config(in);
    }
};

TEST(VfioDevice, ShowsTheDevicesIdentityAndCapabilities)
{
    Plugged house;
    EXPECT_EQ(house.config(pci::kVendorId, 2), 0x1b36U);
    EXPECT_EQ(house.config(pci::kDeviceId, 2), 0x0fd1U);
    const unsigned power = house.pci->find_capability(1);
    ASSERT_NE(power, 0U);
    EXPECT_EQ(house.config(power + 2, 2), 3U);
    EXPECT_NE(house.pci->find_capability(pci::kCapMsi), 0U);
    EXPECT_NE(house.pci->find_capability(pci::kCapMsix), 0U);
    EXPECT_EQ(house.config(house.pci->find_capability(pci::kCapVendor) + 4, 1), 0x74U);
    house.config(power + 4, 3, 2);  // D3: the device's own register
    EXPECT_EQ(house.config(power + 4, 2) & 3, 3U);
}

TEST(VfioDevice, BarsAreSizedByUsAndTrappedOrMapped)
{
    Plugged house;
    house.config(pci::kBar0, 0xffffffff, 4);
    EXPECT_EQ(house.config(pci::kBar0, 4), 0xffffc000U);
    house.config(pci::kBar0, kBar0, 4);
    house.store(kBar0 + 8, 0x11223344, 4);
    EXPECT_EQ(house.device->bar(0, 8, 4),
              (std::vector<std::byte>{std::byte{0x44}, std::byte{0x33}, std::byte{0x22},
                                      std::byte{0x11}}));
    EXPECT_EQ(house.load(kBar0 + 8, 4), 0x11223344U);
    EXPECT_EQ(house.vm->memory().ram_pointer(kBar0, 4096), nullptr);
    ASSERT_NE(house.vm->memory().ram_pointer(kBar0 + 0x1000, 0x2000), nullptr);
    house.store(kBar0 + 0x1010, 0x55, 1);
    EXPECT_EQ(house.device->bar(0, 0x1010, 1)[0], std::byte{0x55});
    EXPECT_NE(house.vm->memory().ram_pointer(kBar2, 0x10000), nullptr);
    EXPECT_EQ(house.vm->memory().ram_pointer(kBar0 + 0x3000, 4096), nullptr);
}

TEST(VfioDevice, MappingCanBeSwitchedOff)
{
    Plugged house(full_spec(), Json{{"x-no-mmap", true}});
    EXPECT_EQ(house.vm->memory().ram_pointer(kBar2, 0x10000), nullptr);
    house.store(kBar2 + 0x100, 7, 1);
    EXPECT_EQ(house.device->bar(2, 0x100, 1)[0], std::byte{7});
}

TEST(VfioDevice, MsixTablesAreOursAndVectorsReachTheGuest)
{
    Plugged house;
    house.enable_msix();
    EXPECT_EQ(house.device->bar(4, 8, 1)[0], std::byte{0}) << "the device never sees the table";
    EXPECT_EQ(house.device->irqs_armed(kMsixIrq), 3U);
    EXPECT_EQ(house.device->irqs_armed(kIntxIrq), 0U);
    EXPECT_TRUE(house.device->trigger(kMsixIrq, 2));
    house.serve();
    ASSERT_EQ(house.messages.size(), 1U);
    EXPECT_EQ(house.messages[0].data, 0x42U);
}

TEST(VfioDevice, AMaskedVectorWaitsAsPending)
{
    Plugged house;
    house.enable_msix(1);
    EXPECT_TRUE(house.device->trigger(kMsixIrq, 1));
    house.serve();
    EXPECT_TRUE(house.messages.empty());
    EXPECT_EQ(house.load(kBar4 + 0x800, 8), 2U);
    house.store(kBar4 + 16 + 12, 0, 4);
    ASSERT_EQ(house.messages.size(), 1U);
    EXPECT_EQ(house.load(kBar4 + 0x800, 8), 0U);
}

/// An accelerator whose interrupt chip takes eventfds, and remembers which.
class ChipAccelerator final : public system::Accelerator, public system::KernelIrqchip {
public:
    std::string_view name() const noexcept override { return "chip"; }
    bool runs_guest_code() const noexcept override { return false; }
    Result<void> init(system::Vm&) override { return ok(); }
    Result<void> prepare(const system::AcceleratorNeeds&) override { return ok(); }
    KernelIrqchip* irqchip() noexcept override { return this; }
    Result<std::unique_ptr<system::Vcpu>> create_vcpu(unsigned, std::string_view) override
    {
        return Error(Errc::Unsupported, "no vCPU");
    }
    void set_gsi(unsigned, int) override {}
    Result<void> get(Chip, std::span<std::byte, 512>) override { return ok(); }
    Result<void> set(Chip, std::span<const std::byte, 512>) override { return ok(); }
    bool has_pit() const noexcept override { return false; }
    Result<void> get_pit(std::span<std::byte>) override { return ok(); }
    Result<void> set_pit(std::span<const std::byte>) override { return ok(); }
    Result<void> send_msi(std::uint64_t, std::uint32_t) override { return ok(); }
    Result<Registration> add_irqfd(int fd, std::uint64_t, std::uint32_t data) override
    {
        if (full)
            return Error(Errc::Unsupported, "no free interrupt route");
        routes[fd] = data;
        return Registration([this, fd]() noexcept { routes.erase(fd); });
    }
    Result<Registration> add_level_irqfd(int fd, unsigned gsi, int served) override
    {
        if (full)
            return Error(Errc::Unsupported, "no eventfds for levels");
        lines[gsi] = {fd, served};
        return Registration([this, gsi]() noexcept { lines.erase(gsi); });
    }
    /// The guest's end of interrupt: the level goes, and whoever drives it is told.
    void serve(unsigned gsi)
    {
        std::uint64_t count = 0;
        EXPECT_EQ(::read(lines.at(gsi).first, &count, sizeof count), ssize_t{sizeof count});
        ::eventfd_write(lines.at(gsi).second, 1);
    }
    std::map<unsigned, std::pair<int, int>> lines;
    std::vector<std::uint32_t> routed() const
    {
        std::vector<std::uint32_t> data;
        for (const auto& [fd, value] : routes)
            data.push_back(value);
        std::ranges::sort(data);
        return data;
    }
    std::map<int, std::uint32_t> routes;
    bool full = false;
};

struct WithChip : Plugged {
    WithChip()
    {
        auto made = std::make_unique<ChipAccelerator>();
        chip = made.get();
        EXPECT_TRUE(vm->set_accelerator(std::move(made)));
    }
    ~WithChip() { vm->devices().unrealize_all(); }
    ChipAccelerator* chip = nullptr;
};

using Data = std::vector<std::uint32_t>;

TEST(VfioDevice, VectorsGoStraightIntoTheGuestWhileTheyMay)
{
    WithChip house;
    house.enable_msix(1);
    EXPECT_EQ(house.chip->routed(), (Data{0x40, 0x42}));
    house.store(kBar4 + 16 + 12, 0, 4);
    EXPECT_EQ(house.chip->routed(), (Data{0x40, 0x41, 0x42})) << "unmasked";
    house.store(kBar4 + 8, 0x77, 4);
    EXPECT_EQ(house.chip->routed(), (Data{0x41, 0x42, 0x77})) << "another message";
    house.store(kBar4 + 32 + 12, 1, 4);
    EXPECT_EQ(house.chip->routed(), (Data{0x41, 0x77})) << "masked";
    house.device->trigger(kMsixIrq, 2);
    house.serve();
    EXPECT_EQ(house.load(kBar4 + 0x800, 8), 4U);
    house.vm->devices().reset_all(system::ResetKind::Cold);
    EXPECT_TRUE(house.chip->routes.empty());
}

TEST(VfioDevice, AChipWithoutRoomLeavesVectorsToTheMainLoop)
{
    WithChip house;
    house.chip->full = true;
    house.enable_msix();
    house.device->trigger(kMsixIrq, 1);
    house.serve();
    ASSERT_EQ(house.messages.size(), 1U);
    EXPECT_EQ(house.messages[0].data, 0x41U);
}

TEST(VfioDevice, MsiVectorsReachTheGuest)
{
    Plugged house;
    const unsigned cap = house.pci->find_capability(pci::kCapMsi);
    house.config(cap + 4, 0xfee00000, 4);
    house.config(cap + 12, 0x50, 2);
    house.config(cap + 2, 0x0011, 2);  // two vectors
    EXPECT_EQ(house.device->irqs_armed(kMsiIrq), 2U);
    house.device->trigger(kMsiIrq, 1);
    house.serve();
    ASSERT_EQ(house.messages.size(), 1U);
    EXPECT_EQ(house.messages[0].data, 0x51U);
    house.config(cap + 2, 0, 2);
    EXPECT_EQ(house.device->irqs_armed(kMsiIrq), 0U);
    EXPECT_EQ(house.device->irqs_armed(kIntxIrq), 1U) << "back to the line";
}

TEST(VfioDevice, IntxStaysHighUntilTheGuestLooks)
{
    Plugged house;
    house.device->set_intx(true);
    house.serve();
    EXPECT_EQ(house.wires[0], 1);
    EXPECT_TRUE(house.device->irq_masked(kIntxIrq));
    EXPECT_EQ(house.vm->memory().ram_pointer(kBar0 + 0x1000, 4096), nullptr)
        << "every access is seen while it waits";
    house.device->set_intx(false);
    (void)house.load(kBar0 + 0x1000, 4);
    EXPECT_EQ(house.wires[0], 0);
    EXPECT_FALSE(house.device->irq_masked(kIntxIrq));
    house.serve();
    EXPECT_EQ(house.wires[0], 0);
}

TEST(VfioDevice, AnIntxThatIsStillHighComesAgain)
{
    Plugged house;
    house.device->set_intx(true);
    house.serve();
    (void)house.load(kBar0, 4);
    EXPECT_EQ(house.wires[0], 0);
    house.serve();
    EXPECT_EQ(house.wires[0], 1);
}

bool up(const ChipAccelerator& chip, unsigned gsi)
{
    pollfd poll{.fd = chip.lines.at(gsi).first, .events = POLLIN, .revents = 0};
    return ::poll(&poll, 1, 0) == 1;
}

struct WithLines : WithChip {
    WithLines()
    {
        bus->route_irqs([this](unsigned wire) -> std::optional<unsigned> {
            return wire == 0 && apic ? std::optional(first_gsi) : std::nullopt;
        });
        bus->irq_routes_changed();
    }
    bool apic = true;  ///< wire 0 is a single GSI
    unsigned first_gsi = 16;
};

TEST(VfioDevice, IntxGoesStraightIntoTheGuestAndBackWithItsEndOfInterrupt)
{
    WithLines house;
    ASSERT_EQ(house.chip->lines.size(), 1U);
    house.device->set_intx(true);
    EXPECT_TRUE(up(*house.chip, 16));
    EXPECT_TRUE(house.device->irq_masked(kIntxIrq));
    house.serve();
    EXPECT_EQ(house.wires[0], 0) << "nothing passes through us";
    EXPECT_NE(house.vm->memory().ram_pointer(kBar0 + 0x1000, 4096), nullptr)
        << "no access need be seen";
    house.chip->serve(16);
    house.device->look_for_unmask();
    EXPECT_TRUE(up(*house.chip, 16)) << "it is high still";
    house.device->set_intx(false);
    house.chip->serve(16);
    house.device->look_for_unmask();
    EXPECT_FALSE(up(*house.chip, 16));
    EXPECT_FALSE(house.device->irq_masked(kIntxIrq));
}

TEST(VfioDevice, IntxFollowsItsWire)
{
    WithLines house;
    house.first_gsi = 20;
    house.bus->irq_routes_changed();
    ASSERT_EQ(house.chip->lines.size(), 1U);
    EXPECT_EQ(house.chip->lines.begin()->first, 20U);
    house.apic = false;  // the guest has it on an ISA interrupt as well
    house.device->set_intx(true);
    house.bus->irq_routes_changed();
    EXPECT_TRUE(house.chip->lines.empty());
    house.serve();
    EXPECT_EQ(house.wires[0], 1) << "what waited comes the other way";
    house.apic = true;
    house.bus->irq_routes_changed();
    EXPECT_EQ(house.wires[0], 0);
    EXPECT_TRUE(up(*house.chip, 20)) << "and back";
    house.config(pci::kCommand, pci::kCommandMemory | pci::kCommandIntxDisable, 2);
    EXPECT_TRUE(house.chip->lines.empty()) << "the guest does not want it";
}

TEST(VfioDevice, ADeviceThatTakesNoEventfdIsUnmaskedByACall)
{
    WithLines house;
    house.config(pci::kCommand, pci::kCommandMemory | pci::kCommandIntxDisable, 2);
    house.device->takes_unmask_eventfd = false;
    house.config(pci::kCommand, pci::kCommandMemory, 2);
    ASSERT_EQ(house.chip->lines.size(), 1U);
    house.device->set_intx(true);
    house.device->set_intx(false);
    ASSERT_TRUE(house.device->irq_masked(kIntxIrq));
    house.chip->serve(16);
    house.serve();
    EXPECT_FALSE(house.device->irq_masked(kIntxIrq));
}

TEST(VfioDevice, AChipWithoutLevelsLeavesIntxToTheMainLoop)
{
    WithChip house;
    house.chip->full = true;
    house.bus->route_irqs([](unsigned) { return std::optional(16U); });
    house.bus->irq_routes_changed();
    house.device->set_intx(true);
    house.serve();
    EXPECT_EQ(house.wires[0], 1);
}

TEST(VfioDevice, AResetReachesTheDevice)
{
    Plugged house;
    house.enable_msix();
    const unsigned before = house.device->resets();
    house.vm->devices().reset_all(system::ResetKind::Cold);
    EXPECT_EQ(house.device->resets(), before + 1);
    EXPECT_EQ(house.device->irqs_armed(kMsixIrq), 0U);
    EXPECT_EQ(house.device->irqs_armed(kIntxIrq), 1U);
    EXPECT_FALSE(house.device->dma_write(0x1000, bytes_of("x"))) << "bus mastering is off";
}

TEST(VfioDevice, ConfigurationMovesAndInterruptsAreArmedAgain)
{
    Plugged from;
    from.enable_msix(1);
    const std::vector<std::byte> bytes = from.saved();
    Plugged to;
    to.vm->devices().reset_all(system::ResetKind::Cold);
    VFIO_OK(to.load_bytes(bytes));
    EXPECT_EQ(to.pci->bar_address(2), kBar2);
    EXPECT_EQ(to.device->irqs_armed(kMsixIrq), 3U);
    VFIO_OK(to.device->dma_write(0x1000, bytes_of("bus master again")));
    to.device->trigger(kMsixIrq, 0);
    to.device->trigger(kMsixIrq, 1);
    to.serve();
    ASSERT_EQ(to.messages.size(), 1U);
    EXPECT_EQ(to.messages[0].data, 0x40U);
}

TEST(VfioDevice, ConfigurationCutAnywhereIsRefused)
{
    Plugged house;
    const std::vector<std::byte> bytes = house.saved();
    for (std::size_t length = 0; length < bytes.size(); ++length)
        EXPECT_FALSE(house.load_bytes(std::span(bytes).first(length))) << length;
    VFIO_OK(house.load_bytes(bytes));
}

TEST(VfioDevice, AnotherDevicesConfigurationIsRefused)
{
    Plugged house;
    DeviceSpec other = full_spec();
    other.device = 0x0fd2;
    Plugged from(other);
    EXPECT_NE(message_of(house.load_bytes(from.saved())).find("Bad config data"),
              std::string::npos);
    DeviceSpec moved = full_spec();
    moved.msi_vectors = 0;  // the capabilities behind it lie elsewhere
    Plugged shifted(moved);
    EXPECT_FALSE(house.load_bytes(shifted.saved()));
}

TEST(VfioDevice, BarAddressesAreCheckedBeforeTheyAreUsed)
{
    Plugged house;
    const std::vector<std::byte> good = house.saved();
    const std::size_t config = 4;  // after the version
    const auto with = [&](std::size_t at, std::uint64_t value, std::size_t size) {
        std::vector<std::byte> bytes = good;
        for (std::size_t n = 0; n < size; ++n, value >>= 8)
            bytes[config + at + n] = static_cast<std::byte>(value);
        return message_of(house.load_bytes(bytes));
    };
    EXPECT_NE(with(0x10, 0x00200000, 4).find("BAR 0 at 0x200000 lies over 'pc.ram'"),
              std::string::npos);
    EXPECT_NE(with(0x10, 0xe0001000, 4).find("BAR 0 cannot lie at 0xe0001000"), std::string::npos);
    EXPECT_NE(with(0x18, House::kHighStart | 4, 8).find("lies over 'pc.high'"), std::string::npos)
        << "both halves of a 64-bit BAR";
    EXPECT_EQ(with(0x10, 0xffffc000, 4), "no error") << "left over from sizing";
    EXPECT_EQ(with(0x10, 0, 4), "no error") << "never placed";
}

TEST(VfioDevice, VendorCapabilitiesAreComparedOnlyWhenAsked)
{
    for (const bool skip : {true, false}) {
        Plugged house(full_spec(), Json{{"skip-vsc-check", skip}});
        std::vector<std::byte> bytes = house.saved();
        const unsigned at = house.pci->find_capability(pci::kCapVendor) + 6;
        bytes[4 + at] ^= std::byte{1};
        EXPECT_EQ(static_cast<bool>(house.load_bytes(bytes)), skip);
    }
}

TEST(VfioDevice, ExtendedCapabilitiesThatWouldChangeTheDeviceAreHidden)
{
    DeviceSpec spec = full_spec();
    spec.config_size = 4096;
    spec.express = true;
    House house;
    house.plug(spec);
    EXPECT_EQ(house.pci->config().size(), 4096U);
    EXPECT_EQ(house.config(0x100, 4) & 0xffff, 0U) << "SR-IOV became an empty capability";
    EXPECT_EQ(house.config(0x100, 4) >> 20, 0x180U);
    EXPECT_EQ(house.config(0x180, 4) & 0xffff, 3U) << "the serial number stays";
}

TEST(VfioPci, SaysWhatIsWrongWithTheHostDevice)
{
    House house;
    const auto refused = [&](const Json& properties) {
        auto added = house.vm->devices().add_builtin("vfio-pci", house.bus.get(), properties);
        return added ? std::string("no error") : added.error().message();
    };
    EXPECT_EQ(refused(Json::object()), "No provided host device");
    EXPECT_NE(refused(Json{{"host", "3b:00"}}).find("doesn't take value '3b:00'"),
              std::string::npos);
    EXPECT_NE(refused(Json{{"host", "3b:00.0"}}).find("0000:3b:00.0: no iommu_group found"),
              std::string::npos);
    EXPECT_EQ(refused(Json{{"fd", "7"}}), "Use FD passing only with iommufd backend");
}

TEST(VfioPci, AFailureAtAnyStepLeavesNothingBehind)
{
    for (const unsigned long request :
         {request::kGroupSetContainer, request::kSetIommu, request::kGroupGetDeviceFd,
          request::kDeviceGetInfo, request::kDeviceGetRegionInfo, request::kDeviceGetIrqInfo,
          request::kIommuGetInfo, request::kIommuMapDma, request::kDeviceReset,
          request::kDeviceSetIrqs}) {
        House house;
        house.kernel->fail(request, EIO);
        const Error error = house.refusal(full_spec());
        EXPECT_NE(error.message().find("Input/output error"), std::string::npos)
            << request_name(request) << ": " << error.message();
        EXPECT_NE(error.message().find("vfio"), std::string::npos) << error.message();
        EXPECT_TRUE(house.vm->memory().listeners().empty()) << request_name(request);
        for (const system::RamBlock* block : house.vm->ram().blocks())
            EXPECT_FALSE(block->id().starts_with("vfio")) << block->id();
        house.kernel->fail(request, EIO, 0);
        EXPECT_TRUE(house.vm->devices().add_builtin("vfio-pci", house.bus.get(),
                                                    Json{{"host", "0000:3b:00.0"}}))
            << "works once the cause is gone: " << request_name(request);
    }
}

TEST(VfioPci, ShowsTheTokenThatAPhysicalFunctionAsksFor)
{
    const std::string token = "ba0bfd9a-f3dd-4b0e-9c43-7ff21ab4bc86";
    House house;
    DeviceSpec spec = full_spec();
    spec.vf_token = token;
    house.kernel->add(spec);
    const auto opened = [&](const std::string& with) {
        Json properties{{"host", "0000:3b:00.0"}};
        if (!with.empty())
            properties["vf-token"] = with;
        auto added = house.vm->devices().add_builtin("vfio-pci", house.bus.get(), properties);
        return added ? std::string() : added.error().message();
    };
    EXPECT_NE(opened("").find("Permission denied"), std::string::npos);
    std::string other = token;
    other[0] = '0';
    EXPECT_NE(opened(other).find("Permission denied"), std::string::npos);
    EXPECT_EQ(opened(other).find(other), std::string::npos) << "it is a secret";
    EXPECT_NE(opened("1234").find("doesn't take value '1234'"), std::string::npos);
    EXPECT_EQ(opened(token), "");
}

TEST(VfioPci, RefusesATimeoutInWhichNoStateCouldBeReached)
{
    House house;
    const Error error = house.refusal(full_spec(), Json{{"x-state-timeout", 0}});
    EXPECT_EQ(error.message(), "vfio-pci: property 'x-state-timeout' is 0");
}

TEST(VfioPci, TakesACdevThatIsHandedIn)
{
    House house;
    DeviceSpec spec = full_spec();
    house.device = &house.kernel->add(spec);
    must(house.vm->add_object("iommufd", "iommufd0", Json::object()));
    const UniqueFd fd = must(house.kernel->open("/dev/vfio/devices/vfio0"));
    auto added = house.vm->devices().add_builtin(
        "vfio-pci", house.bus.get(),
        Json{{"fd", std::to_string(fd.get())}, {"iommufd", "iommufd0"}});
    ASSERT_TRUE(added) << added.error().message();
    EXPECT_NE(house.device->dma, nullptr);
}

}  // namespace
}  // namespace godwit::hw::vfio::test
