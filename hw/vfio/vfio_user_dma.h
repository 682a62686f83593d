// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Guest memory for a vfio-user server: windows it maps by descriptor, and its accesses by message
// to windows it cannot map.
#pragma once

#include "hw/vfio/dma_backend.h"
#include "hw/vfio/vfio_user_connection.h"

#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>

namespace godwit::hw::vfio {

/// The DMA back end of one vfio-user connection. The server keeps no dirty bitmap of its own for
/// windows; its device log does that (DeviceBackend::log_*).
///
/// Threads  as DmaBackend; dma_read() and dma_write() from the connection's threads meanwhile.
class VfioUserDma final : public DmaBackend, public user::DmaTarget {
public:
    /// `written` hears of every DMA_WRITE that was carried out, with the bytes in this process.
    using Written = std::function<void(std::byte* host, std::size_t length)>;
    VfioUserDma(std::shared_ptr<user::Connection> connection, Written written);
    ~VfioUserDma() override;

    const std::string& name() const noexcept override { return connection_->path(); }
    Result<DmaLimits> limits() override;
    bool pins_pages() const noexcept override { return false; }
    /// A mapping without a descriptor is served by message only.
    Result<void> map(const DmaMapping& mapping) override;
    Result<void> unmap(std::uint64_t iova, std::uint64_t size) override;
    Result<DmaTracking> tracking() override { return DmaTracking{}; }
    Result<void> dirty_start() override;
    Result<void> dirty_stop() override { return ok(); }
    Result<void> dirty_get(std::uint64_t iova, PageBits& into) override;
    Result<void> unmap_dirty(std::uint64_t iova, std::uint64_t size, PageBits& into) override;

    Result<void> dma_read(std::uint64_t address, std::span<std::byte> into) override;
    Result<void> dma_write(std::uint64_t address, std::span<const std::byte> from) override;

private:
    // Calls `use` with the bytes of each window that [address, address + length) touches, in order.
    Result<void> for_each_piece(std::uint64_t address, std::size_t length, bool write,
                                const std::function<void(std::byte*, std::size_t)>& use);

    std::shared_ptr<user::Connection> connection_;
    Written written_;
    std::shared_mutex mutex_;
    std::map<std::uint64_t, DmaMapping> windows_;  // mutex_; by iova
};

}  // namespace godwit::hw::vfio
