// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Each device family adds its types; hw::register_types() calls them all.
#pragma once

#include "system/object.h"
#include "util/result.h"

namespace godwit::hw {

Result<void> register_serial(system::TypeRegistry& types);
Result<void> register_fw_cfg(system::TypeRegistry& types);
Result<void> register_i8259(system::TypeRegistry& types);
Result<void> register_ioapic(system::TypeRegistry& types);
Result<void> register_its(system::TypeRegistry& types);
Result<void> register_i8254(system::TypeRegistry& types);
Result<void> register_rtc(system::TypeRegistry& types);
Result<void> register_q35(system::TypeRegistry& types);
Result<void> register_lpc(system::TypeRegistry& types);
Result<void> register_misc(system::TypeRegistry& types);
Result<void> register_virtio(system::TypeRegistry& types);
Result<void> register_virtio_rng(system::TypeRegistry& types);
Result<void> register_virtio_blk(system::TypeRegistry& types);
Result<void> register_block(system::TypeRegistry& types);
Result<void> register_ide(system::TypeRegistry& types);
Result<void> register_i8042(system::TypeRegistry& types);

}  // namespace godwit::hw
