// SPDX-License-Identifier: LGPL-2.1-or-later
//
// -kernel, -initrd, -append without firmware: what goes where in guest memory, and how to enter it.
#pragma once

#include "hw/boot/boot_stub.h"
#include "system/address_space.h"
#include "util/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace godwit::hw {

class FwCfg;

/// One line of the memory map that a guest is given (e820).
struct MemoryMapEntry {
    enum class Type : std::uint32_t { Ram = 1, Reserved = 2 };
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    Type type = Type::Ram;
    bool operator==(const MemoryMapEntry&) const = default;
};
using MemoryMap = std::vector<MemoryMapEntry>;

/// The map of a PC: RAM below and above 4 GiB without what BIOS and VGA keep below 1 MiB, and the
/// reserved ranges a board names.
MemoryMap pc_memory_map(std::uint64_t ram_below_4g, std::uint64_t ram_above_4g,
                        const MemoryMap& reserved);
/// 20 bytes an entry, as in boot_params and in fw_cfg's "etc/e820".
std::vector<std::byte> e820_bytes(const MemoryMap& map);

/// Bytes for guest memory, followed by zeros up to `memory_size`.
struct BootPiece {
    std::uint64_t address = 0;
    std::vector<std::byte> data;
    std::uint64_t memory_size = 0;
};

/// A kernel with everything it wants to find.
struct BootPlan {
    StubEntry entry;
    std::vector<BootPiece> pieces;

    // What firmware of its own would ask fw_cfg for.
    std::vector<std::byte> setup, kernel, initrd;
    std::uint64_t kernel_address = 0, kernel_entry = 0, initrd_address = 0;
    std::string cmdline;
};

struct BootFiles {
    std::string kernel, initrd, cmdline;
};

/// Reads the files and decides.
///
/// Errors   name the file: "could not open kernel file 'X': No such file or directory", "could not
///          load kernel 'X': invalid kernel header", "error reading initrd X: ...", and what does
///          not fit into `ram_below_4g`.
Result<BootPlan> plan_direct_boot(const BootFiles& files, std::uint64_t ram_below_4g,
                                  const MemoryMap& map);

/// Puts the pieces into memory. `fresh`: RAM reads as zeros already.
Result<void> load_boot_plan(const BootPlan& plan, system::AddressSpace& memory, bool fresh);

/// The keys in which firmware finds kernel, initrd and command line.
void describe_boot_plan(const BootPlan& plan, FwCfg& fw_cfg);

/// All of a regular file.
/// Errors   as open(2) and read(2) give them, without the path; InvalidArgument above `limit`.
Result<std::vector<std::byte>> read_boot_file(const std::string& path, std::uint64_t limit);

}  // namespace godwit::hw
