// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Migration version 2: states by device feature, data as a stream of bytes whose portions mean
// nothing.
#include "hw/vfio/migration_dialect.h"

#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

class DialectV2 final : public MigrationDialect {
public:
    DialectV2(DeviceBackend& device, StateSet states) : device_(device), states_(states) {}

    StateSet states() const noexcept override { return states_; }
    std::optional<MigrationState> next(MigrationState from,
                                       MigrationState to) const noexcept override
    {
        return next_state_v2(states_, from, to);
    }
    Result<MigrationState> state() override { return device_.migration_state(); }
    Result<void> enter(MigrationState, MigrationState to) override
    {
        return device_.set_migration_state(to);
    }

    bool whole_chunks() const noexcept override { return true; }
    Result<DataRead> read_chunk(ChunkSink& sink, std::span<std::byte> buffer) override
    {
        const DataRead got = GW_TRY(device_.data_read(buffer));
        if (got.bytes == 0)
            return got;
        GW_TRY(sink.begin(got.bytes));
        GW_TRY(sink.bytes(buffer.first(got.bytes)));
        return got;
    }

    Result<std::unique_ptr<DataTransfer>> begin_read(std::span<std::byte> buffer) override
    {
        return device_.begin_read(buffer);
    }
    Result<std::unique_ptr<DataTransfer>> begin_load(std::span<const std::byte> part) override
    {
        return device_.begin_write(part);
    }

    Result<Remaining> remaining(MigrationState now) override
    {
        Remaining left;
        if (is_pre_copy(now)) {
            if (auto info = device_.precopy_info()) {
                left.initial = info->initial_bytes;
                left.dirty = info->dirty_bytes;
                left.tells_initial = true;
            } else if (info.error().code() != Errc::Unsupported) {
                return std::move(info).error();
            }
        }
        if (auto size = device_.stop_copy_size())
            left.stop = *size;
        else if (size.error().code() != Errc::Unsupported)
            return std::move(size).error();
        return left;
    }

    Result<void> load_begin(std::uint64_t) override { return ok(); }
    Result<void> load_bytes(std::span<const std::byte> part) override
    {
        return device_.data_write(part);
    }
    Result<void> load_end() override { return ok(); }
    void close() noexcept override { device_.close_data(); }

private:
    DeviceBackend& device_;
    StateSet states_;
};

}  // namespace

Result<std::unique_ptr<DataTransfer>> MigrationDialect::begin_read(std::span<std::byte>)
{
    return Error(Errc::Unsupported, "its data comes in records");
}

Result<std::unique_ptr<DataTransfer>> MigrationDialect::begin_load(std::span<const std::byte>)
{
    return Error(Errc::Unsupported, "its data comes in records");
}

Result<std::unique_ptr<MigrationDialect>> make_dialect_v2(DeviceBackend& device,
                                                          std::uint64_t flags)
{
    if ((flags & kMigrationStopCopy) == 0)
        return Error(Errc::BadFormat,
                     fmt::format("migration flags {:#x} do not have STOP_COPY", flags));
    return std::make_unique<DialectV2>(
        device, StateSet{.p2p = (flags & kMigrationP2p) != 0 && device.knows_p2p(),
                         .pre_copy = (flags & kMigrationPreCopy) != 0});
}

Result<std::unique_ptr<MigrationDialect>> make_dialect(DeviceBackend& device)
{
    auto flags = device.migration_flags();
    if (flags)
        return make_dialect_v2(device, *flags);
    if (flags.error().code() != Errc::Unsupported)
        return std::move(flags).error();
    const DeviceInfo info = GW_TRY(device.device_info());
    for (std::uint32_t i = kFirstSpecialRegion; i < info.regions; ++i) {
        const RegionInfo region = GW_TRY(device.region_info(i));
        if (region.type == RegionType{kMigrationRegionType, kMigrationRegionSubtype})
            return make_dialect_v1(device, region);
    }
    return std::move(flags).error();
}

}  // namespace godwit::hw::vfio
