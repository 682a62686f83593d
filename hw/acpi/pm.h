// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The power-management block of the ICH9: PM1 events, sleep control, timer, general-purpose events.
#pragma once

#include "migration/stream/vmstate.h"
#include "system/address_space.h"
#include "system/clock.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

namespace godwit::system {
class Vm;
}

namespace godwit::hw {

/// The TCO watchdog's registers. They keep what is written; the watchdog does not count.
struct TcoState {
    std::uint16_t rld = 0;
    std::uint8_t din = 0;
    std::uint8_t dout = 0;
    std::uint16_t sts1 = 0;
    std::uint16_t sts2 = 0;
    std::uint16_t cnt1 = 0;
    std::uint16_t cnt2 = 0x0008;
    std::uint8_t msg1 = 0;
    std::uint8_t msg2 = 0;
    std::uint8_t wdcnt = 0;
    std::uint16_t tmr = 0x0004;
    std::uint8_t sw_irq_gen = 0x03;
    migration::stream::TimerState timer;
    std::int64_t expire_time = -1;
    std::uint8_t timeouts = 0;
};

/// The slot selector of ACPI memory hot-plug, which is not offered either.
struct MemoryHotplug {
    std::uint32_t selector = 0;
};

/// A slot pair of ACPI PCI hot-plug, which is not offered: always zero.
struct PciHotplugSlots {
    std::uint32_t up = 0;
    std::uint32_t down = 0;
};

/// Source   ACPI specification 6.5, section 4.8; Intel I/O Controller Hub 9 data sheet,
/// section 13.8;
///          structure `ich9_pm` v1 with its three subsections.
struct PmState {
    std::uint16_t status = 0;
    std::uint16_t enable = 0;
    std::uint16_t control = 0;
    migration::stream::TimerState timer;
    std::int64_t overflow_time = 0;  ///< in ticks of the PM timer
    std::array<std::uint8_t, 16> gpe_status{};
    std::array<std::uint8_t, 16> gpe_enable{};
    std::uint32_t smi_enable = 0;
    std::uint32_t smi_status = 0;
    MemoryHotplug memhp;
    TcoState tco;
    std::uint32_t hotplug_select = 0;
    std::array<PciHotplugSlots, 256> hotplug{};
    std::uint32_t acpi_index = 0;
};
extern const migration::stream::VMStateDef<PmState, 12> kPmState;

/// The block's 128 ports and what they do.
///
/// Threads  with the machine lock.
/// Errors   none; accesses of any size and offset are harmless.
class AcpiPm final : public system::IoHandler {
public:
    static constexpr std::uint64_t kPorts = 128;
    struct Values {
        bool s3 = true;
        bool s4 = true;
        std::uint8_t s4_type = 2;
    };
    AcpiPm(system::Vm& vm, PmState& state, Values values, std::function<void(int level)> sci);

    std::uint64_t read(system::GuestAddr offset, unsigned size) override;
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned max_access() const override { return 4; }

    void reset(bool wakeup);
    void press_power_button();
    void set_gpe(unsigned bit);
    void enable_acpi(bool on);  ///< SCI_EN, by the SMI command port
    void pre_save();
    void post_load();

private:
    std::uint16_t read_word(unsigned offset);
    void write_word(unsigned offset, std::uint16_t value);
    std::uint16_t read_tco(unsigned offset) const;
    void write_tco(unsigned offset, std::uint16_t value);
    void write_control(std::uint16_t value);
    std::int64_t ticks() const;
    void check_overflow();
    void update();

    system::Vm& vm_;
    PmState& s_;
    Values values_;
    std::function<void(int)> sci_;
    system::Timer timer_;
};

}  // namespace godwit::hw
