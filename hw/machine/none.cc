// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Machine "none": RAM when asked for, vCPUs only of accelerators that need no machine.
#include "hw/machine/board.h"
#include "hw/machine/device_tree.h"
#include "hw/machine/register.h"
#include "system/accelerator.h"
#include "system/vm.h"

namespace godwit::hw {

namespace {

class NoneMachine final : public system::Machine {
public:
    const system::MachineInfo& info() const noexcept override { return info_; }

    Result<void> init(system::Vm& vm) override
    {
        if (!vm.config().kernel.empty())
            return Error(Errc::Unsupported, "The -kernel parameter is not supported (use the "
                                            "generic 'loader' device instead).");
        ram_ = GW_TRY(system::MachineRam::create(vm));
        ram_.map(vm.memory(), 0, 0, ram_.size(), "ram");
        GW_TRY(vm.accelerator()->prepare({.pic = false, .pit = false}));
        const bool vcpus = vm.accelerator()->wants_vcpus_on_none();
        return add_vcpus(vm, vcpus ? vm.config().cpus : 0);
    }
    Result<void> done(system::Vm& vm) override { return dump_device_tree_if_asked(vm, *this); }

private:
    const system::MachineInfo info_{
        .name = "none",
        .description = "empty machine",
        .default_ram_id = "ram",
        .needs_cpu = false,
    };
    system::MachineRam ram_;
};

}  // namespace

Result<void> register_none_machine(system::TypeRegistry& types)
{
    return types.add(
        {.name = "none-machine", .parent = "machine", .description = "empty machine", .create = [] {
             return std::make_unique<NoneMachine>();
         }});
}

}  // namespace godwit::hw
