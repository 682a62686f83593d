// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/misc/port92.h"

#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"

namespace godwit::hw {
namespace {

using namespace migration::stream;

constexpr auto kPort92 =
    vmstate<Port92::State>("port92", {}, field<&Port92::State::outport>("outport"));

}  // namespace

Result<void> Port92::realize()
{
    add_ports("port92", 0x92, 1, *this);
    return {};
}

void Port92::write(system::GuestAddr, std::uint64_t value, unsigned)
{
    state_.outport = value & 0xfe;
    gpio_out("a20", 0).set(value >> 1 & 1);
    if ((value & 1) != 0)
        vm().request_reset(system::ShutdownCause::GuestReset);
}

Result<void> Port92::register_state(StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kPort92, state_)));
    return {};
}

Result<void> DebugExit::realize()
{
    if (iobase_ > 0xffff || iosize_ == 0 || iosize_ > 8 || iobase_ + iosize_ > 0x10000)
        return Error(Errc::InvalidArgument, "isa-debug-exit: ports out of range");
    add_ports("isa-debug-exit", static_cast<std::uint16_t>(iobase_), iosize_, *this);
    return {};
}

void DebugExit::write(system::GuestAddr, std::uint64_t value, unsigned)
{
    vm().set_exit_status(static_cast<int>((value << 1 | 1) & 0xff));
    vm().request_shutdown(system::ShutdownCause::GuestShutdown);
}

Result<void> register_misc(system::TypeRegistry& types)
{
    using system::property;
    GW_TRY(types.add({.name = "port92",
                      .parent = "isa-device",
                      .user_creatable = false,
                      .bus = "ISA",
                      .description = "system control port A",
                      .create = [] { return std::make_unique<Port92>(); }}));
    return types.add({.name = "isa-debug-exit",
                      .parent = "isa-device",
                      .bus = "ISA",
                      .description = "ends the program when the guest writes to it",
                      .properties = {property<&DebugExit::iobase_>("iobase", 0x501),
                                     property<&DebugExit::iosize_>("iosize", 2)},
                      .create = [] { return std::make_unique<DebugExit>(); }});
}

}  // namespace godwit::hw
