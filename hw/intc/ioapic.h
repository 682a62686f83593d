// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The 82093AA I/O APIC, in the program or in the kernel.
#pragma once

#include "hw/intc/kernel_chip.h"
#include "hw/region.h"
#include "migration/stream/vmstate.h"
#include "system/accelerator.h"
#include "system/device.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

namespace godwit::hw {

inline constexpr unsigned kIoapicPins = 24;
inline constexpr system::GuestAddr kIoapicBase = 0xfec00000;

/// Source   Intel 82093AA data sheet; layout of section `ioapic` v3.
struct IoapicState {
    std::uint8_t id = 0;
    std::uint8_t ioregsel = 0;
    std::uint32_t irr = 0;
    std::array<std::uint64_t, kIoapicPins> ioredtbl{};
};
extern const migration::stream::VMStateOf<IoapicState>& kIoapicState;
IoapicState ioapic_after_reset(std::uint8_t id) noexcept;

/// What both kinds share.
///
/// Properties  base (0xfec00000), gsi_base (0; 24 for a second one), id (0), version (0x20).
/// Gpio        unnamed inputs 0..23. Input 0 reaches pin 2, as ISA wire 0 does on a PC.
class IoapicDevice : public system::Device {
public:
    std::uint64_t base_ = kIoapicBase;
    std::uint32_t gsi_base_ = 0;
    std::uint8_t id_ = 0;
    std::uint8_t version_ = 0x20;
    static const auto& vmstate() noexcept { return kIoapicState; }
    IoapicState& state() noexcept { return state_; }
    /// How often each input was raised, for `info irq`.
    const std::array<std::uint64_t, kIoapicPins>& raised() const noexcept { return raised_; }
    /// As the chip is now, wherever it is.
    virtual Result<IoapicState> current() { return state_; }

protected:
    IoapicDevice();
    virtual void input(unsigned n, int level) = 0;
    IoapicState state_;

private:
    std::array<std::uint64_t, kIoapicPins> raised_{};
};

/// Type "ioapic".
class Ioapic final : public IoapicDevice, private system::IoHandler {
public:
    /// Where interrupt messages go: the address and data a local APIC understands.
    void on_message(std::function<void(std::uint64_t address, std::uint32_t data)> send);
    /// A local APIC says that `vector` is done.
    void end_of_interrupt(std::uint8_t vector);

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    void unrealize() noexcept override { region_.reset(); }
    Result<void> register_state(migration::stream::StateRegistry& registry) override;
    void input(unsigned n, int level) override;

private:
    std::uint64_t read(system::GuestAddr offset, unsigned size) override;
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned max_access() const override { return 4; }
    std::uint32_t read_register() const;
    void write_register(std::uint32_t value);
    void service();

    std::function<void(std::uint64_t, std::uint32_t)> send_;
    std::uint32_t levels_ = 0;  // of the pins, so that only an edge counts as one
    MappedRegion region_;
};

/// Type "kvm-ioapic".
class KvmIoapic final : public KernelChip<IoapicDevice> {
protected:
    void reset(system::ResetKind) override;
    void input(unsigned n, int level) override { drive(gsi_base_ + n, level); }
    Chip chip() const override { return Chip::Ioapic; }
    void from_kernel(const Blob& raw) override;
    void to_kernel(Blob& raw) const override;
};

/// One I/O APIC at `base`, in the kernel when the accelerator has it there and `gsi_base` is 0.
Result<IoapicDevice*> add_ioapic(system::Vm& vm, system::GuestAddr base = kIoapicBase,
                                 unsigned gsi_base = 0);

}  // namespace godwit::hw
