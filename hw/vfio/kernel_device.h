// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A device behind the kernel's VFIO: calls on its descriptor.
#pragma once

#include "hw/vfio/device_backend.h"
#include "hw/vfio/kernel.h"
#include "hw/vfio/patient_kernel.h"

#include <map>
#include <memory>
#include <mutex>

namespace godwit::hw::vfio {

/// DeviceBackend over a VFIO device descriptor, however that was come by (group, cdev, handed in).
///
/// Threads  as DeviceBackend. Nobody can make a driver come back from a call. Whoever waits for one
///          of a migration (states, data, the migration region) gives up after `patience`; until
///          the driver does come back all of those and reset() fail at once, and the destructor
///          waits.
/// Errors   TimedOut then.
/// Source   Linux, include/uapi/linux/vfio.h.
class KernelDevice final : public DeviceBackend {
public:
    KernelDevice(std::shared_ptr<Kernel> kernel, std::string name, UniqueFd fd,
                 std::chrono::milliseconds patience = std::chrono::seconds(10));
    ~KernelDevice() override;
    int fd() const noexcept { return fd_.get(); }

    const std::string& name() const noexcept override { return name_; }
    Result<DeviceInfo> device_info() override;
    Result<RegionInfo> region_info(std::uint32_t index) override;
    Result<void> region_read(std::uint32_t index, std::uint64_t offset,
                             std::span<std::byte> into) override;
    Result<void> region_write(std::uint32_t index, std::uint64_t offset,
                              std::span<const std::byte> from) override;
    Result<RegionWindow> region_window(std::uint32_t index, const RegionArea& area) override;
    Result<IrqInfo> irq_info(std::uint32_t index) override;
    Result<void> set_irqs(const IrqRequest& request) override;
    Result<void> reset() override;

    Result<bool> feature_probe(std::uint16_t feature, std::uint32_t verbs) override;
    Result<void> feature_get(std::uint16_t feature, std::span<std::byte> into) override;
    Result<void> feature_set(std::uint16_t feature, std::span<const std::byte> from) override;

    Result<std::uint64_t> migration_flags() override;
    Result<MigrationState> migration_state() override;
    Result<void> set_migration_state(MigrationState state) override;
    Result<DataRead> data_read(std::span<std::byte> into) override;
    Result<void> data_write(std::span<const std::byte> from) override;
    Result<PrecopyInfo> precopy_info() override;
    Result<std::uint64_t> stop_copy_size() override;
    void close_data() noexcept override;

    Result<LogRules> log_rules() override;
    Result<std::uint64_t> log_start(std::uint64_t page_size,
                                    std::span<const DmaRange> ranges) override;
    Result<void> log_stop() override;
    Result<void> log_report(std::uint64_t iova, PageBits& into) override;

private:
    struct Place {
        std::uint64_t offset = 0;  ///< of the region in the device's file
        std::uint64_t size = 0;
    };
    Result<Place> place(std::uint32_t index, std::uint64_t offset, std::uint64_t length);
    Result<void> feature(std::uint16_t number, std::uint32_t verb, std::span<std::byte> payload);
    Result<void> take_data_fd(MigrationState target, UniqueFd opened);

    Kernel& kernel_for(std::uint32_t region) noexcept;

    std::shared_ptr<Kernel> kernel_;
    std::string name_;
    UniqueFd fd_;
    std::mutex places_lock_;
    std::map<std::uint32_t, Place> places_;           // places_lock_
    std::mutex data_lock_;                            // held over a whole data call
    UniqueFd data_fd_;                                // data_lock_
    MigrationState state_ = MigrationState::Running;  // data_lock_: the last one that was set
    PatientKernel patient_;                           // last: a call may still use the descriptors
};

}  // namespace godwit::hw::vfio
