// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/intc/its_tables.h"

#include "hw/dma.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <span>
#include <utility>

namespace godwit::hw {
namespace {

using system::AddressSpace;
using system::GuestAddr;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPageEntries = kPage / kItsEntryBytes;
constexpr std::uint64_t kValid = std::uint64_t{1} << 63;
constexpr std::uint64_t kAddress52 = 0x000ffffffffff000;
constexpr std::uint64_t kDevices = std::uint64_t{1} << kItsDeviceBits;

using Page = std::array<std::uint64_t, kPageEntries>;

std::uint64_t bits(std::uint64_t value, unsigned high, unsigned low)
{
    return value >> low & ((std::uint64_t{1} << (high - low + 1)) - 1);
}

// Device table entry: valid 63, next 62:49, address of the ITT 48:5 (its bits 51:8), size 4:0.
constexpr std::uint64_t kMaxDeviceStep = (1 << 14) - 1;
// Interrupt translation entry: next 63:48, INTID 47:16, collection 15:0.
constexpr std::uint64_t kMaxEventStep = (1 << 16) - 1;
// Collection table entry: valid 63, target 51:16, collection 15:0.

std::uint64_t device_entry(const ItsDevice& device, std::uint64_t step)
{
    return kValid | std::min(step, kMaxDeviceStep) << 49 | bits(device.table, 51, 8) << 5 |
           (device.event_bits - 1);
}

std::uint64_t event_entry(const ItsEvent& event, std::uint64_t step)
{
    return std::min(step, kMaxEventStep) << 48 | std::uint64_t{event.intid} << 16 |
           event.collection;
}

std::uint64_t collection_entry(std::uint16_t collection, std::uint32_t processor)
{
    return kValid | std::uint64_t{processor} << 16 | collection;
}

/// Writes tables page by page, only where they change.
class Flusher {
public:
    Flusher(AddressSpace& memory, const ItsTables::Mistake& mistake)
        : memory_(memory), mistake_(mistake)
    {}
    std::uint64_t pages() const noexcept { return pages_; }

    /// `fill` puts the entries from number `first` on into a page of zeros.
    template <class Fill>
    void table(GuestAddr at, std::uint64_t entries, std::uint64_t first, Fill fill)
    {
        for (std::uint64_t done = 0; done < entries; done += kPageEntries) {
            const std::uint64_t count = std::min(kPageEntries, entries - done);
            Page wanted{};
            fill(std::span(wanted).first(count), first + done);
            write(at + done * kItsEntryBytes, std::span(wanted).first(count));
        }
    }

private:
    void write(GuestAddr at, std::span<const std::uint64_t> wanted)
    {
        Page there{};
        const auto now = std::span(there).first(wanted.size());
        if (!dma_read(memory_, at, std::as_writable_bytes(now))) {
            mistake_();
            return;
        }
        if (std::ranges::equal(now, wanted))
            return;
        if (!dma_write(memory_, at, std::as_bytes(wanted)))
            mistake_();
        ++pages_;
    }

    AddressSpace& memory_;
    const ItsTables::Mistake& mistake_;
    std::uint64_t pages_ = 0;
};

/// The entries of a sorted map that lie in [first, first + into.size()), with the step to the next.
template <class Map, class Make>
void fill_page(std::span<std::uint64_t> into, std::uint64_t first, const Map& map, Make make)
{
    for (auto it = map.lower_bound(static_cast<typename Map::key_type>(first));
         it != map.end() && it->first - first < into.size(); ++it) {
        const auto next = std::next(it);
        into[it->first - first] = make(it->second, next == map.end() ? 0 : next->first - it->first);
    }
}

std::optional<std::uint64_t> read_entry(AddressSpace& memory, GuestAddr at)
{
    std::uint64_t entry = 0;
    if (!dma_read(memory, at, std::as_writable_bytes(std::span(&entry, 1))))
        return std::nullopt;
    return entry;
}

/// Calls `each(first, address, entries)` for the parts of the device table that are there.
template <class Each>
void each_device_part(AddressSpace& memory, const ItsTableBase& table, Each each)
{
    if (!table.valid)
        return;
    if (!table.indirect) {
        each(std::uint64_t{0}, table.address, std::min(kDevices, table.bytes / kItsEntryBytes));
        return;
    }
    const std::uint64_t entries = table.page_bytes / kItsEntryBytes;
    for (std::uint64_t first = 0; first < kDevices; first += entries)
        if (const auto at = its_device_entry(memory, table, static_cast<std::uint32_t>(first)))
            each(first, *at, entries);
}

}  // namespace

ItsTableBase ItsTableBase::decode(std::uint64_t baser) noexcept
{
    const std::uint64_t size = bits(baser, 9, 8);
    const std::uint64_t page = size == 0 ? 4096 : size == 1 ? 16384 : 65536;
    return {.valid = (baser & kValid) != 0,
            .indirect = bits(baser, 62, 62) != 0,
            .address = bits(baser, 47, 12) << 12 & ~(page - 1),
            .page_bytes = page,
            .bytes = (bits(baser, 7, 0) + 1) * page};
}

std::optional<GuestAddr> its_device_entry(AddressSpace& memory, const ItsTableBase& table,
                                          std::uint32_t device)
{
    if (!table.valid || device >= kDevices)
        return std::nullopt;
    if (!table.indirect) {
        const std::uint64_t at = device * kItsEntryBytes;
        return at < table.bytes ? std::optional(table.address + at) : std::nullopt;
    }
    const std::uint64_t entries = table.page_bytes / kItsEntryBytes;
    const std::uint64_t first = device / entries * kItsEntryBytes;
    if (first >= table.bytes)
        return std::nullopt;
    const auto entry = read_entry(memory, table.address + first);
    if (!entry || (*entry & kValid) == 0)
        return std::nullopt;
    return (*entry & kAddress52 & ~(table.page_bytes - 1)) + device % entries * kItsEntryBytes;
}

ItsDevice* ItsTables::find(std::uint32_t device) noexcept
{
    const auto found = devices_.find(device);
    return found == devices_.end() ? nullptr : &found->second;
}

void ItsTables::unmap(std::uint32_t number)
{
    const auto found = devices_.find(number);
    if (found == devices_.end())
        return;
    table_bytes_ -= found->second.table_bytes();
    devices_.erase(found);
}

bool ItsTables::map(std::uint32_t number, ItsDevice device)
{
    const ItsDevice* old = find(number);
    const std::uint64_t others = table_bytes_ - (old != nullptr ? old->table_bytes() : 0);
    if (device.event_bits > kItsEventBits || others + device.table_bytes() > kItsMaxTableBytes)
        return false;
    unmap(number);
    table_bytes_ += device.table_bytes();
    devices_[number] = std::move(device);
    return true;
}

void ItsTables::clear()
{
    devices_.clear();
    table_bytes_ = 0;
    collections.clear();
}

std::size_t ItsTables::event_count() const
{
    std::size_t sum = 0;
    for (const auto& [id, device] : devices_)
        sum += device.events.size();
    return sum;
}

std::optional<ItsTarget> ItsTables::translate(std::uint32_t device, std::uint32_t event) const
{
    const auto d = devices_.find(device);
    if (d == devices_.end())
        return std::nullopt;
    const auto e = d->second.events.find(event);
    if (e == d->second.events.end())
        return std::nullopt;
    const auto c = collections.find(e->second.collection);
    if (c == collections.end())
        return std::nullopt;
    return ItsTarget{.intid = e->second.intid, .processor = c->second};
}

std::uint64_t ItsTables::flush(AddressSpace& memory, const ItsTableBase& device_table,
                               const ItsTableBase& collection_table, const Mistake& mistake) const
{
    Flusher flusher(memory, mistake);
    each_device_part(memory, device_table,
                     [&](std::uint64_t first, GuestAddr at, std::uint64_t entries) {
                         flusher.table(at, entries, first, [&](auto page, std::uint64_t n) {
                             fill_page(page, n, devices_, device_entry);
                         });
                     });
    for (const auto& [id, device] : devices_)
        flusher.table(
            device.table, std::uint64_t{1} << device.event_bits, 0,
            [&](auto page, std::uint64_t n) { fill_page(page, n, device.events, event_entry); });
    if (!collection_table.valid)
        return flusher.pages();
    // No index: entries stand one behind the other, and the first that is not valid ends them.
    const std::uint64_t room = collection_table.bytes / kItsEntryBytes;
    auto next = collections.begin();
    flusher.table(collection_table.address, std::min<std::uint64_t>(room, collections.size() + 1),
                  0, [&](auto page, std::uint64_t) {
                      for (std::uint64_t& entry : page) {
                          if (next == collections.end())
                              break;
                          entry = collection_entry(next->first, next->second);
                          ++next;
                      }
                  });
    return flusher.pages();
}

void ItsTables::load(AddressSpace& memory, const ItsTableBase& device_table,
                     const ItsTableBase& collection_table, const Mistake& mistake)
{
    clear();
    load_collections(memory, collection_table, mistake);
    load_devices(memory, device_table, mistake);
}

void ItsTables::load_collections(AddressSpace& memory, const ItsTableBase& table,
                                 const Mistake& mistake)
{
    if (!table.valid)
        return;
    const std::uint64_t room =
        std::min(table.bytes / kItsEntryBytes, std::uint64_t{1} << kItsCollectionBits);
    for (std::uint64_t n = 0; n < room; ++n) {
        const auto entry = read_entry(memory, table.address + n * kItsEntryBytes);
        if (!entry)
            return mistake();
        if ((*entry & kValid) == 0)
            return;
        const auto collection = static_cast<std::uint16_t>(bits(*entry, 15, 0));
        if (collection >= table.bytes / kItsEntryBytes || collections.contains(collection)) {
            mistake();
            continue;
        }
        collections[collection] = static_cast<std::uint32_t>(bits(*entry, 47, 16));
    }
}

void ItsTables::load_devices(AddressSpace& memory, const ItsTableBase& table,
                             const Mistake& mistake)
{
    each_device_part(memory, table, [&](std::uint64_t first, GuestAddr at, std::uint64_t entries) {
        std::uint64_t n = 0;
        while (n < entries) {
            const auto entry = read_entry(memory, at + n * kItsEntryBytes);
            if (!entry)
                return mistake();
            if ((*entry & kValid) == 0) {
                ++n;
                continue;
            }
            ItsDevice device{.table = bits(*entry, 48, 5) << 8,
                             .event_bits = static_cast<unsigned>(bits(*entry, 4, 0)) + 1};
            const auto number = static_cast<std::uint32_t>(first + n);
            if (map(number, std::move(device)))
                load_events(memory, *find(number), mistake);
            else
                mistake();
            const std::uint64_t step = bits(*entry, 62, 49);
            if (step == 0)
                return;
            n += step;
        }
    });
}

void ItsTables::load_events(AddressSpace& memory, ItsDevice& device, const Mistake& mistake)
{
    const std::uint64_t entries = std::uint64_t{1} << device.event_bits;
    std::uint64_t n = 0;
    while (n < entries) {
        const auto entry = read_entry(memory, device.table + n * kItsEntryBytes);
        if (!entry)
            return mistake();
        const auto intid = static_cast<std::uint32_t>(bits(*entry, 47, 16));
        if (intid == 0) {
            ++n;
            continue;
        }
        if (intid < kItsFirstLpi || intid >= 1u << kItsIdBits)
            mistake();
        else
            device.events[static_cast<std::uint32_t>(n)] = {
                .intid = intid, .collection = static_cast<std::uint16_t>(bits(*entry, 15, 0))};
        const std::uint64_t step = bits(*entry, 63, 48);
        if (step == 0)
            return;
        n += step;
    }
}

}  // namespace godwit::hw
