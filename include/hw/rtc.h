// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The MC146818 real-time clock with its CMOS memory.
#pragma once

#include "hw/isa.h"
#include "migration/stream/storage.h"
#include "system/clock.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

namespace godwit::hw {

/// Source   Motorola MC146818A data sheet; layout of section `mc146818rtc` v3.
/// Units    base_rtc in seconds since 1970, the others in ns of the host's wall clock.
struct RtcState {
    std::array<std::uint8_t, 128> cmos{};
    std::uint8_t cmos_index = 0;
    migration::stream::TimerState periodic_timer;
    std::int64_t next_periodic_time = 0;
    std::uint32_t irq_coalesced = 0;
    std::uint32_t period = 0;
    std::uint64_t base_rtc = 0;     ///< the guest's time ...
    std::uint64_t last_update = 0;  ///< ... at this moment ...
    std::int64_t offset = 0;        ///< ... plus so many ns
    migration::stream::TimerState update_timer;
    std::uint64_t next_alarm_time = 0;
    std::uint16_t irq_reinject_on_ack_count = 0;
};

/// Type "mc146818rtc", bus "ISA": ports 0x70 and 0x71.
///
/// Properties  iobase (0x70), irq (8), base_year (0: the century is kept in byte 0x32).
///             The first date is the host's, or what `-rtc base=` said (VmConfig::rtc_base: "utc",
///             "localtime", "2006-06-17", "2006-06-17T16:01:21").
/// Gpio        unnamed output 0: the interrupt, connected to ISA wire `irq`.
/// Section     `mc146818rtc` v3.
class Rtc final : public IsaDevice, private system::IoHandler {
public:
    std::uint32_t iobase_ = 0x70;
    std::uint32_t irq_ = 8;
    std::int32_t base_year_ = 0;

    Rtc();
    ~Rtc() override;

    /// Bytes 0x0e to 0x7f belong to the machine and its firmware.
    void set_cmos(std::uint8_t index, std::uint8_t value) { state_.cmos[index & 0x7f] = value; }
    std::uint8_t cmos(std::uint8_t index) const { return state_.cmos[index & 0x7f]; }
    /// The keys in which firmware finds the memory size: base (0x15), extended (0x17, 0x30), above
    /// 16 MiB (0x34), above 4 GiB (0x5b).
    void set_memory_sizes(std::uint64_t below_4g, std::uint64_t above_4g);
    RtcState& state() noexcept { return state_; }

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    std::uint64_t read(system::GuestAddr offset, unsigned size) override;
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned max_access() const override { return 1; }

    std::int64_t now() const;
    std::int64_t guest_ns() const;
    bool running() const;
    bool update_in_progress() const;
    int decode(std::uint8_t value) const;
    std::uint8_t encode(int value) const;
    std::uint8_t encode_hour(int hour) const;
    int decode_hour(std::uint8_t value) const;
    void show_time();
    void take_time();
    void write_a(std::uint8_t value);
    void write_b(std::uint8_t value);
    void write_index(std::uint8_t index, std::uint8_t value);
    std::uint8_t read_index(std::uint8_t index);
    std::uint8_t read_c();
    void raise(std::uint8_t flags);
    void schedule_periodic(bool restart);
    void schedule_update();
    std::optional<std::int64_t> next_alarm(std::int64_t seconds) const;
    void periodic_expired();
    void update_expired();

    RtcState state_;
    std::unique_ptr<system::Timer> periodic_;
    std::unique_ptr<system::Timer> update_;
};

/// Seconds since 1970 for `-rtc base=`; the guest's time zone is the host's for "localtime".
/// Errors   InvalidArgument: "invalid datetime format".
Result<std::int64_t> rtc_base_seconds(std::string_view base, std::int64_t host_seconds);

}  // namespace godwit::hw
