// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A VFIO device as a destination takes it in.
#include "hw/vfio/live_state.h"
#include "system/main_loop.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw::vfio {

using migration::StreamReader;
using migration::stream::SectionType;

namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 20;

Result<void> expect_end(StreamReader& in, const char* behind)
{
    const std::uint64_t value = GW_TRY(in.get_be64());
    if (value != mark::kEnd)
        return in.error_here(Errc::BadFormat,
                             fmt::format("{:#x} instead of the end mark behind {}", value, behind));
    return ok();
}

}  // namespace

bool VfioLiveState::switchover_ack_needed() const
{
    return states().pre_copy;
}

Result<void> VfioLiveState::load_setup(const migration::DestinationContext& context)
{
    approve_ = nullptr;
    loaded_ = false;
    if (context.capabilities.has(migration::Capability::PostcopyRam))
        return Error(
            Errc::Unsupported,
            fmt::format("{}: VFIO migration is not supported with postcopy migration", name()));
    buffer_.resize(kBuffer);
    loading_ = true;
    return move(MigrationState::Resuming);
}

Result<void> VfioLiveState::load(StreamReader& in, SectionType type, migration::Version)
{
    return with_context(type == SectionType::Full ? load_final(in) : load_marks(in), name());
}

Result<void> VfioLiveState::load_marks(StreamReader& in)
{
    for (;;) {
        const std::uint64_t value = GW_TRY(in.get_be64());
        switch (value) {
        case mark::kEnd:
            return ok();
        case mark::kSetup:
            return expect_end(in, "the setup mark");
        case mark::kData:
            GW_TRY(load_data(in));
            break;
        case mark::kInitDataSent:
            if (!approve_)
                return in.error_here(Errc::BadFormat,
                                     "INIT_DATA_SENT, but switchover-ack is not in use here");
            approve_();
            return ok();
        default:
            return in.error_here(Errc::BadFormat, fmt::format("unknown mark {:#x}", value));
        }
    }
}

Result<void> VfioLiveState::load_data(StreamReader& in)
{
    const std::uint64_t length = GW_TRY(in.get_be64());
    const auto step = [&] {
        return fmt::format("device state {}: taking in {} bytes", to_string(walker_->state()),
                           length);
    };
    if (walker_->state() != MigrationState::Resuming)
        return in.error_here(Errc::BadState, step() + ": not the state for that");
    MigrationDialect& dialect = walker_->dialect();
    const auto locked = [&](auto call) {
        const auto guard = walker_->lock();
        return with_context(call(), step());
    };
    GW_TRY(locked([&] { return dialect.load_begin(length); }));
    for (std::uint64_t left = length; left != 0;) {
        const std::span<std::byte> part =
            std::span(buffer_).first(std::min<std::uint64_t>(buffer_.size(), left));
        GW_TRY(in.get_bytes(part));
        GW_TRY(locked([&] { return dialect.load_bytes(part); }));
        left -= part.size();
    }
    return locked([&] { return dialect.load_end(); });
}

/// The last of it: the device checks its data on the way to STOP, and only then gets its registers.
Result<void> VfioLiveState::load_final(StreamReader& in)
{
    const std::uint64_t value = GW_TRY(in.get_be64());
    if (value != mark::kConfig)
        return in.error_here(Errc::BadFormat,
                             fmt::format("{:#x} instead of the configuration mark", value));
    if (walker_->is_next_to(MigrationState::Stop))
        GW_TRY(move(MigrationState::Stop));
    {
        const system::MachineGuardIfNeeded guard(lock_);
        GW_TRY(with_context(host_.load_config(in), "configuration"));
    }
    GW_TRY(expect_end(in, "the configuration"));
    loaded_ = true;
    return ok();
}

void VfioLiveState::load_cleanup() noexcept
{
    if (!loading_)
        return;
    loading_ = false;
    buffer_ = {};
    approve_ = nullptr;
    if (loaded_ || walker_->state() == MigrationState::Running)
        return;
    // Half a state is none: leaving RESUMING would be refused, and rightly.
    (void)reset_device();
}

}  // namespace godwit::hw::vfio
