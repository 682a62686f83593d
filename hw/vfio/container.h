// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The guest's memory as the devices of one DMA back end see it: maps what the memory map shows,
// unmaps what goes, and finds what the devices wrote.
#pragma once

#include "hw/vfio/device_backend.h"
#include "hw/vfio/dma_backend.h"
#include "system/memory_listener.h"
#include "util/registration.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godwit::system {
class Vm;
}

namespace godwit::hw::vfio {

/// Who finds the pages that devices write.
enum class Tracker : std::uint8_t {
    DeviceLogs,  ///< every device keeps a log of its own DMA
    Backend,     ///< the container or page table
    None,        ///< nobody: every mapped page counts as written in the last pass
};

/// A device that does DMA through a container.
struct ContainerMember {
    DeviceBackend* device = nullptr;
    bool may_log = true;          ///< x-device-dirty-page-tracking
    bool sync_in_precopy = true;  ///< x-pre-copy-dirty-page-tracking
};

/// Mappings and dirty pages of one DmaBackend.
///
/// Order    a listener of the address space with a priority below the accelerator's: its log_sync
///          comes first, in each sync and again in the one before the final pass.
/// Tracking started and stopped by the address space (log_global_start and _stop). The tracker is
///          chosen at the start: device logs if every member has and may use one, else the back
///          end's, else none.
/// Threads  with the machine lock.
/// Errors   a mapping of RAM that fails refuses the change of the memory map; one of another
///          device's registers only warns. A question that fails marks all it asked about: nothing
///          is lost, and tracking_error() tells.
class Container final : public system::MemoryListener {
public:
    /// The address space's present RAM is mapped when the first member comes, and unmapped when
    /// the last one leaves.
    Container(system::Vm& vm, std::unique_ptr<DmaBackend> backend);
    ~Container() override;

    DmaBackend& backend() noexcept { return *backend_; }

    /// The Registration ends it; the device outlives it.
    Result<Registration> join(ContainerMember member);
    std::size_t members() const noexcept { return members_.size(); }

    /// Who would track if it started now.
    Result<Tracker> tracker();
    bool tracking() const noexcept { return tracking_.has_value(); }
    /// Bytes that count as written in the last pass because nobody tracks them: part of what is
    /// still to be sent, whatever the bitmaps say. 0 while somebody does.
    std::uint64_t untracked_bytes() const;
    std::uint64_t mapped_bytes() const;
    /// The first question that failed since tracking started.
    const std::optional<Error>& tracking_error() const noexcept { return tracking_error_; }

    // MemoryListener
    std::string_view name() const noexcept override { return "vfio"; }
    int priority() const noexcept override { return kPriority; }
    Result<void> region_add(const system::MemorySection& section) override;
    void region_del(const system::MemorySection& section) override;
    bool has_global_sync() const override { return true; }
    void log_sync_global(bool last) override;
    Result<void> log_global_start() override;
    void log_global_stop() override;

    static constexpr int kPriority = system::kListenerPriorityAccel - 5;

private:
    struct Member {
        ContainerMember device;
        DeviceBackend::LogRules rules;
        std::uint64_t log_page = 0;  ///< of the log that runs; 0: none does
    };
    struct Mapped {
        DmaMapping dma;
        system::RamBlock* block = nullptr;
        std::uint64_t block_offset = 0;
        bool guest_ram = true;  ///< has dirty bits; not another device's registers
        bool watched = true;    ///< by those who track now
    };
    using Mappings = std::map<std::uint64_t, Mapped>;

    Result<void> learn_rules();
    Result<void> map_section(const system::MemorySection& section);
    void unmap_range(std::uint64_t iova, std::uint64_t size);
    void unmap_one(const Mapped& mapped);
    Result<void> unmap_tracked(const Mapped& mapped);
    std::uint64_t largest_mapping() const;
    void leave(const DeviceBackend* device) noexcept;

    Result<void> sync(const Mapped& mapped);
    Result<void> ask_backend(const Mapped& mapped);
    Result<void> ask_logs(const Mapped& mapped);
    Result<void> ask_log(const Mapped& mapped, Member& member);
    void mark(const Mapped& mapped, std::uint64_t iova, const PageBits& bits);
    void mark_all(const Mapped& mapped);
    void failed(Error error);

    Result<void> start_logs();
    void stop_logs() noexcept;
    std::vector<DmaRange> ranges_to_log() const;
    bool covered(const Mapped& mapped) const;

    system::Vm& vm_;
    std::unique_ptr<DmaBackend> backend_;
    DmaLimits limits_;
    DmaTracking rules_;
    std::vector<Member> members_;
    Mappings mappings_;
    std::optional<Tracker> tracking_;
    std::vector<DmaRange> logged_;  ///< what the device logs watch; empty: everything
    std::optional<Error> tracking_error_;
    Registration listening_;
    Registration no_discard_;  ///< while a device may hold on to pages
};

}  // namespace godwit::hw::vfio
