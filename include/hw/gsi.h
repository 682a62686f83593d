// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Global system interrupts: one wire each, reaching every controller that listens.
#pragma once

#include "system/irq.h"

#include <memory>
#include <vector>

namespace godwit::hw {

/// The numbered wires of a board. GSI 0..15 are the ISA wires.
///
/// Order    controllers hear of a change in the order in which they were connected.
/// Threads  with the machine lock. Inputs handed out stay valid after the Gsi is gone and then
///          swallow what is sent.
class Gsi {
public:
    explicit Gsi(unsigned count);
    unsigned count() const noexcept { return static_cast<unsigned>(wires_.size()); }
    /// One more controller input hears of `gsi`.
    void connect(unsigned gsi, system::IrqInput to);
    /// Where a device's output goes.
    system::IrqInput input(unsigned gsi) const;
    int level(unsigned gsi) const;

private:
    struct Wire {
        std::vector<system::IrqInput> listeners;
        int level = 0;
    };
    std::vector<std::shared_ptr<Wire>> wires_;
};

}  // namespace godwit::hw
