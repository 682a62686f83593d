// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Dirty logging as its clients ask for it: on, bring the marks in, re-arm, off. What the order is
// and why nothing gets lost: docs/developer/dirty-tracking.md.
#pragma once

#include "system/address_space.h"
#include "system/dirty_log.h"
#include "system/guest_memory.h"
#include "util/registration.h"
#include "util/result.h"

namespace godwit::system {

/// Steers the listeners of one address space. Holds no state of its own: make one where you need
/// it.
///
/// Order    start(), then again and again: sync(), take from the blocks' bitmaps, and for what is
///          about to be sent clear() before its bytes are read. Listeners are synced by ascending
///          priority.
/// Threads  any; each call takes the machine lock unless the caller holds it.
class DirtyTracking {
public:
    DirtyTracking(AddressSpace& memory, GuestMemory& ram) noexcept : memory_(memory), ram_(ram) {}

    /// Enables `client` in every block, those added later too, and global logging in every
    /// listener. The Registration undoes both; it must not outlive the address space or the
    /// blocks.
    /// Errors   Busy when the client is on already; a listener's refusal, undone.
    Result<Registration> start(DirtyClient client);

    /// Everything written before this call is in the bitmaps afterwards. `last`: the vCPUs have
    /// stopped, and this is the sync before the final pass.
    void sync(bool last = false);

    /// Re-arms write protection around `run`, once per chunk and sync. Call before the bytes of
    /// pages that were taken are read: a write after this call is marked again.
    void clear(RamBlock& block, PageRun run);

    /// Section-wise logging of one RAM region for `client`: displays.
    Result<Registration> start_region(RegionId region, DirtyClient client);
    void sync_region(RegionId region);

private:
    AddressSpace& memory_;
    GuestMemory& ram_;
};

}  // namespace godwit::system
