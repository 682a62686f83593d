// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Message-signalled interrupts: the MSI capability and the MSI-X tables.
// Source: PCI Local Bus Specification 3.0, section 6.8.
#include "hw/pci/pci_private.h"
#include "system/vm.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

constexpr std::uint16_t kMsiEnable = 0x0001;
constexpr std::uint16_t kMsi64 = 0x0080;
constexpr std::uint16_t kMsiMaskable = 0x0100;
constexpr std::uint16_t kMsixEnable = 0x8000;
constexpr std::uint16_t kMsixMaskAll = 0x4000;

struct MsiLayout {
    unsigned data;
    unsigned mask;
    unsigned pending;
};
MsiLayout layout(std::uint16_t flags)
{
    return (flags & kMsi64) != 0 ? MsiLayout{12, 16, 20} : MsiLayout{8, 12, 16};
}

}  // namespace

// --- MSI ---------------------------------------------------------------------------------------

Result<void> PciDevice::add_msi(unsigned vectors, bool address64, bool maskable, unsigned offset)
{
    if (!std::has_single_bit(vectors) || vectors > 32)
        return Error(Errc::InvalidArgument, fmt::format("MSI cannot have {} vectors", vectors));
    const unsigned size = maskable ? (address64 ? 24u : 20u) : (address64 ? 14u : 10u);
    msi_cap_ = GW_TRY(add_capability(pci::kCapMsi, size, offset));
    const auto log2 = static_cast<unsigned>(std::countr_zero(vectors));
    const auto flags = static_cast<std::uint16_t>(log2 << 1 | (address64 ? kMsi64 : 0) |
                                                  (maskable ? kMsiMaskable : 0));
    set_config(msi_cap_ + 2, flags, 2);
    const auto mask = std::span(wmask_).subspan(msi_cap_);
    put_le(mask.subspan(2), 0x0071, 2);
    put_le(mask.subspan(4), 0xfffffffc, 4);
    if (address64)
        put_le(mask.subspan(8), 0xffffffff, 4);
    const MsiLayout at = layout(flags);
    put_le(mask.subspan(at.data), 0xffff, 2);
    if (maskable)
        put_le(mask.subspan(at.mask), 0xffffffffu >> (32 - vectors), 4);
    return {};
}

bool PciDevice::msi_enabled() const
{
    return msi_cap_ != 0 && (config_u16(msi_cap_ + 2) & kMsiEnable) != 0;
}

unsigned PciDevice::msi_vectors() const
{
    if (msi_cap_ == 0)
        return 0;
    const std::uint16_t flags = config_u16(msi_cap_ + 2);
    return 1u << std::min<unsigned>(flags >> 4 & 7, flags >> 1 & 7);
}

MsiMessage PciDevice::msi_message(unsigned n) const
{
    const std::uint16_t flags = config_u16(msi_cap_ + 2);
    MsiMessage message{.address = config_u32(msi_cap_ + 4)};
    if ((flags & kMsi64) != 0)
        message.address |= std::uint64_t{config_u32(msi_cap_ + 8)} << 32;
    const unsigned vectors = msi_vectors();
    message.data = (config_u16(msi_cap_ + layout(flags).data) & ~(vectors - 1)) | n;
    return message;
}

void PciDevice::msi_notify(unsigned n)
{
    if (!msi_enabled() || n >= msi_vectors() || bus_ == nullptr)
        return;
    const std::uint16_t flags = config_u16(msi_cap_ + 2);
    const MsiLayout at = layout(flags);
    if ((flags & kMsiMaskable) != 0 && (config_u32(msi_cap_ + at.mask) >> n & 1) != 0) {
        set_config(msi_cap_ + at.pending, config_u32(msi_cap_ + at.pending) | 1u << n, 4);
        return;
    }
    if (bus_master())
        bus_->send_msi(vm(), msi_message(n));
}

void PciDevice::flush_msi_pending()
{
    const std::uint16_t flags = config_u16(msi_cap_ + 2);
    if (!msi_enabled() || (flags & kMsiMaskable) == 0)
        return;
    const MsiLayout at = layout(flags);
    for (unsigned n = 0; n < msi_vectors(); ++n) {
        const std::uint32_t pending = config_u32(msi_cap_ + at.pending);
        if ((pending >> n & 1) == 0 || (config_u32(msi_cap_ + at.mask) >> n & 1) != 0)
            continue;
        set_config(msi_cap_ + at.pending, pending & ~(1u << n), 4);
        msi_notify(n);
    }
}

// --- MSI-X -------------------------------------------------------------------------------------

PciDevice::MsixWindow::MsixWindow(PciDevice& owner, unsigned count)
    : device(owner), vectors(count), table(count * 16), pending((count + 63) / 64 * 8)
{
    for (unsigned n = 0; n < count; ++n)
        table[n * 16 + 12] = 1;
}

std::uint64_t PciDevice::MsixWindow::Table::read(system::GuestAddr offset, unsigned size)
{
    const auto& table = owner_.table;
    return offset + size <= table.size() ? get_le(std::span(table).subspan(offset), size) : 0;
}

void PciDevice::MsixWindow::Table::write(system::GuestAddr offset, std::uint64_t value,
                                         unsigned size)
{
    auto& table = owner_.table;
    if (size < 4 || offset % 4 != 0 || offset + size > table.size())
        return;
    const auto n = static_cast<unsigned>(offset / 16);
    put_le(std::span(table).subspan(offset), value, size);
    if (offset % 16 + size > 12) {  // only the mask bit of the last word is real
        table[n * 16 + 12] &= 1;
        std::fill_n(table.begin() + n * 16 + 13, 3, std::uint8_t{0});
    }
    PciDevice& device = owner_.device;
    device.msix_changed(n);
    if (device.msix_enabled() && !device.msix_masked(n) &&
        (owner_.pending[n / 8] >> (n % 8) & 1) != 0) {
        device.msix_set_pending(n, false);
        device.msix_notify(n);
    }
}

std::uint64_t PciDevice::MsixWindow::Pending::read(system::GuestAddr offset, unsigned size)
{
    const auto& bits = owner_.pending;
    return offset + size <= bits.size() ? get_le(std::span(bits).subspan(offset), size) : 0;
}

Result<void> PciDevice::add_msix(unsigned vectors, unsigned table_bar, std::uint64_t table_offset,
                                 unsigned pending_bar, std::uint64_t pending_offset,
                                 unsigned offset)
{
    if (vectors == 0 || vectors > 2048 || msix_ != nullptr)
        return Error(Errc::InvalidArgument, fmt::format("MSI-X cannot have {} vectors", vectors));
    const std::uint64_t table_bytes = std::uint64_t{vectors} * 16;
    const std::uint64_t pending_bytes = (vectors + 63) / 64 * 8;
    const auto fits = [&](unsigned bar, std::uint64_t at, std::uint64_t bytes) {
        return bar < 6 && at % 8 == 0 && at <= bar_size(bar) && bytes <= bar_size(bar) - at;
    };
    if (!fits(table_bar, table_offset, table_bytes) ||
        !fits(pending_bar, pending_offset, pending_bytes))
        return Error(Errc::InvalidArgument, "the MSI-X tables do not fit their BARs");
    msix_cap_ = GW_TRY(add_capability(pci::kCapMsix, 12, offset));
    set_config(msix_cap_ + 2, vectors - 1, 2);
    set_config(msix_cap_ + 4, table_offset | table_bar, 4);
    set_config(msix_cap_ + 8, pending_offset | pending_bar, 4);
    put_le(std::span(wmask_).subspan(msix_cap_ + 2), kMsixEnable | kMsixMaskAll, 2);
    msix_ = std::make_unique<MsixWindow>(*this, vectors);
    bars_[table_bar]->tables.push_back(
        {.offset = table_offset, .size = table_bytes, .io = &msix_->table_io, .priority = 1});
    bars_[pending_bar]->tables.push_back(
        {.offset = pending_offset, .size = pending_bytes, .io = &msix_->pending_io, .priority = 1});
    return {};
}

bool PciDevice::msix_enabled() const
{
    return msix_ != nullptr && (config_u16(msix_cap_ + 2) & kMsixEnable) != 0;
}

unsigned PciDevice::msix_vectors() const
{
    return msix_ != nullptr ? msix_->vectors : 0;
}

bool PciDevice::msix_masked(unsigned n) const
{
    return msix_ == nullptr || n >= msix_->vectors ||
           (config_u16(msix_cap_ + 2) & kMsixMaskAll) != 0 || msix_->vector_masked(n);
}

MsiMessage PciDevice::msix_message(unsigned n) const
{
    if (msix_ == nullptr || n >= msix_->vectors)
        return {};
    const auto entry = std::span<const std::uint8_t>(msix_->table).subspan(n * 16);
    return {.address = get_le(entry, 8),
            .data = static_cast<std::uint32_t>(get_le(entry.subspan(8), 4))};
}

void PciDevice::msix_set_pending(unsigned n, bool pending)
{
    if (msix_ == nullptr || n >= msix_->vectors)
        return;
    std::uint8_t& byte = msix_->pending[n / 8];
    const auto bit = static_cast<std::uint8_t>(1u << (n % 8));
    byte = static_cast<std::uint8_t>(pending ? byte | bit : byte & ~bit);
}

void PciDevice::msix_notify(unsigned n)
{
    if (!msix_enabled() || n >= msix_->vectors || bus_ == nullptr)
        return;
    if (msix_masked(n))
        msix_set_pending(n, true);
    else if (bus_master())
        bus_->send_msi(vm(), msix_message(n));
}

void PciDevice::flush_msix_pending(bool was_enabled)
{
    const bool on = msix_enabled();
    if (on != was_enabled || on)
        for (unsigned n = 0; n < msix_->vectors; ++n)
            msix_changed(n);
    if (!on)
        return;
    for (unsigned n = 0; n < msix_->vectors; ++n) {
        if ((msix_->pending[n / 8] >> (n % 8) & 1) != 0 && !msix_masked(n)) {
            msix_set_pending(n, false);
            msix_notify(n);
        }
    }
}

}  // namespace godwit::hw
