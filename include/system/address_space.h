// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the guest finds at an address: RAM, ROM, MMIO or a port. Regions overlap by priority; a
// commit tells the listeners what changed in the resulting flat view.
#pragma once

#include "system/guest_memory.h"
#include "util/registration.h"
#include "util/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace godwit::system {

class MainLoop;
class MachineLock;
class MemoryListener;

/// A guest-physical address (or a port number, in the I/O space).
using GuestAddr = std::uint64_t;

/// A device's registers.
///
/// Units    offset in bytes from the region's start; size 1, 2, 4 or 8; value in the low bytes.
/// Threads  with the machine lock.
/// Errors   none: hardware answers something. Reads of nothing are all ones (ports) or zero (MMIO:
/// as the
///          device says).
class IoHandler {
public:
    virtual ~IoHandler() = default;
    virtual std::uint64_t read(GuestAddr offset, unsigned size) = 0;
    virtual void write(GuestAddr offset, std::uint64_t value, unsigned size) = 0;
    /// Widest access the handler takes at once; wider ones are split, lowest address first.
    virtual unsigned max_access() const { return 8; }
    /// Narrowest; narrower ones are widened (reads) or refused silently (writes).
    virtual unsigned min_access() const { return 1; }
};

enum class RegionKind { Ram, Rom, RomDevice, Io };

/// What is added to an address space. Higher priority hides lower; equal priority: the later one
/// wins.
struct RegionSpec {
    std::string name;
    GuestAddr start = 0;
    std::uint64_t size = 0;
    int priority = 0;
    RegionKind kind = RegionKind::Io;
    RamBlock* block = nullptr;  ///< Ram, Rom, RomDevice (reads)
    std::uint64_t block_offset = 0;
    IoHandler* io = nullptr;  ///< Io, RomDevice (writes); outlives the region
    bool enabled = true;
};

/// A piece of the flat view: one region, no overlaps, ascending.
struct MemorySection {
    GuestAddr start = 0;
    std::uint64_t size = 0;
    RegionKind kind = RegionKind::Io;
    RamBlock* block = nullptr;
    std::uint64_t block_offset = 0;
    IoHandler* io = nullptr;
    std::uint64_t io_offset = 0;  ///< offset of `start` in the handler's region
    std::string name;
    bool readonly() const noexcept { return kind != RegionKind::Ram; }
    bool operator==(const MemorySection&) const = default;
};

/// Names a region that was added; 0 is none.
using RegionId = std::uint64_t;

/// An address space and its flat view.
///
/// Threads  changes with the machine lock, inside a Transaction; read()/write()/find() from any
/// thread on an
///          immutable snapshot of the view; a handler is called with the machine lock taken if
///          needed.
/// Errors   accesses: NotFound with the address when nothing is there (read() then gives the ones
/// or zeros
///          that hardware gives through the *_or_ones form).
class AddressSpace {
public:
    AddressSpace(std::string name, MachineLock& lock, std::uint64_t size);
    ~AddressSpace();
    const std::string& name() const noexcept;

    /// Changes take effect, and listeners hear of them, when the outermost Transaction ends.
    class Transaction {
    public:
        explicit Transaction(AddressSpace& space);
        ~Transaction();
        Transaction(const Transaction&) = delete;
        Transaction& operator=(const Transaction&) = delete;

    private:
        AddressSpace& space_;
    };

    RegionId add(RegionSpec spec);
    void remove(RegionId id);
    void set_enabled(RegionId id, bool enabled);
    void move(RegionId id, GuestAddr start);
    void resize(RegionId id, std::uint64_t size);

    /// The current flat view; stays valid while held.
    std::shared_ptr<const std::vector<MemorySection>> view() const;
    std::optional<MemorySection> find(GuestAddr address) const;
    /// Every region added, hidden ones too, for `info mtree`.
    std::vector<RegionSpec> regions() const;

    /// Any length, crossing regions. RAM writes mark pages dirty. MMIO is split into naturally
    /// aligned accesses. ROM ignores writes. Holes read as ones and swallow writes; the Result then
    /// says where.
    Result<void> read(GuestAddr address, std::span<std::byte> into);
    Result<void> write(GuestAddr address, std::span<const std::byte> from);
    /// As write(), but also into ROM: loaders and incoming state.
    Result<void> write_rom(GuestAddr address, std::span<const std::byte> from);
    Result<void> fill(GuestAddr address, std::uint64_t length, std::uint8_t value);
    /// One access of 1, 2, 4 or 8 bytes, as a vCPU makes it. Little-endian value.
    std::uint64_t load(GuestAddr address, unsigned size);
    void store(GuestAddr address, std::uint64_t value, unsigned size);
    /// Direct pointer to RAM at [address, address + length), null when it is not one piece of
    /// writable RAM. The caller marks what it writes.
    std::byte* ram_pointer(GuestAddr address, std::uint64_t length) const;

    /// The listener hears of the present view at once (region_add for each section) and of each
    /// commit.
    [[nodiscard]] Registration add_listener(MemoryListener& listener);
    /// Listeners in the order of adding: ascending priority.
    std::vector<MemoryListener*> listeners() const;

private:
    friend class Transaction;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::system
