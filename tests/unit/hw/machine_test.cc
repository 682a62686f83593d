// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/fw_cfg.h"
#include "hw/machine/device_tree.h"
#include "hw/register.h"
#include "system/accelerator.h"
#include "system/machine.h"
#include "system/startup.h"
#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"
#include "util/units.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libfdt.h>
#include <unistd.h>

namespace godwit::hw {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;

/// A vCPU that never runs.
class StillVcpu : public system::Vcpu {
public:
    explicit StillVcpu(unsigned index) : index_(index) {}
    unsigned index() const noexcept override { return index_; }
    int thread_id() const noexcept override { return 0; }
    bool halted() const noexcept override { return true; }
    void request_pause() noexcept override {}
    void wait_paused() override {}
    void resume() noexcept override {}
    void kick() noexcept override {}
    std::string describe_registers() const override { return {}; }
    void set_throttle(unsigned) noexcept override {}

private:
    unsigned index_;
};

/// An accelerator that would run code, but only holds still: boards load what they would boot.
class StillAccelerator : public system::Accelerator {
public:
    std::string_view name() const noexcept override { return "still"; }
    bool runs_guest_code() const noexcept override { return true; }
    Result<void> init(system::Vm&) override { return {}; }
    Result<void> prepare(const system::AcceleratorNeeds& needs) override
    {
        needs_ = needs;
        return {};
    }
    Result<std::unique_ptr<system::Vcpu>> create_vcpu(unsigned index, std::string_view) override
    {
        return std::make_unique<StillVcpu>(index);
    }
    bool wants_vcpus_on_none() const noexcept override { return synthetic; }

    bool synthetic = false;
    system::AcceleratorNeeds needs_;
};

class MachineTest : public ::testing::Test {
protected:
    MachineTest()
    {
        vm_ = system::Vm::create(log_, recorder_).value();
        lock_.emplace(vm_->lock());
        EXPECT_TRUE(hw::register_types(vm_->types()));
        auto accelerator = std::make_unique<StillAccelerator>();
        accelerator_ = accelerator.get();
        EXPECT_TRUE(vm_->set_accelerator(std::move(accelerator)));
    }

    /// Starts `machine` with properties as words, as far as the first reset.
    Result<void> start(const char* machine, const std::map<std::string, std::string>& words = {})
    {
        auto made = GW_TRY(system::create_machine(vm_->types(), machine));
        for (const auto& [name, value] : words)
            GW_TRY(made->set_property_text(name, value));
        GW_TRY(vm_->set_machine(std::move(made)));
        GW_TRY(vm_->init_machine());
        return vm_->finish_machine();
    }
    std::string refusal(const char* machine, const std::map<std::string, std::string>& words = {})
    {
        const auto started = start(machine, words);
        EXPECT_FALSE(started);
        return started ? std::string() : started.error().message();
    }
    std::string section_at(system::GuestAddr address)
    {
        const auto section = vm_->memory().find(address);
        return section ? section->name : "";
    }

    Log log_;
    FlightRecorder recorder_{0};
    std::unique_ptr<system::Vm> vm_;
    StillAccelerator* accelerator_ = nullptr;
    std::optional<system::MachineGuard> lock_;
};

TEST_F(MachineTest, NoneHasNothingUnlessAskedFor)
{
    ASSERT_TRUE(start("none"));
    EXPECT_TRUE(vm_->memory().view()->empty());
    EXPECT_TRUE(vm_->io().view()->empty());
    EXPECT_TRUE(vm_->vcpus().empty());
}

TEST_F(MachineTest, NoneTakesMemoryAndSyntheticVcpus)
{
    vm_->config().ram_bytes = 8 * kMiB;
    vm_->config().cpus = 3;
    accelerator_->synthetic = true;
    ASSERT_TRUE(start("none"));
    EXPECT_EQ(vm_->memory().find(0)->block->id(), "ram");
    EXPECT_EQ(vm_->memory().view()->front().size, 8 * kMiB);
    EXPECT_EQ(vm_->vcpus().size(), 3u);
}

TEST_F(MachineTest, NoneDoesNotBootKernels)
{
    vm_->config().kernel = "/some/kernel";
    EXPECT_EQ(refusal("none"), "The -kernel parameter is not supported (use the generic 'loader' "
                               "device instead).");
}

TEST_F(MachineTest, MicrovmHasQemusMemoryMap)
{
    vm_->config().ram_bytes = 4096 * kMiB;
    ASSERT_TRUE(start("microvm"));
    system::RamBlock* ram = vm_->ram().find("microvm.ram");
    system::RamBlock* bios = vm_->ram().find("pc.bios");
    ASSERT_TRUE(ram && bios);
    EXPECT_EQ(bios->used_length(), 65536u);
    EXPECT_EQ(vm_->memory().ram_pointer(3072 * kMiB - 1, 1), ram->host() + 3072 * kMiB - 1);
    EXPECT_EQ(vm_->memory().ram_pointer(k4GiB, 1), ram->host() + 3072 * kMiB);
    EXPECT_EQ(vm_->memory().ram_pointer(0xf0000, 16), bios->host()) << "writable, hides RAM";
    EXPECT_EQ(vm_->memory().ram_pointer(0xffffffff, 1), bios->host() + 65535);
    EXPECT_EQ(section_at(0xc0000000), "");
    EXPECT_EQ(section_at(0xfec00000), "ioapic");
    vm_->io().store(0x510, 0, 2);
    EXPECT_EQ(vm_->io().load(0x511, 1), std::uint64_t{'Q'}) << "fw_cfg's signature";
    EXPECT_EQ(vm_->vcpus().size(), 1u);
}

TEST_F(MachineTest, MicrovmOptionsTakeDevicesAway)
{
    ASSERT_TRUE(start("microvm", {{"pic", "off"},
                                  {"pit", "off"},
                                  {"rtc", "off"},
                                  {"isa-serial", "off"},
                                  {"acpi", "off"},
                                  {"x-option-roms", "off"},
                                  {"auto-kernel-cmdline", "off"}}));
    EXPECT_FALSE(accelerator_->needs_.pic);
    EXPECT_FALSE(accelerator_->needs_.pit);
    for (const std::uint16_t port : {0x21, 0x40, 0x71, 0x3f8})
        EXPECT_FALSE(vm_->io().find(port)) << port;
}

TEST_F(MachineTest, MicrovmWithEverythingHasIt)
{
    ASSERT_TRUE(start("microvm", {{"pic", "on"}, {"pit", "on"}, {"rtc", "on"}}));
    for (const std::uint16_t port : {0x20, 0xa0, 0x40, 0x70})
        EXPECT_TRUE(vm_->io().find(port)) << port;
}

TEST_F(MachineTest, MicrovmSaysWhatItDoesNotHave)
{
    EXPECT_EQ(refusal("microvm", {{"acpi", "on"}}),
              "machine 'microvm': acpi=on is not supported, use acpi=off");
}

TEST_F(MachineTest, KernelOptionsNeedAKernel)
{
    vm_->config().append = "x";
    EXPECT_EQ(refusal("microvm"), "-append only allowed with -kernel option");
}

TEST_F(MachineTest, FirmwareThatIsNoneIsRefusedByName)
{
    vm_->config().firmware = "/etc/passwd";
    EXPECT_THAT(refusal("microvm"), HasSubstr("could not load PC BIOS '/etc/passwd'"));
}

TEST_F(MachineTest, FirmwareIsBackAfterAReset)
{
    const std::string path =
        std::filesystem::temp_directory_path() / ("gw-bios-" + std::to_string(::getpid()));
    std::ofstream(path) << std::string(131072, 'f');
    vm_->config().firmware = path;
    ASSERT_TRUE(start("microvm"));
    std::filesystem::remove(path);
    EXPECT_EQ(vm_->ram().find("pc.bios")->used_length(), 131072u);
    EXPECT_EQ(vm_->memory().load(0xe0000, 1), std::uint64_t{'f'});
    vm_->memory().store(0xfffff, 0, 1);
    vm_->machine()->reset(*vm_, system::ResetKind::Cold);
    EXPECT_EQ(vm_->memory().load(0xfffff, 1), std::uint64_t{'f'});
}

TEST_F(MachineTest, AnIncomingMigrationFindsFirmwareEmpty)
{
    ASSERT_TRUE(vm_->run_state().set(system::RunState::Inmigrate));
    ASSERT_TRUE(start("microvm"));
    EXPECT_EQ(vm_->memory().load(0xfffffff0, 8), 0u);
}

TEST_F(MachineTest, Q35IsAPcWithItsMemorySplitAt2GiB)
{
    vm_->config().ram_bytes = 4096 * kMiB;
    ASSERT_TRUE(start("q35"));
    system::RamBlock* ram = vm_->ram().find("pc.ram");
    ASSERT_TRUE(ram);
    EXPECT_EQ(vm_->memory().ram_pointer(2048 * kMiB - 1, 1), ram->host() + 2048 * kMiB - 1);
    EXPECT_EQ(vm_->memory().ram_pointer(k4GiB, 1), ram->host() + 2048 * kMiB);
    EXPECT_EQ(vm_->memory().load(0xa0000, 1), 0xffu) << "VGA's place";
    EXPECT_EQ(vm_->memory().ram_pointer(0xc0000, 1), ram->host() + 0xc0000);
    EXPECT_EQ(vm_->ram().find("pc.bios")->used_length(), 262144u);
    EXPECT_EQ(vm_->memory().ram_pointer(0xfffffff0, 1), nullptr) << "ROM";
    for (const std::uint16_t port : {0x20, 0x40, 0x61, 0x60, 0x70, 0x92, 0x510, 0xcf8})
        EXPECT_TRUE(vm_->io().find(port)) << port;
    EXPECT_TRUE(vm_->machine()->wakeup_suspend_support());
}

TEST_F(MachineTest, Q35WithoutFirmwareComesSetUp)
{
    ASSERT_TRUE(start("q35"));
    for (int round = 0; round < 2; ++round) {
        vm_->io().store(0xcf8, 0x80000000, 4);
        const std::uint64_t bridge = vm_->io().load(0xcfc, 4);
        EXPECT_EQ(bridge & 0xffff, 0x8086u);
        EXPECT_EQ(vm_->memory().load(0xb0000000, 4), bridge) << "the same by memory";
        EXPECT_EQ(vm_->memory().load(0xb00f8000, 2), 0x8086u) << "the LPC bridge";
        EXPECT_EQ(vm_->io().load(0x600, 2), 0u) << "PM1a status";
        vm_->machine()->reset(*vm_, system::ResetKind::Cold);
    }
}

TEST_F(MachineTest, Q35IsTheDefault)
{
    auto machine = system::create_machine(vm_->types(), "");
    ASSERT_TRUE(machine);
    EXPECT_EQ((*machine)->info().name, "pc-q35-10.0");
}

TEST_F(MachineTest, TheDeviceTreeNamesMemoryCpusAndDevices)
{
    const std::string path =
        std::filesystem::temp_directory_path() / ("gw-dtb-" + std::to_string(::getpid()));
    vm_->config().cpus = 2;
    ASSERT_TRUE(start("microvm", {{"dumpdtb", path}}));
    vm_->run();  // ends at once: the dump asked for it
    EXPECT_EQ(vm_->exit_status(), 0);
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> tree{std::istreambuf_iterator<char>(file), {}};
    std::filesystem::remove(path);
    const void* fdt = tree.data();
    ASSERT_GE(tree.size(), sizeof(fdt_header));
    ASSERT_EQ(fdt_check_header(fdt), 0);
    ASSERT_EQ(fdt_totalsize(fdt), tree.size());

    const int memory = fdt_path_offset(fdt, "/memory@0");
    ASSERT_GE(memory, 0);
    EXPECT_STREQ(static_cast<const char*>(fdt_getprop(fdt, memory, "device_type", nullptr)),
                 "memory");
    int length = 0;
    const auto* reg = static_cast<const fdt64_t*>(fdt_getprop(fdt, memory, "reg", &length));
    ASSERT_EQ(length, 16);
    EXPECT_EQ(fdt64_to_cpu(reg[0]), 0u);
    EXPECT_EQ(fdt64_to_cpu(reg[1]), 0xf0000u) << "up to the firmware's low copy";
    EXPECT_GE(fdt_path_offset(fdt, "/cpus/cpu@1"), 0);
    EXPECT_LT(fdt_path_offset(fdt, "/cpus/cpu@2"), 0);
    EXPECT_GE(fdt_path_offset(fdt, "/soc/ioapic@fec00000"), 0);
    int devices = 0;
    int node = 0;
    fdt_for_each_subnode(node, fdt, fdt_path_offset(fdt, "/devices"))++ devices;
    EXPECT_EQ(static_cast<std::size_t>(devices), vm_->devices().devices().size());
}

}  // namespace
}  // namespace godwit::hw
