// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/vfio_user_dma.h"

#include "hw/vfio/abi.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

// The largest window that libvfio-user takes.
constexpr std::uint64_t kMaxWindow = std::uint64_t{8} << 40;

Error no_tracking()
{
    return Error(Errc::Unsupported, "vfio-user: a server has no dirty bitmap of its windows");
}

}  // namespace

VfioUserDma::VfioUserDma(std::shared_ptr<user::Connection> connection, Written written)
    : connection_(std::move(connection)), written_(std::move(written))
{
    connection_->set_dma_target(this);
}

VfioUserDma::~VfioUserDma()
{
    connection_->set_dma_target(nullptr);
}

Result<DmaLimits> VfioUserDma::limits()
{
    const user::Agreement& agreed = connection_->agreement();
    return DmaLimits{.page_sizes = agreed.page_sizes,
                     .max_mappings = agreed.max_dma_maps,
                     .max_mapping_size = kMaxWindow,
                     .usable = {}};
}

Result<void> VfioUserDma::map(const DmaMapping& mapping)
{
    const user::DmaMap request{.flags = kDmaMapRead | (mapping.writable ? kDmaMapWrite : 0),
                               .offset = mapping.fd >= 0 ? mapping.fd_offset : 0,
                               .address = mapping.iova,
                               .size = mapping.size};
    const iovec piece{const_cast<user::DmaMap*>(&request), sizeof request};
    const std::array<int, 1> fd{mapping.fd};
    {
        // Before the server hears of it, because it may use it before we hear its answer.
        const std::unique_lock guard(mutex_);
        windows_[mapping.iova] = mapping;
    }
    auto done = connection_->call({.command = user::Command::DmaMap,
                                   .what = "DMA_MAP",
                                   .pieces = {&piece, 1},
                                   .fds = std::span(fd).first(mapping.fd >= 0 ? 1 : 0)});
    if (done)
        return ok();
    const std::unique_lock guard(mutex_);
    windows_.erase(mapping.iova);
    return std::move(done).error();
}

Result<void> VfioUserDma::unmap(std::uint64_t iova, std::uint64_t size)
{
    const user::DmaUnmap request{.address = iova, .size = size};
    const iovec piece{const_cast<user::DmaUnmap*>(&request), sizeof request};
    user::DmaUnmap answer;
    auto done = connection_->call({.command = user::Command::DmaUnmap,
                                   .what = "DMA_UNMAP",
                                   .pieces = {&piece, 1},
                                   .into_fixed = std::as_writable_bytes(std::span(&answer, 1))});
    const std::unique_lock guard(mutex_);
    windows_.erase(iova);
    if (!done)
        return std::move(done).error();
    return ok();
}

Result<void> VfioUserDma::dirty_start()
{
    return no_tracking();
}

Result<void> VfioUserDma::dirty_get(std::uint64_t, PageBits&)
{
    return no_tracking();
}

Result<void> VfioUserDma::unmap_dirty(std::uint64_t, std::uint64_t, PageBits&)
{
    return no_tracking();
}

Result<void> VfioUserDma::for_each_piece(std::uint64_t address, std::size_t length, bool write,
                                         const std::function<void(std::byte*, std::size_t)>& use)
{
    const auto bad = [&](const char* why) {
        return Error(Errc::InvalidArgument,
                     fmt::format("vfio-user server: {} of {} bytes at {:#x}: {}",
                                 write ? "DMA_WRITE" : "DMA_READ", length, address, why),
                     EFAULT);
    };
    // Twice: nothing is touched unless all of it may be.
    for (const bool really : {false, true}) {
        std::uint64_t at = address;
        std::size_t left = length;
        while (left != 0) {
            auto after = windows_.upper_bound(at);
            if (after == windows_.begin())
                return bad("no such memory");
            const DmaMapping& window = std::prev(after)->second;
            const std::uint64_t inside = at - window.iova;
            if (inside >= window.size)
                return bad("no such memory");
            if (write && !window.writable)
                return bad("read-only memory");
            const std::size_t now = std::min<std::uint64_t>(left, window.size - inside);
            if (really)
                use(window.host + inside, now);
            left -= now;
            at += now;
            if (at < now && left != 0)
                return bad("past the end of the address space");
        }
    }
    return ok();
}

Result<void> VfioUserDma::dma_read(std::uint64_t address, std::span<std::byte> into)
{
    const std::shared_lock guard(mutex_);
    std::byte* to = into.data();
    return for_each_piece(address, into.size(), false, [&](std::byte* host, std::size_t bytes) {
        std::memcpy(to, host, bytes);
        to += bytes;
    });
}

Result<void> VfioUserDma::dma_write(std::uint64_t address, std::span<const std::byte> from)
{
    const std::shared_lock guard(mutex_);
    const std::byte* data = from.data();
    return for_each_piece(address, from.size(), true, [&](std::byte* host, std::size_t bytes) {
        std::memcpy(host, data, bytes);
        written_(host, bytes);
        data += bytes;
    });
}

}  // namespace godwit::hw::vfio
