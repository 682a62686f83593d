// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Machine types: what -machine names. The boards themselves are in hw/machine/.
#pragma once

#include "system/device.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::system {

class RamBlock;
class Vm;

/// What query-machines says of a type.
struct MachineInfo {
    std::string name;   ///< "pc-q35-10.0": also the name in the migration stream
    std::string alias;  ///< "q35"
    std::string description;
    bool is_default = false;
    unsigned max_cpus = 1;
    bool hotpluggable_cpus = false;
    bool numa_mem_supported = false;  ///< the obsolete -numa node,mem=
    bool numa = false;                ///< -numa node,memdev=
    bool acpi = false;
    std::string default_cpu_type;  ///< "qemu64-x86_64-cpu"
    std::string default_ram_id;    ///< "pc.ram"
    std::uint64_t default_ram_bytes = 0;
    bool needs_cpu = true;
};

/// A board. An Object of type "<name>-machine" at /machine.
///
/// Order    properties set; init() with RAM, accelerator and vCPU model known; realize of its
/// devices inside;
///          done() after all -device options.
class Machine : public Object {
public:
    virtual const MachineInfo& info() const noexcept = 0;
    /// Builds the board: maps `ram`, makes vCPUs through the accelerator, adds built-in devices.
    virtual Result<void> init(Vm& vm) = 0;
    /// Last step of start-up: firmware tables, boot image, dumpdtb.
    virtual Result<void> done(Vm&) { return {}; }
    /// Everything back to power-on (or to the state after S3): by default the devices, in order.
    virtual void reset(Vm& vm, ResetKind kind);
    /// Whether S3 and system_wakeup work (query-current-machine).
    virtual bool wakeup_suspend_support() const noexcept { return false; }
    virtual void wakeup(Vm&) {}
    virtual Result<void> powerdown(Vm&) { return Error(Errc::Unsupported, "no power button"); }
    /// The board as a flattened device tree (`-machine dumpdtb=`, the dumpdtb command).
    virtual Result<std::vector<std::byte>> device_tree(Vm& vm);

    // What every machine takes; properties of the type "machine". The start-up copies what
    // VmConfig has a place for.
    std::string memory_backend, kernel, initrd, append, firmware, dtb, dumpdtb;
    std::string kernel_irqchip;  ///< "on", "off", "split"; "" = as the machine likes
    bool aux_ram_share = false;
    bool usb = false;
    bool dump_guest_core = true;
    bool mem_merge = true;
    bool graphics = true;
    bool suppress_vmdesc = false;
};

/// All machine types, sorted by name.
std::vector<MachineInfo> machine_infos(const TypeRegistry& types);
/// By name or alias; "" is the default machine.
/// Errors   NotFound: "unsupported machine type: "x"", with a hint.
Result<std::unique_ptr<Machine>> create_machine(const TypeRegistry& types, std::string_view name);

}  // namespace godwit::system
