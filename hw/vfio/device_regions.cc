// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a VFIO device shows of itself: configuration header, capabilities, BARs.
#include "hw/vfio/device.h"
#include "hw/vfio/interrupts.h"
#include "hw/vfio/region_io.h"
#include "system/vm.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

constexpr unsigned kMaxCapabilities = 48;
constexpr unsigned kRomIndex = 6;
constexpr std::uint8_t kExtNull = 0;

std::uint32_t get(std::span<const std::uint8_t> from, unsigned at, unsigned size)
{
    std::uint32_t value = 0;
    for (unsigned n = size; n-- > 0;)
        value = value << 8 | from[at + n];
    return value;
}

struct Found {
    std::uint8_t id = 0;
    unsigned at = 0;
};

/// The chain in its order; stops at what cannot be one.
std::vector<Found> capabilities_of(std::span<const std::uint8_t> config)
{
    std::vector<Found> found;
    if ((config[pci::kStatus] & pci::kStatusCapList) == 0)
        return found;
    unsigned at = config[pci::kCapabilities] & 0xfcU;
    while (at >= pci::kFirstCapability && found.size() < kMaxCapabilities &&
           std::ranges::find(found, at, &Found::at) == found.end()) {
        found.push_back({.id = config[at], .at = at});
        at = config[at + 1] & 0xfcU;
    }
    return found;
}

/// SR-IOV, resizable BARs and ARI would let the guest change what we show.
bool must_hide(std::uint16_t id)
{
    return id == 0x10 || id == 0x15 || id == 0x0e;
}

}  // namespace

Result<void> VfioDevice::learn_config()
{
    const RegionInfo region = GW_TRY(backend_->region_info(kConfigRegion));
    if (region.size < pci::kConfigSize)
        return Error(Errc::BadFormat,
                     fmt::format("a configuration space of {} bytes", region.size));
    const bool large = region.size >= pci::kExpressConfigSize;
    device_config_.resize(large ? pci::kExpressConfigSize : pci::kConfigSize);
    GW_TRY(with_context(
        backend_->region_read(kConfigRegion, 0, std::as_writable_bytes(std::span(device_config_))),
        "configuration space"));
    const auto found = capabilities_of(device_config_);
    if (large && std::ranges::find(found, pci::kCapExpress, &Found::id) != found.end())
        use_express_config();
    else
        device_config_.resize(pci::kConfigSize);
    emulated_.assign(device_config_.size(), 0);
    std::fill_n(emulated_.begin(), pci::kFirstCapability, std::uint8_t{0xff});
    emulated_[pci::kStatus + 1] = 0;  // errors that the device saw
    emulated_[0x0f] = 0;              // built-in self test

    const std::span<const std::uint8_t> raw = device_config_;
    set_identity({.vendor = static_cast<std::uint16_t>(get(raw, pci::kVendorId, 2)),
                  .device = static_cast<std::uint16_t>(get(raw, pci::kDeviceId, 2)),
                  .class_code = get(raw, pci::kClassProg, 3),
                  .revision = raw[pci::kRevision],
                  .interrupt_pin = interrupts_->vectors(kIntxIrq) != 0 ? raw[pci::kInterruptPin]
                                                                       : std::uint8_t{0}});
    set_config(pci::kSubsystemVendor, get(raw, pci::kSubsystemVendor, 4), 4);
    if (config_u8(pci::kInterruptPin) > 4)
        return Error(Errc::BadFormat, fmt::format("interrupt pin {}", raw[pci::kInterruptPin]));
    return {};
}

// --- BARs --------------------------------------------------------------------------------------

Result<void> VfioDevice::add_regions()
{
    for (unsigned index = 0; index <= kRomIndex; ++index) {
        const RegionInfo region = GW_TRY(backend_->region_info(index));
        if (region.size == 0)
            continue;
        const unsigned at = index == kRomIndex ? pci::kRom : pci::kBar0 + 4 * index;
        const std::uint32_t bits = get(device_config_, at, 4);
        PciBar bar{.size = region.size};
        if (index != kRomIndex) {
            bar.kind = (bits & 1) != 0   ? PciBar::Kind::Io
                       : (bits & 6) == 4 ? PciBar::Kind::Memory64
                                         : PciBar::Kind::Memory32;
            bar.prefetchable = (bits & 1) == 0 && (bits & 8) != 0;
        }
        region_io_[index] = std::make_unique<RegionIo>(*this, region);
        bar.parts = GW_TRY(bar_parts(index, region));
        parts_[index] = bar.parts;
        const bool wide = bar.kind == PciBar::Kind::Memory64;
        GW_TRY(add_bar(index, std::move(bar)));
        if (wide)
            ++index;
    }
    return {};
}

/// Trapped as a whole, and in front of that what may be mapped.
Result<std::vector<PciBarPart>> VfioDevice::bar_parts(unsigned index, const RegionInfo& region)
{
    std::vector<PciBarPart> parts{
        {.offset = 0, .size = region.size, .io = region_io_[index].get()}};
    const bool io = index != kRomIndex && (device_config_[pci::kBar0 + 4 * index] & 1) != 0;
    if (no_mmap_ || io || index == kRomIndex)
        return parts;
    unsigned number = 0;
    for (const RegionArea& area : region.mappable) {
        RegionWindow window = GW_TRY(backend_->region_window(index, area));
        system::RamBlockOptions options{
            .id = fmt::format("vfio-{}-bar{}-{}", state_path(), index, number++),
            .used_length = area.size,
            .file_offset = window.offset,
            .fd = std::move(window.fd),
            .shared = true,
            .seal = false,
            .huge_page_advice = false,
            .dump = false,
            .merge = false,
            .migratable = false};
        system::RamBlock* const block = GW_TRY(with_context(vm().ram().create(std::move(options)),
                                                            fmt::format("mapping BAR {}", index)));
        windows_.push_back(block);
        parts.push_back({.offset = area.offset, .size = area.size, .block = block, .priority = 1});
    }
    return parts;
}

/// With INTx waiting to be served, every access has to be seen.
void VfioDevice::enable_windows(bool enabled)
{
    for (unsigned index = 0; index < parts_.size(); ++index) {
        bool changed = false;
        for (PciBarPart& part : parts_[index]) {
            changed |= part.block != nullptr && part.enabled != enabled;
            if (part.block != nullptr)
                part.enabled = enabled;
        }
        if (changed)
            set_bar_parts(index, parts_[index]);
    }
}

// --- capabilities ------------------------------------------------------------------------------

Result<void> VfioDevice::add_capabilities()
{
    std::vector<Found> found = capabilities_of(device_config_);
    std::vector<unsigned> starts;
    for (const Found& capability : found)
        starts.push_back(capability.at);
    starts.push_back(pci::kConfigSize);
    std::ranges::sort(starts);
    // add_capability() puts each in front of the chain: the last one first.
    for (auto at = found.rbegin(); at != found.rend(); ++at) {
        const unsigned next = *std::ranges::upper_bound(starts, at->at);
        Result<void> added = at->id == pci::kCapMsi    ? add_msi_at(at->at)
                             : at->id == pci::kCapMsix ? add_msix_at(at->at)
                                                       : add_capability_at(at->at, next - at->at);
        GW_TRY(with_context(std::move(added), fmt::format("capability {:#x}", at->id)));
    }
    hide_extended_capabilities();
    return {};
}

Result<void> VfioDevice::add_capability_at(unsigned at, unsigned size)
{
    const std::uint8_t id = device_config_[at];
    GW_TRY(add_capability(id, size, at));
    for (unsigned n = at + 2; n < at + size; ++n)
        set_config(n, device_config_[n], 1);
    emulated_[at] = emulated_[at + 1] = 0xff;
    if (id == pci::kCapVendor && !skip_vendor_capability_check_)
        std::ranges::fill(compare_mask().subspan(at, size), std::uint8_t{0xff});
    return {};
}

Result<void> VfioDevice::add_msi_at(unsigned at)
{
    const std::uint32_t flags = get(device_config_, at + 2, 2);
    const unsigned vectors = interrupts_->vectors(kMsiIrq);
    if (vectors == 0)
        return {};
    const bool wide = (flags & 0x80) != 0;
    const bool maskable = (flags & 0x100) != 0;
    GW_TRY(add_msi(std::bit_floor(std::min(vectors, 32U)), wide, maskable, at));
    const unsigned size = maskable ? (wide ? 24U : 20U) : (wide ? 14U : 10U);
    std::fill_n(emulated_.begin() + at, size, std::uint8_t{0xff});
    return {};
}

Result<void> VfioDevice::add_msix_at(unsigned at)
{
    const unsigned count = (get(device_config_, at + 2, 2) & 0x7ff) + 1;
    const std::uint32_t table = get(device_config_, at + 4, 4);
    const std::uint32_t pending = get(device_config_, at + 8, 4);
    if (interrupts_->vectors(kMsixIrq) == 0)
        return {};
    GW_TRY(add_msix(count, table & 7, table & ~7U, pending & 7, pending & ~7U, at));
    std::fill_n(emulated_.begin() + at, 12, std::uint8_t{0xff});
    return {};
}

/// A capability we do not show becomes an empty one, so that the chain stays whole.
void VfioDevice::hide_extended_capabilities()
{
    if (device_config_.size() < pci::kExpressConfigSize)
        return;
    for (unsigned n = pci::kConfigSize; n < pci::kExpressConfigSize; ++n)
        set_config(n, device_config_[n], 1);
    unsigned at = pci::kConfigSize;
    for (unsigned hops = 0; at >= pci::kConfigSize && hops < 96; ++hops) {
        const std::uint32_t header = get(device_config_, at, 4);
        if (must_hide(static_cast<std::uint16_t>(header))) {
            set_config(at, (header & 0xffff0000) | kExtNull, 4);
            std::fill_n(emulated_.begin() + at, 4, std::uint8_t{0xff});
        }
        at = header >> 20 & 0xffc;
    }
}

}  // namespace godwit::hw::vfio
