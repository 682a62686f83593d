// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The RAM of a machine: -m, memory-backend=, -numa node,memdev=. Boards map it where theirs goes.
#pragma once

#include "system/address_space.h"
#include "system/guest_memory.h"
#include "util/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace godwit::system {

class Vm;

/// One or, with several NUMA nodes, more blocks that the guest sees as one piece of RAM.
///
/// Units    offsets in bytes from the start of the RAM, whatever the address it is mapped at.
/// Threads  with the machine lock.
class MachineRam {
public:
    /// Makes the block, or takes the back ends; nothing for a machine without RAM. Sets
    /// config().ram_bytes to what it came to.
    /// Errors   in QEMU's words: "Memory backend 'x' not found", "Machine memory size does not
    ///          match the size of the memory backend", "memory backend x can't be used multiple
    ///          times.", "total memory for NUMA nodes (0x..) should equal RAM size (0x..)".
    static Result<MachineRam> create(Vm& vm);

    std::uint64_t size() const noexcept { return size_; }
    /// The only block, or the first; null without RAM.
    RamBlock* block() const noexcept { return parts_.empty() ? nullptr : parts_.front().block; }
    /// Puts [offset, offset + length) at `start`. A read-only back end becomes ROM.
    void map(AddressSpace& memory, GuestAddr start, std::uint64_t offset, std::uint64_t length,
             const std::string& name, int priority = 0) const;

private:
    struct Part {
        RamBlock* block;
        std::uint64_t offset;  // of the part in the RAM
    };
    Result<void> take_backend(Vm& vm, const std::string& id, bool numa);
    std::vector<Part> parts_;
    std::uint64_t size_ = 0;
};

/// Memory that comes with a device or the board: firmware, ROMs, tables. With
/// `-machine aux-ram-share=on` another process can map it.
Result<RamBlock*> create_aux_ram(Vm& vm, std::string id, std::uint64_t used_length,
                                 std::uint64_t max_length = 0);

}  // namespace godwit::system
