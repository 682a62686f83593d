// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Accesses of an address space: RAM through the published view without a lock, registers with the
// machine lock.
#include "system/address_space_private.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fmt/format.h>

namespace godwit::system {

static_assert(std::endian::native == std::endian::little, "guest and host share the byte order");

namespace {

constexpr unsigned kMaxAccess = 8;

constexpr std::uint64_t ones(unsigned size) noexcept
{
    return size >= kMaxAccess ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * size)) - 1;
}

Error nothing_at(GuestAddr address)
{
    return Error(Errc::NotFound, fmt::format("nothing is at guest address {:#x}", address));
}

std::byte* host_of(const MemorySection& section, GuestAddr address) noexcept
{
    return section.block->host() + section.block_offset + (address - section.start);
}

bool whole(const MemorySection& section, GuestAddr address, std::uint64_t size) noexcept
{
    return size <= section.size - (address - section.start);
}

/// Constant sizes become single moves, which a guest on another processor sees as a whole.
std::uint64_t load_host(const std::byte* from, unsigned size) noexcept
{
    const auto get = [from]<class T>(T value) -> std::uint64_t {
        std::memcpy(&value, from, sizeof value);
        return value;
    };
    switch (size) {
    case 1:
        return get(std::uint8_t{});
    case 2:
        return get(std::uint16_t{});
    case 4:
        return get(std::uint32_t{});
    default:
        return get(std::uint64_t{});
    }
}

void store_host(std::byte* to, std::uint64_t value, unsigned size) noexcept
{
    const auto put = [to](auto narrow) { std::memcpy(to, &narrow, sizeof narrow); };
    switch (size) {
    case 1:
        return put(static_cast<std::uint8_t>(value));
    case 2:
        return put(static_cast<std::uint16_t>(value));
    case 4:
        return put(static_cast<std::uint32_t>(value));
    default:
        return put(value);
    }
}

bool reads_from_block(const MemorySection& section) noexcept
{
    return section.block != nullptr;
}

bool writes_to_block(const MemorySection& section) noexcept
{
    return section.kind == RegionKind::Ram && section.block->writable();
}

/// Whether a write has to ask a handler.
bool writes_to_io(const MemorySection& section) noexcept
{
    return section.io && (section.kind == RegionKind::Io || section.kind == RegionKind::RomDevice);
}

void store_marked(const MemorySection& section, GuestAddr address, std::span<const std::byte> from)
{
    std::memcpy(host_of(section, address), from.data(), from.size());
    section.block->mark_dirty(section.block_offset + (address - section.start), from.size());
}

std::uint64_t read_handler(IoHandler& io, GuestAddr offset, unsigned size)
{
    const unsigned widest = std::clamp(io.max_access(), 1u, kMaxAccess);
    const unsigned narrowest = std::clamp(io.min_access(), 1u, widest);
    if (size > widest) {
        std::uint64_t value = 0;
        for (unsigned at = 0; at < size; at += widest)
            value |= (io.read(offset + at, widest) & ones(widest)) << (8 * at);
        return value;
    }
    if (size >= narrowest)
        return io.read(offset, size) & ones(size);
    std::uint64_t value = 0;
    for (unsigned at = 0; at < size;) {  // a piece at a time, each within one register
        const GuestAddr reg = (offset + at) & ~GuestAddr{narrowest - 1};
        const auto skip = static_cast<unsigned>(offset + at - reg);
        const unsigned piece = std::min(size - at, narrowest - skip);
        value |= ((io.read(reg, narrowest) >> (8 * skip)) & ones(piece)) << (8 * at);
        at += piece;
    }
    return value;
}

void write_handler(IoHandler& io, GuestAddr offset, std::uint64_t value, unsigned size)
{
    const unsigned widest = std::clamp(io.max_access(), 1u, kMaxAccess);
    if (size < io.min_access())
        return;
    for (unsigned at = 0; at < size; at += widest) {
        const unsigned piece = std::min(size, widest);
        io.write(offset + at, (value >> (8 * at)) & ones(piece), piece);
    }
}

/// The largest naturally aligned access at `address` within `remaining` bytes.
unsigned natural_access(GuestAddr address, std::uint64_t remaining) noexcept
{
    unsigned size = kMaxAccess;
    while (size > 1 && (address % size != 0 || size > remaining))
        size /= 2;
    return size;
}

/// Calls visit(section or null, address, length) for each piece of the range, lowest first. The
/// reader is not held while a handler runs: visit() is told so by a section without a block.
template <class Impl, class Memory, class Other>
void for_each_piece(const Impl& impl, GuestAddr address, std::uint64_t length, Memory&& memory,
                    Other&& other)
{
    while (length > 0) {
        std::uint64_t done = 0;
        bool hole = true;
        {
            const ViewPublisher::Reader view(impl.publisher);
            const MemorySection* section = view->find(address);
            if (section) {
                done = std::min(length, section->size - (address - section->start));
                if (memory(*section, address, done)) {
                    address += done;
                    length -= done;
                    continue;
                }
                hole = false;
            } else {
                done = std::min(length, std::max<std::uint64_t>(view->hole_length(address), 1));
            }
        }
        other(hole, address, done);
        address += done;
        length -= done;
    }
}

}  // namespace

namespace {

/// Where an access that no memory answers goes.
struct Target {
    IoHandler* io = nullptr;
    GuestAddr offset = 0;
    bool split = false;  ///< it crosses the end of something: a byte at a time
};

Target target_of(const FlatView& view, GuestAddr address, unsigned size, bool write) noexcept
{
    const MemorySection* section = view.find(address);
    if (!section)
        return {.split = size > 1 && view.hole_length(address) < size};
    if (!whole(*section, address, size))
        return {.split = true};
    if (!section->io || (write && !writes_to_io(*section)))
        return {};
    return {.io = section->io, .offset = section->io_offset + (address - section->start)};
}

std::optional<std::uint64_t> load_memory(const FlatView& view, GuestAddr address, unsigned size)
{
    const MemorySection* section = view.find(address);
    if (!section || !whole(*section, address, size) || !reads_from_block(*section))
        return std::nullopt;
    return load_host(host_of(*section, address), size);
}

bool store_memory(const FlatView& view, GuestAddr address, std::uint64_t value, unsigned size)
{
    const MemorySection* section = view.find(address);
    if (!section || !whole(*section, address, size) || !writes_to_block(*section))
        return false;
    store_host(host_of(*section, address), value, size);
    section->block->mark_dirty(section->block_offset + (address - section->start), size);
    return true;
}

}  // namespace

// Twice the same question: without the lock, which is enough for memory, and with it, under which
// the view does not change until the handler is called.
std::uint64_t AddressSpace::load(GuestAddr address, unsigned size)
{
    if (const auto value = load_memory(*ViewPublisher::Reader(impl_->publisher), address, size))
        return *value;
    const MachineGuardIfNeeded guard(impl_->lock);
    if (const auto value = load_memory(*ViewPublisher::Reader(impl_->publisher), address, size))
        return *value;
    const Target target = target_of(*ViewPublisher::Reader(impl_->publisher), address, size, false);
    if (target.io)
        return read_handler(*target.io, target.offset, size);
    if (!target.split)
        return ones(size);
    std::uint64_t value = 0;
    for (unsigned at = 0; at < size; ++at)
        value |= load(address + at, 1) << (8 * at);
    return value;
}

void AddressSpace::store(GuestAddr address, std::uint64_t value, unsigned size)
{
    if (store_memory(*ViewPublisher::Reader(impl_->publisher), address, value, size))
        return;
    const MachineGuardIfNeeded guard(impl_->lock);
    if (store_memory(*ViewPublisher::Reader(impl_->publisher), address, value, size))
        return;
    const Target target = target_of(*ViewPublisher::Reader(impl_->publisher), address, size, true);
    if (target.io)
        return write_handler(*target.io, target.offset, value, size);
    for (unsigned at = 0; target.split && at < size; ++at)
        store(address + at, (value >> (8 * at)) & 0xff, 1);
}

Result<void> AddressSpace::read(GuestAddr address, std::span<std::byte> into)
{
    std::optional<GuestAddr> first_hole;
    const GuestAddr base = address;
    for_each_piece(
        *impl_, address, into.size(),
        [&](const MemorySection& section, GuestAddr at, std::uint64_t length) {
            if (!reads_from_block(section))
                return false;
            std::memcpy(into.data() + (at - base), host_of(section, at), length);
            return true;
        },
        [&](bool hole, GuestAddr at, std::uint64_t length) {
            if (hole) {
                std::memset(into.data() + (at - base), 0xff, length);
                first_hole = first_hole.value_or(at);
                return;
            }
            for (const GuestAddr end = at + length; at < end;) {
                const unsigned size = natural_access(at, end - at);
                const std::uint64_t value = load(at, size);
                std::memcpy(into.data() + (at - base), &value, size);
                at += size;
            }
        });
    if (first_hole)
        return nothing_at(*first_hole);
    return {};
}

Result<void> AddressSpace::write(GuestAddr address, std::span<const std::byte> from)
{
    std::optional<GuestAddr> first_hole;
    const GuestAddr base = address;
    for_each_piece(
        *impl_, address, from.size(),
        [&](const MemorySection& section, GuestAddr at, std::uint64_t length) {
            if (writes_to_io(section))
                return false;
            if (writes_to_block(section))
                store_marked(section, at, from.subspan(at - base, length));
            return true;
        },
        [&](bool hole, GuestAddr at, std::uint64_t length) {
            if (hole) {
                first_hole = first_hole.value_or(at);
                return;
            }
            for (const GuestAddr end = at + length; at < end;) {
                const unsigned size = natural_access(at, end - at);
                std::uint64_t value = 0;
                std::memcpy(&value, from.data() + (at - base), size);
                store(at, value, size);
                at += size;
            }
        });
    if (first_hole)
        return nothing_at(*first_hole);
    return {};
}

Result<void> AddressSpace::write_rom(GuestAddr address, std::span<const std::byte> from)
{
    std::optional<GuestAddr> first_other;
    const GuestAddr base = address;
    for_each_piece(
        *impl_, address, from.size(),
        [&](const MemorySection& section, GuestAddr at, std::uint64_t length) {
            if (!section.block || !section.block->writable())
                return false;
            store_marked(section, at, from.subspan(at - base, length));
            return true;
        },
        [&](bool, GuestAddr at, std::uint64_t) { first_other = first_other.value_or(at); });
    if (first_other)
        return Error(Errc::NotFound,
                     fmt::format("neither RAM nor ROM is at guest address {:#x}", *first_other));
    return {};
}

Result<void> AddressSpace::fill(GuestAddr address, std::uint64_t length, std::uint8_t value)
{
    std::array<std::byte, 4096> pattern;
    pattern.fill(std::byte{value});
    Result<void> result;
    while (length > 0) {
        const std::uint64_t piece = std::min<std::uint64_t>(length, pattern.size());
        auto written = write(address, std::span(pattern).first(piece));
        if (result && !written)
            result = std::move(written);
        address += piece;
        length -= piece;
    }
    return result;
}

std::byte* AddressSpace::ram_pointer(GuestAddr address, std::uint64_t length) const
{
    const ViewPublisher::Reader view(impl_->publisher);
    const MemorySection* section = view->find(address);
    if (!section || !whole(*section, address, length) || !writes_to_block(*section))
        return nullptr;
    return host_of(*section, address);
}

std::shared_ptr<const std::vector<MemorySection>> AddressSpace::view() const
{
    const auto view = impl_->publisher.current();
    return {view, &view->sections()};
}

std::optional<MemorySection> AddressSpace::find(GuestAddr address) const
{
    const ViewPublisher::Reader view(impl_->publisher);
    const MemorySection* section = view->find(address);
    return section ? std::optional(*section) : std::nullopt;
}

}  // namespace godwit::system
