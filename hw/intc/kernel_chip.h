// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the interrupt chips that live in the kernel share.
#pragma once

#include "migration/stream/registry.h"
#include "system/vm.h"

#include <array>
#include <fmt/format.h>

namespace godwit::hw {

/// An interrupt chip whose working half is in the kernel: we only move its state and drive its
/// inputs. `Base` is what both kinds of the chip share: it has state_, vmstate() and current().
template <class Base>
class KernelChip : public Base {
public:
    auto current() -> decltype(std::declval<Base&>().current()) override
    {
        GW_TRY(get());
        return this->state_;
    }

protected:
    using Chip = system::KernelIrqchip::Chip;
    using Blob = std::array<std::byte, 512>;

    virtual Chip chip() const = 0;
    /// Between state_ and the kernel's structure.
    virtual void from_kernel(const Blob& raw) = 0;
    virtual void to_kernel(Blob& raw) const = 0;

    Result<void> realize() override
    {
        system::Accelerator* accelerator = this->vm().accelerator();
        irqchip_ = accelerator != nullptr ? accelerator->irqchip() : nullptr;
        if (irqchip_ == nullptr)
            return Error(Errc::Unsupported,
                         fmt::format("{} needs an accelerator with kernel interrupt chips",
                                     this->type_name()));
        return {};
    }

    Result<void> register_state(migration::stream::StateRegistry& registry) override
    {
        this->keep(GW_TRY(
            registry.add(Base::vmstate(), this->state_, {},
                         {.pre_save = [this] { return get(); },
                          .post_load = [this](migration::stream::Version) { return put(); }})));
        return {};
    }

    Result<void> get()
    {
        Blob raw{};
        GW_TRY(irqchip_->get(chip(), raw));
        from_kernel(raw);
        return {};
    }

    Result<void> put()
    {
        Blob raw{};
        to_kernel(raw);
        return irqchip_->set(chip(), raw);
    }

    void drive(unsigned gsi, int level) { irqchip_->set_gsi(gsi, level); }

private:
    system::KernelIrqchip* irqchip_ = nullptr;
};

}  // namespace godwit::hw
