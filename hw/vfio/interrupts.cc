// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/interrupts.h"

#include "hw/vfio/device.h"
#include "system/vm.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <poll.h>
#include <utility>

namespace godwit::hw::vfio {

namespace {

/// How long BARs stay unmapped after an INTx that nobody served.
constexpr unsigned kIntxQuietMs = 1100;

}  // namespace

Interrupts::~Interrupts()
{
    off();
}

Result<void> Interrupts::learn(std::uint32_t indexes)
{
    for (std::uint32_t index = 0; index < std::min(indexes, kMsixIrq + 1); ++index)
        infos_.push_back(GW_TRY(device_.backend().irq_info(index)));
    return {};
}

std::uint32_t Interrupts::vectors(std::uint32_t index) const noexcept
{
    return index < infos_.size() && infos_[index].eventfd ? infos_[index].count : 0;
}

std::optional<std::uint32_t> Interrupts::wanted() const
{
    if (device_.msix_enabled() && vectors(kMsixIrq) != 0)
        return kMsixIrq;
    if (device_.msi_enabled() && vectors(kMsiIrq) != 0)
        return kMsiIrq;
    if (device_.config_u8(pci::kInterruptPin) != 0 && vectors(kIntxIrq) != 0)
        return kIntxIrq;
    return std::nullopt;
}

Result<void> Interrupts::update()
{
    const std::optional<std::uint32_t> want = wanted();
    if (want == kind_ && want == kIntxIrq) {
        line_moved();
        return {};
    }
    if (want == kind_) {
        for (unsigned n = 0; n < vectors_.size(); ++n)
            route(n);
        return {};
    }
    off();  // a device has one kind at a time
    return want ? enable(*want) : ok();
}

Result<void> Interrupts::rearm()
{
    off();
    return update();
}

Result<void> Interrupts::enable(std::uint32_t kind)
{
    unsigned count = 1;
    if (kind == kMsixIrq)
        count = device_.msix_vectors();
    else if (kind == kMsiIrq)
        count = device_.msi_vectors();
    count = std::min(count, vectors(kind));
    std::vector<Vector> made;
    std::vector<int> fds;
    for (unsigned n = 0; n < count; ++n) {
        made.push_back({
            .event = GW_TRY(EventFd::create())
            , .to_guest = {}, .message = {}
        });
        fds.push_back(made.back().event.poll_fd());
    }
    vectors_ = std::move(made);
    kind_ = kind;
    for (unsigned n = 0; n < count; ++n)
        route(n);
    auto armed = device_.backend().set_irqs({.index = kind, .eventfds = fds});
    if (!armed) {
        vectors_.clear();
        kind_.reset();
    } else if (kind == kIntxIrq) {
        line_moved();
    }
    return armed;
}

void Interrupts::off() noexcept
{
    if (kind_)
        if (auto gone = device_.backend().set_irqs({.index = *kind_}); !gone)
            device_.warn(std::move(gone).error().context("switching its interrupts off"));
    if (kind_ == kIntxIrq) {
        intx_waits_ = false;
        line_.reset();
        remap_.reset();
        device_.enable_windows(true);
        device_.set_irq(0);
    }
    kind_.reset();
    vectors_.clear();
}

void Interrupts::vector_changed(unsigned vector)
{
    if (kind_ == kMsixIrq && vector < vectors_.size())
        route(vector);
}

/// Straight into the guest while the vector may be sent; else through us, who keep it pending.
void Interrupts::route(unsigned n)
{
    Vector& vector = vectors_[n];
    system::Accelerator* const accelerator = device_.vm().accelerator();
    system::KernelIrqchip* const chip = accelerator != nullptr ? accelerator->irqchip() : nullptr;
    MsiMessage message;
    bool direct = chip != nullptr && device_.bus_master();
    if (kind_ == kMsixIrq && direct) {
        direct = !device_.msix_masked(n);
        message = device_.msix_message(n);
    } else if (kind_ == kMsiIrq && direct) {
        message = device_.msi_message(n);
    } else {
        direct = false;
    }
    const bool same = vector.direct == direct && vector.to_guest &&
                      (!direct || (vector.message.address == message.address &&
                                   vector.message.data == message.data));
    if (same)
        return;
    vector.to_guest.reset();
    vector.direct = false;
    const int fd = vector.event.poll_fd();
    if (direct) {
        auto added = chip->add_irqfd(fd, message.address, message.data);
        if (added) {
            vector.to_guest = std::move(*added);
            vector.direct = true;
            vector.message = message;
            return;
        }
    }
    vector.to_guest = device_.vm().loop().watch(fd, POLLIN, [this, n](unsigned) { fired(n); });
}

void Interrupts::fired(unsigned n)
{
    if (n >= vectors_.size() || !vectors_[n].event.drain())
        return;
    if (kind_ == kMsixIrq)
        device_.msix_notify(n);
    else if (kind_ == kMsiIrq)
        device_.msi_notify(n);
    else
        intx_fired();
}

// --- INTx ----------------------------------------------------------------------------------------

void Interrupts::unmask_intx()
{
    auto unmasked =
        device_.backend().set_irqs({.index = kIntxIrq, .count = 1, .action = IrqAction::Unmask});
    if (!unmasked)
        device_.warn(std::move(unmasked).error().context("unmasking INTx"));
}

void Interrupts::line_moved()
{
    if (kind_ != kIntxIrq)
        return;
    system::Accelerator* const accelerator = device_.vm().accelerator();
    const bool chip = accelerator != nullptr && accelerator->irqchip() != nullptr;
    const auto gsi = chip && !no_line_ ? device_.irq_gsi() : std::nullopt;
    if (line_ ? gsi == line_->gsi : !gsi)
        return;
    if (line_) {
        constexpr std::array<int, 1> kNone{-1};
        (void)device_.backend().set_irqs(
            {.index = kIntxIrq, .action = IrqAction::Unmask, .eventfds = kNone});
        line_.reset();
        vectors_[0].to_guest.reset();
    }
    if (gsi) {
        vectors_[0].to_guest.reset();
        if (auto made = make_line(*gsi))
            line_ = std::move(*made);
        else
            no_line_ = true;  // one way is as good as the other
    }
    if (line_ && std::exchange(intx_waits_, false))
        device_.set_irq(0);
    if (line_) {
        remap_.reset();
        device_.enable_windows(true);
    } else {
        route(0);
    }
    unmask_intx();  // what waited comes the new way
}

Result<Interrupts::Line> Interrupts::make_line(unsigned gsi)
{
    Line line
    {
        .gsi = gsi, .served = GW_TRY(EventFd::create())
        , .to_guest = {}, .unmasking = {}
    };
    const std::array<int, 1> served{line.served.poll_fd()};
    line.to_guest = GW_TRY(device_.vm().accelerator()->irqchip()->add_level_irqfd(
        vectors_[0].event.poll_fd(), gsi, served[0]));
    if (!device_.backend().set_irqs(
            {.index = kIntxIrq, .action = IrqAction::Unmask, .eventfds = served}))
        line.unmasking = device_.vm().loop().watch(served[0], POLLIN, [this](unsigned) {
            if (line_ && line_->served.drain())
                unmask_intx();
        });
    return line;
}

void Interrupts::intx_fired()
{
    intx_waits_ = true;
    device_.set_irq(1);
    device_.enable_windows(false);  // so that we see the access that serves it
    remap_ = device_.vm().loop().after_ms(kIntxQuietMs, [this] {
        if (!intx_waits_)
            device_.enable_windows(true);
    });
}

void Interrupts::bar_accessed()
{
    if (!intx_waits_ || kind_ != kIntxIrq)
        return;
    intx_waits_ = false;
    device_.set_irq(0);
    unmask_intx();
    remap_ = device_.vm().loop().after_ms(kIntxQuietMs, [this] {
        if (!intx_waits_)
            device_.enable_windows(true);
    });
}

}  // namespace godwit::hw::vfio
