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
/// Errors   none: hardware answers something; what is not there reads as all ones.
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

/// Names a region that was added; 0 is none.
using RegionId = std::uint64_t;

/// A piece of the flat view: one region, no overlaps, ascending. RAM regions that continue each
/// other in the same block are one section, with the name of the lowest.
struct MemorySection {
    GuestAddr start = 0;
    std::uint64_t size = 0;
    RegionKind kind = RegionKind::Io;
    RamBlock* block = nullptr;
    std::uint64_t block_offset = 0;
    IoHandler* io = nullptr;
    std::uint64_t io_offset = 0;  ///< offset of `start` in the handler's region
    std::string name;
    RegionId region = 0;
    bool logged = false;  ///< section-wise dirty logging is on
    bool readonly() const noexcept { return kind != RegionKind::Ram; }
    bool contains(GuestAddr address) const noexcept
    {
        return address >= start && address - start < size;
    }
    /// The part in [from, from + length), which lies inside.
    MemorySection part(GuestAddr from, std::uint64_t length) const;
    bool operator==(const MemorySection&) const = default;
};

/// An address space and its flat view.
///
/// Threads  changes with the machine lock, inside a Transaction (a change outside of one is a
///          transaction of its own); accesses from any thread, without a lock, on an immutable
///          snapshot of the view; a handler is called with the machine lock, taken if needed.
/// Errors   accesses: NotFound with the first address where nothing is. A commit whose region_add
///          was refused by a listener is undone: the regions are as before the transaction.
class AddressSpace {
public:
    /// `size` 0 is all of 64 bits but the last byte.
    AddressSpace(std::string name, MachineLock& lock, std::uint64_t size);
    ~AddressSpace();
    const std::string& name() const noexcept;

    /// Changes take effect, and listeners hear of them, when the outermost Transaction ends.
    /// Who wants to know whether a listener refused calls commit() last; otherwise the error goes
    /// to on_error().
    class Transaction {
    public:
        explicit Transaction(AddressSpace& space);
        ~Transaction();
        /// Ends the transaction now. Inside another one it cannot fail.
        Result<void> commit();
        Transaction(const Transaction&) = delete;
        Transaction& operator=(const Transaction&) = delete;

    private:
        AddressSpace& space_;
        bool open_ = true;
    };
    /// Hears of commits that failed where nobody asked.
    void on_error(std::function<void(const Error&)> handler);

    RegionId add(RegionSpec spec);
    void remove(RegionId id);
    void set_enabled(RegionId id, bool enabled);
    void move(RegionId id, GuestAddr start);
    void resize(RegionId id, std::uint64_t size);
    /// Section-wise dirty logging of a RAM region: listeners hear log_start and log_stop.
    void set_logged(RegionId id, bool on);

    /// The current flat view; it and the blocks in it stay valid while held.
    std::shared_ptr<const std::vector<MemorySection>> view() const;
    std::optional<MemorySection> find(GuestAddr address) const;
    /// Every region added, hidden ones too, for `info mtree`.
    std::vector<RegionSpec> regions() const;
    std::optional<RegionSpec> region(RegionId id) const;

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
    /// commit. When it refuses the present view, the registration is empty and on_error() hears
    /// of it.
    [[nodiscard]] Registration add_listener(MemoryListener& listener);
    /// The same for callers who can hand the refusal on.
    Result<Registration> try_add_listener(MemoryListener& listener);
    /// Listeners in the order of adding: ascending priority, first come first among equals.
    std::vector<MemoryListener*> listeners() const;

    /// Dirty logging of all RAM by all listeners, counted: the first start and the last stop reach
    /// them. A listener that refuses ends the start with its error, and those before it stop
    /// again. DirtyTracking (system/dirty_tracking.h) is the way to ask for it.
    Result<void> log_global_start();
    void log_global_stop() noexcept;
    bool log_global() const noexcept;

    MachineLock& lock() const noexcept;

private:
    friend class Transaction;
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::system
