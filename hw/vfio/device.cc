// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/device.h"

#include "hw/vfio/interrupts.h"
#include "hw/vfio/region_io.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/log.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw::vfio {

VfioDevice::VfioDevice() = default;

VfioDevice::~VfioDevice()
{
    tear_down();
}

MigrationProperties VfioDevice::migration_properties() const
{
    return {.enable = enable_migration_,
            .precopy_dirty_tracking = precopy_dirty_tracking_,
            .device_dirty_tracking = device_dirty_tracking_,
            .multifd_transfer = multifd_transfer_,
            .events = migration_events_,
            .skip_vendor_capability_check = skip_vendor_capability_check_};
}

void VfioDevice::warn(Error error) const
{
    vm().log().warn(fmt::format("vfio {}: {}", backend_->name(), error.message()));
}

// --- life --------------------------------------------------------------------------------------

Result<void> VfioDevice::realize()
{
    if (state_timeout_ms_ == 0)
        return Error(Errc::InvalidArgument,
                     fmt::format("{}: property 'x-state-timeout' is 0", type_name()));
    GW_TRY(PciDevice::realize());
    Opened opened = GW_TRY(open());
    backend_ = std::move(opened.device);
    container_ = std::move(opened.container);
    auto up = with_context(with_context(bring_up(), backend_->name()), "vfio");
    if (!up)
        tear_down();
    return up;
}

Result<void> VfioDevice::bring_up()
{
    up_ = true;
    const DeviceInfo info = GW_TRY(backend_->device_info());
    if (!info.is_pci || info.regions <= kConfigRegion)
        return Error(Errc::Unsupported, "this is no PCI device");
    can_reset_ = info.can_reset;
    interrupts_ = std::make_unique<Interrupts>(*this);
    GW_TRY(interrupts_->learn(info.irqs));
    GW_TRY(learn_config());
    GW_TRY(add_regions());
    GW_TRY(add_capabilities());
    membership_ = GW_TRY(container_->join({.device = backend_.get(),
                                           .may_log = device_dirty_tracking_,
                                           .sync_in_precopy = precopy_dirty_tracking_}));
    if (can_reset_)
        GW_TRY(backend_->reset());
    GW_TRY(interrupts_->update());
    migration_ = GW_TRY(start_migration(*this));
    return {};
}

void VfioDevice::tear_down() noexcept
{
    if (!up_)
        return;
    up_ = false;
    migration_.reset();
    interrupts_.reset();
    membership_.reset();
    close();
    backend_.reset();
    container_.reset();
    for (auto& io : region_io_)
        io.reset();
    for (system::RamBlock* block : windows_)
        vm().ram().remove(*block);
    windows_.clear();
}

void VfioDevice::unrealize() noexcept
{
    PciDevice::unrealize();  // BARs go before what they show
    tear_down();
}

void VfioDevice::reset(system::ResetKind kind)
{
    interrupts_->off();
    PciDevice::reset(kind);
    if (can_reset_) {
        if (auto done = backend_->reset(); !done)
            warn(std::move(done).error().context("reset"));
        else if (migration_)
            migration_->device_was_reset();
    }
    write_device(pci::kCommand, command(), 2);
    if (auto armed = interrupts_->update(); !armed)
        warn(std::move(armed).error().context("arming its interrupts"));
}

Result<void> VfioDevice::recover_by_reset()
{
    interrupts_->off();
    GW_TRY(with_context(backend_->reset(), "reset"));
    write_device(pci::kCommand, command(), 2);
    return with_context(interrupts_->update(), "arming its interrupts");
}

void VfioDevice::rearm_if_needed()
{
    if (auto armed = interrupts_->update(); !armed)
        warn(std::move(armed).error().context("arming its interrupts"));
}

// --- configuration space -----------------------------------------------------------------------

std::uint32_t VfioDevice::config_read(unsigned offset, unsigned size)
{
    const std::uint32_t ours = PciDevice::config_read(offset, size);
    std::uint32_t mask = 0;
    for (unsigned n = 0; n < size; ++n)
        mask |= std::uint32_t{emulated_[offset + n]} << (8 * n);
    const std::uint32_t all = ~std::uint32_t{0} >> (32 - 8 * size);
    if (mask == all)
        return ours;
    std::uint32_t theirs = 0;
    const auto bytes = std::as_writable_bytes(std::span(&theirs, 1)).first(size);
    if (!backend_->region_read(kConfigRegion, offset, bytes))
        theirs = all;
    return (ours & mask) | (theirs & ~mask & all);
}

void VfioDevice::config_write(unsigned offset, std::uint32_t value, unsigned size)
{
    write_device(offset, value, size);  // the device drops what is not its own
    PciDevice::config_write(offset, value, size);
    if (auto armed = interrupts_->update(); !armed)
        warn(std::move(armed).error().context("arming its interrupts"));
}

void VfioDevice::write_device(unsigned offset, std::uint32_t value, unsigned size)
{
    const auto bytes = std::as_bytes(std::span(&value, 1)).first(size);
    if (auto done = backend_->region_write(kConfigRegion, offset, bytes); !done)
        warn(std::move(done).error().context("configuration space"));
}

void VfioDevice::msix_changed(unsigned vector)
{
    if (interrupts_)
        interrupts_->vector_changed(vector);
}

void VfioDevice::msi_changed() {}  // config_write() looks at it when all bytes are in

void VfioDevice::irq_route_changed()
{
    if (interrupts_)
        interrupts_->line_moved();
}

void VfioDevice::bars_changed() {}

// --- properties --------------------------------------------------------------------------------

std::vector<system::Property> device_properties()
{
    using system::enum_property;
    using system::property;
    static constexpr std::array<std::string_view, 3> kOnOffAuto{"auto", "on", "off"};
    return {
        enum_property<&VfioDevice::enable_migration_>("enable-migration", "OnOffAuto", kOnOffAuto,
                                                      std::string("auto")),
        property<&VfioDevice::precopy_dirty_tracking_>("x-pre-copy-dirty-page-tracking", true),
        property<&VfioDevice::device_dirty_tracking_>("x-device-dirty-page-tracking", true),
        enum_property<&VfioDevice::multifd_transfer_>("x-migration-multifd-transfer", "OnOffAuto",
                                                      kOnOffAuto, std::string("auto")),
        property<&VfioDevice::migration_events_>("migration-events", false),
        property<&VfioDevice::skip_vendor_capability_check_>("skip-vsc-check", true),
        property<&VfioDevice::no_mmap_>("x-no-mmap", false),
        property<&VfioDevice::state_timeout_ms_>(
            "x-state-timeout", 10'000U,
            "milliseconds that a change of its state may take, or a portion of its data"),
    };
}

}  // namespace godwit::hw::vfio
