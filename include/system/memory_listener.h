// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Who wants to know about guest memory: accelerators, VFIO containers, vhost back-ends.
#pragma once

#include "system/address_space.h"
#include "util/result.h"

namespace godwit::system {

/// Priorities as in QEMU: devices first on sync, the accelerator with the low number on add.
inline constexpr int kListenerPriorityMin = 0;
inline constexpr int kListenerPriorityAccel = 10;
inline constexpr int kListenerPriorityDeviceBackend = 10;

/// Hears of changes of an address space's flat view, and of dirty logging.
///
/// Order    low priority first on begin, region_add, log_start, log_sync, log_global_start; last on
///          region_del, log_stop, log_global_stop, removal.
/// Threads  machine lock held; log_sync and log_clear may come from the migration thread, which
/// then holds it. Errors   region_add and log_global_start may fail; the operation that caused them
/// fails with that error
///          and is undone.
class MemoryListener {
public:
    virtual ~MemoryListener() = default;
    virtual std::string_view name() const noexcept = 0;
    virtual int priority() const noexcept { return kListenerPriorityAccel; }

    virtual void begin() {}
    virtual void commit() {}
    virtual Result<void> region_add(const MemorySection&) { return {}; }
    virtual void region_del(const MemorySection&) {}
    /// A section that is the same in the old and the new view.
    virtual void region_nop(const MemorySection&) {}

    /// Section-wise logging (display) goes on or off.
    virtual void log_start(const MemorySection&) {}
    virtual void log_stop(const MemorySection&) {}
    /// Put what was written to the section since the last call into its block's DirtyLog.
    virtual void log_sync(const MemorySection&) {}
    /// For listeners that can only sync everything at once (dirty ring). `last` is the sync of the
    /// final pass.
    virtual bool has_global_sync() const { return false; }
    virtual void log_sync_global(bool last) {}
    /// The pages of the section are about to be sent: re-arm write protection (manual protect).
    virtual void log_clear(const MemorySection&) {}
    virtual Result<void> log_global_start() { return {}; }
    virtual void log_global_stop() {}
    virtual void log_global_after_sync() {}
};

}  // namespace godwit::system
