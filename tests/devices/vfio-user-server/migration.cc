// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/migration.h"

#include <cerrno>
#include <cstdio>

namespace godwit::vfio_user_server {
namespace {

bool leaves_peers_alone(State from, State to)
{
    return (from == State::Running && to == State::RunningP2p) ||
           (from == State::PreCopy && to == State::PreCopyP2p);
}

}  // namespace

WalkResult Migration::begin(State target, std::int64_t now_ns)
{
    using Kind = WalkResult::Kind;
    if (options_.flags == 0)
        return {Kind::Failed, ENOTTY};
    if (state_ == State::Error || !supported(target, options_.flags) ||
        (state_ != target && !next_state(state_, target, options_.flags)))
        return {Kind::Failed, EINVAL};
    bad_length_ = false;
    if (const auto fault = faults_.at_wish(target)) {
        const WalkResult result = fail(*fault);
        if (result.kind != Kind::Done)
            return result;
        if (fault->kind == FaultKind::Reset) {
            reset(now_ns);
            return {};
        }
    }
    target_ = target;
    waited_for_.reset();
    return walk(now_ns);
}

WalkResult Migration::resume(std::int64_t now_ns)
{
    return target_ ? walk(now_ns) : WalkResult{};
}

/// What a fault makes of the walk; Done: it goes on.
WalkResult Migration::fail(const Fault& fault)
{
    using Kind = WalkResult::Kind;
    switch (fault.kind) {
    case FaultKind::Refuse:
        if (fault.leave_error) {
            saver_.reset();
            loader_.reset();
            state_ = State::Error;
        }
        return {Kind::Failed, fault.error != 0 ? fault.error : EIO};
    case FaultKind::Hang:
        return {Kind::Hang};
    case FaultKind::Disconnect:
        return {Kind::Disconnect};
    case FaultKind::BadLength:
        bad_length_ = true;
        return {};
    case FaultKind::ShortRead:
        cut_ = true;
        return {};
    case FaultKind::Corrupt:
    case FaultKind::Reset:
        return {};
    }
    return {};
}

WalkResult Migration::walk(std::int64_t now_ns)
{
    using Kind = WalkResult::Kind;
    while (state_ != *target_) {
        const auto hop = next_state(state_, *target_, options_.flags);
        if (!hop)
            return {Kind::Failed, EINVAL};
        if (waited_for_ != hop) {
            if (const auto fault = faults_.at_arc(state_, *hop)) {
                const WalkResult result = fail(*fault);
                if (result.kind != Kind::Done) {
                    target_.reset();
                    return result;
                }
                if (fault->kind == FaultKind::Reset) {
                    reset(now_ns);
                    return {.bad_length = bad_length_};
                }
            }
            const std::int64_t delay = runs(state_) && !runs(*hop)        ? options_.stop_delay_ns
                                       : leaves_peers_alone(state_, *hop) ? options_.p2p_delay_ns
                                                                          : 0;
            waited_for_ = hop;
            wake_ns_ = now_ns + delay;
        }
        if (now_ns < wake_ns_)
            return {Kind::Later};
        waited_for_.reset();
        if (const int error = step(*hop, now_ns); error != 0) {
            target_.reset();
            return {Kind::Failed, error};
        }
    }
    target_.reset();
    return {.bad_length = bad_length_};
}

int Migration::step(State to, std::int64_t now_ns)
{
    advance(now_ns);
    const State from = state_;
    if (from == State::Resuming) {
        if (const int error = end_load(); error != 0)
            return error;
    }
    if (!runs(from) && runs(to)) {
        device_.restart_time(now_ns);
        if (fresh_) {
            arrival_ = check_ring(device_.state().engine, device_.memory());
            arrived_at_ = device_.state().engine.next;
            fresh_ = false;
        }
    }
    if (!saving(to))
        saver_.reset();
    else if (!saver_) {
        saver_ = std::make_unique<Saver>(device_.bulk());
        cut_ = false;
    }
    if (to == State::StopCopy)
        saver_->stop(device_.save());
    if (to == State::Resuming)
        loader_ = std::make_unique<Loader>(device_.bulk(), options_.check_pages);
    state_ = to;
    history_.push_back({now_ns, from, to});
    if (history_.size() > kMaxHistory)
        history_.pop_front();
    return 0;
}

/// The data has to be whole now; if it is not, the device is in ERROR.
int Migration::end_load()
{
    Result<void> loaded = [&]() -> Result<void> {
        const std::vector<std::byte> registers = GW_TRY(loader_->finish());
        return device_.load(registers);
    }();
    loader_.reset();
    if (loaded) {
        ++loads_;
        fresh_ = true;
        load_error_.clear();
        return 0;
    }
    load_error_ = loaded.error().message();
    std::fprintf(stderr, "vfio-user-server: %s\n", load_error_.c_str());
    state_ = State::Error;
    return EINVAL;
}

void Migration::reset(std::int64_t now_ns)
{
    const bool broken = state_ == State::Resuming || state_ == State::Error;
    saver_.reset();
    loader_.reset();
    target_.reset();
    cut_ = false;
    fresh_ = false;
    device_.reset();
    device_.restart_time(now_ns);
    if (broken)
        device_.bulk().fill(device_.options().seed);
    if (state_ != State::Running)
        history_.push_back({now_ns, state_, State::Running});
    state_ = State::Running;
}

void Migration::advance(std::int64_t now_ns)
{
    if (!runs(state_))
        return;
    device_.advance(now_ns,
                    [this](std::size_t page) { return !saver_ || saver_->page_changes(page); });
}

Result<std::size_t> Migration::read(std::size_t max,
                                    std::vector<std::span<const std::byte>>& pieces)
{
    if (!saver_)
        return Error::from_errno("no data outside the saving states", EINVAL);
    if (cut_)
        return std::size_t{0};
    const std::size_t n = saver_->read(max, pieces);
    bytes_read_ += n;
    return n;
}

Error Migration::bad_data(const Error& why)
{
    load_error_ = why.message();
    std::fprintf(stderr, "vfio-user-server: %s\n", load_error_.c_str());
    return Error::from_errno(load_error_, EINVAL);
}

Result<void> Migration::write(std::span<const std::byte> bytes)
{
    if (!loader_)
        return Error::from_errno("no data outside RESUMING", EINVAL);
    bytes_written_ += bytes.size();
    if (auto fed = loader_->feed(bytes); !fed)
        return bad_data(fed.error());
    return {};
}

Result<std::span<std::byte>> Migration::room()
{
    auto place = loader_->room();
    if (!place)
        return bad_data(place.error());
    return place;
}

Result<void> Migration::took(std::size_t count)
{
    bytes_written_ += count;
    if (auto taken = loader_->took(count); !taken)
        return bad_data(taken.error());
    return {};
}

std::uint64_t Migration::stop_copy_size() const
{
    if (saver_)
        return saver_->remaining_bytes(Device::saved_bytes());
    return Saver(device_.bulk()).remaining_bytes(Device::saved_bytes());
}

Result<PrecopyInfo> Migration::precopy_info() const
{
    if (state_ != State::PreCopy && state_ != State::PreCopyP2p)
        return Error::from_errno("pre-copy figures outside pre-copy", EINVAL);
    return PrecopyInfo{saver_->initial_bytes(), saver_->dirty_bytes()};
}

}  // namespace godwit::vfio_user_server
