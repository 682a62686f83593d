// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The section of a VFIO device in the migration stream. Format: docs/migration/vfio.md.
#pragma once

#include "hw/vfio/migration_group.h"
#include "hw/vfio/state_walker.h"
#include "hw/vfio/state_worker.h"
#include "migration/live_state.h"

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace godwit::system {
class MachineLock;
}

namespace godwit::hw::vfio {

/// The marks between the parts of a section.
/// Source   QEMU 10.0, the stream of a "vfio" section.
namespace mark {
inline constexpr std::uint64_t kEnd = 0xffffffffef100001;
inline constexpr std::uint64_t kConfig = 0xffffffffef100002;
inline constexpr std::uint64_t kSetup = 0xffffffffef100003;
inline constexpr std::uint64_t kData = 0xffffffffef100004;
inline constexpr std::uint64_t kInitDataSent = 0xffffffffef100005;
}  // namespace mark

/// What a device that cannot tell its size counts as, so that no downtime limit is broken.
inline constexpr std::uint64_t kUnknownSize = std::uint64_t{100} << 30;

/// The device around the state: its configuration, its last resort, who hears of its states.
///
/// Threads  with the machine lock.
class MigrationHost {
public:
    virtual ~MigrationHost() = default;
    virtual const std::string& name() const = 0;
    /// For one change of state.
    virtual std::chrono::milliseconds patience() const = 0;
    /// Its state has to go through multifd channels, or not at all.
    virtual bool insists_on_multifd() const = 0;
    /// Something failed that does not end the migration.
    virtual void warn(Error error) = 0;
    /// What this program keeps of it: the device itself may not be asked in STOP_COPY.
    virtual Result<void> save_config(migration::StreamWriter& out) = 0;
    virtual Result<void> load_config(migration::StreamReader& in) = 0;
    /// Ends in RUNNING.
    virtual Result<void> recover_by_reset() = 0;
    virtual void state_changed(MigrationState state) = 0;
    /// Bytes of guest memory that count as written in the last pass, for nobody tracks them.
    virtual std::uint64_t untracked_bytes() = 0;
};

/// One device's part in a migration, either side.
///
/// Order    source: PRE_COPY in setup where the device has it; its group stops it; STOP_COPY until
///          it says that nothing is left; STOP in cleanup. Destination: RESUMING in load_setup; out
///          of it, where the device checks what it got, in the FULL section, before its
///          configuration; its group starts it.
/// Threads  as LiveStateHandler and GroupMember.
/// Errors   name the device, the state and the step. After any of them cleanup brings the device
///          back, by a reset if nothing else helps.
class VfioLiveState final : public migration::LiveStateHandler,
                            public migration::SwitchoverAcker,
                            public migration::FinalState,
                            public migration::ExternalDevice,
                            public GroupMember {
public:
    VfioLiveState(MigrationHost& host, system::MachineLock& lock,
                  std::unique_ptr<StateWalker> walker);
    ~VfioLiveState() override;

    // LiveStateHandler
    Result<void> setup(migration::StreamWriter& out,
                       const migration::SourceContext& context) override;
    Result<migration::Pending> pending_estimate() override;
    Result<migration::Pending> pending_exact() override;
    Result<migration::Progress> iterate(migration::StreamWriter& out,
                                        migration::Budget& budget) override;
    Result<void> complete_precopy(migration::StreamWriter& out) override;
    Result<void> complete_postcopy(migration::StreamWriter& out) override;
    void cleanup() noexcept override;
    Result<void> load_setup(const migration::DestinationContext& context) override;
    Result<void> load(migration::StreamReader& in, migration::stream::SectionType type,
                      migration::Version version) override;
    void load_cleanup() noexcept override;

    // SwitchoverAcker, FinalState, ExternalDevice
    bool switchover_ack_needed() const override;
    void on_approval(std::function<void()> approve) override { approve_ = std::move(approve); }
    Result<void> save_final(migration::StreamWriter& out) override;
    std::uint64_t transferred() const noexcept override { return transferred_; }

    // GroupMember
    const std::string& name() const override { return host_.name(); }
    MigrationState state() const override { return walker_->state(); }
    StateSet states() const override { return walker_->states(); }
    StateWorker& worker() override { return worker_; }
    std::chrono::milliseconds patience() const override { return host_.patience(); }
    Result<void> walk_to(MigrationState to) override;
    void arrived(MigrationState at) override;
    bool is_saving_now() const override { return saving_; }
    Result<void> may_run() const override;
    Result<void> cannot_run(Error error) override;

    void was_reset() noexcept;
    const MigrationHost& host() const noexcept { return host_; }

private:
    /// Where the data of one section goes.
    struct Chunks;
    /// A portion that the device is taking in.
    struct Given {
        std::unique_ptr<DataTransfer> transfer;
        std::uint64_t chunk = 0;  ///< bytes of the chunk it is part of
    };
    void take_buffers();
    void free_buffers() noexcept;

    Result<void> check_lost() const;
    Result<void> ask();
    Result<void> refresh();
    Result<bool> read_one(Chunks& chunks, DataRead& got);
    Result<void> move(MigrationState to);
    std::string reading() const;
    Error no_end() const;
    Result<void> read_rest(Chunks& chunks);
    Result<void> read_rest_in_turn(Chunks& chunks);
    std::string taking_in(std::uint64_t length) const;
    Result<void> settle(Given& given);
    Result<void> settle_all();
    Result<void> load_section(migration::StreamReader& in);
    Result<void> load_data(migration::StreamReader& in);
    Result<void> load_marks(migration::StreamReader& in);
    Result<void> load_final(migration::StreamReader& in);
    void recover(MigrationState to) noexcept;
    Result<void> reset_device();

    MigrationHost& host_;
    system::MachineLock& lock_;
    std::unique_ptr<StateWalker> walker_;

    /// While one portion of data is with the device, the other is with the stream.
    static constexpr std::size_t kPortions = 2;
    std::array<std::vector<std::byte>, kPortions> buffers_;

    // Source
    std::atomic<bool> saving_{false};  // between setup and cleanup
    std::atomic<bool> lost_{false};    // the device left the saving states meanwhile
    bool ack_wanted_ = false;
    bool initial_sent_ = false;
    Remaining left_;
    std::uint64_t untracked_ = 0;
    std::uint64_t last_round_ = 0;  // bytes since the device last said that there is nothing now
    std::atomic<std::uint64_t> transferred_{0};

    // Destination
    bool loading_ = false;
    bool loaded_ = false;  // the configuration was accepted
    std::array<Given, kPortions> given_;
    std::size_t turn_ = 0;  // the buffer that is used next
    std::function<void()> approve_;

    StateWorker worker_;  // last: its task uses the rest
};

}  // namespace godwit::hw::vfio
