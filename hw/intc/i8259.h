// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The two 8259A interrupt controllers of a PC, in the program or in the kernel.
#pragma once

#include "hw/intc/kernel_chip.h"
#include "hw/isa.h"
#include "migration/stream/vmstate.h"
#include "system/accelerator.h"

#include <array>
#include <cstdint>

namespace godwit::hw {

/// One chip.
///
/// Source   Intel 8259A data sheet; layout of section `i8259` v1; all but single_mode and ltim are
/// in
///          struct kvm_pic_state too.
struct PicState {
    std::uint8_t last_irr = 0;  ///< levels of the inputs, for edge detection
    std::uint8_t irr = 0;
    std::uint8_t imr = 0;
    std::uint8_t isr = 0;
    std::uint8_t priority_add = 0;  ///< the input with the highest priority
    std::uint8_t irq_base = 0;
    std::uint8_t read_reg_select = 0;
    std::uint8_t poll = 0;
    std::uint8_t special_mask = 0;
    std::uint8_t init_state = 0;
    std::uint8_t auto_eoi = 0;
    std::uint8_t rotate_on_auto_eoi = 0;
    std::uint8_t special_fully_nested_mode = 0;
    std::uint8_t init4 = 0;
    std::uint8_t single_mode = 0;
    std::uint8_t elcr = 0;
    std::uint8_t ltim = 0;
};
extern const migration::stream::VMStateOf<PicState>& kPicState;

/// What both kinds share. Master first: section instance 0 is the master.
///
/// Properties  master, iobase (0x20, 0xa0), elcr_addr (0x4d0, 0x4d1), elcr_mask (0xf8, 0xde).
/// Gpio        unnamed inputs 0..7; unnamed output 0: INT.
class PicDevice : public IsaDevice {
public:
    bool master_ = false;
    std::uint32_t iobase_ = 0xffffffff;
    std::uint32_t elcr_addr_ = 0xffffffff;
    std::uint8_t elcr_mask_ = 0xff;

    static const auto& vmstate() noexcept { return kPicState; }
    static constexpr unsigned kInputs = 8;
    PicState& state() noexcept { return state_; }
    /// How often each input was raised, for `info irq`.
    const std::array<std::uint64_t, kInputs>& raised() const noexcept { return raised_; }
    /// As the chip is now, wherever it is.
    virtual Result<PicState> current() { return state_; }

protected:
    PicDevice();
    virtual void input(unsigned n, int level) = 0;
    PicState state_;

private:
    std::array<std::uint64_t, kInputs> raised_{};
};

/// Type "isa-i8259".
class Pic final : public PicDevice {
public:
    /// The CPU's acknowledge cycle, asked of the master: the vector, a spurious one included.
    std::uint8_t acknowledge(Pic& slave);

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;
    void input(unsigned n, int level) override;

private:
    class Ports;
    class Elcr;
    friend class Ports;
    unsigned priority_of(std::uint8_t mask) const;
    int pending() const;
    void update();
    void take(unsigned n);
    void initialise();
    void write_command(std::uint8_t value);
    void write_icw1(std::uint8_t value);
    void write_ocw2(std::uint8_t value);
    void write_ocw3(std::uint8_t value);
    void write_data(std::uint8_t value);
    std::uint8_t read(unsigned port);

    std::unique_ptr<system::IoHandler> ports_handler_;
    std::unique_ptr<system::IoHandler> elcr_handler_;
};

/// Type "kvm-i8259".
class KvmPic final : public KernelChip<PicDevice> {
protected:
    void reset(system::ResetKind) override;
    void input(unsigned n, int level) override { drive(master_ ? n : n + 8, level); }
    Chip chip() const override { return master_ ? Chip::PicMaster : Chip::PicSlave; }
    void from_kernel(const Blob& raw) override;
    void to_kernel(Blob& raw) const override;
};

/// Master and slave on `bus`, in the kernel when the accelerator has them there. The slave is wired
/// to the master's input 2.
struct PicPair {
    PicDevice* master = nullptr;
    PicDevice* slave = nullptr;
    /// The input for ISA wire n.
    system::IrqInput input(unsigned n) const;
};
Result<PicPair> add_pics(system::Vm& vm, IsaBus& bus, system::IrqInput cpu);

}  // namespace godwit::hw
