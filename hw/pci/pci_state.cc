// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How a PCI device migrates.
#include "hw/pci/pci_private.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

using namespace migration::stream;

void save_config(StreamWriter& out, PciState& s)
{
    out.put_bytes(std::as_bytes(std::span(s.config)));
}

Result<void> load_config(StreamReader& in, PciState& s, Version)
{
    return in.get_bytes(std::as_writable_bytes(std::span(s.config)));
}

// Two layouts, one of which every device has; hence the index in the names.
constexpr auto kConfig =
    custom<PciState>(
        "config[0]", "pci config", [](StreamWriter& out, PciState& s) { save_config(out, s); },
        [](StreamReader& in, PciState& s, Version v) { return load_config(in, s, v); })
        .when([](const PciState& s) { return s.config.size() == pci::kConfigSize; });
constexpr auto kExpressConfig =
    custom<PciState>(
        "config[1]", "pci config", [](StreamWriter& out, PciState& s) { save_config(out, s); },
        [](StreamReader& in, PciState& s, Version v) { return load_config(in, s, v); })
        .when([](const PciState& s) { return s.config.size() == pci::kExpressConfigSize; });

}  // namespace

constexpr VMStateDef<PciState, 4> kPciState = vmstate<PciState>(
    "PCIDevice", {.current = 2, .oldest = 1},
    field<&PciState::version_id>("version_id").at_most_local(), kConfig, kExpressConfig,
    custom<PciState>(
        "irq_state", "pci irq state",
        [](StreamWriter& out, PciState& s) {
            for (const std::int32_t level : s.irq_state)
                out.put_be32(static_cast<std::uint32_t>(level));
        },
        [](StreamReader& in, PciState& s, Version) -> Result<void> {
            for (std::int32_t& level : s.irq_state) {
                const std::uint32_t value = GW_TRY(in.get_be32());
                if (value > 1)
                    return in.error_here(Errc::BadFormat,
                                         fmt::format("interrupt level {} is not 0 or 1", value));
                level = static_cast<std::int32_t>(value);
            }
            return {};
        }));
static_assert(kPciState.well_formed());

constexpr VMStateDef<PciMsixState, 1> kPciMsixState =
    vmstate<PciMsixState>("msix", {.current = 1, .oldest = 1},
                          custom<PciMsixState>(
                              "msix", "msix state",
                              [](StreamWriter& out, PciMsixState& s) {
                                  out.put_bytes(std::as_bytes(std::span(s.table)));
                                  out.put_bytes(std::as_bytes(std::span(s.pending)));
                              },
                              [](StreamReader& in, PciMsixState& s, Version) -> Result<void> {
                                  GW_TRY(in.get_bytes(std::as_writable_bytes(std::span(s.table))));
                                  return in.get_bytes(std::as_writable_bytes(std::span(s.pending)));
                              }));

Result<void> PciDevice::save_pci(PciState& into) const
{
    into = pci_;
    return {};
}

// The destination's own hardware decides what is fixed.
Result<void> PciDevice::check_pci(const PciState& loaded) const
{
    if (loaded.config.size() != pci_.config.size())
        return Error(Errc::BadFormat, "configuration space of another size");
    for (std::size_t n = 0; n < loaded.config.size(); ++n) {
        const auto fixed = static_cast<std::uint8_t>(cmask_[n] & ~wmask_[n] & ~w1cmask_[n]);
        if (((loaded.config[n] ^ pci_.config[n]) & fixed) != 0)
            return Error(
                Errc::BadFormat,
                fmt::format("Bad config data: i=0x{:x} read: {:x} device: {:x} cmask: {:x} "
                            "wmask: {:x} w1cmask:{:x}",
                            n, loaded.config[n], pci_.config[n], cmask_[n], wmask_[n],
                            w1cmask_[n]));
    }
    return {};
}

void PciDevice::load_pci(const PciState& loaded)
{
    pci_.config = loaded.config;
    pci_.irq_state = loaded.irq_state;
    update_bars();
    if (msi_cap_ != 0)
        msi_changed();
}

PciMsixState PciDevice::save_msix() const
{
    if (msix_ == nullptr)
        return {};
    PciMsixState state{.table = msix_->table, .pending = msix_->pending};
    state.pending.resize((msix_->vectors + 7) / 8);
    return state;
}

Result<void> PciDevice::check_msix(const PciMsixState& loaded) const
{
    const PciMsixState mine = save_msix();
    if (loaded.table.size() != mine.table.size() || loaded.pending.size() != mine.pending.size())
        return Error(Errc::BadFormat, "MSI-X table of another size");
    return {};
}

void PciDevice::load_msix(const PciMsixState& loaded)
{
    if (msix_ == nullptr || !check_msix(loaded))
        return;
    msix_->table = loaded.table;
    std::ranges::copy(loaded.pending, msix_->pending.begin());
    for (unsigned n = 0; n < msix_->vectors; ++n) {
        msix_->table[n * 16 + 12] &= 1;
        msix_changed(n);
    }
}

}  // namespace godwit::hw
