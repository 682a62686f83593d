// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The configuration of a VFIO device in the stream: what the guest programmed, not what the device
// keeps for itself.
#include "hw/vfio/device.h"
#include "hw/vfio/interrupts.h"
#include "migration/stream/vmstate.h"
#include "system/vm.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

using namespace migration::stream;

struct ConfigState {
    PciState pci;
    PciMsixState msix;
};

constexpr auto kConfigState = vmstate<ConfigState>(
    "VFIOPCIDevice", {}, structure<&ConfigState::pci>("parent_obj", kPciState),
    structure<&ConfigState::msix>("msix", kPciMsixState).when([](const ConfigState& state) {
        return !state.msix.table.empty();
    }));
static_assert(kConfigState.well_formed());

std::uint64_t get(const PciState& from, unsigned at, unsigned size)
{
    std::uint64_t value = 0;
    for (unsigned n = size; n-- > 0;)
        value = value << 8 | from.config[at + n];
    return value;
}

}  // namespace

Result<void> VfioDevice::save_config(StreamWriter& out)
{
    ConfigState state;
    GW_TRY(save_pci(state.pci));
    state.msix = save_msix();
    return save_state(out, kConfigState, &state, nullptr);
}

Result<void> VfioDevice::load_config(StreamReader& in)
{
    ConfigState state;
    GW_TRY(save_pci(state.pci));  // for the sizes
    state.msix = save_msix();
    GW_TRY(load_state(in, kConfigState, &state, Version{1}));
    GW_TRY(check_pci(state.pci));
    GW_TRY(check_bars(state.pci));
    if (msix_vectors() != 0)
        GW_TRY(check_msix(state.msix));

    interrupts_->off();
    load_pci(state.pci);
    if (msix_vectors() != 0)
        load_msix(state.msix);
    write_device(pci::kCommand, command(), 2);
    // A device that takes no eventfds now gets them when it runs: arm_interrupts().
    (void)interrupts_->update();
    return {};
}

/// A wild address would put the device's pages over the guest's RAM.
Result<void> VfioDevice::check_bars(const PciState& loaded) const
{
    const auto enabled = static_cast<std::uint16_t>(get(loaded, pci::kCommand, 2));
    for (unsigned index = 0; index < 6; ++index) {
        const std::uint64_t size = bar_size(index);
        if (size == 0)
            continue;
        const unsigned at = pci::kBar0 + 4 * index;
        const std::uint8_t type = config_u8(at) & 0x0f;
        const bool io = (type & 1) != 0;
        const bool wide = !io && (type & 6) == 4;
        const bool decoded = (enabled & (io ? pci::kCommandIo : pci::kCommandMemory)) != 0;
        const std::uint64_t raw = get(loaded, at, wide ? 8 : 4);
        const std::uint64_t address = raw & ~std::uint64_t{io ? 3U : 15U};
        const std::uint64_t ones = (wide ? ~std::uint64_t{0} : 0xffffffff) & ~(size - 1);
        index += wide ? 1 : 0;
        if (!decoded || address == 0 || address == ones)  // never placed, or being sized
            continue;
        if (address % size != 0 || address + (size - 1) < address)
            return Error(Errc::BadFormat,
                         fmt::format("BAR {} cannot lie at {:#x}: it has {:#x} bytes", index,
                                     address, size));
        if (!io)
            GW_TRY(check_overlap(index, address, size));
    }
    return {};
}

Result<void> VfioDevice::check_overlap(unsigned index, std::uint64_t address,
                                       std::uint64_t size) const
{
    const auto view = vm().memory().view();
    for (const system::MemorySection& section : *view) {
        const bool ram = section.block != nullptr && section.block->migratable() &&
                         section.kind == system::RegionKind::Ram;
        if (ram && address < section.start + section.size && section.start < address + size)
            return Error(Errc::BadFormat, fmt::format("BAR {} at {:#x} lies over '{}'", index,
                                                      address, section.name));
    }
    return {};
}

}  // namespace godwit::hw::vfio
