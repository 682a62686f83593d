// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A VFIO device as a source sends it.
#include "hw/vfio/live_state.h"

#include "system/main_loop.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw::vfio {

using migration::Budget;
using migration::Capability;
using migration::Pending;
using migration::Progress;
using migration::StreamWriter;

namespace {

void put_mark(StreamWriter& out, std::uint64_t value)
{
    out.put_be64(value);
}

/// The peer does not answer, or is not there: asking more takes time and leads nowhere.
bool is_gone(const Error& error)
{
    return error.code() == Errc::TimedOut || error.code() == Errc::Closed;
}

}  // namespace

/// Puts each chunk into the stream, straight from where it lies.
///
/// A chunk that is whole in the buffer is kept until send(), for which nobody needs to wait who
/// wants to change the device's state: the stream may be slow.
struct VfioLiveState::Chunks final : ChunkSink {
    Chunks(StreamWriter& the_out, std::atomic<std::uint64_t>& the_sum, bool whole)
        : out(the_out), sum(the_sum), keep(whole)
    {}
    Result<void> begin(std::uint64_t length) override
    {
        put_mark(out, mark::kData);
        out.put_be64(length);
        return ok();
    }
    Result<void> bytes(std::span<const std::byte> part) override
    {
        kept = part;
        return keep ? ok() : send();
    }
    Result<void> send()
    {
        if (kept.empty())
            return ok();
        const iovec piece{const_cast<std::byte*>(kept.data()), kept.size()};
        sum += kept.size();
        kept = {};
        return out.write_direct({&piece, 1});
    }
    StreamWriter& out;
    std::atomic<std::uint64_t>& sum;
    bool keep;
    std::span<const std::byte> kept{};
};

VfioLiveState::VfioLiveState(MigrationHost& host, system::MachineLock& lock,
                             std::unique_ptr<StateWalker> walker)
    : host_(host), lock_(lock), walker_(std::move(walker)), worker_("vfio/state")
{}

VfioLiveState::~VfioLiveState() = default;

// One read of a device, as in QEMU.
constexpr std::size_t kPortion = std::size_t{1} << 20;

void VfioLiveState::take_buffers()
{
    for (auto& buffer : buffers_)
        buffer.resize(kPortion);
}

void VfioLiveState::free_buffers() noexcept
{
    for (auto& buffer : buffers_)
        buffer = {};
}

// --- States --------------------------------------------------------------------------------------

Result<void> VfioLiveState::walk_to(MigrationState to)
{
    const auto guard = walker_->lock();
    const bool had_data = vfio::is_saving(walker_->state());
    auto walked = walker_->walk(to);
    if (saving_ && had_data && !vfio::is_saving(walker_->state()))
        lost_ = true;
    return walked;
}

/// walk_to() for the migration thread: the event needs the machine lock.
Result<void> VfioLiveState::move(MigrationState to)
{
    if (walker_->state() == to)
        return ok();
    GW_TRY(with_context(walk_to(to), name()));
    const system::MachineGuardIfNeeded guard(lock_);
    host_.state_changed(to);
    return ok();
}

Result<void> VfioLiveState::check_lost() const
{
    if (lost_)
        return Error(Errc::BadState,
                     fmt::format("{}: device state {}: the device was reset, or the guest went on, "
                                 "while its state was being sent",
                                 name(), to_string(walker_->state())));
    return ok();
}

/// Back to `to`, and if the device refuses, by a reset.
void VfioLiveState::recover(MigrationState to) noexcept
{
    // A driver that hangs in a call holds the device: it is out of reach, its guest is not.
    auto moved =
        worker_.busy() ? Error(Errc::TimedOut, name() + ": it still changes its state") : move(to);
    if (moved)
        return;
    const bool gone = is_gone(moved.error());
    host_.warn(std::move(moved).error());
    if (gone)
        return;
    if (auto reset = reset_device(); !reset)
        host_.warn(std::move(reset).error());
}

Result<void> VfioLiveState::reset_device()
{
    const system::MachineGuardIfNeeded guard(lock_);
    GW_TRY(host_.recover_by_reset());
    was_reset();
    host_.state_changed(MigrationState::Running);
    return ok();
}

void VfioLiveState::was_reset() noexcept
{
    const auto guard = walker_->lock();
    if (saving_ && vfio::is_saving(walker_->state()))
        lost_ = true;
    loaded_ = false;
    walker_->was_reset();
}

Result<void> VfioLiveState::may_run() const
{
    if (!loaded_)
        return ok();
    const auto guard = walker_->lock();
    // Whoever does not answer will not start either.
    const MigrationState now = walker_->dialect().state().value_or(walker_->state());
    if (now == MigrationState::Running || now != walker_->state())
        return Error(Errc::BadState,
                     fmt::format("device state {}: it was reset, and what it had taken in is lost",
                                 to_string(now)));
    return ok();
}

Result<void> VfioLiveState::cannot_run(Error error)
{
    // Here a reset would throw away what came from the other side, or nobody would hear of it.
    if (loaded_ || is_gone(error))
        return error;
    return with_context(reset_device(), error.message() + "; and the reset failed");
}

void VfioLiveState::arrived(MigrationState at)
{
    if (at == MigrationState::Running)
        loaded_ = false;  // what came is in use
    host_.state_changed(at);
}

// --- Source --------------------------------------------------------------------------------------

Result<void> VfioLiveState::setup(StreamWriter& out, const migration::SourceContext& context)
{
    lost_ = false;
    initial_sent_ = false;
    left_ = {};
    untracked_ = last_round_ = 0;
    transferred_ = 0;
    if (context.capabilities.has(Capability::PostcopyRam))
        return Error(
            Errc::Unsupported,
            fmt::format("{}: VFIO migration is not supported with postcopy migration", name()));
    if (context.capabilities.has(Capability::BackgroundSnapshot))
        return Error(
            Errc::Unsupported,
            fmt::format("{}: VFIO migration is not supported with background snapshot", name()));
    if (host_.insists_on_multifd())
        return Error(
            Errc::Unsupported,
            fmt::format("{}: Multifd device transfer requested but unsupported in the current "
                        "config",
                        name()));
    ack_wanted_ = context.capabilities.has(Capability::SwitchoverAck);
    {
        const auto guard = walker_->lock();
        GW_TRY(with_context(walker_->resync(), name()));
    }
    take_buffers();
    saving_ = true;
    if (states().pre_copy && walker_->state() == MigrationState::Running)
        GW_TRY(move(MigrationState::PreCopy));
    GW_TRY(refresh());
    put_mark(out, mark::kSetup);
    put_mark(out, mark::kEnd);
    return ok();
}

/// What the device has.
Result<void> VfioLiveState::ask()
{
    const auto guard = walker_->lock();
    GW_TRY(check_lost());
    left_ = GW_TRY(with_context(walker_->dialect().remaining(walker_->state()),
                                fmt::format("{}: device state {}: asking for the size", name(),
                                            to_string(walker_->state()))));
    return ok();
}

Result<void> VfioLiveState::refresh()
{
    GW_TRY(ask());
    const system::MachineGuardIfNeeded guard(lock_);
    untracked_ = host_.untracked_bytes();
    return ok();
}

Result<Pending> VfioLiveState::pending_estimate()
{
    GW_TRY(check_lost());
    Pending left{.must_precopy = untracked_};
    if (is_pre_copy(walker_->state()))
        left.must_precopy += left_.initial + left_.dirty;
    return left;
}

Result<Pending> VfioLiveState::pending_exact()
{
    GW_TRY(refresh());
    const bool early = is_pre_copy(walker_->state());
    std::uint64_t bytes = left_.initial + left_.dirty;
    if (left_.stop)
        bytes = std::max(bytes, *left_.stop);
    else if (early && !left_.tells_initial)
        bytes = last_round_;  // the best guess: as much as changed since the last round
    else if (!early)
        bytes = kUnknownSize;
    return Pending{.must_precopy = bytes + untracked_};
}

std::string VfioLiveState::reading() const
{
    return fmt::format("{}: device state {}: reading its data", name(),
                       to_string(walker_->state()));
}

/// False when the device has nothing (more) now.
Result<bool> VfioLiveState::read_one(Chunks& chunks, DataRead& got)
{
    {
        const auto guard = walker_->lock();
        GW_TRY(check_lost());
        got = GW_TRY(with_context(walker_->dialect().read_chunk(chunks, buffers_[0]), reading()));
    }
    GW_TRY(chunks.send());
    const std::uint64_t first = std::min<std::uint64_t>(left_.initial, got.bytes);
    left_.initial -= first;
    left_.dirty -= std::min<std::uint64_t>(left_.dirty, got.bytes - first);
    return got.more == DataRead::More::Yes;
}

Result<Progress> VfioLiveState::iterate(StreamWriter& out, Budget& budget)
{
    GW_TRY(check_lost());
    bool more = false;
    if (is_pre_copy(walker_->state())) {
        Chunks chunks(out, transferred_, walker_->dialect().whole_chunks());
        std::uint64_t round = 0;
        do {
            DataRead got;
            more = GW_TRY(read_one(chunks, got));
            round += got.bytes;
        } while (more && !budget.spent(out.position()));
        if (!more) {
            last_round_ = round;
            GW_TRY(ask());  // its count is better than ours: data comes with a frame around it
        }
    }
    const bool initial_done =
        is_pre_copy(walker_->state()) && (left_.tells_initial ? left_.initial == 0 : !more);
    if (ack_wanted_ && initial_done && !initial_sent_) {
        initial_sent_ = true;
        put_mark(out, mark::kInitDataSent);
    } else {
        put_mark(out, mark::kEnd);
    }
    return more || left_.initial + left_.dirty != 0 ? Progress::More : Progress::Done;
}

Result<void> VfioLiveState::complete_precopy(StreamWriter& out)
{
    GW_TRY(check_lost());
    GW_TRY(move(MigrationState::StopCopy));  // unless its group did it
    Chunks chunks(out, transferred_, walker_->dialect().whole_chunks());
    GW_TRY(chunks.keep ? read_rest(chunks) : read_rest_in_turn(chunks));
    put_mark(out, mark::kEnd);
    return ok();
}

Error VfioLiveState::no_end() const
{
    return Error(
        Errc::BadFormat,
        fmt::format("{}: device state STOP_COPY: it has no data, but does not say that it ends",
                    name()));
}

/// One record after another.
Result<void> VfioLiveState::read_rest_in_turn(Chunks& chunks)
{
    for (DataRead got; got.more != DataRead::More::End;) {
        GW_TRY(read_one(chunks, got));
        if (got.bytes == 0 && got.more != DataRead::More::End)
            return no_end();
    }
    return ok();
}

/// The device gets the next portion ready while the last one is sent.
Result<void> VfioLiveState::read_rest(Chunks& chunks)
{
    std::array<std::unique_ptr<DataTransfer>, kPortions> asked;
    const auto ask_for = [&](std::size_t n) -> Result<void> {
        const auto guard = walker_->lock();
        GW_TRY(check_lost());
        asked[n] = GW_TRY(with_context(walker_->dialect().begin_read(buffers_[n]), reading()));
        return ok();
    };
    for (std::size_t n = 0; n < kPortions; ++n)
        GW_TRY(ask_for(n));
    bool ended = false;
    // What was asked for is waited for behind the end, too: nothing that comes is lost.
    for (std::size_t n = 0; asked[n]; n = (n + 1) % kPortions) {
        DataRead got;
        {
            const auto guard = walker_->lock();
            GW_TRY(check_lost());
            auto come = with_context(asked[n]->await(), reading());
            // Some refuse to be asked behind their end.
            if (!come && !(ended && come.error().os_errno() != 0))
                return std::unexpected(std::move(come).error());
            got = come.value_or(DataRead{.more = DataRead::More::End});
        }
        asked[n].reset();
        ended = ended || got.more == DataRead::More::End;
        if (got.bytes == 0 && !ended)
            return no_end();
        if (got.bytes != 0) {
            GW_TRY(chunks.begin(got.bytes));
            GW_TRY(chunks.bytes(std::span(buffers_[n]).first(got.bytes)));
            GW_TRY(chunks.send());
        }
        if (!ended)
            GW_TRY(ask_for(n));
    }
    return ok();
}

Result<void> VfioLiveState::complete_postcopy(StreamWriter&)
{
    return ok();
}

Result<void> VfioLiveState::save_final(StreamWriter& out)
{
    GW_TRY(check_lost());
    put_mark(out, mark::kConfig);
    GW_TRY(with_context(host_.save_config(out), name() + ": configuration"));
    put_mark(out, mark::kEnd);
    return ok();
}

void VfioLiveState::cleanup() noexcept
{
    if (!saving_)
        return;
    const MigrationState now = walker_->state();
    // The group starts the device with the guest, if it goes on.
    if (now == MigrationState::StopCopy)
        recover(MigrationState::Stop);
    else if (now != MigrationState::Stop && now != MigrationState::Running)
        recover(MigrationState::Running);
    saving_ = false;
    lost_ = false;
    left_ = {};
    untracked_ = 0;
    free_buffers();
}

}  // namespace godwit::hw::vfio
