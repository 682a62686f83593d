// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/session.h"

#include "tests/devices/vfio-user-server/payload.h"
#include "util/json.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

namespace godwit::vfio_user_server {
namespace {

constexpr std::array<std::string_view, kLastCommand + 1> kCommandNames{
    "?",
    "VERSION",
    "DMA_MAP",
    "DMA_UNMAP",
    "DEVICE_GET_INFO",
    "DEVICE_GET_REGION_INFO",
    "DEVICE_GET_REGION_IO_FDS",
    "DEVICE_GET_IRQ_INFO",
    "DEVICE_SET_IRQS",
    "REGION_READ",
    "REGION_WRITE",
    "DMA_READ",
    "DMA_WRITE",
    "DEVICE_RESET",
    "DIRTY_PAGES",
    "REGION_WRITE_MULTI",
    "DEVICE_FEATURE",
    "MIG_DATA_READ",
    "MIG_DATA_WRITE",
};
constexpr std::size_t kRoomForHeads = 64 << 10;  // what a message may have besides data
constexpr std::uint32_t kMaxDmaMaps = 65535;

}  // namespace

std::string_view command_name(std::uint16_t command) noexcept
{
    return command <= kLastCommand ? kCommandNames[command] : kCommandNames[0];
}

std::int64_t now_ns() noexcept
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * std::int64_t{1000000000} + now.tv_nsec;
}

Session::Session(UniqueFd fd, Device& device, Migration& migration, Faults& faults,
                 const ProtocolOptions& options, ProtocolCounters& counters)
    : connection_(std::move(fd), options.max_transfer + kRoomForHeads), device_(device),
      migration_(migration), faults_(faults), options_(options), counters_(counters)
{
    ++counters_.connections;
}

Session::~Session()
{
    migration_.abandon_walk();
    device_.memory().unmap_all();
    device_.memory().log().stop();
    device_.clear_all_irqs();
}

Result<void> Session::send(const Header& to, const Reply& reply)
{
    if ((to.flags & kNoReply) != 0)
        return {};
    std::vector<std::span<const std::byte>> parts{reply.bytes};
    parts.insert(parts.end(), reply.data.begin(), reply.data.end());
    return connection_.send({.id = to.id, .command = to.command, .flags = kReply}, parts, reply.fds,
                            std::exchange(lie_, 0));
}

Result<void> Session::refuse(const Header& to, int error)
{
    ++counters_.refused;
    if ((to.flags & kNoReply) != 0)
        return {};
    return connection_.send({.id = to.id,
                             .command = to.command,
                             .flags = kReply | kError,
                             .error = static_cast<std::uint32_t>(error != 0 ? error : EIO)},
                            {}, {}, std::exchange(lie_, 0));
}

Result<void> Session::unhang()
{
    hung_ = false;
    if (!unanswered_)
        return {};
    const Header to = *std::exchange(unanswered_, std::nullopt);
    return refuse(to, EIO);
}

/// What libvfio-user accepts while the device does not run; regions are nobody's business while
/// their state is being moved.
bool Session::allowed_now(std::uint16_t command) const noexcept
{
    const State state = migration_.state();
    const auto c = static_cast<Command>(command);
    const bool region =
        c == Command::RegionRead || c == Command::RegionWrite || c == Command::RegionWriteMulti;
    if (region && (state == State::StopCopy || state == State::Resuming))
        return false;
    if (!options_.strict || (state != State::Stop && state != State::StopCopy))
        return true;
    return region || c == Command::DeviceFeature || c == Command::MigDataRead;
}

Result<bool> Session::fault_at(const Message& message)
{
    const auto fault = faults_.at_command(command_name(message.header.command), migration_.state());
    if (!fault)
        return false;
    switch (fault->kind) {
    case FaultKind::Refuse:
        GW_TRY(refuse(message.header, fault->error));
        return true;
    case FaultKind::Hang:
        hung_ = true;
        unanswered_ = message.header;
        return true;
    case FaultKind::Disconnect:
        return Error(Errc::Closed, "closed, as a fault asked");
    case FaultKind::ShortRead:
        migration_.cut_data();
        break;
    case FaultKind::BadLength:
        lie_in_data_ = message.header.command == static_cast<std::uint16_t>(Command::MigDataRead);
        lie_ = lie_in_data_ ? 0 : kLie;
        break;
    case FaultKind::Corrupt:
        corrupt_ = true;
        break;
    case FaultKind::Reset:
        migration_.reset(now_ns());
        break;
    }
    return false;
}

Result<void> Session::handle()
{
    Message message = GW_TRY(connection_.receive_head());
    ++counters_.messages;
    if (fills_device(message.header))
        return fill_device(message.header);
    GW_TRY(connection_.receive_body(message));
    if ((message.header.flags & kTypeMask) != 0)
        return Error(Errc::BadFormat, "a reply to nothing");
    if (GW_TRY(fault_at(message)))
        return {};
    if (!negotiated_ && message.header.command != static_cast<std::uint16_t>(Command::Version))
        return refuse(message.header, EINVAL);
    if (!allowed_now(message.header.command))
        return refuse(message.header, EINVAL);
    auto reply = dispatch(message);
    if (!reply)
        return refuse(message.header, reply.error().os_errno());
    if (closing_)
        return Error(Errc::Closed, "closed, as a fault asked");
    return reply->later ? Result<void>() : send(message.header, *reply);
}

Result<Session::Reply> Session::dispatch(Message& message)
{
    switch (static_cast<Command>(message.header.command)) {
    case Command::Version:
        return version(message);
    case Command::DmaMap:
        return dma_map(message);
    case Command::DmaUnmap:
        return dma_unmap(message);
    case Command::DeviceGetInfo:
        return device_info(message);
    case Command::DeviceGetRegionInfo:
        return region_info(message);
    case Command::DeviceGetRegionIoFds:
        return region_io_fds(message);
    case Command::DeviceGetIrqInfo:
        return irq_info(message);
    case Command::DeviceSetIrqs:
        return set_irqs(message);
    case Command::RegionRead:
        return region_read(message);
    case Command::RegionWrite:
        return region_write(message);
    case Command::RegionWriteMulti:
        return region_write_multi(message);
    case Command::DeviceReset:
        return device_reset();
    case Command::DeviceFeature:
        return feature(message);
    case Command::MigDataRead:
        return data_read(message);
    case Command::MigDataWrite:
        return data_write(message);
    case Command::DmaRead:
    case Command::DmaWrite:
    case Command::DirtyPages:
        break;
    }
    return Error::from_errno("command", EOPNOTSUPP);
}

Result<Session::Reply> Session::version(const Message& message)
{
    const VersionHead asked = GW_TRY(head_of<VersionHead>(message));
    if (negotiated_ || asked.major != kMajor)
        return invalid("version");
    const auto text = std::span(message.body).subspan(sizeof asked);
    if (!text.empty() && text.back() != std::byte{0})
        return invalid("version: the capabilities do not end in NUL");
    if (text.size() > 1) {
        const auto json = parse_json({reinterpret_cast<const char*>(text.data()), text.size() - 1});
        if (!json || !json->is_object())
            return invalid("version: the capabilities are no JSON object");
    }
    negotiated_ = true;
    Reply reply;
    append(reply.bytes, VersionHead{.minor = std::min(asked.minor, kMinor)});
    const std::string capabilities = dump_json({{"capabilities",
                                                 {{"max_msg_fds", kMaxFds},
                                                  {"max_data_xfer_size", options_.max_transfer},
                                                  {"max_dma_maps", kMaxDmaMaps},
                                                  {"pgsizes", 4096},
                                                  {"write_multiple", true},
                                                  {"precopy_info", options_.precopy_info}}}});
    const auto bytes = std::as_bytes(std::span(capabilities.c_str(), capabilities.size() + 1));
    reply.bytes.insert(reply.bytes.end(), bytes.begin(), bytes.end());
    return reply;
}

Result<Session::Reply> Session::dma_map(const Message& message)
{
    const auto request = GW_TRY(head_of<DmaMapRequest>(message));
    if (request.argsz < sizeof request || message.fds.size() > 1)
        return invalid("DMA_MAP");
    if (device_.memory().windows() >= kMaxDmaMaps)
        return Error::from_errno("DMA_MAP", ENOSPC);
    GW_TRY(device_.memory().map(request.address, request.size, (request.flags & kDmaRead) != 0,
                                (request.flags & kDmaWrite) != 0,
                                message.fds.empty() ? -1 : message.fds[0].get(), request.offset));
    return Reply{};
}

Result<Session::Reply> Session::dma_unmap(const Message& message)
{
    const auto request = GW_TRY(head_of<DmaUnmapRequest>(message));
    if (request.argsz < sizeof request || (request.flags & ~kUnmapAll) != 0)
        return invalid("DMA_UNMAP");
    // What the engine owes is written before its memory goes.
    migration_.advance(now_ns());
    if ((request.flags & kUnmapAll) != 0) {
        if (request.address != 0 || request.size != 0)
            return invalid("DMA_UNMAP");
        device_.memory().unmap_all();
    } else {
        GW_TRY(device_.memory().unmap(request.address, request.size));
    }
    Reply reply;
    append(reply.bytes, request);
    return reply;
}

Result<Session::Reply> Session::device_info(const Message& message)
{
    const auto request = GW_TRY(head_of<DeviceInfo>(message));
    if (request.argsz < sizeof request)
        return invalid("DEVICE_GET_INFO");
    Reply reply;
    append(reply.bytes, DeviceInfo{.argsz = sizeof request,
                                   .flags = kDeviceReset | kDevicePci,
                                   .regions = kRegions,
                                   .irqs = kIrqs});
    return reply;
}

Result<Session::Reply> Session::region_info(const Message& message)
{
    const auto request = GW_TRY(head_of<RegionInfo>(message));
    if (request.argsz < sizeof request || request.index >= kRegions)
        return invalid("DEVICE_GET_REGION_INFO");
    RegionInfo info{
        .argsz = sizeof info, .index = request.index, .size = Device::region_size(request.index)};
    if (info.size != 0)
        info.flags = kRegionReadable | kRegionWritable;
    Reply reply;
    if (request.index != 2) {
        append(reply.bytes, info);
        return reply;
    }
    info.flags |= kRegionMmap | kRegionCaps;
    info.argsz = sizeof info + sizeof(SparseCap) + sizeof kMappableAreas;
    const bool fits = request.argsz >= info.argsz;
    info.cap_offset = fits ? sizeof info : 0;
    append(reply.bytes, info);
    if (fits) {
        append(reply.bytes, SparseCap{.areas = kMappableAreas.size()});
        append(reply.bytes, kMappableAreas);
        reply.fds.push_back(device_.memory_bar_fd());
    }
    return reply;
}

Result<Session::Reply> Session::region_io_fds(const Message& message)
{
    auto request = GW_TRY(head_of<IoFdsRequest>(message));
    if (request.argsz < sizeof request || request.index >= kRegions)
        return invalid("DEVICE_GET_REGION_IO_FDS");
    request.argsz = sizeof request;
    request.count = 0;
    Reply reply;
    append(reply.bytes, request);
    return reply;
}

Result<Session::Reply> Session::irq_info(const Message& message)
{
    const auto request = GW_TRY(head_of<IrqInfo>(message));
    if (request.argsz < sizeof request || request.index >= kIrqs)
        return invalid("DEVICE_GET_IRQ_INFO");
    IrqInfo info{
        .argsz = sizeof info, .index = request.index, .count = device_.irq_count(request.index)};
    if (info.count != 0)
        info.flags = kIrqEventfd | (request.index == kIntx ? kIrqMaskable | kIrqAutomasked : 0u);
    Reply reply;
    append(reply.bytes, info);
    return reply;
}

Result<Session::Reply> Session::set_irqs(Message& message)
{
    const auto request = GW_TRY(head_of<IrqSet>(message));
    const std::uint32_t kind = request.flags & kIrqDataKinds;
    const std::uint32_t action = request.flags & kIrqActions;
    if (request.argsz < sizeof request || request.index >= kIrqs ||
        (kind != kIrqDataNone && kind != kIrqDataBool && kind != kIrqDataEventfd) ||
        (action != kIrqMask && action != kIrqUnmask && action != kIrqTrigger))
        return invalid("DEVICE_SET_IRQS");
    if (kind == kIrqDataNone && action == kIrqTrigger && request.count == 0 && request.start == 0) {
        device_.clear_irqs(request.index);
        return Reply{};
    }
    const unsigned known = device_.irq_count(request.index);
    if (request.count == 0 || request.start >= known || request.count > known - request.start)
        return Error::from_errno("DEVICE_SET_IRQS", EINVAL);
    if (kind == kIrqDataBool && message.body.size() - sizeof request < request.count)
        return invalid("DEVICE_SET_IRQS");
    if (kind == kIrqDataEventfd && !message.fds.empty() && message.fds.size() != request.count)
        return invalid("DEVICE_SET_IRQS: another number of descriptors");
    if (action != kIrqTrigger && (request.index != kIntx || kind == kIrqDataEventfd))
        return invalid("DEVICE_SET_IRQS: only INTx can be masked");
    for (std::uint32_t i = 0; i < request.count; ++i) {
        if (kind == kIrqDataBool && message.body[sizeof request + i] == std::byte{0})
            continue;
        if (action != kIrqTrigger)
            device_.mask_intx(action == kIrqMask);
        else if (kind == kIrqDataEventfd)
            device_.set_irq(request.index, request.start + i,
                            message.fds.empty() ? UniqueFd() : std::move(message.fds[i]));
        else
            device_.trigger(request.index, request.start + i);
    }
    return Reply{};
}

Result<Session::Reply> Session::region_read(const Message& message)
{
    const auto request = GW_TRY(head_of<RegionAccess>(message));
    if (request.count > options_.max_transfer)
        return invalid("REGION_READ");
    Reply reply;
    append(reply.bytes, request);
    reply.bytes.resize(sizeof request + request.count);
    GW_TRY(device_.read(request.region, request.offset,
                        std::span(reply.bytes).subspan(sizeof request)));
    return reply;
}

Result<Session::Reply> Session::region_write(const Message& message)
{
    const auto request = GW_TRY(head_of<RegionAccess>(message));
    const auto data = std::span(message.body).subspan(sizeof request);
    if (request.count != data.size())
        return invalid("REGION_WRITE");
    GW_TRY(device_.write(request.region, request.offset, data));
    Reply reply;
    append(reply.bytes, request);
    return reply;
}

Result<Session::Reply> Session::region_write_multi(const Message& message)
{
    const auto count = GW_TRY(head_of<std::uint64_t>(message));
    if (count > message.body.size() / sizeof(RegionWriteOne) ||
        message.body.size() != sizeof count + count * sizeof(RegionWriteOne))
        return invalid("REGION_WRITE_MULTI");
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto one =
            GW_TRY(head_of<RegionWriteOne>(message, sizeof count + i * sizeof(RegionWriteOne)));
        if (one.count > sizeof one.data)
            return invalid("REGION_WRITE_MULTI");
        GW_TRY(device_.write(one.region, one.offset,
                             std::as_bytes(std::span(&one.data, 1)).first(one.count)));
    }
    Reply reply;
    append(reply.bytes, count);
    return reply;
}

Result<Session::Reply> Session::device_reset()
{
    ++counters_.resets;
    migration_.reset(now_ns());
    return Reply{};
}

}  // namespace godwit::vfio_user_server
