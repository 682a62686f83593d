// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Why a vCPU left the guest, and what is done about it. Source: Linux,
// Documentation/virt/kvm/api.rst, "The kvm_run structure".
#include "accel/kvm/vcpu.h"
#include "system/vm.h"
#include "util/log.h"

#include <cstring>
#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

std::uint64_t load_little(const std::byte* from, unsigned size)
{
    std::uint64_t value = 0;
    std::memcpy(&value, from, size);
    return value;
}

bool is_access_size(unsigned size)
{
    return size == 1 || size == 2 || size == 4 || size == 8;
}

}  // namespace

void KvmVcpu::port_access()
{
    const auto& io = run_->io;
    std::byte* data = reinterpret_cast<std::byte*>(run_) + io.data_offset;
    // A string instruction reaches the device in one go.
    std::optional<system::MachineGuardIfNeeded> guard;
    if (io.count > 1)
        guard.emplace(vm().lock());
    for (std::uint32_t i = 0; i < io.count; ++i, data += io.size) {
        if (io.direction == KVM_EXIT_IO_OUT) {
            vm().io().store(io.port, load_little(data, io.size), io.size);
        } else {
            const std::uint64_t value = vm().io().load(io.port, io.size);
            std::memcpy(data, &value, io.size);
        }
    }
}

void KvmVcpu::memory_access()
{
    auto& mmio = run_->mmio;
    auto* data = reinterpret_cast<std::byte*>(mmio.data);
    const unsigned size = std::min<unsigned>(mmio.len, sizeof mmio.data);
    if (!is_access_size(size)) {  // a piece of an access across a page border
        const std::span bytes(data, size);
        if (mmio.is_write)
            (void)vm().memory().write(mmio.phys_addr, bytes);  // holes swallow it
        else
            (void)vm().memory().read(mmio.phys_addr, bytes);  // holes read as ones
        return;
    }
    if (mmio.is_write) {
        vm().memory().store(mmio.phys_addr, load_little(data, size), size);
    } else {
        const std::uint64_t value = vm().memory().load(mmio.phys_addr, size);
        std::memcpy(data, &value, size);
    }
}

void KvmVcpu::system_event()
{
    request_pause();
    switch (run_->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        return vm().request_shutdown(system::ShutdownCause::GuestShutdown);
    case KVM_SYSTEM_EVENT_RESET:
        return vm().request_reset(system::ShutdownCause::GuestReset);
    default:
        return give_up(fmt::format("KVM: unknown system event {}", run_->system_event.type));
    }
}

std::string KvmVcpu::internal_error_text() const
{
    std::string text =
        fmt::format("KVM internal error. Suberror: {}", std::uint32_t{run_->internal.suberror});
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(run_->internal.ndata, 16); ++i)
        text += fmt::format("\nextra data[{}]: {:#018x}", i, std::uint64_t{run_->internal.data[i]});
    return text;
}

/// The guest cannot go on: the vCPU stays out of it, and so does the machine.
void KvmVcpu::give_up(std::string what)
{
    unfinished_ = false;
    request_pause();
    vm().log().error(fmt::format("{}\n{}", what, describe_registers()));
    system::Vm& machine = vm();
    machine.loop().post([&machine] {
        if (auto stopped = machine.run_state().stop(system::RunState::InternalError); !stopped)
            machine.log().report(stopped.error());
    });
}

void KvmVcpu::handle_exit()
{
    switch (run_->exit_reason) {
    case KVM_EXIT_IO:
        return port_access();
    case KVM_EXIT_MMIO:
        return memory_access();
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_HLT:
        return;
    case KVM_EXIT_DIRTY_RING_FULL:
        return shared_.slots.harvest_full(ring_);
    case KVM_EXIT_SHUTDOWN:  // a triple fault
        request_pause();
        return vm().request_reset(system::ShutdownCause::GuestReset);
    case KVM_EXIT_SYSTEM_EVENT:
        return system_event();
    case KVM_EXIT_INTERNAL_ERROR:
        return give_up(internal_error_text());
    case KVM_EXIT_FAIL_ENTRY:
        return give_up(fmt::format("KVM: entry failed, hardware error {:#x}",
                                   std::uint64_t{run_->fail_entry.hardware_entry_failure_reason}));
    case KVM_EXIT_UNKNOWN:
        return give_up(fmt::format("KVM: unknown exit, hardware reason {:#x}",
                                   std::uint64_t{run_->hw.hardware_exit_reason}));
    default:
        return give_up(fmt::format("KVM: unhandled exit {}", std::uint32_t{run_->exit_reason}));
    }
}

}  // namespace godwit::accel::kvm
