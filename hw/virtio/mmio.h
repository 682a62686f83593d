// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Virtio over memory-mapped registers.
#pragma once

#include "hw/region.h"
#include "hw/virtio.h"

#include <array>
#include <cstdint>
#include <vector>

namespace godwit::hw {

/// Type "virtio-mmio", system bus: 512 bytes of registers at `base` and a bus "virtio-mmio-bus.N".
/// Without a device it answers magic, version and vendor, and device id 0.
///
/// Properties  base, force-legacy (on: version 1 registers; off: version 2), x-index (N in the
/// bus's name; by
///             default the number of transports made before).
/// Gpio        unnamed output 0: the interrupt, a level.
/// State       part of its device's section; an empty transport has none.
/// Source      Virtio 1.2, section 4.2; its appendix on legacy registers.
class VirtioMmio final : public system::Device, public VirtioTransport, private system::IoHandler {
public:
    static constexpr std::uint64_t kBytes = 0x200;
    struct QueueRegs {
        std::uint16_t num = 0;
        bool enabled = false;
        std::array<std::uint32_t, 2> desc{};
        std::array<std::uint32_t, 2> avail{};
        std::array<std::uint32_t, 2> used{};
    };
    struct State {
        std::array<std::uint32_t, 2> guest_features{};
        std::vector<QueueRegs> queues;
    };

    std::uint64_t base_ = 0;
    bool force_legacy_ = true;
    std::uint32_t index_ = 0xffffffff;

    VirtioMmio() { add_gpio_out("", 1); }
    std::string state_path() const override;

    void notify_queue(unsigned queue) override;
    void notify_config() override { update_irq(); }
    bool legacy() const noexcept override { return force_legacy_; }
    void save_head(migration::stream::StreamWriter& out) override;
    Result<void> load_head(migration::stream::StreamReader& in) override;
    void save_extra(migration::stream::StreamWriter& out) override;
    Result<void> load_extra(migration::stream::StreamReader& in) override;

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override { soft_reset(); }
    void unrealize() noexcept override { region_.reset(); }

private:
    std::uint64_t read(system::GuestAddr offset, unsigned size) override;
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override;
    unsigned max_access() const override { return 4; }
    std::uint32_t read_register(VirtioDevice& device, unsigned reg);
    void write_register(VirtioDevice& device, unsigned reg, std::uint32_t value);
    void write_legacy(VirtioDevice& device, unsigned reg, std::uint32_t value);
    void write_modern(VirtioDevice& device, unsigned reg, std::uint32_t value);
    void enable_queue(VirtioDevice& device, bool on);
    void write_status(VirtioDevice& device, std::uint32_t value);
    void soft_reset();
    void update_irq();
    VirtioDevice* device() const noexcept { return bus_ != nullptr ? bus_->device() : nullptr; }

    VirtioBus* bus_ = nullptr;
    MappedRegion region_;
    std::uint32_t host_features_sel_ = 0;
    std::uint32_t guest_features_sel_ = 0;
    std::uint32_t guest_page_shift_ = 0;
    State state_;
};

}  // namespace godwit::hw
