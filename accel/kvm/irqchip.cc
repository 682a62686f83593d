// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/irqchip.h"

#include <cstring>
#include <fmt/format.h>
#include <vector>

namespace godwit::accel::kvm {
namespace {

constexpr std::uint32_t kPins = 24;

kvm_irq_routing_entry wire(std::uint32_t gsi, std::uint32_t chip, std::uint32_t pin)
{
    kvm_irq_routing_entry entry{};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_IRQCHIP;
    entry.u.irqchip.irqchip = chip;
    entry.u.irqchip.pin = pin;
    return entry;
}

kvm_irqchip chip_of(system::KernelIrqchip::Chip chip)
{
    kvm_irqchip state{};
    state.chip_id = static_cast<std::uint32_t>(chip);  // KVM counts them in the same order
    return state;
}

}  // namespace

Result<std::unique_ptr<KvmIrqchip>> KvmIrqchip::create(const KvmMachine& machine, bool pit, Log log)
{
    std::unique_ptr<KvmIrqchip> chip(new KvmIrqchip(machine, pit, std::move(log)));
    GW_TRY(chip->write_routes());
    return chip;
}

Result<void> KvmIrqchip::write_routes()
{
    std::vector<kvm_irq_routing_entry> routes;
    for (std::uint32_t gsi = 0; gsi < 16; ++gsi)
        if (gsi != 2)  // the cascade
            routes.push_back(
                wire(gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % 8));
    for (std::uint32_t gsi = 0; gsi < kPins; ++gsi)
        if (gsi != 2)
            routes.push_back(wire(gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi));
    for (const auto& [gsi, message] : messages_) {
        kvm_irq_routing_entry entry{};
        entry.gsi = gsi;
        entry.type = KVM_IRQ_ROUTING_MSI;
        entry.u.msi.address_lo = static_cast<std::uint32_t>(message.address);
        entry.u.msi.address_hi = static_cast<std::uint32_t>(message.address >> 32);
        entry.u.msi.data = message.data;
        routes.push_back(entry);
    }
    WithEntries<ListHeader, kvm_irq_routing_entry> table(routes.size());
    table->count = static_cast<std::uint32_t>(routes.size());
    std::copy(routes.begin(), routes.end(), table.entries());
    GW_TRY(GW_KVM(machine_.fd(), KVM_SET_GSI_ROUTING, table.get()));
    return {};
}

void KvmIrqchip::set_gsi(unsigned gsi, int level)
{
    kvm_irq_level line{};
    line.irq = gsi;
    line.level = level != 0;
    if (auto done = GW_KVM(machine_.fd(), KVM_IRQ_LINE, &line); !done)
        log_.report(std::move(done).error().context(fmt::format("GSI {}", gsi)));
}

Result<void> KvmIrqchip::get(Chip chip, std::span<std::byte, 512> state)
{
    kvm_irqchip kvm = chip_of(chip);
    GW_TRY(GW_KVM(machine_.fd(), KVM_GET_IRQCHIP, &kvm));
    std::memcpy(state.data(), kvm.chip.dummy, state.size());
    return {};
}

Result<void> KvmIrqchip::set(Chip chip, std::span<const std::byte, 512> state)
{
    kvm_irqchip kvm = chip_of(chip);
    std::memcpy(kvm.chip.dummy, state.data(), state.size());
    GW_TRY(GW_KVM(machine_.fd(), KVM_SET_IRQCHIP, &kvm));
    return {};
}

Result<void> KvmIrqchip::get_pit(std::span<std::byte> state)
{
    kvm_pit_state2 pit{};
    GW_TRY(GW_KVM(machine_.fd(), KVM_GET_PIT2, &pit));
    std::memcpy(state.data(), &pit, std::min(state.size(), sizeof pit));
    return {};
}

Result<void> KvmIrqchip::set_pit(std::span<const std::byte> state)
{
    kvm_pit_state2 pit{};
    std::memcpy(&pit, state.data(), std::min(state.size(), sizeof pit));
    GW_TRY(GW_KVM(machine_.fd(), KVM_SET_PIT2, &pit));
    return {};
}

Result<void> KvmIrqchip::send_msi(std::uint64_t address, std::uint32_t data)
{
    kvm_msi msi{};
    msi.address_lo = static_cast<std::uint32_t>(address);
    msi.address_hi = static_cast<std::uint32_t>(address >> 32);
    msi.data = data;
    GW_TRY(GW_KVM(machine_.fd(), KVM_SIGNAL_MSI, &msi));
    return {};
}

Result<Registration> KvmIrqchip::add_irqfd(int fd, std::uint64_t address, std::uint32_t data)
{
    std::lock_guard guard(mutex_);
    std::uint32_t gsi = kPins;
    while (messages_.contains(gsi))
        ++gsi;
    const int most = machine_.extension(KVM_CAP_IRQ_ROUTING);
    if (gsi >= static_cast<std::uint32_t>(std::max(most, 0)))
        return Error(Errc::Unsupported, fmt::format("no free interrupt route: KVM has {}", most));
    messages_[gsi] = {address, data};
    auto routed = write_routes();
    kvm_irqfd request{};
    request.fd = static_cast<std::uint32_t>(fd);
    request.gsi = gsi;
    if (routed)
        routed = checked(GW_KVM(machine_.fd(), KVM_IRQFD, &request), fmt::format("GSI {}", gsi));
    if (!routed) {
        messages_.erase(gsi);
        return std::unexpected(std::move(routed).error());
    }
    return Registration([this, fd, gsi]() noexcept { remove_irqfd(fd, gsi); });
}

Result<Registration> KvmIrqchip::add_level_irqfd(int fd, unsigned gsi, int served)
{
    if (gsi >= kPins)
        return Error(Errc::InvalidArgument, fmt::format("GSI {} is no wire", gsi));
    if (machine_.extension(KVM_CAP_IRQFD_RESAMPLE) <= 0)
        return Error(Errc::Unsupported, "KVM has no eventfds for levels");
    kvm_irqfd request{};
    request.fd = static_cast<std::uint32_t>(fd);
    request.gsi = gsi;
    request.flags = KVM_IRQFD_FLAG_RESAMPLE;
    request.resamplefd = static_cast<std::uint32_t>(served);
    GW_TRY(checked(GW_KVM(machine_.fd(), KVM_IRQFD, &request), fmt::format("GSI {}", gsi)));
    return Registration([this, fd, gsi]() noexcept {  // KVM takes the level back
        kvm_irqfd undo{};
        undo.fd = static_cast<std::uint32_t>(fd);
        undo.gsi = gsi;
        undo.flags = KVM_IRQFD_FLAG_DEASSIGN;
        (void)machine_.fd().raw(KVM_IRQFD, &undo);
    });
}

void KvmIrqchip::remove_irqfd(int fd, std::uint32_t gsi) noexcept
{
    std::lock_guard guard(mutex_);
    kvm_irqfd request{};
    request.fd = static_cast<std::uint32_t>(fd);
    request.gsi = gsi;
    request.flags = KVM_IRQFD_FLAG_DEASSIGN;
    (void)machine_.fd().raw(KVM_IRQFD, &request);
    messages_.erase(gsi);
    if (auto done = write_routes(); !done)
        log_.report(done.error());
}

}  // namespace godwit::accel::kvm
