// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A device behind a vfio-user server.
#pragma once

#include "hw/vfio/device_backend.h"
#include "hw/vfio/vfio_user_connection.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace godwit::hw::vfio {

/// The DeviceBackend of one vfio-user connection.
///
/// Migration data travels in messages, so there is no descriptor to hold: a stream is open while
/// the device is in the saving group or in RESUMING.
/// Threads  any: the connection orders what has to be ordered.
class VfioUserDevice final : public DeviceBackend {
public:
    explicit VfioUserDevice(std::shared_ptr<user::Connection> connection);

    const std::string& name() const noexcept override { return connection_->path(); }
    Result<DeviceInfo> device_info() override;
    Result<RegionInfo> region_info(std::uint32_t index) override;
    Result<void> region_read(std::uint32_t index, std::uint64_t offset,
                             std::span<std::byte> into) override;
    Result<void> region_write(std::uint32_t index, std::uint64_t offset,
                              std::span<const std::byte> from) override;
    Result<RegionWindow> region_window(std::uint32_t index, const RegionArea& area) override;
    Result<IrqInfo> irq_info(std::uint32_t index) override;
    /// Sends at most as many descriptors at once as the server takes.
    Result<void> set_irqs(const IrqRequest& request) override;
    /// Servers leave the migration state alone at a reset, or refuse one while stopped: the state
    /// is set to RUNNING as well.
    Result<void> reset() override;

    Result<bool> feature_probe(std::uint16_t feature, std::uint32_t verbs) override;
    Result<void> feature_get(std::uint16_t feature, std::span<std::byte> into) override;
    Result<void> feature_set(std::uint16_t feature, std::span<const std::byte> from) override;

    Result<std::uint64_t> migration_flags() override;
    Result<MigrationState> migration_state() override;
    Result<void> set_migration_state(MigrationState state) override;
    Result<DataRead> data_read(std::span<std::byte> into) override;
    Result<void> data_write(std::span<const std::byte> from) override;
    Result<std::unique_ptr<DataTransfer>> begin_read(std::span<std::byte> into) override;
    Result<std::unique_ptr<DataTransfer>> begin_write(std::span<const std::byte> from) override;
    Result<PrecopyInfo> precopy_info() override;
    Result<std::uint64_t> stop_copy_size() override;
    void close_data() noexcept override {}

    Result<LogRules> log_rules() override;
    Result<std::uint64_t> log_start(std::uint64_t page_size,
                                    std::span<const DmaRange> ranges) override;
    Result<void> log_stop() override;
    Result<void> log_report(std::uint64_t iova, PageBits& into) override;

private:
    class Read;
    class Write;
    struct Region {
        std::shared_ptr<UniqueFd> fd;  ///< what its mappable areas are in
        std::uint64_t offset = 0;
    };
    struct Feature {
        std::uint16_t number = 0;
        std::uint32_t verb = 0;
        std::span<const std::byte> payload{};
        std::span<std::byte> answer{};
        std::size_t answer_bytes = 0;  ///< that argsz has room for, at least answer.size()
        std::span<std::byte> answer_rest{};
        std::string_view what;
        bool even_if_stalled = false;
    };
    Result<std::size_t> feature(const Feature& feature);
    Result<void> set_some_irqs(const IrqRequest& request, std::uint32_t first, std::uint32_t count,
                               std::span<const int> fds, std::uint32_t data_kind);
    Result<RegionInfo> checked_region(std::span<const std::byte> answer, std::uint32_t index,
                                      bool has_fd);

    std::shared_ptr<user::Connection> connection_;
    std::mutex regions_mutex_;
    std::map<std::uint32_t, Region> regions_;  // regions_mutex_
    std::atomic<MigrationState> state_{MigrationState::Running};
    std::optional<bool> tells_precopy_;  // probed once
    std::optional<bool> tells_size_;
};

}  // namespace godwit::hw::vfio
