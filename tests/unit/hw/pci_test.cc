// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/pci.h"

#include "hw/pci/lpc.h"
#include "hw/pci/q35.h"
#include "system/property.h"
#include "tests/unit/hw/support.h"

#include <cstring>
#include <random>

namespace godwit::hw {
namespace {

// One register bank in BAR 0 (64 bit), ports in BAR 2, MSI and MSI-X, tables in BAR 4.
class Probe final : public PciDevice, private system::IoHandler {
public:
    struct State {
        PciState pci;
        PciMsixState msix;
    };
    std::uint64_t last = 0;
    unsigned accesses = 0;
    unsigned moves = 0;

    Probe()
    {
        set_identity(
            {.vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000, .interrupt_pin = 1});
        const auto bar = [this](PciBar::Kind kind, std::uint64_t size) {
            return PciBar{.kind = kind, .size = size, .parts = {{.size = size, .io = this}}};
        };
        EXPECT_TRUE(add_bar(0, bar(PciBar::Kind::Memory64, 0x1000)));
        EXPECT_TRUE(add_bar(2, bar(PciBar::Kind::Io, 0x20)));
        EXPECT_TRUE(add_bar(4, bar(PciBar::Kind::Memory32, 0x1000)));
        EXPECT_TRUE(add_msi(4, true, true));
        EXPECT_TRUE(add_msix(3, 4, 0, 4, 0x800));
    }

protected:
    void bars_changed() override { ++moves; }
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    std::uint64_t read(system::GuestAddr offset, unsigned) override { return offset + 0x55; }
    void write(system::GuestAddr, std::uint64_t value, unsigned) override
    {
        last = value;
        ++accesses;
    }
    State state_;
};

using namespace migration::stream;
constexpr auto kProbe =
    vmstate<Probe::State>("probe", {}, structure<&Probe::State::pci>("parent_obj", kPciState),
                          structure<&Probe::State::msix>("msix", kPciMsixState));

Result<void> Probe::register_state(StateRegistry& registry)
{
    state_.pci.config.assign(config().begin(), config().end());
    state_.msix = save_msix();
    keep(GW_TRY(registry.add(kProbe, state_, {.device_path = state_path()},
                             {.pre_save =
                                  [this] {
                                      state_.msix = save_msix();
                                      return save_pci(state_.pci);
                                  },
                              .validate = [this](const State& s) { return check_pci(s.pci); },
                              .post_load =
                                  [this](Version) {
                                      load_pci(state_.pci);
                                      load_msix(state_.msix);
                                      return ok();
                                  }})));
    return {};
}

struct PciBoard : test::House {
    std::shared_ptr<Gsi> wiring = std::make_shared<Gsi>(24);
    Gsi& gsi = *wiring;
    std::vector<MsiMessage> messages;
    Q35Host* host = nullptr;
    Lpc* lpc = nullptr;

    PciBoard()
    {
        EXPECT_TRUE(vm->types().add({.name = "probe",
                                     .parent = "pci-device",
                                     .hotpluggable = true,
                                     .bus = "PCI",
                                     .create = [] { return std::make_unique<Probe>(); }}));
        host = &add<Q35Host>("q35-pcihost");
        lpc = &add<Lpc>("ICH9-LPC", Json{{"addr", "1f.0"}, {"x-firmware-pm-base", 0x600}},
                        &host->bus());
        lpc->connect_gsi(wiring);
        host->bus().on_msi([this](const MsiMessage& m) { messages.push_back(m); });
        vm->devices().reset_all(system::ResetKind::Cold);
    }
    Probe& add_probe(const char* addr = "")
    {
        return add<Probe>("probe", Json{{"addr", addr}}, &host->bus());
    }
    void select(unsigned slot, unsigned function, unsigned reg)
    {
        out(0xcf8, 0x80000000u | slot << 11 | function << 8 | reg, 4);
    }
    std::uint64_t config(unsigned slot, unsigned function, unsigned reg, unsigned size)
    {
        select(slot, function, reg & 0xfc);
        return in(static_cast<std::uint16_t>(0xcfc + (reg & 3)), size);
    }
    void set_config(unsigned slot, unsigned function, unsigned reg, std::uint64_t value,
                    unsigned size)
    {
        select(slot, function, reg & 0xfc);
        out(static_cast<std::uint16_t>(0xcfc + (reg & 3)), value, size);
    }
};

TEST(PciHost, ConfigurationSpaceIsFoundThroughTheTwoPorts)
{
    PciBoard board;
    EXPECT_EQ(board.config(0, 0, 0, 4), 0x29c08086u);
    EXPECT_EQ(board.config(0x1f, 0, 2, 2), 0x2918u);
    EXPECT_EQ(board.config(0x1f, 0, 0x0b, 1), 0x06u);
    EXPECT_EQ(board.config(0x1f, 0, 0x0e, 1), 0x80u);
    EXPECT_EQ(board.config(3, 0, 0, 4), 0xffffffffu);
    EXPECT_EQ(board.config(3, 0, 0, 1), 0xffu);
    board.out(0xcf8, 0, 4);
    EXPECT_EQ(board.in(0xcfc, 4), 0xffffffffu);
    board.out(0xcf8, 0x80000000, 4);
    board.out(0xcf8, 0x12, 1);  // only 32 bits at once select
    EXPECT_EQ(board.in(0xcf8, 4), 0x80000000u);
}

TEST(PciHost, TheMemoryMappedWindowOpensWherePciexbarSays)
{
    PciBoard board;
    const std::uint64_t lpc = 0xb0000000 + (std::uint64_t{0x1f} << 15);
    EXPECT_NE(board.vm->memory().load(lpc, 4), 0x29188086u);
    board.set_config(0, 0, 0x60, 0xb0000001, 4);
    EXPECT_EQ(board.vm->memory().load(lpc, 4), 0x29188086u);
    EXPECT_EQ(board.vm->memory().load(lpc + 2, 2), 0x2918u);
    EXPECT_EQ(board.vm->memory().load(lpc + 0x100, 4), 0xffffffffu);  // 256 bytes only
    EXPECT_EQ(board.vm->memory().load(lpc + (1 << 20), 4), 0xffffffffu);
    board.set_config(0, 0, 0x60, 0xc0000001, 4);
    EXPECT_EQ(board.vm->memory().load(lpc + 0x10000000, 4), 0x29188086u);
    board.set_config(0, 0, 0x60, 0, 4);
    EXPECT_NE(board.vm->memory().load(lpc + 0x10000000, 4), 0x29188086u);
}

TEST(PciDevice, BarsAreSizedMappedAndMoved)
{
    PciBoard board;
    Probe& probe = board.add_probe("3");
    EXPECT_EQ(board.config(3, 0, 0x10, 4), 0x4u);
    board.set_config(3, 0, 0x10, 0xffffffff, 4);
    board.set_config(3, 0, 0x14, 0xffffffff, 4);
    EXPECT_EQ(board.config(3, 0, 0x10, 4), 0xfffff004u);
    EXPECT_EQ(board.config(3, 0, 0x14, 4), 0xffffffffu);
    board.set_config(3, 0, 0x18, 0xffffffff, 4);
    EXPECT_EQ(board.config(3, 0, 0x18, 4), 0xffffffe1u);
    board.set_config(3, 0, 0x04, 3, 2);
    EXPECT_FALSE(probe.bar_address(0));  // the sizing leftover is no address
    board.set_config(3, 0, 0x10, 0xe0000000, 4);
    board.set_config(3, 0, 0x14, 1, 4);
    EXPECT_EQ(probe.bar_address(0), 0x1e0000000u);
    EXPECT_EQ(board.vm->memory().load(0x1e0000010, 4), 0x65u);
    board.set_config(3, 0, 0x18, 0xc000, 4);
    EXPECT_EQ(board.in(0xc004), 0x59u);
    board.vm->memory().store(0x1e0000000, 0x77, 4);
    EXPECT_EQ(probe.last, 0x77u);
    board.set_config(3, 0, 0x14, 2, 4);
    EXPECT_EQ(board.vm->memory().load(0x2e0000010, 4), 0x65u);
    board.set_config(3, 0, 0x04, 0, 2);
    EXPECT_FALSE(probe.bar_address(0));
    EXPECT_NE(board.in(0xc004), 0x59u);
    EXPECT_GT(probe.moves, 3u);
}

TEST(PciDevice, ABarNeverHidesMemory)
{
    PciBoard board;
    board.add_ram(1 << 20);
    Probe& probe = board.add_probe("3");
    board.set_config(3, 0, 0x04, 2, 2);
    board.set_config(3, 0, 0x20, 0x1000, 4);
    EXPECT_EQ(probe.bar_address(4), 0x1000u);
    board.vm->memory().store(0x1000, 0x1122, 4);
    EXPECT_EQ(board.vm->memory().load(0x1000, 4), 0x1122u);
}

TEST(PciDevice, ReadOnlyBitsStay)
{
    PciBoard board;
    board.add_probe("3");
    for (unsigned reg = 0; reg < 256; reg += 4)
        if (reg != 0x04)
            board.set_config(3, 0, reg, 0xffffffff, 4);
    EXPECT_EQ(board.config(3, 0, 0, 4), 0x56781234u);
    EXPECT_EQ(board.config(3, 0, 8, 4), 0xff000000u);
    EXPECT_EQ(board.config(3, 0, 0x2c, 4), 0x11001af4u);
    EXPECT_EQ(board.config(3, 0, 0x3d, 1), 1u);
    EXPECT_EQ(board.config(3, 0, 0x3c, 1), 0xffu);
}

TEST(PciDevice, IntxReachesItsGsiAndTheRoutedIsaWire)
{
    PciBoard board;
    Probe& probe = board.add_probe("3");  // slot 3, INTA: PIRQ H
    probe.set_irq(1);
    EXPECT_EQ(board.gsi.level(23), 1);
    EXPECT_EQ(board.config(3, 0, 6, 2) & 8, 8u);
    EXPECT_EQ(board.gsi.level(11), 0);
    board.set_config(0x1f, 0, 0x6b, 11, 1);
    EXPECT_EQ(board.gsi.level(11), 1);
    board.set_config(3, 0, 4, 0x400, 2);  // INTx off
    EXPECT_EQ(board.gsi.level(23), 0);
    EXPECT_EQ(board.gsi.level(11), 0);
    board.set_config(3, 0, 4, 0, 2);
    EXPECT_EQ(board.gsi.level(23), 1);
    probe.set_irq(0);
    probe.set_irq(0);
    EXPECT_EQ(board.gsi.level(23), 0);
    Probe& other = board.add_probe("7");  // shares the wire
    probe.set_irq(1);
    other.set_irq(1);
    probe.set_irq(0);
    EXPECT_EQ(board.gsi.level(23), 1);
    other.set_irq(0);
    EXPECT_EQ(board.gsi.level(23), 0);
}

TEST(PciDevice, MsiWaitsWhileMasked)
{
    PciBoard board;
    Probe& probe = board.add_probe("3");
    const unsigned cap = probe.find_capability(pci::kCapMsi);
    board.set_config(3, 0, 4, 4, 2);
    probe.msi_notify(0);
    EXPECT_TRUE(board.messages.empty());
    board.set_config(3, 0, cap + 4, 0xfee01000, 4);
    board.set_config(3, 0, cap + 12, 0x4040, 2);
    board.set_config(3, 0, cap + 2, 0x21, 2);  // enabled, four vectors
    probe.msi_notify(3);
    probe.msi_notify(4);
    ASSERT_EQ(board.messages.size(), 1u);
    EXPECT_EQ(board.messages[0].address, 0xfee01000u);
    EXPECT_EQ(board.messages[0].data, 0x4043u);
    board.set_config(3, 0, cap + 16, 0x2, 4);
    probe.msi_notify(1);
    EXPECT_EQ(board.messages.size(), 1u);
    board.set_config(3, 0, cap + 16, 0, 4);
    ASSERT_EQ(board.messages.size(), 2u);
    EXPECT_EQ(board.messages[1].data, 0x4041u);
}

TEST(PciDevice, MsixVectorsAreMaskedInTheirTable)
{
    PciBoard board;
    Probe& probe = board.add_probe("3");
    const unsigned cap = probe.find_capability(pci::kCapMsix);
    board.set_config(3, 0, 4, 6, 2);
    board.set_config(3, 0, 0x20, 0xe0000000, 4);
    board.set_config(3, 0, cap + 2, 0x8000, 2);
    auto& memory = board.vm->memory();
    memory.store(0xe0000010, 0xfee00000, 4);
    memory.store(0xe0000018, 0x31, 4);
    probe.msix_notify(1);
    EXPECT_TRUE(board.messages.empty());
    EXPECT_EQ(memory.load(0xe0000800, 8), 2u);
    memory.store(0xe000001c, 0, 4);
    ASSERT_EQ(board.messages.size(), 1u);
    EXPECT_EQ(board.messages[0].data, 0x31u);
    EXPECT_EQ(memory.load(0xe0000800, 8), 0u);
    board.set_config(3, 0, cap + 2, 0xc000, 2);  // all masked
    probe.msix_notify(1);
    EXPECT_EQ(board.messages.size(), 1u);
    board.set_config(3, 0, cap + 2, 0x8000, 2);
    EXPECT_EQ(board.messages.size(), 2u);
    probe.msix_notify(3);
    EXPECT_EQ(board.messages.size(), 2u);
    EXPECT_EQ(memory.load(0xe0000030, 4), 0x55u + 0x30);  // behind the table: the BAR itself
    probe.set_bar_parts(4, {});
    EXPECT_EQ(memory.load(0xe0000030, 4), 0xffffffffu);
    EXPECT_EQ(memory.load(0xe0000018, 4), 0x31u);
}

TEST(PciDevice, DmaNeedsABusMasterAndReachesOnlyMemory)
{
    PciBoard board;
    auto& ram = board.add_ram(1 << 20);
    Probe& probe = board.add_probe("3");
    std::array<std::byte, 4> data{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    EXPECT_FALSE(probe.dma_write(0x1000, data));
    board.set_config(3, 0, 4, 4, 2);
    ASSERT_TRUE(probe.dma_write(0x1000, data));
    EXPECT_EQ(ram.bytes()[0x1002], std::byte{3});
    EXPECT_FALSE(probe.dma_write((1 << 20) - 2, data));
    EXPECT_FALSE(probe.dma_write(~std::uint64_t{0} - 1, data));
    EXPECT_FALSE(probe.dma_read(0xb0000000, data));
}

TEST(PciBus, TakesADeviceOncePerAddress)
{
    PciBoard board;
    Probe& first = board.add_probe();
    EXPECT_EQ(first.state_path(), "0000:00:01.0");
    const auto again =
        board.vm->devices().add_builtin("probe", &board.host->bus(), Json{{"addr", "1"}});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().message(),
              "PCI: slot 1 function 0 not available for probe, in use by probe");
    for (const char* bad : {"20", "1.8", "x", "1.", "1.0.0"}) {
        const auto result =
            board.vm->devices().add_builtin("probe", &board.host->bus(), Json{{"addr", bad}});
        ASSERT_FALSE(result) << bad;
        EXPECT_EQ(result.error().message(),
                  std::string("Property 'addr' doesn't take value '") + bad + "'");
    }
}

TEST(PciBus, DevicesComeAndGoWhileTheGuestRuns)
{
    PciBoard board;
    auto& devices = board.vm->devices();
    ASSERT_TRUE(devices.add("probe", "p0", Json{{"addr", "5"}}, true));
    EXPECT_EQ(board.config(5, 0, 0, 4), 0x56781234u);
    board.set_config(5, 0, 4, 2, 2);
    board.set_config(5, 0, 0x20, 0xe0000000, 4);
    auto* probe = static_cast<Probe*>(devices.find("p0"));
    probe->set_irq(1);
    EXPECT_EQ(board.vm->state_registry().find("0000:00:05.0/probe", 0) != nullptr, true);
    ASSERT_TRUE(devices.remove("p0"));
    EXPECT_EQ(board.config(5, 0, 0, 4), 0xffffffffu);
    EXPECT_FALSE(board.vm->memory().find(0xe0000000));
    EXPECT_EQ(board.vm->state_registry().find("0000:00:05.0/probe", 0), nullptr);
    for (unsigned wire = 16; wire < 24; ++wire)
        EXPECT_EQ(board.gsi.level(wire), 0);
    ASSERT_TRUE(devices.add("probe", "p0", Json{{"addr", "5"}}, true));
}

TEST(PciDevice, EverythingArrives)
{
    PciBoard one;
    PciBoard two;
    Probe& from = one.add_probe("3");
    Probe& to = two.add_probe("3");
    one.set_config(3, 0, 4, 7, 2);
    one.set_config(3, 0, 0x10, 0xe0000000, 4);
    one.set_config(3, 0, 0x20, 0xe1000000, 4);
    one.vm->memory().store(0xe1000000 + 12, 0, 4);
    one.vm->memory().store(0xe1000000 + 8, 0x99, 4);
    from.set_irq(1);
    const auto body = one.save("0000:00:03.0/probe");
    ASSERT_TRUE(two.load("0000:00:03.0/probe", 1, body));
    EXPECT_EQ(to.bar_address(0), 0xe0000000u);
    EXPECT_EQ(two.vm->memory().load(0xe0000000, 4), 0x55u);
    EXPECT_EQ(to.msix_message(0).data, 0x99u);
    EXPECT_TRUE(to.irq_level());
    EXPECT_EQ(two.save("0000:00:03.0/probe"), body);
}

TEST(PciDevice, LoadRefusesAnotherDevice)
{
    PciBoard board;
    board.add_probe("3");
    auto body = board.save("0000:00:03.0/probe");
    test::expect_no_crash_when_cut(board, "0000:00:03.0/probe", 1, body, body.size());
    body[4] = std::byte{0x99};  // vendor
    const auto loaded = board.load("0000:00:03.0/probe", 1, body);
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message().find("Bad config data: i=0x0 read: 99 device: 34"),
              std::string::npos)
        << loaded.error().message();
    EXPECT_EQ(board.config(3, 0, 0, 4), 0x56781234u);
}

TEST(PciDevice, ARandomGuestDoesNoHarm)
{
    PciBoard board;
    board.add_ram(1 << 20);
    board.add_probe("3");
    std::mt19937 random(1);
    for (int n = 0; n < 20000; ++n) {
        const unsigned slot = random() % 3 == 0 ? 0x1f : random() % 2 == 0 ? 3 : 0;
        const unsigned size = 1u << (random() % 3);
        const unsigned reg = random() % 256 & ~(size - 1);
        board.set_config(slot, 0, reg, random(), size);
        board.out(static_cast<std::uint16_t>(random()), random() & 0xff, size);
        (void)board.in(static_cast<std::uint16_t>(random()), size);
        (void)board.vm->memory().load(std::uint64_t{random()} << 4, 4);
    }
}

TEST(Lpc, PmBlockIsWhereFirmwareWouldPutIt)
{
    PciBoard board;
    EXPECT_EQ(board.config(0x1f, 0, 0x40, 4), 0x601u);
    EXPECT_EQ(board.in(0x604, 2), 0u);
    board.out(0xb2, 2);
    EXPECT_EQ(board.in(0x604, 2), 1u);
    board.out(0xb2, 0x42);
    EXPECT_EQ(board.in(0xb2), 0x42u);
    EXPECT_EQ(board.in(0x604, 2), 1u);
    board.out(0xb2, 3);
    EXPECT_EQ(board.in(0x604, 2), 0u);
    board.set_config(0x1f, 0, 0x44, 0, 1);
    EXPECT_EQ(board.in(0x604, 2), 0xffffu);
}

TEST(Lpc, PowerButtonAndTimerRaiseTheSci)
{
    PciBoard board;
    board.out(0xb2, 2);
    board.lpc->pm().press_power_button();
    EXPECT_EQ(board.gsi.level(9), 0);
    board.out(0x602, 0x100, 2);
    EXPECT_EQ(board.gsi.level(9), 1);
    board.out(0x600, 0x100, 2);
    EXPECT_EQ(board.gsi.level(9), 0);
    board.out(0x602, 0x001, 2);
    board.step(3'000'000'000);  // the counter's top bit changes every 2.34 s
    EXPECT_EQ(board.gsi.level(9), 1);
    EXPECT_EQ(board.in(0x600, 2) & 1, 1u);
    board.out(0x600, 1, 1);
    EXPECT_EQ(board.gsi.level(9), 0);
    const auto before = board.in(0x608, 4);
    board.step(1'000'000);
    EXPECT_EQ(board.in(0x608, 4) - before, 3579u);
}

TEST(Lpc, WakingUpSetsTheWakeBit)
{
    PciBoard board;
    board.vm->devices().reset_all(system::ResetKind::Wakeup);
    EXPECT_EQ(board.in(0x600, 2), 0x8000u);
    board.out(0x600, 0x8000, 2);
    EXPECT_EQ(board.in(0x600, 2), 0u);
    board.vm->devices().reset_all(system::ResetKind::Cold);
    EXPECT_EQ(board.in(0x600, 2), 0u);
}

TEST(Lpc, EverythingArrives)
{
    PciBoard one;
    PciBoard two;
    one.out(0xb2, 2);
    one.out(0x602, 0x101, 2);
    one.out(0x628, 0x40, 1);
    one.set_config(0x1f, 0, 0x60, 5, 1);
    one.set_config(0x1f, 0, 0xf0, 0xfed1c001, 4);
    one.vm->memory().store(0xfed1c000 + 0x3140, 0x3201, 2);
    one.lpc->pm().press_power_button();
    for (const char* name : {"0000:00:00.0/mch", "PCIHost", "PCIBUS", "0000:00:1f.0/ICH9LPC"}) {
        const auto body = one.save(name);
        ASSERT_TRUE(two.load(name, 1, body)) << name;
        EXPECT_EQ(two.save(name), body) << name;
    }
    EXPECT_EQ(one.save("0000:00:1f.0/ICH9LPC").size(), 18878u);
    EXPECT_EQ(one.save("0000:00:00.0/mch").size(), 277u);
    EXPECT_EQ(one.save("PCIBUS").size(), 36u);
    EXPECT_EQ(two.vm->memory().load(0xfed1c000 + 0x3140, 2), 0x3201u);
    EXPECT_EQ(two.gsi.level(9), 1);
    two.out(0x600, 0x100, 2);
    EXPECT_EQ(two.gsi.level(9), 0);
}

}  // namespace
}  // namespace godwit::hw
