// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Migration version 2 on a kernel device: states, and the data stream that comes with them.
#include "hw/vfio/kernel_device.h"
#include "hw/vfio/migration_states.h"

#include <cerrno>
#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

bool has_data(MigrationState state)
{
    return is_saving(state) || state == MigrationState::Resuming;
}

}  // namespace

Result<std::uint64_t> KernelDevice::migration_flags()
{
    std::uint64_t flags = 0;
    GW_TRY(feature_get(kFeatureMigration, std::as_writable_bytes(std::span(&flags, 1))));
    return flags;
}

Result<MigrationState> KernelDevice::migration_state()
{
    AbiMigDeviceState state;
    GW_TRY(feature_get(kFeatureMigDeviceState, std::as_writable_bytes(std::span(&state, 1))));
    if (state.device_state > static_cast<std::uint32_t>(MigrationState::PreCopyP2p))
        return Error(Errc::BadFormat, fmt::format("device state {}", state.device_state));
    return static_cast<MigrationState>(state.device_state);
}

Result<void> KernelDevice::set_migration_state(MigrationState target)
{
    AbiMigDeviceState state{.device_state = static_cast<std::uint32_t>(target)};
    GW_TRY(
        feature(kFeatureMigDeviceState, kFeatureSet, std::as_writable_bytes(std::span(&state, 1))));
    GW_TRY(take_data_fd(target, UniqueFd(state.data_fd)));
    // Whoever resets a device behind us (an operator, error recovery) ends its transfer as well.
    const MigrationState now = GW_TRY(migration_state());
    if (now != target)
        return Error(Errc::BadState, fmt::format("the device is in {} behind it", to_string(now)));
    return {};
}

Result<void> KernelDevice::take_data_fd(MigrationState target, UniqueFd opened)
{
    const std::lock_guard guard(data_lock_);
    const MigrationState before = std::exchange(state_, target);
    if (!has_data(target)) {
        data_fd_.reset();
        return {};
    }
    const bool same_transfer = before == target || (is_saving(before) && is_saving(target));
    if (opened && data_fd_ && same_transfer)
        return Error(Errc::BadState, "data_fd out of sync");  // the new one closes here
    if (opened)
        data_fd_ = std::move(opened);
    else if (!same_transfer)
        data_fd_.reset();
    if (!data_fd_)
        return Error(Errc::BadState, "the device opened no data_fd");
    return {};
}

Result<DataRead> KernelDevice::data_read(std::span<std::byte> into)
{
    const std::lock_guard guard(data_lock_);
    if (!data_fd_ || !is_saving(state_))
        return Error(Errc::BadState, "no migration data can be read in this state");
    const bool stopped = state_ == MigrationState::StopCopy;
    auto got = patient_.read(data_fd_.get(), into);
    if (!got && got.error().os_errno() == ENOMSG && !stopped)
        return DataRead{.more = DataRead::More::Later};
    if (!got)
        return std::unexpected(std::move(got).error().context("migration data"));
    if (*got > into.size())
        return Error(Errc::BadFormat, fmt::format("migration data: {} bytes, where {} were asked "
                                                  "for",
                                                  *got, into.size()));
    if (*got == 0)  // in pre-copy some drivers say this instead of ENOMSG
        return DataRead{.more = stopped ? DataRead::More::End : DataRead::More::Later};
    return DataRead{.bytes = *got};
}

Result<void> KernelDevice::data_write(std::span<const std::byte> from)
{
    const std::lock_guard guard(data_lock_);
    if (!data_fd_ || state_ != MigrationState::Resuming)
        return Error(Errc::BadState, "no migration data can be written in this state");
    while (!from.empty()) {
        const std::size_t put =
            GW_TRY(with_context(patient_.write(data_fd_.get(), from), "migration data"));
        if (put == 0)
            return Error(Errc::Io, "migration data: the device takes no more");
        if (put > from.size())
            return Error(
                Errc::BadFormat,
                fmt::format("migration data: the device took {} bytes of {}", put, from.size()));
        from = from.subspan(put);
    }
    return {};
}

Result<PrecopyInfo> KernelDevice::precopy_info()
{
    const std::lock_guard guard(data_lock_);
    if (!data_fd_)
        return Error(Errc::BadState, "no migration data is open");
    AbiPrecopyInfo info;
    if (auto asked = patient_.call(data_fd_.get(), request::kMigGetPrecopyInfo, info); !asked) {
        const bool unknown = asked.error().os_errno() == ENOTTY;
        return unknown ? std::move(asked).error().with_code(Errc::Unsupported)
                       : std::move(asked).error();
    }
    return PrecopyInfo{.initial_bytes = info.initial_bytes, .dirty_bytes = info.dirty_bytes};
}

Result<std::uint64_t> KernelDevice::stop_copy_size()
{
    std::uint64_t bytes = 0;
    GW_TRY(feature_get(kFeatureMigDataSize, std::as_writable_bytes(std::span(&bytes, 1))));
    return bytes;
}

void KernelDevice::close_data() noexcept
{
    const std::lock_guard guard(data_lock_);
    data_fd_.reset();
}

}  // namespace godwit::hw::vfio
