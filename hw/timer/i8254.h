// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The 8254 interval timer, in the program or in the kernel, and the speaker gate next to it.
#pragma once

#include "hw/isa.h"
#include "migration/stream/vmstate.h"
#include "system/accelerator.h"
#include "system/clock.h"

#include <array>
#include <cstdint>
#include <memory>

namespace godwit::hw {

inline constexpr std::int64_t kPitHz = 1193182;

/// One counter. Names as in struct kvm_pit_channel_state.
struct PitChannel {
    std::int32_t count = 0x10000;  ///< 1..0x10000
    std::uint16_t latched_count = 0;
    std::uint8_t count_latched = 0;  ///< the access mode still to be read, 0 = nothing latched
    std::uint8_t status_latched = 0;
    std::uint8_t status = 0;
    std::uint8_t read_state = 0;
    std::uint8_t write_state = 0;
    std::uint8_t write_latch = 0;
    std::uint8_t rw_mode = 0;
    std::uint8_t mode = 3;
    std::uint8_t bcd = 0;
    std::uint8_t gate = 1;
    std::int64_t count_load_time = 0;  ///< guest clock, ns
    std::int64_t next_transition_time = -1;

    std::int64_t ticks(std::int64_t now) const;
    std::uint16_t value(std::int64_t now) const;
    bool out(std::int64_t now) const;
    std::int64_t next_transition(std::int64_t now) const;  ///< ns, -1 if none
};

/// Source   Intel 82C54 data sheet; layout of section `i8254` v3.
struct PitState {
    std::uint32_t irq_disabled = 0;  ///< HPET legacy mode
    std::array<PitChannel, 3> channels{};
    std::int64_t irq_transition_time = -1;  ///< channel 0's, once more
};
extern const migration::stream::VMStateOf<PitState>& kPitState;

/// What both kinds share.
///
/// Properties  iobase (0x40).
/// Gpio        unnamed output 0: counter 0, for ISA wire 0; unnamed input 0: "irq disabled" (HPET).
class PitDevice : public IsaDevice {
public:
    std::uint32_t iobase_ = 0x40;
    PitState& state() noexcept { return state_; }

    /// For the speaker port: counter 2's gate and output.
    virtual bool gate(unsigned channel) = 0;
    virtual void set_gate(unsigned channel, bool on) = 0;
    virtual bool out(unsigned channel) = 0;

protected:
    PitState state_;
};

/// Type "isa-pit".
class Pit final : public PitDevice, private system::IoHandler {
public:
    Pit();
    bool gate(unsigned channel) override { return state_.channels[channel].gate != 0; }
    void set_gate(unsigned channel, bool on) override;
    bool out(unsigned channel) override;

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    std::uint64_t read(system::GuestAddr offset, unsigned size) override;
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned max_access() const override { return 1; }
    void write_control(std::uint8_t value);
    void latch(PitChannel& channel);
    void load_count(unsigned n, std::uint32_t count);
    void update_irq(std::int64_t now);
    void disable_irq(bool on);
    std::int64_t now() const;

    std::unique_ptr<system::Timer> timer_;
};

/// Type "kvm-pit". The kernel counts on the host's monotonic clock, also while the guest is
/// stopped; the state is read when the guest stops and written, shifted, when it starts.
class KvmPit final : public PitDevice {
public:
    KvmPit();
    bool gate(unsigned channel) override;
    void set_gate(unsigned channel, bool on) override;
    bool out(unsigned channel) override;

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    Result<void> get();
    Result<void> put();
    Result<void> run_state(bool running);
    std::int64_t kernel_offset() const;

    system::KernelIrqchip* irqchip_ = nullptr;
    Registration run_state_;
    bool fresh_ = true;  // state_ is what the kernel has, because the guest is stopped
};

/// Type "isa-pcspk": port 0x61, gate and data of the speaker. No sound is made.
///
/// Properties  iobase (0x61). The board calls connect() before the guest runs.
/// Section     `pcspk` v1.
class PcSpeaker final : public IsaDevice, private system::IoHandler {
public:
    std::uint32_t iobase_ = 0x61;
    struct State {
        std::uint8_t data_on = 0;
        std::uint8_t dummy_refresh_clock = 0;
    };
    void connect(PitDevice& pit) noexcept { pit_ = &pit; }

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override { state_ = {}; }
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    std::uint64_t read(system::GuestAddr offset, unsigned size) override;
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned max_access() const override { return 1; }

    PitDevice* pit_ = nullptr;
    State state_;
};

/// The PIT on `bus`, in the kernel when the accelerator has it there; its output drives ISA wire 0.
Result<PitDevice*> add_pit(system::Vm& vm, IsaBus& bus);

}  // namespace godwit::hw
