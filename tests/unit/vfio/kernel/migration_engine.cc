// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/vfio/kernel/migration_engine.h"

#include "tests/unit/vfio/kernel/test_device.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace godwit::hw::vfio::test {

namespace {

using enum MigrationState;

constexpr int kWasReset = 1;  // of a step: it was made, and in vain

constexpr std::size_t at(MigrationState state)
{
    return static_cast<std::size_t>(state);
}

/// Error where the interface refuses. Rows and columns in the order of the enum.
constexpr std::array<std::array<MigrationState, 8>, 8> kNext{{
    //  Error  Stop        Running     StopCopy    Resuming    RunningP2p  PreCopy     PreCopyP2p
    {{Error, Error, Error, Error, Error, Error, Error, Error}},
    {{Error, Stop, RunningP2p, StopCopy, Resuming, RunningP2p, RunningP2p, RunningP2p}},
    {{Error, RunningP2p, Running, RunningP2p, RunningP2p, RunningP2p, PreCopy, RunningP2p}},
    {{Error, Stop, Stop, StopCopy, Stop, Stop, Error, Error}},
    {{Error, Stop, Stop, Stop, Resuming, Stop, Stop, Stop}},
    {{Error, Stop, Running, Stop, Stop, RunningP2p, Running, PreCopyP2p}},
    {{Error, Running, Running, PreCopyP2p, Running, Running, PreCopy, PreCopyP2p}},
    {{Error, RunningP2p, RunningP2p, StopCopy, RunningP2p, RunningP2p, PreCopy, PreCopyP2p}},
}};

bool supported(const DeviceSpec& spec, MigrationState state)
{
    switch (state) {
    case RunningP2p:
        return spec.p2p;
    case PreCopy:
        return spec.precopy;
    case PreCopyP2p:
        return spec.p2p && spec.precopy;
    default:
        return true;
    }
}

bool saving(MigrationState state)
{
    return state == PreCopy || state == PreCopyP2p || state == StopCopy;
}

char letter(MigrationState state)
{
    return "ESRCLrPp"[at(state)];
}

std::optional<MigrationState> v1_state(std::uint32_t value)
{
    switch (value) {
    case 0:
        return Stop;
    case v1::kRunning:
        return Running;
    case v1::kSaving:
        return StopCopy;
    case v1::kSaving | v1::kRunning:
        return PreCopy;
    case v1::kResuming:
        return Resuming;
    default:
        return std::nullopt;
    }
}

std::uint32_t v1_value(MigrationState state)
{
    switch (state) {
    case Stop:
        return 0;
    case StopCopy:
        return v1::kSaving;
    case PreCopy:
        return v1::kSaving | v1::kRunning;
    case Resuming:
        return v1::kResuming;
    case Error:
        return v1::kErrorState;
    default:
        return v1::kRunning;
    }
}

}  // namespace

bool MigrationEngine::running() const
{
    return state_ == Running || state_ == RunningP2p || state_ == PreCopy || state_ == PreCopyP2p;
}

int MigrationEngine::set_state(std::uint32_t wanted, bool& opened)
{
    opened = false;
    if (wanted > at(PreCopyP2p))
        return -EINVAL;
    const auto target = static_cast<MigrationState>(wanted);
    if (!supported(device_.spec(), target) || target == Error)
        return -EINVAL;
    const std::uint64_t before = transfer_;
    while (state_ != target) {
        MigrationState next = kNext[at(state_)][at(target)];
        while (next != Error && !supported(device_.spec(), next))
            next = kNext[at(next)][at(target)];
        if (next == Error)
            return -EINVAL;
        const int stepped = step(next);
        if (stepped != 0)
            return stepped == kWasReset ? 0 : stepped;
    }
    opened = transfer_ != before && (source_ || sink_);
    return 0;
}

int MigrationEngine::step(MigrationState next)
{
    const auto refused = device_.faults.enter.find(next);
    if (refused != device_.faults.enter.end()) {
        const DeviceFaults::Refusal refusal = refused->second;
        if (refusal.lands_in)
            enter(*refusal.lands_in);
        device_.faults.gone = refusal.error == ENODEV;
        if (!refusal.resets)
            return -refusal.error;
        device_.faults.enter.erase(refused);
        enter(next);
        reset();
        return kWasReset;
    }
    if (state_ == Resuming) {
        const auto state = sink_->finish();
        if (!state)
            return -EINVAL;
        device_.internal_state = *state;
    }
    enter(next);
    return 0;
}

void MigrationEngine::enter(MigrationState next)
{
    if (!walked_.empty())
        walked_ += ' ';
    walked_ += letter(state_);
    walked_ += letter(next);
    if (saving(next) && !saving(state_)) {
        source_ = std::make_unique<StateSource>(device_.internal_state);
        ++transfer_;
    } else if (!saving(next)) {
        source_.reset();
    }
    if (next == Resuming) {
        sink_ = std::make_unique<StateSink>(device_.internal_state.size());
        ++transfer_;
    } else {
        sink_.reset();
    }
    if (!source_)
        out_.clear();
    staged_.reset();
    state_ = next;
}

void MigrationEngine::reset()
{
    source_.reset();
    sink_.reset();
    out_.clear();
    staged_.reset();
    if (state_ != Running)
        walked_ += std::string(walked_.empty() ? "" : " ") + letter(state_) + "!R";
    state_ = Running;
    ++transfer_;
}

void MigrationEngine::changed(std::size_t from, std::size_t length)
{
    if (source_)
        source_->changed(from, length);
}

/// What a test arranged for a data access: 0, or minus an errno.
int MigrationEngine::planned(int& error)
{
    if (std::exchange(device_.faults.data_resets, false)) {
        reset();
        return -ENODEV;
    }
    device_.faults.gone |= error == ENODEV;
    return -std::exchange(error, 0);
}

std::int64_t MigrationEngine::read(std::span<std::byte> into)
{
    if (!source_)
        return -ENODEV;
    if (const int error = planned(device_.faults.read); error != 0)
        return error;
    if (std::exchange(device_.faults.read_too_long, false))
        return static_cast<std::int64_t>(into.size()) + 1;
    if (device_.faults.ends_early)
        return 0;
    const bool stopped = state_ == StopCopy;
    if (out_.empty())
        out_ = source_->next(stopped).value_or(std::vector<std::byte>{});
    if (out_.empty())
        return stopped || device_.faults.zero_in_precopy ? 0 : -ENOMSG;
    const std::size_t length = std::min(into.size(), out_.size());
    std::memcpy(into.data(), out_.data(), length);
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(length));
    return static_cast<std::int64_t>(length);
}

std::int64_t MigrationEngine::write(std::span<const std::byte> from)
{
    if (!sink_)
        return -ENODEV;
    if (const int error = planned(device_.faults.write); error != 0)
        return error;
    if (std::exchange(device_.faults.write_too_long, false))
        return static_cast<std::int64_t>(from.size()) + 1;
    const auto part = from.first(std::min<std::size_t>(from.size(), 1500));  // short on purpose
    return sink_->feed(part) ? static_cast<std::int64_t>(part.size()) : -EINVAL;
}

int MigrationEngine::precopy_info(AbiPrecopyInfo& info) const
{
    if (state_ != PreCopy && state_ != PreCopyP2p)
        return -EINVAL;
    info.initial_bytes = source_->initial_bytes();
    info.dirty_bytes = source_->dirty_bytes() + out_.size();
    return 0;
}

std::uint64_t MigrationEngine::stop_copy_size() const
{
    return source_ ? source_->left(true) + out_.size()
                   : StateSource(device_.internal_state).left(true);
}

// --- version 1 ---------------------------------------------------------------------------------

int MigrationEngine::v1_set_state(std::uint32_t value)
{
    if ((value & ~v1::kStateMask) != 0 || state_ == Error)
        return -EINVAL;
    const auto target = v1_state(value);
    if (!target)
        return -EINVAL;
    if (*target == state_)
        return 0;
    constexpr auto kLegal =
        std::to_array<std::pair<MigrationState, MigrationState>>({{Running, Stop},
                                                                  {Stop, Running},
                                                                  {Running, PreCopy},
                                                                  {PreCopy, StopCopy},
                                                                  {Running, StopCopy},
                                                                  {Stop, StopCopy},
                                                                  {StopCopy, Stop},
                                                                  {StopCopy, Running},
                                                                  {PreCopy, Running},
                                                                  {Running, Resuming},
                                                                  {Stop, Resuming},
                                                                  {Resuming, Running}});
    if (std::ranges::find(kLegal, std::pair(state_, *target)) == kLegal.end())
        return -EINVAL;
    return step(*target);
}

std::uint64_t MigrationEngine::v1_pending()
{
    if (!source_ || device_.faults.ends_early)
        return 0;
    if (staged_ && staged_read_)
        staged_.reset();
    return staged_.value_or(0) + source_->left(state_ == StopCopy);
}

/// Puts the next record into the data section.
void MigrationEngine::v1_stage()
{
    if (staged_ || !source_)
        return;
    staged_read_ = false;
    if (device_.faults.empty_chunks && ++stages_ % 3 == 0) {
        staged_ = 0;
        return;
    }
    const auto record = source_->next(state_ == StopCopy).value_or(std::vector<std::byte>{});
    (void)!::pwrite(device_.memory.get(), record.data(), record.size(),
                    static_cast<off_t>(region_offset(kFirstSpecialRegion) + kV1Data));
    staged_ = record.size();
}

int MigrationEngine::v1_accept(std::uint64_t size)
{
    if (!sink_ || size > device_.spec().v1_window)
        return -EINVAL;
    if (const int error = planned(device_.faults.write); error != 0)
        return error;
    std::vector<std::byte> record(size);
    (void)!::pread(device_.memory.get(), record.data(), record.size(),
                   static_cast<off_t>(region_offset(kFirstSpecialRegion) + kV1Data));
    return sink_->feed(record) && sink_->at_boundary() ? 0 : -EINVAL;
}

std::int64_t MigrationEngine::v1_read(std::span<std::byte> into, std::uint64_t offset)
{
    const std::size_t width = offset == v1::kDeviceState || offset == 4 ? 4 : 8;
    if (into.size() != width || offset % width != 0)
        return -EINVAL;
    if (offset != v1::kDeviceState)
        if (const int error = planned(device_.faults.read); error != 0)
            return error;
    std::uint64_t value = 0;
    switch (offset) {
    case v1::kDeviceState:
        value = v1_value(state_);
        break;
    case v1::kPendingBytes:
        value = v1_pending();
        break;
    case v1::kDataOffset:
        v1_stage();
        value = kV1Data;
        break;
    case v1::kDataSize:
        value = std::exchange(device_.faults.read_too_long, false) ? UINT64_MAX / 2
                                                                   : staged_.value_or(0);
        staged_read_ = true;
        break;
    default:
        break;
    }
    std::memcpy(into.data(), &value, width);
    return static_cast<std::int64_t>(width);
}

std::int64_t MigrationEngine::v1_write(std::span<const std::byte> from, std::uint64_t offset)
{
    const std::size_t width = offset == v1::kDeviceState || offset == 4 ? 4 : 8;
    if (from.size() != width || offset % width != 0)
        return -EINVAL;
    std::uint64_t value = 0;
    std::memcpy(&value, from.data(), width);
    int result = 0;
    if (offset == v1::kDeviceState)
        result = std::min(v1_set_state(static_cast<std::uint32_t>(value)), 0);
    else if (offset == v1::kDataSize)
        result = v1_accept(value);
    else if (offset != 4)
        result = -EINVAL;
    return result != 0 ? result : static_cast<std::int64_t>(width);
}

}  // namespace godwit::hw::vfio::test
