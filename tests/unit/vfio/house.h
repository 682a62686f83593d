// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A Vm with a PCI bus, RAM on both sides of 4 GiB, and vfio-pci on a kernel made of test code.
#pragma once

#include "hw/pci.h"
#include "hw/register.h"
#include "hw/vfio/device.h"
#include "hw/vfio/types.h"
#include "migration/vm_migration.h"
#include "system/dirty_tracking.h"
#include "system/vm.h"
#include "tests/unit/vfio/support.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"

#include <memory>
#include <string>
#include <vector>

namespace godwit::hw::vfio::test {

struct House {
    static constexpr std::uint64_t kLow = std::uint64_t{4} << 20;
    static constexpr std::uint64_t kHighStart = std::uint64_t{1} << 32;
    static constexpr std::uint64_t kHigh = std::uint64_t{2} << 20;

    explicit House(std::shared_ptr<TestKernel> on = std::make_shared<TestKernel>(),
                   std::uint64_t low = kLow)
        : kernel(std::move(on))
    {
        EXPECT_TRUE(register_types(vm->types()));
        EXPECT_TRUE(load_with(*vm, kernel));
        bus = std::make_unique<PciBus>("pcie.0", nullptr, vm->memory(), vm->io());
        bus->on_msi([this](const MsiMessage& message) { messages.push_back(message); });
        bus->set_irqs(
            4, [](std::uint8_t, unsigned pin) { return pin; },
            [this](unsigned wire, int level) { wires[wire] = level; });
        ram = add_ram("pc.ram", 0, low);
        high = add_ram("pc.high", kHighStart, kHigh);
    }
    ~House() { vm->devices().unrealize_all(); }

    system::RamBlock* add_ram(const std::string& id, std::uint64_t start, std::uint64_t bytes,
                              system::RegionKind kind = system::RegionKind::Ram)
    {
        auto* block = must(vm->ram().create({.id = id, .used_length = bytes, .alignment = 65536}));
        region = vm->memory().add(
            {.name = id, .start = start, .size = bytes, .kind = kind, .block = block});
        return block;
    }

    /// The device of `spec`, behind group and container or (true) iommufd.
    VfioDevice& plug(DeviceSpec spec, bool iommufd = false, const Json& more = Json::object())
    {
        device = &kernel->add(spec);
        Json properties = more;
        properties["host"] = spec.address;
        if (iommufd) {
            if (vm->find_object("iommufd0") == nullptr)
                must(vm->add_object("iommufd", "iommufd0", Json::object()));
            properties["iommufd"] = "iommufd0";
        }
        auto added = vm->devices().add_builtin("vfio-pci", bus.get(), properties);
        if (!added) {
            ADD_FAILURE() << added.error().message();
            std::abort();
        }
        pci = static_cast<VfioDevice*>(*added);
        config(pci::kCommand, pci::kCommandMemory | pci::kCommandMaster, 2);
        return *pci;
    }
    Error refusal(DeviceSpec spec, const Json& more = Json::object())
    {
        kernel->add(spec);
        Json properties = more;
        properties["host"] = spec.address;
        auto added = vm->devices().add_builtin("vfio-pci", bus.get(), properties);
        EXPECT_FALSE(added);
        return added ? Error(Errc::Internal, "no error") : added.error();
    }

    void config(unsigned offset, std::uint32_t value, unsigned size)
    {
        bus->config_write(pci->devfn(), offset, value, size);
    }
    std::uint32_t config(unsigned offset, unsigned size)
    {
        return bus->config_read(pci->devfn(), offset, size);
    }
    /// Lets the main loop see what is there.
    void serve()
    {
        vm->lock().unlock();
        while (vm->loop().run_once(false)) {
        }
        vm->lock().lock();
    }

    // --- dirty pages ---

    void start_tracking()
    {
        tracking = must(dirty.start(system::DirtyClient::Migration));
        (void)take(*ram);
        (void)take(*high);
    }
    /// Pages of a block that a sync found.
    std::vector<std::uint64_t> found(system::RamBlock& block, bool last = false)
    {
        dirty.sync(last);
        return take(block);
    }
    static std::vector<std::uint64_t> take(system::RamBlock& block)
    {
        std::vector<system::PageRun> runs;
        block.dirty().bitmap(system::DirtyClient::Migration).take({0, block.page_count()}, runs);
        std::vector<std::uint64_t> pages;
        for (const system::PageRun& run : runs)
            for (std::uint64_t n = 0; n < run.count; ++n)
                pages.push_back(run.first + n);
        return pages;
    }

    Log log;
    FlightRecorder recorder{0};
    std::shared_ptr<TestKernel> kernel;
    std::vector<MsiMessage> messages;
    std::array<int, 4> wires{};
    std::unique_ptr<PciBus> bus;
    std::unique_ptr<system::Vm> vm = system::Vm::create(log, recorder).value();
    system::MachineGuard guard{vm->lock()};
    std::unique_ptr<migration::VmMigration> migration = must(migration::VmMigration::create(*vm));
    system::RamBlock* ram = nullptr;
    system::RamBlock* high = nullptr;
    system::RegionId region = 0;  ///< that add_ram() made last
    TestDevice* device = nullptr;
    VfioDevice* pci = nullptr;
    system::DirtyTracking dirty{vm->memory(), vm->ram()};
    Registration tracking;
};

using Pages = std::vector<std::uint64_t>;

inline Pages all_pages(const system::RamBlock& block)
{
    Pages pages(block.page_count());
    for (std::size_t n = 0; n < pages.size(); ++n)
        pages[n] = n;
    return pages;
}

}  // namespace godwit::hw::vfio::test
