// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The commands of migration and dirty logging.
#include "tests/devices/vfio-user-server/session.h"

#include "tests/devices/vfio-user-server/payload.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace godwit::vfio_user_server {

bool Session::feature_known(std::uint32_t index, std::uint32_t verbs) const noexcept
{
    const bool migrates = migration_.flags() != 0;
    std::uint32_t known = 0;
    switch (index) {
    case kFeatureMigration:
        known = migrates ? kFeatureGet : 0;
        break;
    case kFeatureMigState:
        known = migrates ? kFeatureGet | kFeatureSet : 0;
        break;
    case kFeatureDataSize:
        known = migrates && options_.data_size ? kFeatureGet : 0;
        break;
    case kFeaturePrecopyInfo:
        known = (migration_.flags() & kMigPreCopy) != 0 && options_.precopy_info ? kFeatureGet : 0;
        break;
    case kFeatureLogStart:
    case kFeatureLogStop:
        known = options_.device_logging ? kFeatureSet : 0;
        break;
    case kFeatureLogReport:
        known = options_.device_logging ? kFeatureGet : 0;
        break;
    default:
        break;
    }
    return known != 0 && (verbs & ~known) == 0;
}

Result<Session::Reply> Session::feature(const Message& message)
{
    const auto head = GW_TRY(head_of<FeatureHead>(message, 0));
    const std::uint32_t index = head.flags & kFeatureMask;
    const std::uint32_t verbs = head.flags & (kFeatureGet | kFeatureSet);
    const bool probe = (head.flags & kFeatureProbe) != 0;
    if (head.argsz < sizeof head ||
        (head.flags & ~(kFeatureMask | kFeatureGet | kFeatureSet | kFeatureProbe)) != 0 ||
        (!probe && verbs != kFeatureGet && verbs != kFeatureSet))
        return invalid("DEVICE_FEATURE");
    if (!feature_known(index, 0))
        return Error::from_errno("DEVICE_FEATURE", ENOTTY);
    if (!feature_known(index, verbs))
        return invalid("DEVICE_FEATURE: no such verb");
    if (probe) {
        Reply reply;
        append(reply.bytes, head);
        return reply;
    }
    return verbs == kFeatureGet ? feature_get(message, index) : feature_set(message, index);
}

Result<Session::Reply> Session::feature_get(const Message& message, std::uint32_t index)
{
    const auto head = GW_TRY(head_of<FeatureHead>(message, 0));
    if (index == kFeatureLogReport)
        return log_report(message);
    Reply reply;
    append(reply.bytes, head);
    if (index == kFeatureMigration)
        append(reply.bytes, migration_.flags());
    else if (index == kFeatureMigState)
        append(reply.bytes, MigState{.state = static_cast<std::uint32_t>(migration_.state())});
    else if (index == kFeatureDataSize)
        append(reply.bytes, migration_.stop_copy_size());
    else
        append(reply.bytes, GW_TRY(migration_.precopy_info()));
    if (head.argsz < reply.bytes.size())
        return invalid("DEVICE_FEATURE: no room for the answer");
    return reply;
}

Result<Session::Reply> Session::feature_set(const Message& message, std::uint32_t index)
{
    if (index == kFeatureMigState)
        return set_state(message);
    if (index == kFeatureLogStart)
        return log_start(message);
    device_.memory().log().stop();
    Reply reply;
    append(reply.bytes, GW_TRY(head_of<FeatureHead>(message, 0)));
    return reply;
}

Result<Session::Reply> Session::log_start(const Message& message)
{
    const auto head = GW_TRY(head_of<FeatureHead>(message, 0));
    const auto start = GW_TRY(head_of<LogStart>(message, sizeof head));
    const std::size_t fixed = sizeof head + sizeof start;
    if (start.num_ranges > DirtyLog::kMaxRanges)
        return Error::from_errno("LOG_START", E2BIG);
    if (message.body.size() != fixed + start.num_ranges * sizeof(LogRange))
        return invalid("LOG_START: another number of ranges");
    std::vector<DirtyLog::Range> ranges;
    for (std::uint32_t i = 0; i < start.num_ranges; ++i) {
        const auto range = GW_TRY(head_of<LogRange>(message, fixed + i * sizeof(LogRange)));
        ranges.push_back({range.iova, range.length});
    }
    GW_TRY(device_.memory().log().start(start.page_size, ranges));
    Reply reply;
    append(reply.bytes, head);
    append(reply.bytes, start);
    return reply;
}

Result<Session::Reply> Session::log_report(const Message& message)
{
    auto head = GW_TRY(head_of<FeatureHead>(message, 0));
    const auto report = GW_TRY(head_of<LogReport>(message, sizeof head));
    if (report.page_size == 0 || report.length == 0)
        return invalid("LOG_REPORT");
    const std::uint64_t bits = (report.length - 1) / report.page_size + 1;
    const std::uint64_t bytes = (bits + 63) / 64 * 8;
    if (bytes > options_.max_transfer || head.argsz < sizeof head + sizeof report + bytes)
        return invalid("LOG_REPORT: no room for the bitmap");
    head.argsz = static_cast<std::uint32_t>(sizeof head + sizeof report + bytes);
    const auto bitmap =
        GW_TRY(device_.memory().log().take(report.iova, report.length, report.page_size));
    Reply reply;
    append(reply.bytes, head);
    append(reply.bytes, report);
    const auto words = std::as_bytes(std::span(bitmap));
    reply.bytes.insert(reply.bytes.end(), words.begin(), words.end());
    return reply;
}

Result<Session::Reply> Session::set_state(const Message& message)
{
    const auto head = GW_TRY(head_of<FeatureHead>(message, 0));
    const auto wish = GW_TRY(head_of<MigState>(message, sizeof head));
    if (wish.state >= kStates)
        return invalid("MIG_DEVICE_STATE");
    const WalkResult result = migration_.begin(static_cast<State>(wish.state), now_ns());
    GW_TRY(answer_walk(message.header, result));
    return Reply{.later = true};
}

/// Errors   the connection is over.
Result<void> Session::answer_walk(const Header& to, const WalkResult& result)
{
    using Kind = WalkResult::Kind;
    walking_.reset();
    switch (result.kind) {
    case Kind::Later:
        walking_ = to;
        return {};
    case Kind::Failed:
        return refuse(to, result.error);
    case Kind::Hang:
        hung_ = true;
        unanswered_ = to;
        return {};
    case Kind::Disconnect:
        closing_ = true;
        return {};
    case Kind::Done:
        break;
    }
    if (result.bad_length)
        lie_ = kLie;
    Reply reply;
    const std::uint32_t size = sizeof(FeatureHead) + sizeof(MigState);
    append(reply.bytes, FeatureHead{.argsz = size, .flags = kFeatureSet | kFeatureMigState});
    append(reply.bytes, MigState{.state = static_cast<std::uint32_t>(migration_.state())});
    return send(to, reply);
}

Result<void> Session::continue_walk()
{
    const Header to = *walking_;
    GW_TRY(answer_walk(to, migration_.resume(now_ns())));
    if (closing_)
        return Error(Errc::Closed, "closed, as a fault asked");
    return {};
}

Result<Session::Reply> Session::data_read(const Message& message)
{
    const auto request = GW_TRY(head_of<MigData>(message, 0));
    if (request.size > options_.max_transfer || request.argsz < sizeof request)
        return invalid("MIG_DATA_READ: more than was agreed on");
    Reply reply;
    reply.bytes.resize(sizeof(MigData));
    const std::size_t size = GW_TRY(migration_.read(request.size, reply.data));
    MigData head{.argsz = static_cast<std::uint32_t>(sizeof head + size),
                 .size = static_cast<std::uint32_t>(size)};
    if (std::exchange(lie_in_data_, false))
        head.size += kLie;
    std::memcpy(reply.bytes.data(), &head, sizeof head);
    if (std::exchange(corrupt_, false) && size != 0) {
        copy_.clear();
        for (const auto& piece : reply.data)
            copy_.insert(copy_.end(), piece.begin(), piece.end());
        copy_[copy_.size() / 2] ^= std::byte{1};
        reply.data = {copy_};
    }
    return reply;
}

/// Data that nothing is to happen to on its way: it need not be kept before it is used.
bool Session::fills_device(const Header& header) const noexcept
{
    return header.command == static_cast<std::uint16_t>(Command::MigDataWrite) &&
           (header.flags & kTypeMask) == 0 && negotiated_ && migration_.loading() &&
           faults_.empty() && header.size >= sizeof(Header) + sizeof(MigData) &&
           header.size - sizeof(Header) - sizeof(MigData) <= options_.max_transfer;
}

/// MIG_DATA_WRITE, received right into the device's memory.
/// Errors   the connection is over.
Result<void> Session::fill_device(const Header& header)
{
    MigData request;
    GW_TRY(connection_.receive_bytes(std::as_writable_bytes(std::span(&request, 1))));
    std::size_t left = header.size - sizeof(Header) - sizeof request;
    Result<void> taken;
    if (request.size != left)
        taken = Error::from_errno("MIG_DATA_WRITE: another number of bytes", EINVAL);
    while (left != 0 && taken) {
        auto place = migration_.room();
        if (!place) {
            taken = std::unexpected(place.error());
            break;
        }
        const auto part = place->first(std::min(left, place->size()));
        GW_TRY(connection_.receive_bytes(part));
        left -= part.size();
        taken = migration_.took(part.size());
    }
    if (taken)
        return send(header, Reply{});
    copy_.resize(left);
    GW_TRY(connection_.receive_bytes(copy_));
    return refuse(header, taken.error().os_errno());
}

Result<Session::Reply> Session::data_write(const Message& message)
{
    const auto request = GW_TRY(head_of<MigData>(message, 0));
    const auto data = std::span(message.body).subspan(sizeof request);
    if (request.size > options_.max_transfer)
        return invalid("MIG_DATA_WRITE: more than was agreed on");
    if (request.size != data.size())
        return invalid("MIG_DATA_WRITE: another number of bytes");
    GW_TRY(migration_.write(data));
    return Reply{};
}

}  // namespace godwit::vfio_user_server
