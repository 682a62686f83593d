// SPDX-License-Identifier: LGPL-2.1-or-later
//
// DEVICE_FEATURE and the migration data of a device behind a vfio-user server.
#include "hw/vfio/vfio_user_device.h"

#include "hw/vfio/migration_states.h"
#include "hw/vfio/vfio_user_pieces.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fmt/format.h>

namespace godwit::hw::vfio {

using user::bytes_of;
using user::Command;
using user::piece_of;

namespace {

// What a server answers that does not know a feature. libvfio-user says EINVAL to everything.
bool means_unknown(const Error& error)
{
    switch (error.os_errno()) {
    case ENOTTY:
    case EINVAL:
    case ENOTSUP:
    case ENOSYS:
        return true;
    default:
        return false;
    }
}

std::string_view set_state_name(MigrationState state)
{
    switch (state) {
    case MigrationState::Error:
        break;
    case MigrationState::Stop:
        return "DEVICE_FEATURE SET MIG_DEVICE_STATE STOP";
    case MigrationState::Running:
        return "DEVICE_FEATURE SET MIG_DEVICE_STATE RUNNING";
    case MigrationState::StopCopy:
        return "DEVICE_FEATURE SET MIG_DEVICE_STATE STOP_COPY";
    case MigrationState::Resuming:
        return "DEVICE_FEATURE SET MIG_DEVICE_STATE RESUMING";
    case MigrationState::RunningP2p:
        return "DEVICE_FEATURE SET MIG_DEVICE_STATE RUNNING_P2P";
    case MigrationState::PreCopy:
        return "DEVICE_FEATURE SET MIG_DEVICE_STATE PRE_COPY";
    case MigrationState::PreCopyP2p:
        return "DEVICE_FEATURE SET MIG_DEVICE_STATE PRE_COPY_P2P";
    }
    return "DEVICE_FEATURE SET MIG_DEVICE_STATE";
}

}  // namespace

/// Sends one DEVICE_FEATURE; returns the bytes in answer_rest.
Result<std::size_t> VfioUserDevice::feature(const Feature& f)
{
    const std::size_t room = std::max(f.answer_bytes, f.answer.size());
    const AbiFeature head{
        .argsz = static_cast<std::uint32_t>(sizeof(AbiFeature) + std::max(f.payload.size(), room)),
        .flags = f.number | f.verb};
    const std::array<iovec, 2> pieces{piece_of(head), io::as_iovec(f.payload)};
    // The answer begins with the same eight bytes.
    std::vector<std::byte> fixed(sizeof head + f.answer.size());
    const bool expects = !f.answer.empty();
    const auto reply =
        GW_TRY(connection_->call({.command = Command::DeviceFeature,
                                  .what = f.what,
                                  .pieces = pieces,
                                  .into_fixed = expects ? std::span(fixed) : std::span<std::byte>{},
                                  .into_rest = f.answer_rest,
                                  .even_if_stalled = f.even_if_stalled}));
    std::copy(fixed.begin() + sizeof head, fixed.end(), f.answer.begin());
    return reply.rest;
}

Result<bool> VfioUserDevice::feature_probe(std::uint16_t number, std::uint32_t verbs)
{
    auto known =
        feature({.number = number, .verb = verbs | kFeatureProbe, .what = "DEVICE_FEATURE PROBE"});
    if (known)
        return true;
    if (means_unknown(known.error()))
        return false;
    return std::move(known).error();
}

Result<void> VfioUserDevice::feature_get(std::uint16_t number, std::span<std::byte> into)
{
    GW_TRY(feature(
        {.number = number, .verb = kFeatureGet, .answer = into, .what = "DEVICE_FEATURE GET"}));
    return ok();
}

Result<void> VfioUserDevice::feature_set(std::uint16_t number, std::span<const std::byte> from)
{
    GW_TRY(feature(
        {.number = number, .verb = kFeatureSet, .payload = from, .what = "DEVICE_FEATURE SET"}));
    return ok();
}

// --- Migration -----------------------------------------------------------------------------------

Result<std::uint64_t> VfioUserDevice::migration_flags()
{
    std::uint64_t flags = 0;
    auto got = feature({.number = kFeatureMigration,
                        .verb = kFeatureGet,
                        .answer = bytes_of(flags),
                        .what = "DEVICE_FEATURE GET MIGRATION",
                        .even_if_stalled = true});
    if (got)
        return flags;
    Error error = std::move(got).error();
    return means_unknown(error) ? std::move(error).with_code(Errc::Unsupported) : std::move(error);
}

Result<MigrationState> VfioUserDevice::migration_state()
{
    AbiMigDeviceState state;
    GW_TRY(feature({.number = kFeatureMigDeviceState,
                    .verb = kFeatureGet,
                    .answer = bytes_of(state),
                    .what = "DEVICE_FEATURE GET MIG_DEVICE_STATE",
                    .even_if_stalled = true}));
    if (state.device_state > static_cast<std::uint32_t>(MigrationState::PreCopyP2p))
        return Error(Errc::BadFormat,
                     fmt::format("DEVICE_FEATURE GET MIG_DEVICE_STATE: state {} (socket {})",
                                 state.device_state, name()));
    const auto now = static_cast<MigrationState>(state.device_state);
    state_ = now;
    return now;
}

Result<void> VfioUserDevice::set_migration_state(MigrationState state)
{
    const AbiMigDeviceState wanted{.device_state = static_cast<std::uint32_t>(state),
                                   .data_fd = -1};
    // The way back is also tried with a server that did not answer something else in time.
    const bool back = state == MigrationState::Running || state == MigrationState::Stop;
    GW_TRY(feature({.number = kFeatureMigDeviceState,
                    .verb = kFeatureSet,
                    .payload = std::as_bytes(std::span(&wanted, 1)),
                    .what = set_state_name(state),
                    .even_if_stalled = back}));
    // A device that reset itself meanwhile has lost what it was to send or had been sent.
    const MigrationState now = GW_TRY(migration_state());
    if (now != state)
        return Error(Errc::BadState, fmt::format("{}: the device is in {} behind it",
                                                 set_state_name(state), to_string(now)));
    state_ = state;
    return ok();
}

/// A MIG_DATA_READ whose answer was not waited for yet.
class VfioUserDevice::Read final : public DataTransfer {
public:
    Read(VfioUserDevice& device, std::uint32_t asked) : device_(device), asked_(asked) {}
    Result<void> start(std::span<std::byte> into)
    {
        const user::MigData request{
            .argsz = static_cast<std::uint32_t>(sizeof(user::MigData)) + asked_, .size = asked_};
        const iovec piece = piece_of(request);
        started_.emplace(GW_TRY(device_.connection_->start({.command = Command::MigDataRead,
                                                            .what = "MIG_DATA_READ",
                                                            .pieces = {&piece, 1},
                                                            .into_fixed = bytes_of(answer_),
                                                            .into_rest = into})));
        return ok();
    }
    Result<DataRead> await() override
    {
        const auto reply = GW_TRY(device_.connection_->finish(std::move(*started_)));
        if (answer_.size > asked_ || answer_.size > reply.rest)
            return Error(Errc::BadFormat,
                         fmt::format("MIG_DATA_READ: the answer says {} bytes of {} asked for, "
                                     "and has {} (socket {})",
                                     answer_.size, asked_, reply.rest, device_.name()));
        const bool running = is_pre_copy(device_.state_);
        const auto more = answer_.size == asked_ ? DataRead::More::Yes
                          : running              ? DataRead::More::Later
                                                 : DataRead::More::End;
        return DataRead{.bytes = answer_.size, .more = more};
    }

private:
    VfioUserDevice& device_;
    std::uint32_t asked_;
    user::MigData answer_;
    std::optional<user::Connection::Started> started_;  // last: nothing is filled behind it
};

/// A MIG_DATA_WRITE likewise.
class VfioUserDevice::Write final : public DataTransfer {
public:
    explicit Write(VfioUserDevice& device) : device_(device) {}
    Result<void> start(std::span<const std::byte> from)
    {
        bytes_ = from.size();
        const auto size = static_cast<std::uint32_t>(from.size());
        const user::MigData request{
            .argsz = static_cast<std::uint32_t>(sizeof(user::MigData)) + size, .size = size};
        const std::array<iovec, 2> pieces{piece_of(request), io::as_iovec(from)};
        started_.emplace(GW_TRY(device_.connection_->start(
            {.command = Command::MigDataWrite, .what = "MIG_DATA_WRITE", .pieces = pieces})));
        return ok();
    }
    Result<DataRead> await() override
    {
        GW_TRY(device_.connection_->finish(std::move(*started_)));
        return DataRead{.bytes = bytes_};
    }

private:
    VfioUserDevice& device_;
    std::size_t bytes_ = 0;
    std::optional<user::Connection::Started> started_;
};

Result<std::unique_ptr<DataTransfer>> VfioUserDevice::begin_read(std::span<std::byte> into)
{
    const std::size_t most = connection_->agreement().max_data_xfer_size;
    const std::span<std::byte> now = into.first(std::min(into.size(), most));
    auto read = std::make_unique<Read>(*this, static_cast<std::uint32_t>(now.size()));
    GW_TRY(read->start(now));
    return read;
}

Result<DataRead> VfioUserDevice::data_read(std::span<std::byte> into)
{
    const auto read = GW_TRY(begin_read(into));
    return read->await();
}

/// What does not fit into one message is written at once but for the last.
Result<std::unique_ptr<DataTransfer>> VfioUserDevice::begin_write(std::span<const std::byte> from)
{
    const std::size_t most = connection_->agreement().max_data_xfer_size;
    for (;;) {
        auto write = std::make_unique<Write>(*this);
        const std::span<const std::byte> now = from.first(std::min(from.size(), most));
        GW_TRY(write->start(now));
        from = from.subspan(now.size());
        if (from.empty())
            return write;
        GW_TRY(write->await());
    }
}

Result<void> VfioUserDevice::data_write(std::span<const std::byte> from)
{
    if (from.empty())
        return ok();
    const auto last = GW_TRY(begin_write(from));
    GW_TRY(last->await());
    return ok();
}

Result<PrecopyInfo> VfioUserDevice::precopy_info()
{
    if (!tells_precopy_)
        tells_precopy_ = GW_TRY(feature_probe(user::kFeaturePrecopyInfo, kFeatureGet));
    if (!*tells_precopy_)
        return Error(Errc::Unsupported, "the server does not tell what pre-copy is worth");
    std::array<std::uint64_t, 2> bytes{};
    GW_TRY(feature({.number = user::kFeaturePrecopyInfo,
                    .verb = kFeatureGet,
                    .answer = std::as_writable_bytes(std::span(bytes)),
                    .what = "DEVICE_FEATURE GET PRECOPY_INFO"}));
    return PrecopyInfo{.initial_bytes = bytes[0], .dirty_bytes = bytes[1]};
}

Result<std::uint64_t> VfioUserDevice::stop_copy_size()
{
    if (!tells_size_)
        tells_size_ = GW_TRY(feature_probe(kFeatureMigDataSize, kFeatureGet));
    if (!*tells_size_)
        return Error(Errc::Unsupported, "the server does not tell the size of its state");
    std::uint64_t bytes = 0;
    GW_TRY(feature({.number = kFeatureMigDataSize,
                    .verb = kFeatureGet,
                    .answer = bytes_of(bytes),
                    .what = "DEVICE_FEATURE GET MIG_DATA_SIZE"}));
    return bytes;
}

// --- DMA logging ---------------------------------------------------------------------------------

Result<DeviceBackend::LogRules> VfioUserDevice::log_rules()
{
    const bool available = GW_TRY(feature_probe(kFeatureDmaLoggingStart, kFeatureSet))
    &&GW_TRY(feature_probe(kFeatureDmaLoggingReport, kFeatureGet));
    // The answer to a report is no data message, but servers bound it like one.
    constexpr std::uint64_t head = sizeof(AbiFeature) + sizeof(user::LoggingReport);
    const std::uint64_t room = connection_->agreement().max_data_xfer_size - head;
    return LogRules{.available = available,
                    .survives_unmap = false,
                    .report_from_mapping_start = true,
                    .same_page_size = true,
                    .max_ranges = 0,
                    .max_bitmap_bytes = room & ~std::uint64_t{7}};
}

Result<std::uint64_t> VfioUserDevice::log_start(std::uint64_t page_size,
                                                std::span<const DmaRange> ranges)
{
    const user::LoggingStart head{.page_size = page_size,
                                  .num_ranges = static_cast<std::uint32_t>(ranges.size())};
    std::vector<std::byte> payload(sizeof head + ranges.size_bytes());
    std::ranges::copy(std::as_bytes(std::span(&head, 1)), payload.begin());
    std::ranges::copy(std::as_bytes(ranges), payload.begin() + sizeof head);
    GW_TRY(feature({.number = kFeatureDmaLoggingStart,
                    .verb = kFeatureSet,
                    .payload = payload,
                    .what = "DEVICE_FEATURE SET DMA_LOGGING_START"}));
    return page_size;
}

Result<void> VfioUserDevice::log_stop()
{
    GW_TRY(feature({.number = kFeatureDmaLoggingStop,
                    .verb = kFeatureSet,
                    .what = "DEVICE_FEATURE SET DMA_LOGGING_STOP"}));
    return ok();
}

Result<void> VfioUserDevice::log_report(std::uint64_t iova, PageBits& into)
{
    const user::LoggingReport request{
        .iova = iova, .length = into.length(), .page_size = into.page_size()};
    user::LoggingReport answer;
    std::vector<std::uint64_t> bits(into.bytes() / sizeof(std::uint64_t));
    const auto raw = std::as_writable_bytes(std::span(bits));
    const std::size_t got = GW_TRY(feature({.number = kFeatureDmaLoggingReport,
                                            .verb = kFeatureGet,
                                            .payload = std::as_bytes(std::span(&request, 1)),
                                            .answer = bytes_of(answer),
                                            .answer_bytes = sizeof answer + raw.size(),
                                            .answer_rest = raw,
                                            .what = "DEVICE_FEATURE GET DMA_LOGGING_REPORT"}));
    if (got != raw.size())
        return Error(Errc::BadFormat,
                     fmt::format("DEVICE_FEATURE GET DMA_LOGGING_REPORT: a bitmap of {} bytes "
                                 "instead of {} (socket {})",
                                 got, raw.size(), name()));
    for (std::size_t i = 0; i < bits.size(); ++i)
        into.words()[i] |= bits[i];
    return ok();
}

}  // namespace godwit::hw::vfio
