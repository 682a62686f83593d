// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What KVM's dirty log leaves in the flight recorder.
#pragma once

#include "util/flight_recorder.h"

namespace godwit::accel::kvm {

/// What is asked about; nothing: everything, of the rings.
inline constexpr TraceEvent<std::uint64_t, std::uint64_t> kTraceSync{"kvm_dirty_sync",
                                                                     {"start", "size"}};

}  // namespace godwit::accel::kvm
