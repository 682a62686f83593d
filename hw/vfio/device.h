// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What vfio-pci and vfio-user-pci share: a PCI function whose registers, memory and interrupts are
// those of a DeviceBackend.
#pragma once

#include "hw/pci.h"
#include "hw/vfio/container.h"
#include "hw/vfio/device_backend.h"
#include "hw/vfio/device_migration.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace godwit::hw::vfio {

class Interrupts;
class MigrationGroup;
class RegionIo;

enum class OnOffAuto : std::uint8_t { Auto, On, Off };

/// Properties that decide how a device migrates. Names and defaults are QEMU's.
struct MigrationProperties {
    OnOffAuto enable = OnOffAuto::Auto;            ///< enable-migration
    bool precopy_dirty_tracking = true;            ///< x-pre-copy-dirty-page-tracking
    bool device_dirty_tracking = true;             ///< x-device-dirty-page-tracking
    OnOffAuto multifd_transfer = OnOffAuto::Auto;  ///< x-migration-multifd-transfer
    bool events = false;                           ///< migration-events
    bool skip_vendor_capability_check = true;      ///< skip-vsc-check
};

/// A PCI device outside the program.
///
/// Shape    configuration space as the device has it, with BARs, ROM, MSI, MSI-X and the interrupt
///          line emulated; BARs trapped, or mapped where the device allows it.
/// Life     a derived class opens the back end; realize() does the rest and starts migration last.
/// Threads  with the machine lock.
/// Errors   realize(): "vfio NAME: ..." with the step that failed; nothing stays behind.
class VfioDevice : public PciDevice {
public:
    VfioDevice();
    ~VfioDevice() override;

    // Properties (device_properties()).
    OnOffAuto enable_migration_ = OnOffAuto::Auto;
    bool precopy_dirty_tracking_ = true;
    bool device_dirty_tracking_ = true;
    OnOffAuto multifd_transfer_ = OnOffAuto::Auto;
    bool migration_events_ = false;
    bool skip_vendor_capability_check_ = true;
    bool no_mmap_ = false;
    std::uint32_t state_timeout_ms_ = 10'000;  ///< x-state-timeout

    MigrationProperties migration_properties() const;
    std::chrono::milliseconds state_timeout() const
    {
        return std::chrono::milliseconds(state_timeout_ms_);
    }
    /// The devices it stops and starts with: all of one machine (types.cc). One alone makes its
    /// own.
    const std::shared_ptr<MigrationGroup>& migration_group() const { return migration_group_; }
    void set_migration_group(std::shared_ptr<MigrationGroup> group)
    {
        migration_group_ = std::move(group);
    }
    /// For messages and events: the back end's name.
    const std::string& device_name() const { return backend_->name(); }
    DeviceBackend& backend() noexcept { return *backend_; }
    Container& container() noexcept { return *container_; }

    /// "VFIOPCIDevice" v1: PCI configuration, and the MSI-X tables if there are any. Loading checks
    /// ids, capability layout and BAR addresses, tells the device and arms its interrupts again.
    /// Errors   BadFormat naming the byte, BAR or table.
    Result<void> save_config(migration::stream::StreamWriter& out);
    Result<void> load_config(migration::stream::StreamReader& in);

    /// Gives the device the eventfds of what the guest enabled, if it refused them while it was
    /// loaded (load_config() is silent about that). It runs now; a refusal is logged.
    void rearm_if_needed();

    /// Puts the device back to RUNNING after a failure that nothing else mends, and arms its
    /// interrupts again.
    Result<void> recover_by_reset();

    std::uint32_t config_read(unsigned offset, unsigned size) override;
    void config_write(unsigned offset, std::uint32_t value, unsigned size) override;

protected:
    struct Opened {
        std::unique_ptr<DeviceBackend> device;
        std::shared_ptr<Container> container;
    };
    /// Connects to the device. The container may serve others as well.
    virtual Result<Opened> open() = 0;
    /// Nothing uses the device any more, and its descriptor goes next: what open() did besides.
    virtual void close() noexcept {}

    Result<void> realize() override;
    void reset(system::ResetKind kind) override;
    void unrealize() noexcept override;
    void msix_changed(unsigned vector) override;
    void msi_changed() override;
    void irq_route_changed() override;
    void bars_changed() override;

private:
    friend class Interrupts;
    friend class RegionIo;
    Result<void> bring_up();
    void tear_down() noexcept;
    Result<void> learn_config();
    Result<void> add_regions();
    Result<std::vector<PciBarPart>> bar_parts(unsigned index, const RegionInfo& region);
    Result<void> add_capabilities();
    Result<void> add_capability_at(unsigned at, unsigned size);
    Result<void> add_msi_at(unsigned at);
    Result<void> add_msix_at(unsigned at);
    void hide_extended_capabilities();
    Result<void> check_bars(const PciState& loaded) const;
    Result<void> check_overlap(unsigned index, std::uint64_t address, std::uint64_t size) const;
    void write_device(unsigned offset, std::uint32_t value, unsigned size);
    void enable_windows(bool enabled);
    void warn(Error error) const;

    std::unique_ptr<DeviceBackend> backend_;
    std::shared_ptr<Container> container_;
    Registration membership_;
    std::vector<std::uint8_t> device_config_;  ///< as the device showed it at first
    std::vector<std::uint8_t> emulated_;  ///< bits of the configuration the device does not answer
    std::array<std::unique_ptr<RegionIo>, 7> region_io_;
    std::array<std::vector<PciBarPart>, 7> parts_;
    std::vector<system::RamBlock*> windows_;
    std::unique_ptr<Interrupts> interrupts_;
    std::shared_ptr<MigrationGroup> migration_group_;
    std::unique_ptr<DeviceMigration> migration_;
    bool can_reset_ = false;
    bool up_ = false;
};

/// The properties above, for TypeInfo::properties of both types.
std::vector<system::Property> device_properties();

}  // namespace godwit::hw::vfio
