// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

namespace godwit::vfio_user_server {
namespace {

constexpr std::uint32_t kIdRegister = 0x56445747;  // "GWDV"
constexpr std::uint32_t kControlEngine = 1;
constexpr std::uint32_t kControlInterrupts = 2;
constexpr std::uint64_t kDoorbellBase = 0x100;
constexpr std::uint32_t kMaxBurst = 4096;
constexpr std::uint32_t kMaxSlots = 1u << 24;
constexpr double kMaxCatchUp = 0.1;  // seconds of work after a pause of the process

// Configuration space: PCI Local Bus Specification 3.0, chapter 6.
constexpr unsigned kMsixCap = 0x40;
constexpr unsigned kCommandOffset = 0x04;
constexpr std::uint16_t kBusMaster = 4;
constexpr std::uint16_t kIntxDisable = 0x400;

void put16(std::span<std::uint8_t> at, unsigned offset, std::uint16_t value)
{
    std::memcpy(at.data() + offset, &value, sizeof value);
}

void put32(std::span<std::uint8_t> at, unsigned offset, std::uint32_t value)
{
    std::memcpy(at.data() + offset, &value, sizeof value);
}

std::uint16_t get16(std::span<const std::uint8_t> at, unsigned offset)
{
    std::uint16_t value = 0;
    std::memcpy(&value, at.data() + offset, sizeof value);
    return value;
}

void kick(const UniqueFd& fd) noexcept
{
    if (fd)
        (void)::eventfd_write(fd.get(), 1);
}

}  // namespace

Result<std::unique_ptr<Device>> Device::create(const DeviceOptions& options)
{
    if (options.vectors == 0 || options.vectors > kMaxVectors)
        return Error(Errc::InvalidArgument, "a device has 1 to 32 vectors");
    BulkState bulk = GW_TRY(BulkState::create(options.state_bytes, options.seed));
    UniqueFd fd(::memfd_create("bar2", MFD_CLOEXEC));
    if (!fd || ::ftruncate(fd.get(), kMemoryBarSize) < 0)
        return Error::from_errno("memory of BAR 2");
    Mapping bar = GW_TRY(Mapping::of_fd(fd.get(), kMemoryBarSize));
    return std::unique_ptr<Device>(
        new Device(options, std::move(bulk), std::move(fd), std::move(bar)));
}

Device::Device(DeviceOptions options, BulkState bulk, UniqueFd bar_fd, Mapping bar)
    : options_(options), bulk_(std::move(bulk)), bar_fd_(std::move(bar_fd)), bar_(std::move(bar))
{
    for (std::uint32_t index = 0; index < kIrqs; ++index)
        irqs_[index].resize(irq_count(index));
    reset();
}

void Device::make_config()
{
    std::span<std::uint8_t> config = state_.config;
    std::ranges::fill(config, 0);
    config_mask_.fill(0);
    put16(config, 0x00, options_.vendor);
    put16(config, 0x02, options_.device);
    put16(config, 0x06, 0x0010);      // has capabilities
    put32(config, 0x08, 0xff000001);  // class: unassigned, revision 1
    put32(config, 0x10, 0);           // BAR 0: 32-bit memory
    put32(config, 0x18, 0xc);         // BAR 2: 64-bit, prefetchable
    put32(config, 0x20, 0);           // BAR 4: 32-bit memory
    put16(config, 0x2c, options_.vendor);
    put16(config, 0x2e, options_.device);
    config[0x34] = kMsixCap;
    config[0x3d] = 1;  // INTA
    config[kMsixCap] = 0x11;
    put16(config, kMsixCap + 2, static_cast<std::uint16_t>(options_.vectors - 1));
    put32(config, kMsixCap + 4, 4);          // table: BAR 4
    put32(config, kMsixCap + 8, 0x800 | 4);  // pending bits
    put16(config_mask_, kCommandOffset, 0x0547);
    config_mask_[0x0c] = 0xff;
    config_mask_[0x3c] = 0xff;
    put32(config_mask_, 0x10, ~static_cast<std::uint32_t>(kRegisterBarSize - 1));
    put32(config_mask_, 0x18, ~static_cast<std::uint32_t>(kMemoryBarSize - 1));
    put32(config_mask_, 0x1c, 0xffffffff);
    put32(config_mask_, 0x20, ~static_cast<std::uint32_t>(kVectorBarSize - 1));
    put16(config_mask_, kMsixCap + 2, 0xc000);
}

void Device::reset()
{
    state_ = DeviceState{};
    state_.engine.device = options_.id;
    make_config();
    for (unsigned n = 0; n < options_.vectors; ++n)
        state_.vectors[n * 16 + 12] = 1;  // masked
    std::memset(bar_.data(), 0, bar_.size());
    records_owed_ = churn_owed_ = 0;
    intx_masked_ = false;
}

std::uint64_t Device::region_size(std::uint32_t region) noexcept
{
    switch (region) {
    case 0:
        return kRegisterBarSize;
    case 2:
        return kMemoryBarSize;
    case 4:
        return kVectorBarSize;
    case kConfig:
        return 256;
    default:
        return 0;
    }
}

Result<void> Device::read(std::uint32_t region, std::uint64_t offset, std::span<std::byte> into)
{
    const std::uint64_t size = region_size(region);
    if (into.empty() || offset >= size || into.size() > size - offset)
        return Error::from_errno("access past the end of the region", EINVAL);
    if (region == 0)
        return read_register(offset, into);
    const void* from = region == kConfig ? static_cast<const void*>(state_.config.data())
                       : region == 2     ? static_cast<const void*>(bar_.data())
                                         : static_cast<const void*>(state_.vectors.data());
    std::memcpy(into.data(), static_cast<const std::byte*>(from) + offset, into.size());
    return {};
}

Result<void> Device::write(std::uint32_t region, std::uint64_t offset,
                           std::span<const std::byte> from)
{
    const std::uint64_t size = region_size(region);
    if (from.empty() || offset >= size || from.size() > size - offset)
        return Error::from_errno("access past the end of the region", EINVAL);
    if (region == 0)
        return write_register(offset, from);
    if (region == kConfig)
        write_config(offset, from);
    else if (region == 2)
        std::memcpy(bar_.data() + offset, from.data(), from.size());
    else if (offset + from.size() <= 0x800)
        std::memcpy(state_.vectors.data() + offset, from.data(), from.size());
    return {};
}

void Device::write_config(std::uint64_t offset, std::span<const std::byte> from)
{
    for (std::size_t i = 0; i < from.size(); ++i) {
        const std::uint8_t mask = config_mask_[offset + i];
        std::uint8_t& byte = state_.config[offset + i];
        byte = static_cast<std::uint8_t>((byte & ~mask) |
                                         (std::to_integer<std::uint8_t>(from[i]) & mask));
    }
    update_intx();
}

Result<void> Device::read_register(std::uint64_t offset, std::span<std::byte> into) const
{
    std::array<std::uint64_t, 9> image{};
    image[0] = kIdRegister | std::uint64_t{options_.vectors} << 32;
    image[1] = state_.control | std::uint64_t{state_.status} << 32;
    image[2] = state_.engine.ring;
    image[3] = state_.engine.slots | std::uint64_t{state_.engine.rate} << 32;
    image[4] = state_.engine.next;
    image[5] = state_.engine.missed;
    image[6] = state_.interrupts;
    image[7] = state_.doorbells;
    image[8] = state_.engine.device;
    const auto bytes = std::as_bytes(std::span(image));
    std::ranges::fill(into, std::byte{0});
    if (offset < bytes.size())
        std::memcpy(into.data(), bytes.data() + offset,
                    std::min<std::size_t>(into.size(), bytes.size() - offset));
    return {};
}

Result<void> Device::write_register(std::uint64_t offset, std::span<const std::byte> from)
{
    if (offset % 4 != 0 || (from.size() != 4 && from.size() != 8))
        return Error::from_errno("registers take 4 or 8 aligned bytes", EINVAL);
    if (from.size() == 8) {
        GW_TRY(write_register(offset, from.first(4)));
        return write_register(offset + 4, from.subspan(4));
    }
    std::uint32_t value = 0;
    std::memcpy(&value, from.data(), 4);
    switch (offset) {
    case 0x08:
        state_.control = value & (kControlEngine | kControlInterrupts);
        state_.engine.enabled = value & kControlEngine;
        break;
    case 0x0c:
        state_.status &= ~value;
        update_intx();
        break;
    case 0x10:
        state_.engine.ring = (state_.engine.ring & ~std::uint64_t{0xffffffff}) | value;
        break;
    case 0x14:
        state_.engine.ring = (state_.engine.ring & 0xffffffff) | std::uint64_t{value} << 32;
        break;
    case 0x18:
        state_.engine.slots = std::min(value, kMaxSlots);
        break;
    case 0x1c:
        state_.engine.rate = value;
        break;
    default:
        if (offset >= kDoorbellBase && offset < kDoorbellBase + 4 * kDoorbells)
            ring_doorbell(static_cast<unsigned>(offset - kDoorbellBase) / 4, value);
    }
    return {};
}

void Device::ring_doorbell(unsigned n, std::uint32_t records)
{
    ++state_.doorbells;
    if ((get16(state_.config, kCommandOffset) & kBusMaster) != 0)
        write_records(state_.engine, memory_, std::min(records, kMaxBurst));
    interrupt(n % options_.vectors);
}

unsigned Device::irq_count(std::uint32_t index) const noexcept
{
    return index == kIntx ? 1 : index == kMsix ? options_.vectors : 0;
}

void Device::set_irq(std::uint32_t index, std::uint32_t vector, UniqueFd fd)
{
    irqs_[index][vector] = std::move(fd);
    if (index == kIntx)
        update_intx();
}

void Device::clear_irqs(std::uint32_t index) noexcept
{
    for (UniqueFd& fd : irqs_[index])
        fd.reset();
}

void Device::clear_all_irqs() noexcept
{
    for (std::uint32_t index = 0; index < kIrqs; ++index)
        clear_irqs(index);
}

void Device::mask_intx(bool masked)
{
    intx_masked_ = masked;
    update_intx();
}

void Device::trigger(std::uint32_t index, std::uint32_t vector) noexcept
{
    kick(irqs_[index][vector]);
}

bool Device::msix_enabled() const noexcept
{
    return (get16(state_.config, kMsixCap + 2) & 0x8000) != 0;
}

void Device::interrupt(unsigned vector)
{
    if ((state_.control & kControlInterrupts) == 0)
        return;
    ++state_.interrupts;
    state_.status |= 1u << vector;
    // Whether a vector has a descriptor is the client's word that MSI-X is in use.
    if (irqs_[kMsix][vector])
        kick(irqs_[kMsix][vector]);
    else
        update_intx();
}

/// A level: told once, then masked until the client has seen to it.
void Device::update_intx()
{
    const bool level = state_.status != 0 && !msix_enabled() &&
                       (get16(state_.config, kCommandOffset) & kIntxDisable) == 0;
    if (level)
        state_.config[0x06] |= 0x08;
    else
        state_.config[0x06] &= static_cast<std::uint8_t>(~0x08);
    if (level && !intx_masked_ && irqs_[kIntx][0]) {
        intx_masked_ = true;
        kick(irqs_[kIntx][0]);
    }
}

bool Device::engine_runs() const noexcept
{
    const bool master = (get16(state_.config, kCommandOffset) & kBusMaster) != 0;
    return state_.engine.enabled == kForced || (state_.engine.enabled != 0 && master);
}

std::uint64_t Device::work_due(std::int64_t now_ns)
{
    const double seconds =
        std::clamp(static_cast<double>(now_ns - last_ns_) / 1e9, 0.0, kMaxCatchUp);
    last_ns_ = now_ns;
    if (engine_runs()) {
        records_owed_ += seconds * state_.engine.rate;
        const auto due = static_cast<std::uint64_t>(records_owed_);
        records_owed_ -= static_cast<double>(due);
        if (due != 0 && write_records(state_.engine, memory_, due) != 0)
            interrupt(0);
    }
    churn_owed_ += seconds * options_.churn;
    const auto pages = static_cast<std::uint64_t>(churn_owed_);
    churn_owed_ -= static_cast<double>(pages);
    return pages;
}

std::size_t Device::next_churn_page() noexcept
{
    return static_cast<std::size_t>(mix(churn_random_++) % bulk_.pages());
}

void Device::set_engine(std::uint64_t ring, std::uint32_t slots, std::uint32_t rate)
{
    state_.engine.ring = ring;
    state_.engine.slots = std::min(slots, kMaxSlots);
    state_.engine.rate = rate;
    state_.engine.enabled = kForced;
}

std::vector<std::byte> Device::save() const
{
    std::vector<std::byte> bytes(saved_bytes());
    std::memcpy(bytes.data(), &state_, sizeof state_);
    std::memcpy(bytes.data() + sizeof state_, bar_.data(), kMemoryBarSize);
    return bytes;
}

Result<void> Device::load(std::span<const std::byte> bytes)
{
    if (bytes.size() != saved_bytes())
        return Error(Errc::BadFormat, "device state: the registers' record has another size");
    DeviceState loaded;
    std::memcpy(&loaded, bytes.data(), sizeof loaded);
    if (loaded.engine.slots > kMaxSlots ||
        !std::ranges::equal(std::span(loaded.config).first(4), std::span(state_.config).first(4)) ||
        loaded.config[kMsixCap + 2] != state_.config[kMsixCap + 2])
        return Error(Errc::BadFormat, "device state: it is that of another device");
    state_ = loaded;
    std::memcpy(bar_.data(), bytes.data() + sizeof loaded, kMemoryBarSize);
    return {};
}

}  // namespace godwit::vfio_user_server
