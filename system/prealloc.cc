// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/ram_backing.h"
#include "util/thread.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <mutex>
#include <optional>
#include <sys/mman.h>

namespace godwit::system {

namespace {

constexpr unsigned kMaxThreads = 256;
/// What one madvise() call populates: small enough to notice soon that another thread failed.
constexpr std::uint64_t kChunk = std::uint64_t{64} << 20;

/// For kernels before 5.14. A private page cannot fail other than by the out-of-memory killer;
/// memory behind a descriptor is allocated through it, which answers with an error.
Result<void> populate_the_old_way(std::span<std::byte> part, int fd, std::uint64_t fd_offset,
                                  std::uint64_t page_size)
{
    if (fd >= 0 &&
        ::fallocate(fd, 0, static_cast<off_t>(fd_offset), static_cast<off_t>(part.size())) < 0)
        return Error::from_errno("fallocate");
    for (std::uint64_t at = 0; at < part.size(); at += page_size) {
        auto* byte = reinterpret_cast<volatile std::byte*>(part.data() + at);
        *byte = *byte;
    }
    return {};
}

Result<void> populate(std::span<std::byte> part, int fd, std::uint64_t fd_offset,
                      std::uint64_t page_size)
{
    int status = 0;
    do
        status = ::madvise(part.data(), part.size(), MADV_POPULATE_WRITE);
    while (status < 0 && (errno == EINTR || errno == EAGAIN));
    if (status == 0)
        return {};
    if (errno == EINVAL)
        return populate_the_old_way(part, fd, fd_offset, page_size);
    if (errno == EFAULT)  // where touching it would have been a SIGBUS
        return Error(Errc::OutOfMemory, "the host has no page left for it", ENOMEM);
    return Error::from_errno("the host refuses");
}

}  // namespace

Result<void> preallocate(const Mapping& mapping, int fd, std::uint64_t fd_offset,
                         std::uint64_t page_size, unsigned threads)
{
    const std::uint64_t chunk = std::max(kChunk, page_size);
    const std::uint64_t chunks = (mapping.size() + chunk - 1) / chunk;
    threads = static_cast<unsigned>(
        std::min<std::uint64_t>({std::max(threads, 1u), kMaxThreads, chunks}));

    std::atomic<std::uint64_t> next{0};
    std::mutex mutex;  // guards failure
    std::optional<Error> failure;
    const auto work = [&](std::stop_token) {
        for (;;) {
            const std::uint64_t offset = next.fetch_add(chunk);
            if (offset >= mapping.size())
                return;
            const std::uint64_t length = std::min<std::uint64_t>(chunk, mapping.size() - offset);
            auto done =
                populate(mapping.span().subspan(offset, length), fd, fd_offset + offset, page_size);
            if (done)
                continue;
            next.store(mapping.size());
            const std::scoped_lock lock(mutex);
            if (!failure)
                failure = std::move(done).error();
            return;
        }
    };
    {
        std::vector<NamedThread> helpers;
        for (unsigned i = 1; i < threads; ++i)
            helpers.emplace_back(fmt::format("prealloc {}", i), work);
        work({});
    }
    if (failure)
        return std::move(*failure);
    return {};
}

}  // namespace godwit::system
