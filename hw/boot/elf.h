// SPDX-License-Identifier: LGPL-2.1-or-later
//
// ELF kernels: what to load where, and where a PVH kernel starts.
#pragma once

#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace godwit::hw {

/// A piece of the file for guest memory; what lies beyond `data` up to `memory_size` is zero.
struct ElfSegment {
    std::uint64_t address = 0;  ///< guest-physical
    std::span<const std::byte> data;
    std::uint64_t memory_size = 0;
};

struct ElfImage {
    std::uint64_t entry = 0;
    /// Of the note "Xen", type 18 (XEN_ELFNOTE_PHYS32_ENTRY).
    std::optional<std::uint32_t> pvh_entry;
    std::vector<ElfSegment> segments;  ///< PT_LOAD with a size, in the file's order
};

bool is_elf(std::span<const std::byte> file) noexcept;

/// Reads a little-endian x86 ELF file of 32 or 64 bits; segments point into `file`.
///
/// Errors   BadFormat, for every header, offset and size that does not stay inside the file or
///          wraps around; at most 64 program headers.
/// Source   System V ABI, chapters 4 and 5; Xen, docs/misc/pvh.pandoc.
Result<ElfImage> parse_elf(std::span<const std::byte> file);

}  // namespace godwit::hw
