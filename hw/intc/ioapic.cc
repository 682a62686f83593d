// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/intc/ioapic.h"

#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/json.h"

#include <cstring>
#include <linux/kvm.h>

namespace godwit::hw {
namespace {

constexpr std::uint64_t kMasked = 1 << 16;
constexpr std::uint64_t kLevel = 1 << 15;
constexpr std::uint64_t kRemoteIrr = 1 << 14;
constexpr std::uint64_t kReadOnly = kRemoteIrr | 1 << 12;

using namespace migration::stream;

constexpr auto kState = vmstate<IoapicState>(
    "ioapic", {.current = 3, .oldest = 1}, field<&IoapicState::id>("id"),
    field<&IoapicState::ioregsel>("ioregsel"), unused<IoapicState>(8).since(2),
    field<&IoapicState::irr>("irr").since(2), field<&IoapicState::ioredtbl>("ioredtbl"));
static_assert(kState.well_formed());

}  // namespace

const VMStateOf<IoapicState>& kIoapicState = kState;

IoapicState ioapic_after_reset(std::uint8_t id) noexcept
{
    IoapicState state{.id = id};
    state.ioredtbl.fill(kMasked);
    return state;
}

IoapicDevice::IoapicDevice()
{
    add_gpio_in("", kIoapicPins, [this](unsigned n, int level) {
        raised_[n] += level != 0 ? 1 : 0;
        input(n, level);
    });
}

void Ioapic::on_message(std::function<void(std::uint64_t, std::uint32_t)> send)
{
    send_ = std::move(send);
}

// --- pins --------------------------------------------------------------------------------------

void Ioapic::input(unsigned n, int level)
{
    const unsigned pin = n == 0 ? 2 : n;
    const std::uint32_t mask = 1u << pin;
    const std::uint64_t entry = state_.ioredtbl[pin];
    const bool edge = level != 0 && (levels_ & mask) == 0;
    levels_ = level != 0 ? levels_ | mask : levels_ & ~mask;
    if ((entry & kLevel) != 0) {
        state_.irr = level != 0 ? state_.irr | mask : state_.irr & ~mask;
    } else if (edge && (entry & kMasked) == 0) {  // an edge on a masked pin is lost
        state_.irr |= mask;
    }
    service();
}

// Sends what is pending and allowed.
void Ioapic::service()
{
    for (unsigned pin = 0; pin < kIoapicPins; ++pin) {
        const std::uint32_t mask = 1u << pin;
        std::uint64_t& entry = state_.ioredtbl[pin];
        if ((state_.irr & mask) == 0 || (entry & kMasked) != 0)
            continue;
        if ((entry & kLevel) == 0)
            state_.irr &= ~mask;
        else if ((entry & kRemoteIrr) != 0)
            continue;  // not acknowledged yet
        else
            entry |= kRemoteIrr;
        if (!send_)
            continue;
        const std::uint64_t address =
            0xfee00000 | (entry >> 56 & 0xff) << 12 | (entry >> 11 & 1) << 2;
        const auto data = static_cast<std::uint32_t>((entry & 0x7ff) | (entry >> 15 & 1) << 15 |
                                                     ((entry & kLevel) != 0 ? 1u << 14 : 0));
        send_(address, data);
    }
}

void Ioapic::end_of_interrupt(std::uint8_t vector)
{
    for (std::uint64_t& entry : state_.ioredtbl) {
        if ((entry & 0xff) == vector && (entry & kLevel) != 0)
            entry &= ~kRemoteIrr;
    }
    service();
}

// --- registers ---------------------------------------------------------------------------------

std::uint32_t Ioapic::read_register() const
{
    const unsigned select = state_.ioregsel;
    if (select == 0 || select == 2)
        return std::uint32_t{state_.id} << 24;
    if (select == 1)
        return version_ | (kIoapicPins - 1) << 16;
    const unsigned pin = (select - 0x10) >> 1;
    if (select < 0x10 || pin >= kIoapicPins)
        return 0;
    return static_cast<std::uint32_t>(state_.ioredtbl[pin] >> ((select & 1) != 0 ? 32 : 0));
}

void Ioapic::write_register(std::uint32_t value)
{
    const unsigned select = state_.ioregsel;
    if (select == 0) {
        state_.id = value >> 24 & 0x0f;
        return;
    }
    const unsigned pin = (select - 0x10) >> 1;
    if (select < 0x10 || pin >= kIoapicPins)
        return;
    std::uint64_t& entry = state_.ioredtbl[pin];
    const std::uint64_t kept = entry & kReadOnly;
    if ((select & 1) != 0)
        entry = (entry & 0xffffffff) | std::uint64_t{value} << 32;
    else
        entry = (entry & ~std::uint64_t{0xffffffff}) | (value & 0x1ffff);
    entry = (entry & ~kReadOnly) | kept;
    if ((entry & kLevel) == 0)
        entry &= ~kRemoteIrr;  // how an edge pin forgets, as software relies on
    service();
}

std::uint64_t Ioapic::read(system::GuestAddr offset, unsigned)
{
    if ((offset & 0xff) == 0x00)
        return state_.ioregsel;
    if ((offset & 0xff) == 0x10)
        return read_register();
    return 0;
}

void Ioapic::write(system::GuestAddr offset, std::uint64_t value, unsigned size)
{
    switch (offset & 0xff) {
    case 0x00:
        state_.ioregsel = static_cast<std::uint8_t>(value);
        break;
    case 0x10:
        if (size == 4)
            write_register(static_cast<std::uint32_t>(value));
        break;
    case 0x40:
        if (size == 4 && version_ >= 0x20)
            end_of_interrupt(static_cast<std::uint8_t>(value));
        break;
    default:
        break;
    }
}

// --- life --------------------------------------------------------------------------------------

Result<void> Ioapic::realize()
{
    region_ = MappedRegion(vm().memory(), {.name = "ioapic",
                                           .start = base_,
                                           .size = 0x1000,
                                           .priority = 1,
                                           .kind = system::RegionKind::Io,
                                           .io = this});
    return {};
}

void Ioapic::reset(system::ResetKind)
{
    state_ = ioapic_after_reset(id_);
    levels_ = 0;
}

Result<void> Ioapic::register_state(StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kIoapicState, state_)));
    return {};
}

// --- in the kernel -----------------------------------------------------------------------------

void KvmIoapic::from_kernel(const Blob& raw)
{
    kvm_ioapic_state k;
    std::memcpy(&k, raw.data(), sizeof k);
    state_.id = static_cast<std::uint8_t>(k.id);
    state_.ioregsel = static_cast<std::uint8_t>(k.ioregsel);
    state_.irr = k.irr;
    for (unsigned n = 0; n < kIoapicPins; ++n)
        state_.ioredtbl[n] = k.redirtbl[n].bits;
}

void KvmIoapic::to_kernel(Blob& raw) const
{
    kvm_ioapic_state k{};
    k.base_address = base_;
    k.id = state_.id;
    k.ioregsel = state_.ioregsel;
    k.irr = state_.irr;
    for (unsigned n = 0; n < kIoapicPins; ++n)
        k.redirtbl[n].bits = state_.ioredtbl[n];
    std::memcpy(raw.data(), &k, sizeof k);
}

void KvmIoapic::reset(system::ResetKind)
{
    state_ = ioapic_after_reset(id_);
    (void)put();
}

// --- making one --------------------------------------------------------------------------------

Result<IoapicDevice*> add_ioapic(system::Vm& vm, system::GuestAddr base, unsigned gsi_base)
{
    const bool kernel =
        gsi_base == 0 && vm.accelerator() != nullptr && vm.accelerator()->irqchip() != nullptr;
    system::Device* device = GW_TRY(vm.devices().add_builtin(
        kernel ? "kvm-ioapic" : "ioapic", nullptr, Json{{"base", base}, {"gsi_base", gsi_base}},
        gsi_base == 0 ? "ioapic" : ""));
    return static_cast<IoapicDevice*>(device);
}

namespace {

template <class T>
system::TypeInfo ioapic_type(std::string name)
{
    using system::property;
    return {.name = std::move(name),
            .parent = "sys-bus-device",
            .user_creatable = false,
            .description = "82093AA I/O APIC",
            .properties = {property<&T::base_>("base", std::uint64_t{kIoapicBase}),
                           property<&T::gsi_base_>("gsi_base", std::uint32_t{0}),
                           property<&T::id_>("id", std::uint8_t{0}),
                           property<&T::version_>("version", std::uint8_t{0x20})},
            .create = [] { return std::make_unique<T>(); }};
}

}  // namespace

Result<void> register_ioapic(system::TypeRegistry& types)
{
    GW_TRY(types.add(ioapic_type<Ioapic>("ioapic")));
    return types.add(ioapic_type<KvmIoapic>("kvm-ioapic"));
}

}  // namespace godwit::hw
