// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The list of accelerators, and the two that run nothing: qtest, and tcg, which is not there.
#include "accel/accel.h"

#include "accel/kvm/kvm_accel.h"
#include "accel/synth/synth_accel.h"
#include "system/vm.h"

namespace godwit::accel {
namespace {

/// A vCPU that never runs: a test drives the machine in its place.
class IdleVcpu : public system::Vcpu {
public:
    explicit IdleVcpu(unsigned index) : index_(index) {}
    unsigned index() const noexcept override { return index_; }
    int thread_id() const noexcept override { return 0; }
    bool halted() const noexcept override { return false; }
    void request_pause() noexcept override {}
    void wait_paused() override {}
    void resume() noexcept override {}
    void kick() noexcept override {}
    std::string describe_registers() const override { return "no registers: nothing runs\n"; }
    Result<void> inject_nmi() override { return {}; }
    void set_throttle(unsigned) noexcept override {}

private:
    unsigned index_;
};

/// -accel qtest.
class QtestAccelerator : public system::Accelerator {
public:
    std::string_view name() const noexcept override { return "qtest"; }
    bool runs_guest_code() const noexcept override { return false; }
    Result<void> init(system::Vm& vm) override
    {
        vm_ = &vm;
        vm.clocks().make_client_driven();
        return {};
    }
    Result<void> prepare(const system::AcceleratorNeeds&) override { return {}; }
    Result<std::unique_ptr<system::Vcpu>> create_vcpu(unsigned index,
                                                      std::string_view model) override
    {
        // The model must exist, although nothing is made of it. What only a host could say is not
        // asked for.
        if (!model.starts_with("max") && !model.starts_with("host") && !model.empty())
            GW_TRY(kvm::parse_cpu(model, nullptr, {}));
        auto vcpu = std::make_unique<IdleVcpu>(index);
        GW_TRY(vm_->types().adopt(*vcpu, "qtest-x86_64-cpu"));
        return vcpu;
    }

private:
    system::Vm* vm_ = nullptr;
};

/// -accel tcg: known, so that preference lists work, and never available.
class TcgAccelerator : public system::Accelerator {
public:
    std::string_view name() const noexcept override { return "tcg"; }
    bool runs_guest_code() const noexcept override { return true; }
    Result<void> init(system::Vm&) override
    {
        return Error(Errc::Unsupported, "this program does not translate guest code")
            .with_hint("Use -accel kvm, -accel synth or -accel qtest.");
    }
    Result<void> prepare(const system::AcceleratorNeeds&) override { return {}; }
    Result<std::unique_ptr<system::Vcpu>> create_vcpu(unsigned, std::string_view) override
    {
        return Error(Errc::Unsupported, "tcg has no vCPUs");
    }
};

}  // namespace

Result<void> register_types(system::TypeRegistry& types)
{
    GW_TRY(types.add(
        {.name = "x86_64-cpu", .parent = "cpu", .abstract_type = true, .user_creatable = false}));
    GW_TRY(types.add({.name = "qtest-x86_64-cpu",
                      .parent = "x86_64-cpu",
                      .abstract_type = true,
                      .user_creatable = false,
                      .description = "a vCPU that never runs"}));
    GW_TRY(types.add({.name = "qtest-accel",
                      .parent = "accel",
                      .description = "no guest code runs; a client drives machine and clock",
                      .create = [] { return std::make_unique<QtestAccelerator>(); }}));
    GW_TRY(types.add({.name = "tcg-accel",
                      .parent = "accel",
                      .description = "not available in this program",
                      .create = [] { return std::make_unique<TcgAccelerator>(); }}));
    GW_TRY(kvm::register_kvm_types(types));
    return synth::register_synth_types(types);
}

}  // namespace godwit::accel
