// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reading what a device says of a region: the same bytes from the kernel and from a vfio-user
// server.
#pragma once

#include "hw/vfio/device_backend.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace godwit::hw::vfio {

/// An answer never needs more: 4000 sparse areas.
inline constexpr std::uint32_t kMaxRegionInfo = 64 * 1024;

/// `answer` is AbiRegionInfo with its capabilities. Checks the chain (no loop, nothing outside) and
/// the areas (page-aligned, inside, ascending).
/// Errors   BadFormat naming region and capability.
Result<RegionInfo> parse_region_info(std::span<const std::byte> answer, std::uint32_t index);

}  // namespace godwit::hw::vfio
