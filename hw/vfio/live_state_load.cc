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
    take_buffers();
    turn_ = 0;
    loading_ = true;
    return move(MigrationState::Resuming);
}

Result<void> VfioLiveState::load(StreamReader& in, SectionType type, migration::Version)
{
    return with_context(type == SectionType::Full ? load_final(in) : load_section(in), name());
}

/// What the device refuses is told with the section that it came in.
Result<void> VfioLiveState::load_section(StreamReader& in)
{
    GW_TRY(load_marks(in));
    return settle_all();
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
            GW_TRY(settle_all());
            approve_();
            return ok();
        default:
            return in.error_here(Errc::BadFormat, fmt::format("unknown mark {:#x}", value));
        }
    }
}

std::string VfioLiveState::taking_in(std::uint64_t length) const
{
    return fmt::format("device state {}: taking in {} bytes", to_string(walker_->state()), length);
}

/// Waits until the device has taken a portion in: its buffer is free then.
Result<void> VfioLiveState::settle(Given& given)
{
    if (!given.transfer)
        return ok();
    const auto guard = walker_->lock();
    const auto transfer = std::move(given.transfer);
    GW_TRY(with_context(transfer->await(), taking_in(given.chunk)));
    return ok();
}

Result<void> VfioLiveState::settle_all()
{
    for (std::size_t n = 0; n < kPortions; ++n)
        GW_TRY(settle(given_[(turn_ + n) % kPortions]));
    return ok();
}

/// The device takes a portion in while the next one arrives.
Result<void> VfioLiveState::load_data(StreamReader& in)
{
    const std::uint64_t length = GW_TRY(in.get_be64());
    if (walker_->state() != MigrationState::Resuming)
        return in.error_here(Errc::BadState, taking_in(length) + ": not the state for that");
    MigrationDialect& dialect = walker_->dialect();
    const auto locked = [&](auto call) {
        const auto guard = walker_->lock();
        return with_context(call(), taking_in(length));
    };
    GW_TRY(locked([&] { return dialect.load_begin(length); }));
    for (std::uint64_t left = length; left != 0;) {
        auto& buffer = buffers_[turn_];
        Given& given = given_[turn_];
        GW_TRY(settle(given));
        const std::span<std::byte> part =
            std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), left));
        GW_TRY(in.get_bytes_only(part));
        if (dialect.whole_chunks()) {
            given = {
                .transfer = GW_TRY(locked([&] { return dialect.begin_load(part); })),
                .chunk = length
            };
            turn_ = (turn_ + 1) % kPortions;
        } else {
            GW_TRY(locked([&] { return dialect.load_bytes(part); }));
        }
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
    given_ = {};
    free_buffers();
    approve_ = nullptr;
    if (loaded_ || walker_->state() == MigrationState::Running)
        return;
    // Half a state is none: leaving RESUMING would be refused, and rightly.
    (void)reset_device();
}

}  // namespace godwit::hw::vfio
