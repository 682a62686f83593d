// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/pacing/dirty_probe.h"

#include "system/dirty_tracking.h"
#include "system/main_loop.h"

namespace godwit::migration {

Result<void> DirtyProbe::start()
{
    system::DirtyTracking tracking(memory_, ram_);
    logging_ = GW_TRY(tracking.start(system::DirtyClient::Rate));
    // What was written before must be seen again when it is written again.
    tracking.sync();
    const system::MachineGuardIfNeeded guard(memory_.lock());
    for (system::RamBlock* block : ram_.blocks()) {
        tracking.clear(*block, {0, block->page_count()});
        block->dirty().bitmap(system::DirtyClient::Rate).clear();
    }
    return ok();
}

std::uint64_t DirtyProbe::read()
{
    system::DirtyTracking(memory_, ram_).sync();
    const system::MachineGuardIfNeeded guard(memory_.lock());
    std::uint64_t pages = 0;
    for (system::RamBlock* block : ram_.blocks())
        if (block->migratable())
            pages += block->dirty().bitmap(system::DirtyClient::Rate).count();
    return pages;
}

}  // namespace godwit::migration
