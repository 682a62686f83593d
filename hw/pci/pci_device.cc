// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/dma.h"
#include "hw/pci/pci_private.h"
#include "system/vm.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

constexpr unsigned kRomIndex = 6;
constexpr int kBehindTheBoard = -1000;  // a BAR never hides what the board mapped
constexpr int kTablesInFront = 500;

unsigned bar_offset(unsigned index)
{
    return index == kRomIndex ? pci::kRom : pci::kBar0 + 4 * index;
}

}  // namespace

std::uint64_t get_le(std::span<const std::uint8_t> from, unsigned size)
{
    std::uint64_t value = 0;
    for (unsigned n = size; n-- > 0;)
        value = value << 8 | from[n];
    return value;
}

void put_le(std::span<std::uint8_t> to, std::uint64_t value, unsigned size)
{
    for (unsigned n = 0; n < size; ++n, value >>= 8)
        to[n] = static_cast<std::uint8_t>(value);
}

PciDevice::PciDevice()
{
    pci_.config.resize(pci::kConfigSize);
    wmask_.resize(pci::kConfigSize);
    w1cmask_.resize(pci::kConfigSize);
    cmask_.resize(pci::kConfigSize);
    used_.resize(pci::kConfigSize);
    std::fill_n(used_.begin(), pci::kFirstCapability, std::uint8_t{1});
    put_le(std::span(wmask_).subspan(pci::kCommand), 0x0547,
           2);  // I/O, memory, master, parity, SERR, INTx
    put_le(std::span(w1cmask_).subspan(pci::kStatus), 0xf900, 2);
    wmask_[pci::kCacheLine] = 0xff;
    wmask_[pci::kInterruptLine] = 0xff;
    for (const unsigned at : {pci::kVendorId, pci::kDeviceId, pci::kClass})
        put_le(std::span(cmask_).subspan(at), 0xffff, 2);
    cmask_[pci::kRevision] = cmask_[pci::kClassProg] = 0xff;
    cmask_[pci::kHeaderType] = 0xff;
    cmask_[pci::kCapabilities] = 0xff;
    cmask_[pci::kStatus] = static_cast<std::uint8_t>(pci::kStatusCapList);
}

PciDevice::~PciDevice() = default;

std::string PciDevice::state_path() const
{
    return fmt::format("0000:{:02x}:{:02x}.{}", bus_ != nullptr ? bus_->number() : 0, devfn_ >> 3,
                       devfn_ & 7);
}

std::uint16_t PciDevice::config_u16(unsigned offset) const
{
    return static_cast<std::uint16_t>(get_le(config().subspan(offset), 2));
}

std::uint32_t PciDevice::config_u32(unsigned offset) const
{
    return static_cast<std::uint32_t>(get_le(config().subspan(offset), 4));
}

void PciDevice::set_config(unsigned offset, std::uint64_t value, unsigned size)
{
    put_le(config().subspan(offset), value, size);
}

void PciDevice::set_identity(const PciIdentity& identity)
{
    set_config(pci::kVendorId, identity.vendor, 2);
    set_config(pci::kDeviceId, identity.device, 2);
    set_config(pci::kRevision, identity.revision, 1);
    set_config(pci::kClassProg, identity.class_code, 3);
    set_config(pci::kSubsystemVendor,
               identity.subsystem_vendor != 0 ? identity.subsystem_vendor : 0x1af4, 2);
    set_config(pci::kSubsystem, identity.subsystem != 0 ? identity.subsystem : 0x1100, 2);
    set_config(pci::kInterruptPin, identity.interrupt_pin, 1);
}

void PciDevice::use_express_config()
{
    for (auto* bytes : {&pci_.config, &wmask_, &w1cmask_, &cmask_, &used_})
        bytes->resize(pci::kExpressConfigSize);
}

// --- configuration cycles ----------------------------------------------------------------------

std::uint32_t PciDevice::config_read(unsigned offset, unsigned size)
{
    return static_cast<std::uint32_t>(get_le(config().subspan(offset), size));
}

void PciDevice::config_write(unsigned offset, std::uint32_t value, unsigned size)
{
    const std::uint16_t old_command = command();
    const bool msix_was_on = msix_enabled() && msix_ != nullptr;
    for (unsigned n = 0; n < size; ++n, value >>= 8) {
        std::uint8_t& byte = pci_.config[offset + n];
        const auto in = static_cast<std::uint8_t>(value);
        const std::uint8_t writable = wmask_[offset + n];
        byte = static_cast<std::uint8_t>((byte & ~writable) | (in & writable));
        byte &= static_cast<std::uint8_t>(~(in & w1cmask_[offset + n]));
    }
    after_write(offset, size, old_command);
    const auto touches = [&](unsigned at, unsigned length) {
        return at != 0 && offset < at + length && at < offset + size;
    };
    if (touches(msi_cap_, 24)) {
        flush_msi_pending();
        msi_changed();
    }
    if (msix_ != nullptr && touches(msix_cap_ + 2, 2))
        flush_msix_pending(msix_was_on);
}

void PciDevice::after_write(unsigned offset, unsigned size, std::uint16_t old_command)
{
    const bool command_written = offset < pci::kCommand + 2 && pci::kCommand < offset + size;
    const bool bar_written = (offset < pci::kBar0 + 24 && pci::kBar0 < offset + size) ||
                             (offset < pci::kRom + 4 && pci::kRom < offset + size);
    if (command_written || bar_written)
        update_bars();
    if (command_written)
        change_intx(old_command);
}

// --- base addresses ----------------------------------------------------------------------------

Result<void> PciDevice::add_bar(unsigned index, PciBar bar)
{
    const bool io = bar.kind == PciBar::Kind::Io;
    const bool wide = bar.kind == PciBar::Kind::Memory64;
    if (index > kRomIndex || (wide && index >= 5) ||
        (index == kRomIndex && bar.kind != PciBar::Kind::Memory32))
        return Error(Errc::InvalidArgument, fmt::format("there is no such BAR {}", index));
    if (!std::has_single_bit(bar.size) || bar.size < (io ? 4u : 16u) ||
        (!wide && bar.size > 0x80000000) || (io && bar.size > 0x100))
        return Error(Errc::InvalidArgument,
                     fmt::format("BAR {} cannot have {:#x} bytes", index, bar.size));
    const bool below_is_wide = index > 0 && index < kRomIndex && bars_[index - 1] &&
                               bars_[index - 1]->spec.kind == PciBar::Kind::Memory64;
    if (bars_[index] || below_is_wide || (wide && bars_[index + 1]))
        return Error(Errc::Exists, fmt::format("BAR {} is taken", index));

    const unsigned at = bar_offset(index);
    const std::uint64_t mask = ~(bar.size - 1);
    std::uint32_t type = 0;
    if (io)
        type = 1;
    else if (index != kRomIndex)
        type = (wide ? 4u : 0u) | (bar.prefetchable ? 8u : 0u);
    set_config(at, type, wide ? 8 : 4);
    put_le(std::span(wmask_).subspan(at), index == kRomIndex ? mask | 1 : mask, wide ? 8 : 4);
    if (index != kRomIndex)
        cmask_[at] = io ? 0x03 : 0x0f;
    bars_[index] =
        std::make_unique<Bar>(Bar{.spec = std::move(bar), .tables = {}, .at = {}, .regions = {}});
    return {};
}

void PciDevice::set_bar_parts(unsigned index, std::vector<PciBarPart> parts)
{
    if (index >= bars_.size() || !bars_[index])
        return;
    bars_[index]->spec.parts = std::move(parts);
    if (bars_[index]->at)
        map_bar(index);
}

std::uint64_t PciDevice::bar_size(unsigned index) const
{
    return index < bars_.size() && bars_[index] ? bars_[index]->spec.size : 0;
}

std::optional<std::uint64_t> PciDevice::bar_address(unsigned index) const
{
    return index < bars_.size() && bars_[index] ? bars_[index]->at : std::nullopt;
}

// Nothing for addresses a guest leaves behind while it sizes BARs, and for those that wrap.
std::optional<std::uint64_t> PciDevice::decode_bar(unsigned index) const
{
    const PciBar& bar = bars_[index]->spec;
    const bool io = bar.kind == PciBar::Kind::Io;
    if ((command() & (io ? pci::kCommandIo : pci::kCommandMemory)) == 0)
        return std::nullopt;
    const unsigned at = bar_offset(index);
    if (index == kRomIndex && (pci_.config[at] & 1) == 0)
        return std::nullopt;
    const bool wide = bar.kind == PciBar::Kind::Memory64;
    const std::uint64_t base = get_le(config().subspan(at), wide ? 8 : 4) & ~(bar.size - 1);
    const std::uint64_t limit = io ? 0x10000 : wide ? std::uint64_t{1} << 52 : 0x100000000;
    const std::uint64_t last = base + bar.size - 1;
    if (base == 0 || last < base || last >= limit || (!io && !wide && last == 0xffffffff))
        return std::nullopt;
    return base;
}

void PciDevice::map_bar(unsigned index)
{
    Bar& bar = *bars_[index];
    const bool io = bar.spec.kind == PciBar::Kind::Io;
    system::AddressSpace& space = io ? bus_->io() : bus_->memory();
    const system::AddressSpace::Transaction change(space);
    bar.regions.clear();
    if (!bar.at)
        return;
    const auto map = [&](const PciBarPart& part, int front) {
        if (!part.enabled || part.size == 0 || part.offset >= bar.spec.size ||
            part.size > bar.spec.size - part.offset)
            return;
        const system::RegionKind kind = part.block == nullptr ? system::RegionKind::Io
                                        : index == kRomIndex  ? system::RegionKind::Rom
                                                              : system::RegionKind::Ram;
        bar.regions.emplace_back(
            space, system::RegionSpec{.name = fmt::format("{} BAR {}", type_name(), index),
                                      .start = *bar.at + part.offset,
                                      .size = part.size,
                                      .priority = part.priority + front,
                                      .kind = kind,
                                      .block = part.block,
                                      .block_offset = part.block_offset,
                                      .io = part.io});
    };
    for (const PciBarPart& part : bar.spec.parts)
        map(part, kBehindTheBoard);
    for (const PciBarPart& part : bar.tables)
        map(part, kBehindTheBoard + kTablesInFront);
}

void PciDevice::update_bars()
{
    if (bus_ == nullptr)
        return;
    const system::AddressSpace::Transaction memory(bus_->memory());
    const system::AddressSpace::Transaction io(bus_->io());
    bool changed = false;
    for (unsigned index = 0; index < bars_.size(); ++index) {
        if (!bars_[index])
            continue;
        const auto at = decode_bar(index);
        if (at == bars_[index]->at)
            continue;
        bars_[index]->at = at;
        map_bar(index);
        changed = true;
    }
    if (changed)
        bars_changed();
}

// --- capabilities ------------------------------------------------------------------------------

Result<unsigned> PciDevice::add_capability(std::uint8_t id, unsigned size, unsigned offset)
{
    size = (size + 3) & ~3u;
    const auto free_at = [&](unsigned at) {
        return at >= pci::kFirstCapability && at % 4 == 0 && at + size <= pci::kConfigSize &&
               std::all_of(used_.begin() + at, used_.begin() + at + size,
                           [](std::uint8_t byte) { return byte == 0; });
    };
    if (offset == 0) {
        offset = pci::kFirstCapability;
        while (offset + size <= pci::kConfigSize && !free_at(offset))
            offset += 4;
    }
    if (!free_at(offset))
        return Error(Errc::OutOfMemory,
                     fmt::format("no room for PCI capability {:#x} of {} bytes", id, size));
    pci_.config[offset] = id;
    pci_.config[offset + 1] = pci_.config[pci::kCapabilities];
    pci_.config[pci::kCapabilities] = static_cast<std::uint8_t>(offset);
    pci_.config[pci::kStatus] |= static_cast<std::uint8_t>(pci::kStatusCapList);
    std::fill_n(used_.begin() + offset, size, std::uint8_t{1});
    cmask_[offset] = cmask_[offset + 1] = 0xff;
    return offset;
}

unsigned PciDevice::find_capability(std::uint8_t id) const
{
    unsigned at = pci_.config[pci::kCapabilities];
    for (unsigned hops = 0; at >= pci::kFirstCapability && hops < 48; ++hops) {
        if (pci_.config[at] == id)
            return at;
        at = pci_.config[at + 1] & 0xfc;
    }
    return 0;
}

Result<unsigned> PciDevice::add_ext_capability(std::uint16_t id, std::uint8_t version,
                                               unsigned size, unsigned offset)
{
    if (pci_.config.size() < pci::kExpressConfigSize)
        return Error(Errc::InvalidArgument, "the device has no extended configuration space");
    size = (size + 3) & ~3u;
    unsigned last = 0;  // the list starts at 0x100 and is linked forwards
    for (unsigned at = pci::kConfigSize; at != 0 && config_u32(at) != 0; at = config_u32(at) >> 20)
        last = at;
    if (offset == 0) {
        offset = pci::kConfigSize;
        while (offset < pci::kExpressConfigSize && used_[offset] != 0)
            offset += 4;
    }
    const bool fits = offset >= pci::kConfigSize && offset % 4 == 0 &&
                      offset + size <= pci::kExpressConfigSize &&
                      std::all_of(used_.begin() + offset, used_.begin() + offset + size,
                                  [](std::uint8_t byte) { return byte == 0; });
    if (!fits || (last == 0 && offset != pci::kConfigSize) || offset < last)
        return Error(Errc::OutOfMemory,
                     fmt::format("no room for extended PCI capability {:#x}", id));
    set_config(offset, id | (version & 0xfu) << 16, 4);
    if (last != 0)
        set_config(last, (config_u32(last) & 0xfffff) | offset << 20, 4);
    std::fill_n(used_.begin() + offset, size, std::uint8_t{1});
    return offset;
}

// --- INTx --------------------------------------------------------------------------------------

void PciDevice::set_irq(int level)
{
    const unsigned pin = pci_.config[pci::kInterruptPin];
    const std::int32_t now = level != 0 ? 1 : 0;
    if (pin == 0 || pin > 4 || bus_ == nullptr || pci_.irq_state[pin - 1] == now)
        return;
    pci_.irq_state[pin - 1] = now;
    std::uint8_t& status = pci_.config[pci::kStatus];
    status = static_cast<std::uint8_t>(now != 0 ? status | pci::kStatusInterrupt
                                                : status & ~pci::kStatusInterrupt);
    if ((command() & pci::kCommandIntxDisable) == 0)
        bus_->change_irq(devfn_, pin - 1, now != 0 ? 1 : -1);
}

// The guest lets INTx through or not; a level that stands appears or goes.
void PciDevice::change_intx(std::uint16_t old_command)
{
    const bool was_off = (old_command & pci::kCommandIntxDisable) != 0;
    const bool is_off = (command() & pci::kCommandIntxDisable) != 0;
    const unsigned pin = pci_.config[pci::kInterruptPin];
    if (was_off == is_off || pin == 0 || pin > 4 || bus_ == nullptr)
        return;
    if (pci_.irq_state[pin - 1] != 0)
        bus_->change_irq(devfn_, pin - 1, is_off ? -1 : 1);
}

std::optional<unsigned> PciDevice::irq_gsi() const
{
    const unsigned pin = pci_.config[pci::kInterruptPin];
    if (pin == 0 || pin > 4 || bus_ == nullptr || (command() & pci::kCommandIntxDisable) != 0)
        return std::nullopt;
    return bus_->irq_gsi(devfn_, pin - 1);
}

void PciDevice::notify(unsigned n)
{
    if (msix_enabled())
        msix_notify(n);
    else if (msi_enabled())
        msi_notify(n);
    else if (n == 0)
        set_irq(1);
}

// --- memory ------------------------------------------------------------------------------------

Result<void> PciDevice::dma_read(std::uint64_t from, std::span<std::byte> into)
{
    if (!bus_master() || bus_ == nullptr)
        return Error(Errc::PermissionDenied, "the guest did not make the device a bus master");
    return hw::dma_read(bus_->memory(), from, into);
}

Result<void> PciDevice::dma_write(std::uint64_t to, std::span<const std::byte> from)
{
    if (!bus_master() || bus_ == nullptr)
        return Error(Errc::PermissionDenied, "the guest did not make the device a bus master");
    return hw::dma_write(bus_->memory(), to, from);
}

// --- life --------------------------------------------------------------------------------------

Result<void> PciDevice::realize()
{
    if (bus_ == nullptr)
        return Error(Errc::InvalidArgument, fmt::format("{} needs a PCI bus", type_name()));
    if (multifunction_)
        pci_.config[pci::kHeaderType] |= pci::kHeaderMultifunction;
    return {};
}

void PciDevice::reset(system::ResetKind)
{
    set_irq(0);
    const std::uint16_t old_command = command();
    for (const unsigned at : {pci::kCommand, pci::kCommand + 1, pci::kStatus, pci::kStatus + 1,
                              pci::kCacheLine, pci::kInterruptLine})
        pci_.config[at] &= static_cast<std::uint8_t>(~(wmask_[at] | w1cmask_[at]));
    change_intx(old_command);
    for (unsigned index = 0; index < bars_.size(); ++index) {
        if (!bars_[index])
            continue;
        const unsigned size = bars_[index]->spec.kind == PciBar::Kind::Memory64 ? 8 : 4;
        const unsigned at = bar_offset(index);
        const std::uint64_t writable = get_le(std::span(wmask_).subspan(at), size);
        set_config(at, get_le(config().subspan(at), size) & ~writable, size);
    }
    update_bars();
    if (msi_cap_ != 0) {
        set_config(msi_cap_ + 2, config_u16(msi_cap_ + 2) & ~0x0071, 2);
        msi_changed();
    }
    if (msix_ != nullptr) {
        set_config(msix_cap_ + 2, config_u16(msix_cap_ + 2) & 0x3fff, 2);
        std::ranges::fill(msix_->table, std::uint8_t{0});
        std::ranges::fill(msix_->pending, std::uint8_t{0});
        for (unsigned n = 0; n < msix_->vectors; ++n)
            msix_->table[n * 16 + 12] = 1;
        for (unsigned n = 0; n < msix_->vectors; ++n)
            msix_changed(n);
    }
}

void PciDevice::unrealize() noexcept
{
    set_irq(0);
    for (auto& bar : bars_) {
        if (bar) {
            bar->at.reset();
            bar->regions.clear();
        }
    }
}

}  // namespace godwit::hw
