// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Small pieces of machine code run under KVM in a TestVm.
#pragma once

#include "accel/kvm/vcpu.h"
#include "test_vm.h"

#include <atomic>
#include <cstring>
#include <functional>
#include <thread>
#include <unistd.h>

namespace godwit::accel::kvm {

/// Skips the test, with the reason, where KVM cannot be used.
#define GW_NEEDS_KVM()                            \
    if (auto system = KvmSystem::open(); !system) \
    GTEST_SKIP() << "no KVM: " << system.error().message()

/// Ports 0x80 (written) and 0x81 (read) of a guest.
class Ports : public system::IoHandler {
public:
    std::uint64_t read(system::GuestAddr offset, unsigned) override
    {
        return offset == 1 && on_read ? on_read() : 0xff;
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned) override
    {
        if (offset != 0)
            return;
        last = value;
        ++writes;
        if (on_write)
            on_write(value);
    }
    std::atomic<std::uint64_t> last{0};
    std::atomic<std::uint64_t> writes{0};
    std::function<std::uint64_t()> on_read;
    std::function<void(std::uint64_t)> on_write;
};

/// A TestVm under KVM whose vCPUs start in real mode at 0x1000, with flat data segments of 4 GiB.
class KvmGuest : public TestVm {
public:
    explicit KvmGuest(std::initializer_list<std::uint8_t> code, const Properties& properties = {},
                      unsigned cpus = 1)
        : TestVm(cpus)
    {
        std::memcpy(memory() + 0x1000, code.begin(), code.size());
        {
            system::MachineGuard guard(vm().lock());
            vm().io().add({.name = "ports", .start = 0x80, .size = 4, .io = &ports});
        }
        auto started = start_accelerator("kvm-accel", properties);
        EXPECT_TRUE(started) << started.error().message();
        if (started)
            place(0x1000);
    }
    ~KvmGuest() { pause(); }

    KvmVcpu& cpu(unsigned index = 0) { return static_cast<KvmVcpu&>(*vm().vcpus()[index]); }

    CpuState registers(unsigned index = 0)
    {
        CpuState state;
        ApicState apic;
        auto done = cpu(index).fetch(state, apic);
        EXPECT_TRUE(done) << done.error().message();
        return state;
    }

    /// Makes the first vCPU go on at `address`.
    void place(std::uint64_t address)
    {
        CpuState state;
        ApicState apic;
        ASSERT_TRUE(cpu().fetch(state, apic));
        state.segs[kCs].selector = 0;
        state.segs[kCs].base = 0;
        for (unsigned i : {kDs, kEs, kSs}) {
            state.segs[i].limit = 0xffffffff;
            state.segs[i].flags |= 1u << 23;
        }
        state.eip = address;
        state.regs[4] = 0x8000;
        state.mp_state = 0;
        auto stored = cpu().store(state, apic);
        ASSERT_TRUE(stored) << stored.error().message();
    }

    /// 32-bit code at `address`, flat segments, no paging.
    void place_protected(std::uint64_t address)
    {
        CpuState state;
        ApicState apic;
        ASSERT_TRUE(cpu().fetch(state, apic));
        state.segs[kCs] = {8, 0, 0xffffffff, 0xc09b00};
        for (unsigned i : {kDs, kEs, kSs, kFs, kGs})
            state.segs[i] = {16, 0, 0xffffffff, 0xc09300};
        state.cr0 |= 1;
        state.eip = address;
        auto stored = cpu().store(state, apic);
        ASSERT_TRUE(stored) << stored.error().message();
    }

    /// Runs until port 0x80 was written `writes` times in all, then pauses.
    void run_until(std::uint64_t writes)
    {
        resume();
        while (ports.writes.load() < writes)
            std::this_thread::yield();
        pause();
    }

    Ports ports;
};

}  // namespace godwit::accel::kvm
