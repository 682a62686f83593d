// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The human commands of this room.
#pragma once

namespace godwit::system {
class HmpTable;
}

namespace godwit::hw {

/// `info pci`, `info pic`.
void add_human_commands(system::HmpTable& table);

}  // namespace godwit::hw
