// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A VFIO device's interrupts: eventfds from the device to the guest.
#pragma once

#include "hw/pci.h"
#include "hw/vfio/device_backend.h"
#include "util/event_fd.h"
#include "util/registration.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace godwit::hw::vfio {

class VfioDevice;

/// Which kind the guest enabled, and how each vector gets to it: straight through KVM (irqfd) where
/// there is one and the vector is not masked, else by the main loop.
///
/// INTx     a level: the device masks itself when it fires. Where its wire is one of KVM's, KVM
///          raises and lowers it and has the device unmasked when the guest ends the interrupt.
///          Else it is unmasked at the next access to one of its BARs, which are therefore not
///          mapped meanwhile.
/// Threads  with the machine lock.
/// Errors   update(): the device's refusal; the kind is then off.
class Interrupts {
public:
    explicit Interrupts(VfioDevice& device) : device_(device) {}
    ~Interrupts();
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;

    /// Asks the device what it has.
    Result<void> learn(std::uint32_t indexes);
    std::uint32_t vectors(std::uint32_t index) const noexcept;

    /// Does what the configuration space says.
    Result<void> update();
    /// One vector's mask or message changed.
    void vector_changed(unsigned vector);
    /// Everything off, as before the first update().
    void off() noexcept;
    /// off() and update(): after a reset or a load.
    Result<void> rearm();
    /// INTx may be another wire.
    void line_moved();
    /// A BAR was accessed: what INTx waits for.
    void bar_accessed();
    /// The kind that is on now: kIntxIrq, kMsiIrq, kMsixIrq.
    std::optional<std::uint32_t> kind() const noexcept { return kind_; }

private:
    struct Vector {
        EventFd event;
        Registration to_guest;  ///< irqfd, or a watch of the main loop
        bool direct = false;
        MsiMessage message;
    };
    /// INTx through KVM.
    struct Line {
        unsigned gsi = 0;
        EventFd served;  ///< by the guest: the device may fire again
        Registration to_guest;
        Registration unmasking;  ///< by us, where the device takes no eventfd for that
    };
    std::optional<std::uint32_t> wanted() const;
    Result<void> enable(std::uint32_t kind);
    void route(unsigned vector);
    void fired(unsigned vector);
    void intx_fired();
    void unmask_intx();
    Result<Line> make_line(unsigned gsi);

    VfioDevice& device_;
    std::vector<IrqInfo> infos_;
    std::optional<std::uint32_t> kind_;
    std::vector<Vector> vectors_;
    std::optional<Line> line_;
    bool no_line_ = false;     ///< KVM refused it
    bool intx_waits_ = false;  ///< for the guest to have served it
    Registration remap_;       ///< maps the BARs again when INTx has been quiet
};

}  // namespace godwit::hw::vfio
