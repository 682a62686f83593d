// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/register.h"

#include "hw/isa.h"
#include "hw/machine/register.h"
#include "hw/register_private.h"

namespace godwit::hw {

Result<void> register_types(system::TypeRegistry& types)
{
    GW_TRY(
        types.add({.name = "isa-device", .parent = "device", .abstract_type = true, .bus = "ISA"}));
    GW_TRY(types.add({.name = "isabus-bridge",
                      .parent = "sys-bus-device",
                      .user_creatable = false,
                      .description = "ISA bus of a board without PCI",
                      .create = [] { return std::make_unique<IsaBridge>(); }}));
    GW_TRY(register_serial(types));
    GW_TRY(register_fw_cfg(types));
    GW_TRY(register_i8259(types));
    GW_TRY(register_ioapic(types));
    GW_TRY(register_its(types));
    GW_TRY(register_i8254(types));
    GW_TRY(register_rtc(types));
    GW_TRY(register_q35(types));
    GW_TRY(register_lpc(types));
    GW_TRY(register_misc(types));
    GW_TRY(register_i8042(types));
    GW_TRY(register_block(types));
    GW_TRY(register_ide(types));
    GW_TRY(register_virtio(types));
    return register_machines(types);
}

}  // namespace godwit::hw
