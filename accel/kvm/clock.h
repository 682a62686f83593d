// SPDX-License-Identifier: LGPL-2.1-or-later
//
// kvmclock: the guest's paravirtual time stands while it is stopped and goes on where it stood,
// here or on another host.
#pragma once

#include "accel/kvm/cpu_vmstate.h"
#include "accel/kvm/kvm_machine.h"
#include "util/registration.h"

#include <functional>
#include <optional>

namespace godwit::system {
class Vm;
}

namespace godwit::accel::kvm {

/// Section `kvmclock` and its run-state handler.
///
/// Threads  with the machine lock.
class KvmClock {
public:
    /// `stopped` is called for each stop, when no vCPU runs.
    static Result<std::unique_ptr<KvmClock>> create(system::Vm& vm, const KvmMachine& machine,
                                                    std::function<void()> stopped);

private:
    explicit KvmClock(const KvmMachine& machine) : machine_(machine) {}
    Result<void> read();
    Result<void> handle(bool running);

    const KvmMachine& machine_;
    KvmClockState state_;
    bool valid_ = false;  ///< state_ is what the guest goes on with
    std::function<void()> stopped_;
    Registration section_;
    Registration handler_;
};

}  // namespace godwit::accel::kvm
