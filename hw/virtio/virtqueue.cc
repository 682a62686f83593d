// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Split rings in guest memory. Every number in them is a guest's to choose.
// Source: Virtio 1.2, section 2.7.
#include "hw/dma.h"
#include "hw/virtio.h"
#include "system/vm.h"
#include "util/log.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWrite = 2;
constexpr std::uint16_t kIndirectTable = 4;
constexpr std::uint16_t kNoInterrupt = 1;
constexpr std::uint32_t kDescBytes = 16;

struct Descriptor {
    std::uint64_t address;
    std::uint32_t length;
    std::uint16_t flags;
    std::uint16_t next;
};

Result<Descriptor> load_descriptor(system::AddressSpace& memory, std::uint64_t at)
{
    std::array<std::byte, kDescBytes> raw{};
    GW_TRY(dma_read(memory, at, raw));
    const auto le = [&](unsigned from, unsigned bytes) {
        std::uint64_t value = 0;
        for (unsigned n = bytes; n-- > 0;)
            value = value << 8 | static_cast<std::uint8_t>(raw[from + n]);
        return value;
    };
    return Descriptor{.address = le(0, 8),
                      .length = static_cast<std::uint32_t>(le(8, 4)),
                      .flags = static_cast<std::uint16_t>(le(12, 2)),
                      .next = static_cast<std::uint16_t>(le(14, 2))};
}

std::uint64_t total(const std::vector<VirtioElement::Piece>& pieces)
{
    std::uint64_t bytes = 0;
    for (const auto& piece : pieces)
        bytes += piece.length;
    return bytes;
}

}  // namespace

std::uint64_t VirtioElement::out_bytes() const noexcept
{
    return total(out);
}

std::uint64_t VirtioElement::in_bytes() const noexcept
{
    return total(in);
}

Result<std::uint16_t> VirtioDevice::load_u16(std::uint64_t address)
{
    std::array<std::byte, 2> raw{};
    GW_TRY(dma_read(vm().memory(), address, raw));
    return static_cast<std::uint16_t>(static_cast<unsigned>(raw[0]) | static_cast<unsigned>(raw[1])
                                                                          << 8);
}

Result<void> VirtioDevice::store_u16(std::uint64_t address, std::uint16_t value)
{
    const std::array<std::byte, 2> raw{static_cast<std::byte>(value),
                                       static_cast<std::byte>(value >> 8)};
    return dma_write(vm().memory(), address, raw);
}

void VirtioDevice::break_device(const Error& why)
{
    if (std::exchange(broken_, true))
        return;
    vm().log().report(Error(why).context(std::string(type_name())));
    if (has(virtio::kVersion1)) {
        status_ |= virtio::kNeedsReset;
        notify_config();
    }
}

// --- taking ------------------------------------------------------------------------------------

Result<void> VirtioDevice::walk(const VirtioQueue& queue, std::uint64_t table,
                                std::uint32_t entries, std::uint16_t head, bool indirect,
                                VirtioElement& element)
{
    std::uint16_t at = head;
    for (std::uint32_t hops = 0;; ++hops) {
        if (at >= entries)
            return Error(Errc::BadFormat, fmt::format("descriptor {} of {}", at, entries));
        if (hops >= entries)
            return Error(Errc::BadFormat, "Looped descriptor");
        const Descriptor d =
            GW_TRY(load_descriptor(vm().memory(), table + std::uint64_t{at} * kDescBytes));
        if ((d.flags & kIndirectTable) != 0) {
            if (indirect || d.length == 0 || d.length % kDescBytes != 0)
                return Error(Errc::BadFormat, "Invalid size for indirect buffer table");
            return walk(queue, d.address, std::min(d.length / kDescBytes, 65536u), 0, true,
                        element);
        }
        const bool writes = (d.flags & kWrite) != 0;
        if (!writes && !element.in.empty())
            return Error(Errc::BadFormat, "Incorrect order for descriptors");
        if (element.in.size() + element.out.size() >= kVirtioMaxRing)
            return Error(Errc::BadFormat, "too many buffers in one chain");
        (writes ? element.in : element.out).push_back({.address = d.address, .length = d.length});
        if ((d.flags & kNext) == 0)
            return {};
        at = d.next;
    }
}

Result<bool> VirtioDevice::pop(unsigned n, VirtioElement& element)
{
    VirtioQueue& queue = queues_.at(n);
    element = {};
    if (broken_ || queue.desc == 0 || queue.num == 0)
        return false;
    auto taken = [&]() -> Result<bool> {
        const std::uint16_t avail_idx = GW_TRY(load_u16(queue.avail + 2));
        const auto waiting = static_cast<std::uint16_t>(avail_idx - queue.last_avail);
        if (waiting == 0)
            return false;
        if (waiting > queue.num)
            return Error(Errc::BadFormat, fmt::format("Guest moved used index from {} to {}",
                                                      queue.last_avail, avail_idx));
        const std::uint64_t slot = queue.avail + 4 + 2 * (queue.last_avail % queue.num);
        element.head = GW_TRY(load_u16(slot));
        GW_TRY(walk(queue, queue.desc, queue.num, element.head, false, element));
        ++queue.last_avail;
        if (has(virtio::kEventIdx))
            GW_TRY(store_u16(queue.used + 4 + 8 * std::uint64_t{queue.num}, queue.last_avail));
        return true;
    }();
    if (!taken)
        break_device(taken.error());
    return taken;
}

void VirtioDevice::unpop(unsigned n)
{
    --queues_.at(n).last_avail;
}

// --- giving back -------------------------------------------------------------------------------

void VirtioDevice::push(unsigned n, const VirtioElement& element, std::uint32_t written)
{
    VirtioQueue& queue = queues_.at(n);
    if (broken_ || queue.used == 0)
        return;
    std::array<std::byte, 8> entry{};
    for (unsigned i = 0; i < 2; ++i)
        entry[i] = static_cast<std::byte>(element.head >> (8 * i));
    for (unsigned i = 0; i < 4; ++i)
        entry[4 + i] = static_cast<std::byte>(written >> (8 * i));
    const auto done = [&]() -> Result<void> {
        GW_TRY(dma_write(vm().memory(), queue.used + 4 + 8 * (queue.used_idx % queue.num), entry));
        ++queue.used_idx;
        return store_u16(queue.used + 2, queue.used_idx);
    }();
    if (!done)
        break_device(done.error());
}

bool VirtioDevice::wants_interrupt(VirtioQueue& queue)
{
    if (!has(virtio::kEventIdx)) {
        const auto flags = load_u16(queue.avail);
        return flags && (*flags & kNoInterrupt) == 0;
    }
    const std::uint16_t old = std::exchange(queue.signalled_used, queue.used_idx);
    const bool valid = std::exchange(queue.signalled_valid, true);
    const auto event = load_u16(queue.avail + 4 + 2 * std::uint64_t{queue.num});
    if (!event)
        return false;
    const auto since_event = static_cast<std::uint16_t>(queue.used_idx - *event - 1);
    const auto since_signal = static_cast<std::uint16_t>(queue.used_idx - old);
    return !valid || since_event < since_signal;
}

void VirtioDevice::notify(unsigned n)
{
    VirtioQueue& queue = queues_.at(n);
    if (broken_ || queue.avail == 0 || transport_ == nullptr || !wants_interrupt(queue))
        return;
    isr_ |= 1;
    transport_->notify_queue(n);
}

void VirtioDevice::notify_config()
{
    if ((status_ & virtio::kDriverOk) == 0 || transport_ == nullptr)
        return;
    isr_ |= 3;
    transport_->notify_config();
}

// --- data --------------------------------------------------------------------------------------

Result<std::size_t> VirtioDevice::read_out(const VirtioElement& element, std::uint64_t offset,
                                           std::span<std::byte> data)
{
    std::size_t moved = 0;
    for (const auto& piece : element.out) {
        if (offset >= piece.length) {
            offset -= piece.length;
            continue;
        }
        const std::size_t here =
            std::min<std::uint64_t>(data.size() - moved, piece.length - offset);
        GW_TRY(dma_read(vm().memory(), piece.address + offset, data.subspan(moved, here)));
        moved += here;
        offset = 0;
    }
    return moved;
}

Result<std::size_t> VirtioDevice::write_in(const VirtioElement& element, std::uint64_t offset,
                                           std::span<const std::byte> data)
{
    std::size_t moved = 0;
    for (const auto& piece : element.in) {
        if (offset >= piece.length) {
            offset -= piece.length;
            continue;
        }
        const std::size_t here =
            std::min<std::uint64_t>(data.size() - moved, piece.length - offset);
        GW_TRY(dma_write(vm().memory(), piece.address + offset, data.subspan(moved, here)));
        moved += here;
        offset = 0;
    }
    return moved;
}

}  // namespace godwit::hw
