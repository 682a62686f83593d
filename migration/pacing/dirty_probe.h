// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How fast a guest writes, looked at for a moment, beside whatever else reads dirty logs.
#pragma once

#include "system/address_space.h"
#include "system/guest_memory.h"
#include "util/registration.h"
#include "util/result.h"

#include <cstdint>

namespace godwit::migration {

/// Threads  one; takes the machine lock itself.
/// Errors   Busy while somebody else measures.
class DirtyProbe {
public:
    DirtyProbe(system::AddressSpace& memory, system::GuestMemory& ram) : memory_(memory), ram_(ram)
    {}
    /// From here on counts anew.
    Result<void> start();
    /// Pages of migratable blocks written since start(), each counted once.
    std::uint64_t read();
    void stop() noexcept { logging_.reset(); }

private:
    system::AddressSpace& memory_;
    system::GuestMemory& ram_;
    Registration logging_;
};

}  // namespace godwit::migration
