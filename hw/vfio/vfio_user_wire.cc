// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/vfio_user_wire.h"

#include <algorithm>
#include <array>

namespace godwit::hw::vfio::user {

namespace {

// Drops `count` bytes from the front of a list of pieces.
void advance(std::vector<iovec>& pieces, std::size_t count)
{
    std::size_t first = 0;
    while (first < pieces.size() && count >= pieces[first].iov_len)
        count -= pieces[first++].iov_len;
    pieces.erase(pieces.begin(), pieces.begin() + static_cast<std::ptrdiff_t>(first));
    if (count != 0) {
        pieces.front().iov_base = static_cast<std::byte*>(pieces.front().iov_base) + count;
        pieces.front().iov_len -= count;
    }
}

}  // namespace

std::string_view to_string(Command command) noexcept
{
    switch (command) {
    case Command::Version:
        return "VERSION";
    case Command::DmaMap:
        return "DMA_MAP";
    case Command::DmaUnmap:
        return "DMA_UNMAP";
    case Command::DeviceGetInfo:
        return "DEVICE_GET_INFO";
    case Command::DeviceGetRegionInfo:
        return "DEVICE_GET_REGION_INFO";
    case Command::DeviceGetRegionIoFds:
        return "DEVICE_GET_REGION_IO_FDS";
    case Command::DeviceGetIrqInfo:
        return "DEVICE_GET_IRQ_INFO";
    case Command::DeviceSetIrqs:
        return "DEVICE_SET_IRQS";
    case Command::RegionRead:
        return "REGION_READ";
    case Command::RegionWrite:
        return "REGION_WRITE";
    case Command::DmaRead:
        return "DMA_READ";
    case Command::DmaWrite:
        return "DMA_WRITE";
    case Command::DeviceReset:
        return "DEVICE_RESET";
    case Command::DeviceFeature:
        return "DEVICE_FEATURE";
    case Command::MigDataRead:
        return "MIG_DATA_READ";
    case Command::MigDataWrite:
        return "MIG_DATA_WRITE";
    }
    return "unknown command";
}

Result<void> Wire::send(Header header, std::span<const iovec> pieces, std::span<const int> fds,
                        io::Deadline deadline)
{
    header.size = static_cast<std::uint32_t>(sizeof header + io::iovec_bytes(pieces));
    std::vector<iovec> left{{&header, sizeof header}};
    for (const iovec& piece : pieces)
        if (piece.iov_len != 0)
            left.push_back(piece);
    const io::Patience patience{.cancel = cancel_, .deadline = deadline};

    const std::lock_guard guard(send_mutex_);
    if (torn_)
        return Error(Errc::Closed, "an earlier message was sent in part only");
    bool begun = false;
    // Descriptors go with the header alone; the channel's call for them takes one piece.
    std::vector<std::byte> joined;
    if (!fds.empty()) {
        joined.reserve(header.size);
        for (const iovec& piece : left) {
            const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
            joined.insert(joined.end(), bytes, bytes + piece.iov_len);
        }
        left.assign(1, io::as_iovec(joined));
    }
    while (!left.empty()) {
        auto sent = begun || fds.empty() ? channel_->try_writev(left)
                                         : channel_->try_write_with_fds(joined, fds);
        if (!sent) {
            torn_ = torn_ || begun;
            return std::unexpected<Error>(std::move(sent).error());
        }
        if (*sent) {
            begun = true;
            advance(left, **sent);
            continue;
        }
        const io::PollTarget target = channel_->poll_target(io::Direction::Write);
        if (auto ready = io::wait_for_fd(target.fd, target.events, patience); !ready) {
            torn_ = torn_ || begun;
            return ready;
        }
    }
    return ok();
}

Result<Wire::Head> Wire::receive_head()
{
    Head head;
    const io::PollTarget target = channel_->poll_target(io::Direction::Read);
    io::Patience patience{.cancel = cancel_, .deadline = {}};
    std::array<std::byte, sizeof(Header)> raw;
    std::size_t have = 0;
    while (have < raw.size()) {
        auto got = GW_TRY(channel_->try_read_with_fds(std::span(raw).subspan(have)));
        if (!got) {
            GW_TRY(io::wait_for_fd(target.fd, target.events, patience));
            continue;
        }
        if (got->bytes == 0)
            return have == 0 ? Error(Errc::Closed, "the server closed the connection")
                             : Error(Errc::Truncated,
                                     "the server closed the connection in the middle of a message");
        have += got->bytes;
        std::ranges::move(got->fds, std::back_inserter(head.fds));
        patience.deadline = io::deadline_in(mid_message_);
    }
    std::ranges::copy(raw, std::as_writable_bytes(std::span(&head.header, 1)).begin());
    if (head.header.size < sizeof(Header))
        return Error(Errc::BadFormat, "a message of " + std::to_string(head.header.size) +
                                          " bytes, which is less than its header");
    return head;
}

Result<void> Wire::receive_within(std::span<std::byte> into, const io::Patience& patience)
{
    const io::PollTarget target = channel_->poll_target(io::Direction::Read);
    while (!into.empty()) {
        const auto got = GW_TRY(channel_->try_read(into));
        if (!got) {
            GW_TRY(with_context(io::wait_for_fd(target.fd, target.events, patience),
                                "in the middle of a message"));
            continue;
        }
        if (*got == 0)
            return Error(Errc::Truncated,
                         "the server closed the connection in the middle of a message");
        into = into.subspan(*got);
    }
    return ok();
}

Result<void> Wire::receive(std::span<std::byte> into)
{
    return receive_within(into, {.cancel = cancel_, .deadline = io::deadline_in(mid_message_)});
}

Result<void> Wire::drop(std::size_t count)
{
    const io::Patience patience{.cancel = cancel_, .deadline = io::deadline_in(mid_message_)};
    std::array<std::byte, 4096> bin;
    while (count != 0) {
        const std::size_t now = std::min(count, bin.size());
        GW_TRY(receive_within(std::span(bin).first(now), patience));
        count -= now;
    }
    return ok();
}

}  // namespace godwit::hw::vfio::user
