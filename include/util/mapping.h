// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The owner of a piece of our address space.
#pragma once

#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace godwit {

/// Owns one mmap() and undoes it.
///
/// Units    bytes. size() is what was asked for; the kernel rounds up to pages.
/// Threads  a value; the bytes are shared as their users agree.
/// Errors   OutOfMemory, InvalidArgument, or what the kernel says.
class Mapping {
public:
    enum class Sharing { Private, Shared };
    struct Options {
        Sharing sharing = Sharing::Private;
        bool writable = true;
        bool executable = false;
        /// The start is a multiple of this power of two; 0 means the page size.
        std::size_t alignment = 0;
        /// Do not count against the overcommit limit (MAP_NORESERVE).
        bool no_reserve = false;
        /// Reserve address space that nobody may touch yet (PROT_NONE).
        bool inaccessible = false;
    };

    Mapping() noexcept = default;
    /// Zeros. `size` must not be 0.
    static Result<Mapping> anonymous(std::size_t size, Options options);
    static Result<Mapping> anonymous(std::size_t size) { return anonymous(size, Options{}); }
    /// `size` bytes of `fd` from byte `offset` (a multiple of the page size); `fd` is only
    /// borrowed.
    static Result<Mapping> of_fd(int fd, std::size_t size, std::uint64_t offset, Options options);
    static Result<Mapping> of_fd(int fd, std::size_t size)
    {
        return of_fd(fd, size, 0, Options{.sharing = Sharing::Shared});
    }
    /// Takes over what somebody else mapped.
    static Mapping adopt(void* data, std::size_t size) noexcept;

    Mapping(Mapping&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0))
    {}
    Mapping& operator=(Mapping&& other) noexcept;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping() { reset(); }

    std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    std::span<std::byte> span() const noexcept { return {data_, size_}; }
    explicit operator bool() const noexcept { return data_ != nullptr; }

    /// madvise() over the whole; `advice` is MADV_HUGEPAGE, MADV_DONTDUMP, ...
    Result<void> advise(int advice) const;
    /// madvise() over a part that starts and ends on page borders.
    Result<void> advise(std::size_t offset, std::size_t length, int advice) const;
    /// mprotect() over the whole; `prot` is PROT_READ, ...
    Result<void> protect(int prot) const;

    void reset() noexcept;
    /// Hands the mapping to the caller, who unmaps it.
    [[nodiscard]] std::byte* release() noexcept;

private:
    Mapping(void* data, std::size_t size) noexcept
        : data_(static_cast<std::byte*>(data)), size_(size)
    {}
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// The host's page size in bytes.
std::size_t host_page_size() noexcept;

}  // namespace godwit
