// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/virtio/mmio.h"

#include "hw/register_private.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"
#include "system/property.h"
#include "system/vm.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

constexpr std::uint32_t kMagic = 0x74726976;   // "virt"
constexpr std::uint32_t kVendor = 0x554d4551;  // "QEMU", as drivers and tools expect it
constexpr unsigned kConfig = 0x100;

using namespace migration::stream;
using S = VirtioMmio::State;
using Q = VirtioMmio::QueueRegs;

constexpr auto kQueue =
    vmstate<Q>("virtio_mmio/queue_state", {}, field<&Q::num>("num"), field<&Q::enabled>("enabled"),
               field<&Q::desc>("desc"), field<&Q::avail>("avail"), field<&Q::used>("used"));
constexpr auto kModern =
    vmstate<S>("virtio_mmio/state", {}, field<&S::guest_features>("guest_features"),
               structure<&S::queues>("vqs", kQueue)
                   .counted([](const S&) { return kVirtioMaxQueues; })
                   .at_most(kVirtioMaxQueues));
constexpr auto kTransport = vmstate<S>("virtio_mmio", {}, subsection(kModern));
static_assert(kTransport.well_formed());

std::uint64_t wide(const std::array<std::uint32_t, 2>& halves)
{
    return halves[0] | std::uint64_t{halves[1]} << 32;
}

}  // namespace

std::string VirtioMmio::state_path() const
{
    return fmt::format("virtio-mmio@{:016x}", base_);
}

// --- interrupts --------------------------------------------------------------------------------

void VirtioMmio::update_irq()
{
    const VirtioDevice* d = device();
    gpio_out("", 0).set(d != nullptr && d->isr() != 0 ? 1 : 0);
}

void VirtioMmio::notify_queue(unsigned)
{
    update_irq();
}

// --- reading -----------------------------------------------------------------------------------

std::uint64_t VirtioMmio::read(system::GuestAddr offset, unsigned size)
{
    VirtioDevice* d = device();
    const auto reg = static_cast<unsigned>(offset);
    if (reg >= kConfig && offset < kBytes)
        return d != nullptr ? d->read_config(reg - kConfig, size) : 0;
    if (size != 4 || reg % 4 != 0)
        return 0;
    switch (reg) {
    case 0x00:
        return kMagic;
    case 0x04:
        return force_legacy_ ? 1 : 2;
    case 0x0c:
        return kVendor;
    default:
        return d != nullptr ? read_register(*d, reg) : 0;
    }
}

std::uint32_t VirtioMmio::read_register(VirtioDevice& d, unsigned reg)
{
    const VirtioQueue* queue = d.queue(d.queue_sel);
    switch (reg) {
    case 0x08:
        return d.device_id();
    case 0x10: {
        // A driver of either age is shown its own bits: a modern one not the obsolete two.
        std::uint64_t shown = d.offered();
        if (!force_legacy_)
            shown &= ~(virtio::kNotifyOnEmpty | virtio::kAnyLayout);
        if (host_features_sel_ == 0)
            return static_cast<std::uint32_t>(shown);
        return force_legacy_ ? 0 : static_cast<std::uint32_t>(shown >> 32);
    }
    case 0x34:
        return queue != nullptr && queue->num_default != 0 ? kVirtioMaxRing : 0;
    case 0x40:
        return force_legacy_ && queue != nullptr && guest_page_shift_ < 64
                   ? static_cast<std::uint32_t>(queue->desc >> guest_page_shift_)
                   : 0;
    case 0x44:
        return !force_legacy_ && d.queue_sel < state_.queues.size() &&
                       state_.queues[d.queue_sel].enabled
                   ? 1
                   : 0;
    case 0x60:
        return d.isr();
    case 0x70:
        return d.status();
    case 0xb0:
    case 0xb4:
        return 0xffffffff;  // no shared memory
    default:
        return 0;
    }
}

// --- writing -----------------------------------------------------------------------------------

void VirtioMmio::write(system::GuestAddr offset, std::uint64_t value, unsigned size)
{
    VirtioDevice* d = device();
    const auto reg = static_cast<unsigned>(offset);
    if (d == nullptr || offset >= kBytes)
        return;
    if (reg >= kConfig)
        d->write_config(reg - kConfig, value, size);
    else if (size == 4 && reg % 4 == 0)
        write_register(*d, reg, static_cast<std::uint32_t>(value));
}

void VirtioMmio::write_status(VirtioDevice& d, std::uint32_t value)
{
    if (!force_legacy_ && (value & virtio::kFeaturesOk) != 0 &&
        (d.status() & virtio::kFeaturesOk) == 0) {
        const std::uint64_t wanted = wide(state_.guest_features);
        if ((wanted & ~d.offered()) != 0 || (wanted & virtio::kVersion1) == 0)
            value &= ~std::uint32_t{virtio::kFeaturesOk};  // the driver sees that it was refused
        else
            d.set_features(wanted);
    }
    if ((value & 0xff) == 0)
        soft_reset();
    d.set_status(static_cast<std::uint8_t>(value));
    update_irq();
}

void VirtioMmio::write_register(VirtioDevice& d, unsigned reg, std::uint32_t value)
{
    switch (reg) {
    case 0x14:
        host_features_sel_ = value != 0 ? 1 : 0;
        break;
    case 0x20:
        if (force_legacy_ && guest_features_sel_ == 0)
            d.set_features(value);
        else if (!force_legacy_ && (d.status() & virtio::kFeaturesOk) == 0)
            state_.guest_features[guest_features_sel_] = value;
        break;
    case 0x24:
        guest_features_sel_ = value != 0 ? 1 : 0;
        break;
    case 0x30:
        if (value < kVirtioMaxQueues)
            d.queue_sel = static_cast<std::uint16_t>(value);
        break;
    case 0x50:
        d.queue_notified(value);
        break;
    case 0x64:
        d.ack_isr(static_cast<std::uint8_t>(value));
        update_irq();
        break;
    case 0x70:
        write_status(d, value);
        break;
    default:
        if (force_legacy_)
            write_legacy(d, reg, value);
        else
            write_modern(d, reg, value);
        break;
    }
}

void VirtioMmio::write_legacy(VirtioDevice& d, unsigned reg, std::uint32_t value)
{
    VirtioQueue* queue = d.queue(d.queue_sel);
    switch (reg) {
    case 0x28:
        guest_page_shift_ =
            value != 0 ? static_cast<std::uint32_t>(std::countr_zero(std::bit_floor(value))) : 0;
        break;
    case 0x38:
        if (queue != nullptr && std::has_single_bit(value) && value <= kVirtioMaxRing)
            queue->num = value;
        break;
    case 0x3c:
        if (queue != nullptr && std::has_single_bit(value))
            queue->align = value;
        break;
    case 0x40:
        if (value == 0)
            d.set_status(0);
        else if (queue != nullptr)
            d.set_legacy_ring(d.queue_sel, std::uint64_t{value} << guest_page_shift_);
        break;
    default:
        break;
    }
}

void VirtioMmio::enable_queue(VirtioDevice& d, bool on)
{
    VirtioQueue* queue = d.queue(d.queue_sel);
    QueueRegs& regs = state_.queues[d.queue_sel];
    if (queue == nullptr)
        return;
    regs.enabled = on;
    if (!on) {
        d.reset_queue(d.queue_sel);
        return;
    }
    queue->num = regs.num != 0 ? regs.num : queue->num_default;
    queue->desc = wide(regs.desc);
    queue->avail = wide(regs.avail);
    queue->used = wide(regs.used);
    queue->last_avail = queue->used_idx = 0;
    queue->signalled_valid = false;
}

void VirtioMmio::write_modern(VirtioDevice& d, unsigned reg, std::uint32_t value)
{
    QueueRegs& regs = state_.queues[d.queue_sel];
    switch (reg) {
    case 0x38:
        if (std::has_single_bit(value) && value <= kVirtioMaxRing)
            regs.num = static_cast<std::uint16_t>(value);
        break;
    case 0x44:
        enable_queue(d, value != 0);
        break;
    case 0x80:
    case 0x84:
        regs.desc[reg == 0x84] = value;
        break;
    case 0x90:
    case 0x94:
        regs.avail[reg == 0x94] = value;
        break;
    case 0xa0:
    case 0xa4:
        regs.used[reg == 0xa4] = value;
        break;
    default:
        break;
    }
}

// --- life --------------------------------------------------------------------------------------

void VirtioMmio::soft_reset()
{
    host_features_sel_ = guest_features_sel_ = guest_page_shift_ = 0;
    state_.guest_features = {};
    std::ranges::fill(state_.queues, QueueRegs{});
    gpio_out("", 0).set(0);
}

Result<void> VirtioMmio::realize()
{
    if (index_ == 0xffffffff) {
        index_ = 0;
        for (const system::Device* other : vm().devices().devices())
            index_ += dynamic_cast<const VirtioMmio*>(other) != nullptr ? 1 : 0;
    }
    if (!force_legacy_)
        state_.queues.resize(kVirtioMaxQueues);
    bus_ = &static_cast<VirtioBus&>(add_bus(std::make_unique<VirtioBus>(
        fmt::format("virtio-mmio-bus.{}", index_), *this, static_cast<VirtioTransport&>(*this))));
    region_ = MappedRegion(vm().memory(), {.name = "virtio-mmio",
                                           .start = base_,
                                           .size = kBytes,
                                           .kind = system::RegionKind::Io,
                                           .io = this});
    return {};
}

// --- its part of the section -------------------------------------------------------------------

void VirtioMmio::save_head(StreamWriter& out)
{
    out.put_be32(host_features_sel_);
    out.put_be32(guest_features_sel_);
    out.put_be32(guest_page_shift_);
}

Result<void> VirtioMmio::load_head(StreamReader& in)
{
    const std::uint32_t host = GW_TRY(in.get_be32());
    const std::uint32_t guest = GW_TRY(in.get_be32());
    const std::uint32_t shift = GW_TRY(in.get_be32());
    if (host > 1 || guest > 1 || shift > 31)
        return in.error_here(Errc::BadFormat, "virtio-mmio selectors out of range");
    host_features_sel_ = host;
    guest_features_sel_ = guest;
    guest_page_shift_ = shift;
    return {};
}

void VirtioMmio::save_extra(StreamWriter& out)
{
    (void)save_state(out, kTransport, &state_);  // has no hooks that could fail
}

Result<void> VirtioMmio::load_extra(StreamReader& in)
{
    GW_TRY(load_state(in, kTransport, &state_, 1));
    for (const QueueRegs& regs : state_.queues)
        if (regs.num > kVirtioMaxRing || (regs.num & (regs.num - 1)) != 0)
            return in.error_here(Errc::BadFormat,
                                 fmt::format("virtio-mmio ring of {} entries", regs.num));
    return {};
}

Result<void> register_virtio(system::TypeRegistry& types)
{
    using system::property;
    GW_TRY(types.add(
        {.name = "virtio-device", .parent = "device", .abstract_type = true, .bus = "virtio-bus"}));
    GW_TRY(types.add({.name = "virtio-mmio",
                      .parent = "sys-bus-device",
                      .user_creatable = false,
                      .description = "virtio transport in memory",
                      .properties = {property<&VirtioMmio::base_>("base", 0),
                                     property<&VirtioMmio::force_legacy_>("force-legacy", true),
                                     property<&VirtioMmio::index_>("x-index", 0xffffffff)},
                      .create = [] { return std::make_unique<VirtioMmio>(); }}));
    GW_TRY(register_virtio_blk(types));
    return register_virtio_rng(types);
}

}  // namespace godwit::hw
