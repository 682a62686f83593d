// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/gsi.h"

namespace godwit::hw {

Gsi::Gsi(unsigned count)
{
    wires_.reserve(count);
    for (unsigned n = 0; n < count; ++n)
        wires_.push_back(std::make_shared<Wire>());
}

void Gsi::connect(unsigned gsi, system::IrqInput to)
{
    wires_.at(gsi)->listeners.push_back(std::move(to));
}

system::IrqInput Gsi::input(unsigned gsi) const
{
    return system::IrqInput([weak = std::weak_ptr(wires_.at(gsi))](int level) {
        const auto wire = weak.lock();
        if (!wire)
            return;
        wire->level = level;
        for (const system::IrqInput& listener : wire->listeners)
            listener.set(level);
    });
}

int Gsi::level(unsigned gsi) const
{
    return wires_.at(gsi)->level;
}

}  // namespace godwit::hw
