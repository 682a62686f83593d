// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/kvm_accel.h"

#include "system/property.h"
#include "system/vm.h"
#include "util/json.h"
#include "util/log.h"

#include <bit>
#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

constexpr std::string_view kIrqchipModes[] = {"on", "off", "split"};

/// Refuses at once what can never be, in QEMU's words.
system::Property dirty_ring_property()
{
    auto property = system::property<&KvmAccelerator::dirty_ring_entries_>(
        "dirty-ring-size", 0u, "Size of KVM dirty page ring buffer (default: 0, i.e. use bitmap)");
    property.set = [set = std::move(property.set)](system::Object& object,
                                                   const Json& value) -> Result<void> {
        if (value.is_number_unsigned() || value.is_number_integer()) {
            const auto entries = value.get<std::int64_t>();
            if (entries < 0 || entries > UINT32_MAX ||
                (entries != 0 && !std::has_single_bit(static_cast<std::uint64_t>(entries))))
                return Error(Errc::InvalidArgument, "dirty-ring-size must be a power of two.");
        }
        return set(object, value);
    };
    return property;
}

}  // namespace

KvmAccelerator::~KvmAccelerator() = default;

Result<void> KvmAccelerator::init(system::Vm& vm)
{
    vm_ = &vm;
    switch (irqchip_mode_) {
    case IrqchipMode::On:
        break;
    case IrqchipMode::Off:
        return Error(Errc::Unsupported, "KVM does not support userspace APIC");
    case IrqchipMode::Split:
        return Error(Errc::Unsupported,
                     "kernel-irqchip=split is not supported, use kernel-irqchip=on");
    }
    machine_ =
        GW_TRY(KvmMachine::create({.device = device_, .dirty_ring_entries = dirty_ring_entries_}));
    if (vm.config().max_cpus > machine_->max_vcpus())
        return Error(Errc::InvalidArgument,
                     fmt::format("Number of SMP cpus requested ({}) exceeds the maximum cpus "
                                 "supported by KVM ({})",
                                 vm.config().max_cpus, machine_->max_vcpus()));
    install_kick_handler();
    return {};
}

Result<void> KvmAccelerator::prepare(const system::AcceleratorNeeds& needs)
{
    if (std::exchange(prepared_, true))
        return {};
    defaults_ = {.host_phys_bits = needs.host_phys_bits, .msi_ext_dest_id = needs.msi_ext_dest_id};
    const Log log = vm_->log().with_category("kvm");
    GW_TRY(machine_->create_irqchip(needs.pit));
    irqchip_ = GW_TRY(KvmIrqchip::create(*machine_, needs.pit, log));
    slots_ = std::make_unique<MemorySlots>(*machine_, gate_, log, vm_->recorder());
    gate_.set_kick([this] {
        for (system::Vcpu* vcpu : vm_->vcpus())
            vcpu->kick();
    });
    listener_ = GW_TRY(vm_->memory().try_add_listener(*slots_));
    return {};
}

/// Once for all vCPUs: they are alike.
void KvmAccelerator::warn_missing(const std::vector<std::string>& missing)
{
    if (std::exchange(warned_, true))
        return;
    for (const std::string& bit : missing)
        vm_->log().warn(fmt::format("host doesn't support requested feature: {}", bit));
}

Result<std::unique_ptr<system::Vcpu>> KvmAccelerator::create_vcpu(unsigned index,
                                                                  std::string_view model)
{
    GW_TRY(prepare({}));
    CpuDefinition cpu = GW_TRY(parse_cpu(model.empty() ? "qemu64" : model, host(), defaults_));
    const bool quiet = !cpu.check && !cpu.enforce;
    const auto missing = GW_TRY(filter_features(cpu, *host()));
    if (!quiet)
        warn_missing(missing);
    const std::string type = cpu.type_name();
    auto vcpu =
        std::make_unique<KvmVcpu>(VcpuShared{*machine_, *slots_, gate_}, index, std::move(cpu));
    GW_TRY(vm_->types().adopt(*vcpu, type));
    return vcpu;
}

Result<void> KvmAccelerator::set_vcpus_done()
{
    if (vm_->vcpus().empty())
        return {};
    clock_ = GW_TRY(KvmClock::create(*vm_, *machine_, [this] {
        for (system::Vcpu* vcpu : vm_->vcpus())
            static_cast<KvmVcpu*>(vcpu)->mark_clock_paused();
    }));
    return {};
}

std::uint64_t KvmAccelerator::dirty_ring_size() const noexcept
{
    return std::uint64_t{dirty_ring_entries_} * sizeof(kvm_dirty_gfn);
}

Result<void> register_kvm_types(system::TypeRegistry& types)
{
    GW_TRY(types.add({.name = "kvm-accel",
                      .parent = "accel",
                      .description = "runs guest code on this processor through /dev/kvm",
                      .properties = {system::enum_property<&KvmAccelerator::irqchip_mode_>(
                                         "kernel-irqchip", "on|off|split", kIrqchipModes,
                                         std::string("on"), "Configure KVM in-kernel irqchip"),
                                     dirty_ring_property(),
                                     system::property<&KvmAccelerator::device_>(
                                         "device", "/dev/kvm", "Path to the device node to use")},
                      .create = [] { return std::make_unique<KvmAccelerator>(); }}));
    for (const CpuModel& model : cpu_models())
        GW_TRY(types.add({.name = std::string(model.name) + "-x86_64-cpu",
                          .parent = "x86_64-cpu",
                          .abstract_type = true,
                          .user_creatable = false,
                          .description = std::string(model.help)}));
    return {};
}

}  // namespace godwit::accel::kvm
