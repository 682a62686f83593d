// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A device from outside the tree: four bytes of I/O ports that count.
//
//   offset 0, read    pulses so far, 32 bits
//   offset 0, write   adds the value to the count; the output pin follows bit 0 of the count
//
// It uses only installed headers. See docs/plugin-guide.md.
#include "migration/stream/registry.h"
#include "migration/stream/vmstate.h"
#include "system/address_space.h"
#include "system/device.h"
#include "system/plugin.h"
#include "system/property.h"
#include "system/vm.h"

#include <fmt/format.h>

#include <cstdint>
#include <memory>

namespace pulse {

using namespace godwit;
namespace ms = godwit::migration::stream;

/// What migrates: a plain value, declared once below.
struct CounterState {
    std::uint32_t count = 0;
    std::uint8_t level = 0;
};

inline constexpr auto kCounter = ms::vmstate<CounterState>(
    "pulse-counter", {.current = 1, .oldest = 1}, ms::field<&CounterState::count>("count"),
    ms::field<&CounterState::level>("level").in_range(0, 1));
static_assert(kCounter.well_formed());

class PulseCounter : public system::Device, private system::IoHandler {
public:
    PulseCounter() { add_gpio_out("", 1); }

    static system::TypeInfo type()
    {
        return {.name = "pulse-counter",
                .parent = "device",
                .hotpluggable = true,
                .description = "counts what is written to a port",
                .properties = {system::property<&PulseCounter::port_>("port", 0x2f00u,
                                                                      "first of four I/O ports")},
                .create = [] { return std::make_unique<PulseCounter>(); }};
    }

private:
    Result<void> realize() override
    {
        if (port_ > 0xfffc)
            return Error(Errc::InvalidArgument,
                         fmt::format("pulse-counter: port 0x{:x} leaves no room for four", port_));
        region_ = vm().io().add({.name = "pulse-counter", .start = port_, .size = 4, .io = this});
        return ok();
    }
    void unrealize() noexcept override { vm().io().remove(region_); }
    void reset(system::ResetKind) override
    {
        state_ = {};
        gpio_out("", 0).set(0);
    }
    Result<void> register_state(ms::StateRegistry& registry) override
    {
        keep(GW_TRY(registry.add(kCounter, state_, {}, {.post_load = [this](ms::Version) {
                                     gpio_out("", 0).set(state_.level);
                                     return ok();
                                 }})));
        return ok();
    }

    std::uint64_t read(system::GuestAddr offset, unsigned) override
    {
        return state_.count >> (8 * offset);
    }
    void write(system::GuestAddr, std::uint64_t value, unsigned) override
    {
        state_.count += static_cast<std::uint32_t>(value);
        state_.level = state_.count & 1;
        gpio_out("", 0).set(state_.level);
    }

    std::uint32_t port_ = 0;
    CounterState state_;
    system::RegionId region_ = 0;
};

Result<void> load(system::Vm& vm)
{
    return vm.types().add(PulseCounter::type());
}

}  // namespace pulse

GW_PLUGIN("pulse-counter", "example: counts what is written to a port", pulse::load);
