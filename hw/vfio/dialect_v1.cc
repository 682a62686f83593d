// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Migration version 1: a region whose header is a set of registers, and whose data section holds
// one record at a time. Records keep their boundaries on the way.
// Source   Linux 5.8, include/uapi/linux/vfio.h, "struct vfio_device_migration_info".
#include "hw/vfio/migration_dialect.h"
#include "util/mapping.h"

#include <algorithm>
#include <fmt/format.h>
#include <vector>

namespace godwit::hw::vfio {

namespace {

std::uint32_t bits_of(MigrationState state)
{
    switch (state) {
    case MigrationState::Running:
        return v1::kRunning;
    case MigrationState::StopCopy:
        return v1::kSaving;
    case MigrationState::PreCopy:
        return v1::kSaving | v1::kRunning;
    case MigrationState::Resuming:
        return v1::kResuming;
    default:
        return 0;
    }
}

MigrationState state_of(std::uint32_t bits)
{
    switch (bits & v1::kStateMask) {
    case 0:
        return MigrationState::Stop;
    case v1::kRunning:
        return MigrationState::Running;
    case v1::kSaving:
        return MigrationState::StopCopy;
    case v1::kSaving | v1::kRunning:
        return MigrationState::PreCopy;
    case v1::kResuming:
        return MigrationState::Resuming;
    default:
        return MigrationState::Error;
    }
}

class DialectV1 final : public MigrationDialect {
public:
    DialectV1(DeviceBackend& device, const RegionInfo& region) : device_(device), region_(region) {}

    StateSet states() const noexcept override { return {.p2p = false, .pre_copy = true}; }
    std::optional<MigrationState> next(MigrationState from,
                                       MigrationState to) const noexcept override
    {
        return next_state_v1(states(), from, to);
    }
    Result<MigrationState> state() override
    {
        return state_of(GW_TRY(get<std::uint32_t>(v1::kDeviceState)));
    }
    Result<void> enter(MigrationState from, MigrationState to) override;

    bool whole_chunks() const noexcept override { return false; }
    Result<DataRead> read_chunk(ChunkSink& sink, std::span<std::byte> buffer) override;
    Result<Remaining> remaining(MigrationState now) override;
    Result<void> load_begin(std::uint64_t length) override;
    Result<void> load_bytes(std::span<const std::byte> part) override;
    Result<void> load_end() override;
    void close() noexcept override { windows_.clear(); }

private:
    struct Window {
        std::uint64_t offset;
        Mapping bytes;
    };

    template <class T>
    Result<T> get(std::uint64_t offset)
    {
        T value{};
        GW_TRY(device_.region_read(region_.index, offset,
                                   std::as_writable_bytes(std::span(&value, 1))));
        return value;
    }
    template <class T>
    Result<void> put(std::uint64_t offset, T value)
    {
        return device_.region_write(region_.index, offset, std::as_bytes(std::span(&value, 1)));
    }

    Result<void> set_bits(MigrationState to);
    Result<void> open_windows();
    /// The mapped bytes at `offset`, as many as lie in one window; empty where it is trapped.
    std::span<std::byte> mapped(std::uint64_t offset, std::uint64_t length) const;
    /// Bytes from `offset` to the next window or `length`.
    std::uint64_t trapped(std::uint64_t offset, std::uint64_t length) const;
    Result<std::uint64_t> data_place(std::uint64_t length);
    Result<void> flush_load();

    DeviceBackend& device_;
    RegionInfo region_;
    std::vector<Window> windows_;
    // The record that is being loaded.
    std::uint64_t left_ = 0;     // bytes that are still to come
    std::uint64_t place_ = 0;    // where the next one goes
    std::uint64_t staged_ = 0;   // bytes in the data section
    std::uint64_t section_ = 0;  // bytes that fit there at once
};

Result<void> DialectV1::set_bits(MigrationState to)
{
    const auto bits = GW_TRY(get<std::uint32_t>(v1::kDeviceState));
    auto written = put<std::uint32_t>(v1::kDeviceState, (bits & ~v1::kStateMask) | bits_of(to));
    if (written) {
        const MigrationState now = GW_TRY(state());
        if (now == to)
            return ok();
        return Error(Errc::BadState, fmt::format("the device is in {} behind it", to_string(now)));
    }
    // The device is where it was, or in the error state: say which.
    if (auto now = state(); now && *now == MigrationState::Error)
        return std::move(written).error().context("the device is in the error state");
    return written;
}

Result<void> DialectV1::enter(MigrationState from, MigrationState to)
{
    if (is_saving(to) || to == MigrationState::Resuming)
        GW_TRY(open_windows());
    auto done = set_bits(to);
    // Not every driver knows the way from pre-copy straight back.
    if (!done && from == MigrationState::PreCopy && to == MigrationState::Running &&
        set_bits(MigrationState::StopCopy))
        done = set_bits(to);
    if (!done && from == MigrationState::StopCopy && to == MigrationState::Running &&
        set_bits(MigrationState::Stop))
        done = set_bits(to);
    if (done && !is_saving(to) && to != MigrationState::Resuming)
        windows_.clear();
    return done;
}

Result<void> DialectV1::open_windows()
{
    if (!windows_.empty())
        return ok();
    for (const RegionArea& area : region_.mappable) {
        const RegionWindow window = GW_TRY(device_.region_window(region_.index, area));
        windows_.push_back({
            area.offset, GW_TRY(Mapping::of_fd(
                             window.fd.get(), window.size, window.offset,
                             {.sharing = Mapping::Sharing::Shared, .writable = region_.writable}))
        });
    }
    return ok();
}

std::span<std::byte> DialectV1::mapped(std::uint64_t offset, std::uint64_t length) const
{
    for (const Window& window : windows_) {
        if (offset < window.offset || offset - window.offset >= window.bytes.size())
            continue;
        const std::uint64_t inside = offset - window.offset;
        // The header is never used through a mapping.
        if (offset < v1::kHeaderSize)
            return {};
        return window.bytes.span().subspan(inside, std::min(length, window.bytes.size() - inside));
    }
    return {};
}

std::uint64_t DialectV1::trapped(std::uint64_t offset, std::uint64_t length) const
{
    for (const Window& window : windows_)
        if (window.offset > offset)
            length = std::min(length, window.offset - offset);
    return length;
}

/// Where the data section is now; `length` bytes have to fit.
Result<std::uint64_t> DialectV1::data_place(std::uint64_t length)
{
    const auto offset = GW_TRY(get<std::uint64_t>(v1::kDataOffset));
    if (offset < v1::kHeaderSize || offset >= region_.size || length > region_.size - offset)
        return Error(Errc::BadFormat,
                     fmt::format("migration region: {} bytes of data at {:#x} of a region of {:#x}",
                                 length, offset, region_.size));
    return offset;
}

Result<DataRead> DialectV1::read_chunk(ChunkSink& sink, std::span<std::byte> buffer)
{
    const bool stopped = GW_TRY(state())
    == MigrationState::StopCopy;
    const auto nothing = stopped ? DataRead::More::End : DataRead::More::Later;
    if (GW_TRY(get<std::uint64_t>(v1::kPendingBytes)) == 0)
        return DataRead{.more = nothing};
    std::uint64_t offset = GW_TRY(data_place(0));
    const auto size = GW_TRY(get<std::uint64_t>(v1::kDataSize));
    if (size == 0) {
        if (stopped)
            return Error(Errc::BadFormat, "migration region: bytes are pending, but none come");
        return DataRead{.more = nothing};
    }
    if (size > region_.size - offset)
        return Error(Errc::BadFormat,
                     fmt::format("migration region: {} bytes of data at {:#x} of a region of {:#x}",
                                 size, offset, region_.size));
    GW_TRY(sink.begin(size));
    for (std::uint64_t left = size; left != 0;) {
        std::span<std::byte> part = mapped(offset, left);
        if (part.empty()) {
            part = buffer.first(std::min<std::uint64_t>(buffer.size(), trapped(offset, left)));
            GW_TRY(device_.region_read(region_.index, offset, part));
        }
        GW_TRY(sink.bytes(part));
        offset += part.size();
        left -= part.size();
    }
    return DataRead{.bytes = size, .more = DataRead::More::Yes};
}

Result<Remaining> DialectV1::remaining(MigrationState now)
{
    Remaining left;
    left.stop = 0;  // not known before it saves
    if (!is_saving(now))
        return left;
    // The read opens the next round of read_chunk(), which asks again and gets the same answer.
    left.stop = GW_TRY(get<std::uint64_t>(v1::kPendingBytes));
    left.dirty = *left.stop;
    return left;
}

Result<void> DialectV1::load_begin(std::uint64_t length)
{
    left_ = length;
    staged_ = 0;
    if (length == 0)
        return ok();
    place_ = GW_TRY(data_place(0));
    section_ = region_.size - place_;
    return ok();
}

Result<void> DialectV1::load_bytes(std::span<const std::byte> part)
{
    if (part.size() > left_)
        return Error(Errc::Internal, "more bytes than the record has");
    left_ -= part.size();
    while (!part.empty()) {
        // A record that does not fit goes in pieces: the window of this host is smaller.
        if (staged_ == section_)
            GW_TRY(flush_load());
        const std::uint64_t room = std::min<std::uint64_t>(part.size(), section_ - staged_);
        std::span<std::byte> window = mapped(place_, room);
        std::uint64_t now = window.size();
        if (window.empty()) {
            now = trapped(place_, room);
            GW_TRY(device_.region_write(region_.index, place_, part.first(now)));
        } else {
            std::ranges::copy(part.first(now), window.begin());
        }
        place_ += now;
        staged_ += now;
        part = part.subspan(now);
    }
    return ok();
}

Result<void> DialectV1::flush_load()
{
    GW_TRY(put<std::uint64_t>(v1::kDataSize, staged_));
    staged_ = 0;
    place_ = GW_TRY(data_place(0));
    section_ = region_.size - place_;
    return ok();
}

Result<void> DialectV1::load_end()
{
    if (left_ != 0)
        return Error(Errc::Internal, "fewer bytes than the record has");
    if (staged_ == 0)
        return ok();
    GW_TRY(put<std::uint64_t>(v1::kDataSize, staged_));
    staged_ = 0;
    return ok();
}

}  // namespace

Result<std::unique_ptr<MigrationDialect>> make_dialect_v1(DeviceBackend& device,
                                                          const RegionInfo& region)
{
    if (region.size <= v1::kHeaderSize || !region.readable || !region.writable)
        return Error(Errc::BadFormat, fmt::format("migration region {} of {} bytes, or it cannot "
                                                  "be read and written",
                                                  region.index, region.size));
    return std::make_unique<DialectV1>(device, region);
}

}  // namespace godwit::hw::vfio
