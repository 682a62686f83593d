// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/vfio_user_device.h"

#include "hw/vfio/region_info.h"
#include "hw/vfio/vfio_user_pieces.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fmt/format.h>

namespace godwit::hw::vfio {

using user::bytes_of;
using user::Command;
using user::piece_of;

VfioUserDevice::VfioUserDevice(std::shared_ptr<user::Connection> connection)
    : connection_(std::move(connection))
{}

Result<DeviceInfo> VfioUserDevice::device_info()
{
    const user::DeviceInfo request;
    const iovec piece = piece_of(request);
    user::DeviceInfo answer;
    GW_TRY(connection_->call({.command = Command::DeviceGetInfo,
                              .what = "DEVICE_GET_INFO",
                              .pieces = {&piece, 1},
                              .into_fixed = bytes_of(answer)}));
    if (answer.num_regions > kMaxRegions || answer.num_irqs > kMaxIrqIndexes)
        return Error(Errc::BadFormat,
                     fmt::format("DEVICE_GET_INFO: {} regions and {} interrupt indexes (socket {})",
                                 answer.num_regions, answer.num_irqs, name()));
    return DeviceInfo{.can_reset = (answer.flags & kDeviceCanReset) != 0,
                      .is_pci = (answer.flags & kDeviceIsPci) != 0,
                      .regions = answer.num_regions,
                      .irqs = answer.num_irqs};
}

Result<RegionInfo> VfioUserDevice::region_info(std::uint32_t index)
{
    const AbiRegionInfo request{.argsz = 4096, .index = index};
    const iovec piece = piece_of(request);
    std::vector<std::byte> answer(4096);
    const std::span<std::byte> whole(answer);
    auto reply = GW_TRY(connection_->call({.command = Command::DeviceGetRegionInfo,
                                           .what = "DEVICE_GET_REGION_INFO",
                                           .pieces = {&piece, 1},
                                           .into_fixed = whole.first(sizeof(AbiRegionInfo)),
                                           .into_rest = whole.subspan(sizeof(AbiRegionInfo))}));
    AbiRegionInfo fixed;
    std::ranges::copy(whole.first(sizeof fixed), bytes_of(fixed).begin());
    RegionInfo region = GW_TRY(
        with_context(parse_region_info(whole.first(sizeof fixed + reply.rest), index), name()));
    if (reply.fds.empty())
        region.mappable.clear();
    const std::lock_guard guard(regions_mutex_);
    regions_.erase(index);
    if (!reply.fds.empty())
        regions_[index] = {std::make_shared<UniqueFd>(std::move(reply.fds.front())), fixed.offset};
    return region;
}

Result<RegionWindow> VfioUserDevice::region_window(std::uint32_t index, const RegionArea& area)
{
    const std::lock_guard guard(regions_mutex_);
    const auto found = regions_.find(index);
    if (found == regions_.end())
        return Error(Errc::Unsupported,
                     fmt::format("region {}: the server gave no descriptor", index));
    return RegionWindow
    {
        .fd = GW_TRY(found->second.fd->dup())
        , .offset = found->second.offset + area.offset, .size = area.size
    };
}

Result<void> VfioUserDevice::region_read(std::uint32_t index, std::uint64_t offset,
                                         std::span<std::byte> into)
{
    const std::size_t most = connection_->agreement().max_data_xfer_size;
    while (!into.empty()) {
        const std::span<std::byte> now = into.first(std::min(into.size(), most));
        const user::RegionAccess request{offset, index, static_cast<std::uint32_t>(now.size())};
        const iovec piece = piece_of(request);
        user::RegionAccess answer;
        const auto reply = GW_TRY(connection_->call({.command = Command::RegionRead,
                                                     .what = "REGION_READ",
                                                     .pieces = {&piece, 1},
                                                     .into_fixed = bytes_of(answer),
                                                     .into_rest = now}));
        if (answer.count != now.size() || reply.rest != now.size())
            return Error(Errc::BadFormat,
                         fmt::format("REGION_READ of region {} at {:#x}: {} bytes instead of {} "
                                     "(socket {})",
                                     index, offset, reply.rest, now.size(), name()));
        into = into.subspan(now.size());
        offset += now.size();
    }
    return ok();
}

Result<void> VfioUserDevice::region_write(std::uint32_t index, std::uint64_t offset,
                                          std::span<const std::byte> from)
{
    const std::size_t most = connection_->agreement().max_data_xfer_size;
    while (!from.empty()) {
        const std::span<const std::byte> now = from.first(std::min(from.size(), most));
        const user::RegionAccess request{offset, index, static_cast<std::uint32_t>(now.size())};
        const std::array<iovec, 2> pieces{piece_of(request), io::as_iovec(now)};
        user::RegionAccess answer;
        GW_TRY(connection_->call({.command = Command::RegionWrite,
                                  .what = "REGION_WRITE",
                                  .pieces = pieces,
                                  .into_fixed = bytes_of(answer)}));
        if (answer.count != now.size())
            return Error(Errc::BadFormat,
                         fmt::format("REGION_WRITE of region {} at {:#x}: {} bytes instead of {} "
                                     "(socket {})",
                                     index, offset, answer.count, now.size(), name()));
        from = from.subspan(now.size());
        offset += now.size();
    }
    return ok();
}

Result<IrqInfo> VfioUserDevice::irq_info(std::uint32_t index)
{
    const AbiIrqInfo request{.index = index};
    const iovec piece = piece_of(request);
    AbiIrqInfo answer;
    GW_TRY(connection_->call({.command = Command::DeviceGetIrqInfo,
                              .what = "DEVICE_GET_IRQ_INFO",
                              .pieces = {&piece, 1},
                              .into_fixed = bytes_of(answer)}));
    if (answer.count > kMaxVectors)
        return Error(Errc::BadFormat,
                     fmt::format("DEVICE_GET_IRQ_INFO: index {} has {} vectors (socket {})", index,
                                 answer.count, name()));
    return IrqInfo{.index = index,
                   .count = answer.count,
                   .eventfd = (answer.flags & kIrqEventfd) != 0,
                   .maskable = (answer.flags & kIrqMaskable) != 0,
                   .automasked = (answer.flags & kIrqAutomasked) != 0,
                   .noresize = (answer.flags & kIrqNoResize) != 0};
}

Result<void> VfioUserDevice::set_some_irqs(const IrqRequest& request, std::uint32_t first,
                                           std::uint32_t count, std::span<const int> fds,
                                           std::uint32_t data_kind)
{
    const std::uint32_t action = request.action == IrqAction::Mask     ? kIrqSetMask
                                 : request.action == IrqAction::Unmask ? kIrqSetUnmask
                                                                       : kIrqSetTrigger;
    const AbiIrqSet head{.argsz =
                             static_cast<std::uint32_t>(sizeof(AbiIrqSet) + request.fire.size()),
                         .flags = data_kind | action,
                         .index = request.index,
                         .start = first,
                         .count = count};
    const std::array<iovec, 2> pieces{piece_of(head), io::as_iovec(std::as_bytes(request.fire))};
    GW_TRY(connection_->call({.command = Command::DeviceSetIrqs,
                              .what = "DEVICE_SET_IRQS",
                              .pieces = pieces,
                              .fds = fds}));
    return ok();
}

Result<void> VfioUserDevice::set_irqs(const IrqRequest& request)
{
    if (!request.fire.empty())
        return set_some_irqs(request, request.start, request.count, {}, kIrqSetBool);
    if (request.eventfds.empty())
        return set_some_irqs(request, request.start, request.count, {}, kIrqSetNone);
    // A message cannot say which of its vectors have a descriptor: all of a run have one, or none.
    const std::size_t most = connection_->agreement().max_msg_fds;
    std::size_t at = 0;
    while (at < request.eventfds.size()) {
        const bool some = request.eventfds[at] >= 0;
        std::size_t end = at + 1;
        while (end < request.eventfds.size() && (request.eventfds[end] >= 0) == some &&
               (!some || end - at < most))
            ++end;
        const auto run = request.eventfds.subspan(at, end - at);
        GW_TRY(set_some_irqs(request, request.start + static_cast<std::uint32_t>(at),
                             static_cast<std::uint32_t>(run.size()),
                             some ? run : std::span<const int>{}, kIrqSetEventfd));
        at = end;
    }
    return ok();
}

Result<void> VfioUserDevice::reset()
{
    const auto ask = [this] {
        return connection_->call({.command = Command::DeviceReset,
                                  .what = "DEVICE_RESET",
                                  .pieces = {},
                                  .even_if_stalled = true});
    };
    auto done = ask();
    if (!done && (done.error().code() == Errc::TimedOut || done.error().code() == Errc::Closed))
        return std::move(done).error();
    // A server may refuse it while the device is stopped.
    const bool stopped = !done && done.error().os_errno() == EINVAL;
    const auto flags = migration_flags();
    if (flags) {
        auto now = migration_state();
        if (!now || *now != MigrationState::Running) {
            auto running = set_migration_state(MigrationState::Running);
            if (!running && done)
                return running;
        }
    }
    if (stopped)
        done = ask();
    if (!done)
        return std::move(done).error();
    state_ = MigrationState::Running;
    return ok();
}

}  // namespace godwit::hw::vfio
