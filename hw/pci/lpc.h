// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The ICH9 LPC bridge: ISA bus, interrupt routing, power management, SMI command port, reset
// control.
#pragma once

#include "hw/acpi/pm.h"
#include "hw/gsi.h"
#include "hw/isa.h"
#include "hw/pci.h"

#include <array>
#include <cstdint>
#include <memory>

namespace godwit::hw {

/// Type "ICH9-LPC", at 1f.0. Its realize() makes bus "isa.0"; the board then calls connect_gsi()
/// before it adds ISA devices.
///
/// Properties  disable_s3, disable_s4 (off), s4_val (2), x-firmware-pm-base (0: as after a hardware
/// reset. Else
///             the PM block is found there after every reset, as firmware would set it: 0x600).
/// Interrupts  PIRQA..H reach GSI 16..23, and the ISA wire that registers 0x60..0x63, 0x68..0x6b
/// name. The SCI is
///             GSI 9 unless register 0x44 says otherwise.
/// Section     `ICH9LPC` v1.
/// Source      Intel I/O Controller Hub 9 data sheet, chapter 13.
class Lpc final : public PciDevice {
public:
    static constexpr std::size_t kRcrbBytes = 16384;
    struct Apm {
        std::uint8_t control = 0;
        std::uint8_t status = 0;
    };
    struct State {
        PciState pci;
        Apm apm;
        PmState pm;
        std::array<std::uint8_t, kRcrbBytes> chip_config{};
        std::uint32_t sci_level = 0;
    };

    bool disable_s3_ = false;
    bool disable_s4_ = false;
    std::uint8_t s4_val_ = 2;
    std::uint32_t firmware_pm_base_ = 0;

    Lpc();
    ~Lpc() override;

    IsaBus& isa() noexcept { return *isa_; }
    AcpiPm& pm() noexcept { return *pm_; }
    /// Wires the sixteen ISA interrupts, the PIRQs and the SCI.
    void connect_gsi(std::shared_ptr<Gsi> gsi);

    void config_write(unsigned offset, std::uint32_t value, unsigned size) override;

protected:
    Result<void> realize() override;
    void reset(system::ResetKind kind) override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    class ApmPorts;
    class Rcrb;
    unsigned map_pirq(std::uint8_t devfn, unsigned pin) const;
    unsigned isa_wire(unsigned pirq) const;  // 16 = none
    unsigned sci_gsi() const;
    void update_gsi(unsigned gsi);
    void update_all_gsi();
    void update_windows();

    std::unique_ptr<State> state_;
    IsaBus* isa_ = nullptr;
    std::shared_ptr<Gsi> gsi_;
    std::unique_ptr<AcpiPm> pm_;
    std::unique_ptr<ApmPorts> apm_ports_;
    std::unique_ptr<Rcrb> rcrb_;
    std::vector<MappedRegion> fixed_;
    MappedRegion pm_region_;
    MappedRegion rcrb_region_;
    std::uint32_t pm_at_ = 0;
    std::uint32_t rcrb_at_ = 0;
    std::array<std::uint8_t, 8> pirq_level_{};
};

}  // namespace godwit::hw
