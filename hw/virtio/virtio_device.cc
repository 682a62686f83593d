// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/virtio.h"
#include "system/vm.h"

#include <algorithm>

namespace godwit::hw {

Result<void> VirtioBus::check_plug(system::Device& device)
{
    if (dynamic_cast<VirtioDevice*>(&device) == nullptr)
        return Error(Errc::InvalidArgument, "only virtio devices go on a virtio bus");
    if (full())
        return Error(Errc::Busy, "Bus '" + name() + "' is full");
    return {};
}

VirtioDevice* VirtioBus::device() const noexcept
{
    return devices().empty() ? nullptr : dynamic_cast<VirtioDevice*>(devices().front());
}

VirtioDevice::VirtioDevice(std::uint16_t id, std::string section,
                           migration::stream::Version version)
    : id_(id), section_(std::move(section)), version_(version)
{}

VirtioDevice::~VirtioDevice() = default;

Result<void> VirtioDevice::realize()
{
    auto* bus = dynamic_cast<VirtioBus*>(parent_bus());
    if (bus == nullptr)
        return Error(Errc::InvalidArgument, std::string(type_name()) + " needs a virtio bus");
    transport_ = &bus->transport();
    queues_.clear();
    return {};
}

std::uint64_t VirtioDevice::offered() const
{
    // Ring reset is always in the stream's feature word, though a legacy driver cannot see it.
    std::uint64_t all = device_features() | virtio::kIndirect | virtio::kEventIdx |
                        virtio::kNotifyOnEmpty | virtio::kAnyLayout | virtio::kRingReset;
    if (legacy() && !legacy_any_layout())
        all &= ~virtio::kAnyLayout;
    if (transport_ != nullptr && !transport_->legacy())
        all |= virtio::kVersion1;
    return all;
}

unsigned VirtioDevice::add_queue(std::uint32_t entries)
{
    queues_.push_back({.num = entries, .num_default = entries});
    return static_cast<unsigned>(queues_.size() - 1);
}

void VirtioDevice::reset_queue(unsigned n)
{
    VirtioQueue& queue = queues_.at(n);
    queue = {.num = queue.num_default, .num_default = queue.num_default};
}

void VirtioDevice::reset_device()
{
    device_reset();
    status_ = 0;
    isr_ = 0;
    features_ = 0;
    queue_sel = 0;
    broken_ = false;
    for (unsigned n = 0; n < queues_.size(); ++n)
        reset_queue(n);
}

void VirtioDevice::set_status(std::uint8_t status)
{
    if (status == 0) {
        reset_device();
        return;
    }
    // The device alone decides on NEEDS_RESET.
    status_ = static_cast<std::uint8_t>((status & ~virtio::kNeedsReset) |
                                        (status_ & virtio::kNeedsReset));
    status_changed();
}

void VirtioDevice::set_legacy_ring(unsigned n, std::uint64_t desc)
{
    VirtioQueue& queue = queues_.at(n);
    queue.desc = desc;
    queue.avail = desc == 0 ? 0 : desc + 16 * std::uint64_t{queue.num};
    const std::uint64_t align = std::max(queue.align, 1u);
    const std::uint64_t end = queue.avail + 4 + 2 * std::uint64_t{queue.num} + 2;
    queue.used = desc == 0 ? 0 : (end + align - 1) / align * align;
    queue.last_avail = queue.used_idx = 0;
    queue.signalled_valid = false;
}

void VirtioDevice::queue_notified(unsigned n)
{
    if (n < queues_.size() && queues_[n].desc != 0 && !broken_)
        handle_queue(n);
}

std::uint64_t VirtioDevice::read_config(std::uint64_t offset, unsigned size)
{
    if (offset + size > config_.size() || offset + size < offset)
        return ~std::uint64_t{0};
    refresh_config();
    std::uint64_t value = 0;
    for (unsigned n = size; n-- > 0;)
        value = value << 8 | config_[offset + n];
    return value;
}

void VirtioDevice::write_config(std::uint64_t offset, std::uint64_t value, unsigned size)
{
    if (offset + size > config_.size() || offset + size < offset)
        return;
    for (unsigned n = 0; n < size; ++n, value >>= 8)
        config_[offset + n] = static_cast<std::uint8_t>(value);
    config_written();
}

}  // namespace godwit::hw
