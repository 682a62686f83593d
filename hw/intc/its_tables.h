// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What an interrupt translation service knows, and the tables in guest RAM it comes from and goes
// to. Nothing here runs while the guest does: the device works from the caches, the tables are
// written before a migration's last dirty sync and read back on the other side.
#pragma once

#include "system/address_space.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>

namespace godwit::hw {

inline constexpr unsigned kItsDeviceBits = 16;
inline constexpr unsigned kItsEventBits = 16;
inline constexpr unsigned kItsCollectionBits = 16;
inline constexpr unsigned kItsIdBits = 16;
inline constexpr std::uint32_t kItsFirstLpi = 8192;
inline constexpr std::uint64_t kItsEntryBytes = 8;
/// Bytes of all interrupt translation tables together; a guest that wants more is told that its
/// table is out of range. Bounds what it can make us remember, and how long a flush takes.
inline constexpr std::uint64_t kItsMaxTableBytes = 4 << 20;

/// One interrupt of a device.
struct ItsEvent {
    std::uint32_t intid = 0;
    std::uint16_t collection = 0;
    bool operator==(const ItsEvent&) const = default;
};

/// A device and its interrupt translation table.
struct ItsDevice {
    system::GuestAddr table = 0;
    unsigned event_bits = 1;
    std::map<std::uint32_t, ItsEvent> events;
    std::uint64_t table_bytes() const noexcept { return kItsEntryBytes << event_bits; }
    bool operator==(const ItsDevice&) const = default;
};

/// What GITS_BASER<n> says about a table.
struct ItsTableBase {
    bool valid = false;
    bool indirect = false;
    system::GuestAddr address = 0;
    std::uint64_t page_bytes = 4096;
    std::uint64_t bytes = 0;
    static ItsTableBase decode(std::uint64_t baser) noexcept;
};

/// Where an event goes.
struct ItsTarget {
    std::uint32_t intid = 0;
    std::uint32_t processor = 0;
};

/// The caches.
///
/// Threads  with the machine lock.
/// Errors   none: guests make mistakes, which are reported through `mistake`.
/// Source   table formats: Linux, Documentation/virt/kvm/devices/arm-vgic-its.rst, "ITS table ABI
///          revision 0"; structures: Arm IHI 0069, chapter 5.
class ItsTables {
public:
    using Mistake = std::function<void()>;

    std::map<std::uint16_t, std::uint32_t> collections;  ///< to a processor number

    const std::map<std::uint32_t, ItsDevice>& devices() const noexcept { return devices_; }
    ItsDevice* find(std::uint32_t device) noexcept;
    /// Replaces the device with this number, its events with it. False: its table is too large.
    bool map(std::uint32_t number, ItsDevice device);
    void unmap(std::uint32_t number);
    void clear();
    bool operator==(const ItsTables&) const = default;
    std::size_t event_count() const;
    std::optional<ItsTarget> translate(std::uint32_t device, std::uint32_t event) const;

    /// Puts everything into guest RAM. Only pages that differ are written. Returns their number.
    std::uint64_t flush(system::AddressSpace& memory, const ItsTableBase& device_table,
                        const ItsTableBase& collection_table, const Mistake& mistake) const;
    /// Replaces the caches by what stands in guest RAM.
    void load(system::AddressSpace& memory, const ItsTableBase& device_table,
              const ItsTableBase& collection_table, const Mistake& mistake);

private:
    void load_devices(system::AddressSpace& memory, const ItsTableBase& table,
                      const Mistake& mistake);
    void load_collections(system::AddressSpace& memory, const ItsTableBase& table,
                          const Mistake& mistake);
    static void load_events(system::AddressSpace& memory, ItsDevice& device,
                            const Mistake& mistake);

    std::map<std::uint32_t, ItsDevice> devices_;
    std::uint64_t table_bytes_ = 0;  // of all devices
};

/// Where the entry of `device` lies; nothing when the table has no room for it.
std::optional<system::GuestAddr> its_device_entry(system::AddressSpace& memory,
                                                  const ItsTableBase& table, std::uint32_t device);

}  // namespace godwit::hw
