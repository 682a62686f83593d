// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The q35 north bridge: configuration mechanism, memory controller hub, root bus "pcie.0".
#pragma once

#include "hw/pci.h"

#include <cstdint>
#include <memory>

namespace godwit::hw {

/// Type "mch", at 00.0. PCIEXBAR (0x60) opens the memory-mapped configuration space; PAM and SMRAM
/// registers keep what is written and change nothing: RAM is always visible below 1 MiB.
///
/// Section  `mch` v1.
class Mch final : public PciDevice {
public:
    struct State {
        PciState pci;
    };
    Mch();

    void config_write(unsigned offset, std::uint32_t value, unsigned size) override;
    /// Where the memory-mapped configuration space is now; 0 when closed.
    std::uint64_t ecam_base() const noexcept { return ecam_base_; }

protected:
    Result<void> realize() override;
    void reset(system::ResetKind kind) override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    class Ecam;
    void update_ecam();
    State state_;
    std::unique_ptr<Ecam> ecam_;
    MappedRegion region_;
    std::uint64_t ecam_base_ = 0;
    std::uint64_t ecam_size_ = 0;
};

/// Type "q35-pcihost": ports 0xcf8 and 0xcfc, the bus, and the Mch on it. A byte written to 0xcf9,
/// between them, resets the machine when bit 2 is set.
///
/// Sections  `PCIHost` v1, `PCIBUS` v1.
class Q35Host final : public system::Device {
public:
    Q35Host();
    ~Q35Host() override;
    PciBus& bus() noexcept { return *bus_; }
    Mch& mch() noexcept { return *mch_; }
    struct State {
        std::uint32_t config_reg = 0;
    };

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override { state_.config_reg = 0; }
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    class AddressPort;
    class DataPort;
    State state_;
    PciBus* bus_ = nullptr;
    Mch* mch_ = nullptr;
    std::unique_ptr<AddressPort> address_;
    std::unique_ptr<DataPort> data_;
    std::vector<MappedRegion> regions_;
};

}  // namespace godwit::hw
