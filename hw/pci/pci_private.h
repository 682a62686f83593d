// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the files of PciDevice share.
#pragma once

#include "hw/pci.h"

namespace godwit::hw {

struct PciDevice::Bar {
    PciBar spec;
    std::vector<PciBarPart> tables = {};  // MSI-X windows: stay when the device changes its parts
    std::optional<std::uint64_t> at;      // where it is mapped
    std::vector<MappedRegion> regions;
};

// The MSI-X table and its pending bits, as two windows over BARs.
class PciDevice::MsixWindow {
public:
    MsixWindow(PciDevice& device, unsigned vectors);

    class Table final : public system::IoHandler {
    public:
        explicit Table(MsixWindow& owner) : owner_(owner) {}
        std::uint64_t read(system::GuestAddr offset, unsigned size) override;
        void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;

    private:
        MsixWindow& owner_;
    };
    class Pending final : public system::IoHandler {
    public:
        explicit Pending(MsixWindow& owner) : owner_(owner) {}
        std::uint64_t read(system::GuestAddr offset, unsigned size) override;
        void write(system::GuestAddr, std::uint64_t, unsigned) override {}

    private:
        MsixWindow& owner_;
    };

    bool vector_masked(unsigned n) const { return (table[n * 16 + 12] & 1) != 0; }

    PciDevice& device;
    unsigned vectors;
    std::vector<std::uint8_t> table;    // 16 bytes a vector
    std::vector<std::uint8_t> pending;  // whole 64-bit words
    Table table_io{*this};
    Pending pending_io{*this};
};

std::uint64_t get_le(std::span<const std::uint8_t> from, unsigned size);
void put_le(std::span<std::uint8_t> to, std::uint64_t value, unsigned size);

}  // namespace godwit::hw
