// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the module exports: the device types of this folder.
#include "system/plugin.h"
#include "hw/vfio/types.h"

GW_PLUGIN("vfio", "PCI devices of the host (vfio-pci) and of vfio-user servers (vfio-user-pci)",
          &godwit::hw::vfio::load);
