// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/mapping.h"

#include <bit>
#include <limits>
#include <sys/mman.h>
#include <unistd.h>

namespace godwit {

namespace {

int protection(const Mapping::Options& options) noexcept
{
    if (options.inaccessible)
        return PROT_NONE;
    return PROT_READ | (options.writable ? PROT_WRITE : 0) | (options.executable ? PROT_EXEC : 0);
}

Error map_error()
{
    return Error::from_errno("mmap");
}

// Reserves more than is needed, maps inside it at the right place, and gives the rest back.
Result<void*> map_aligned(std::size_t size, std::size_t alignment, int prot, int flags, int fd,
                          off_t offset)
{
    const std::size_t page = host_page_size();
    const std::size_t rounded = (size + page - 1) & ~(page - 1);
    if (rounded < size || rounded > std::numeric_limits<std::size_t>::max() - alignment)
        return Error(Errc::OutOfMemory, "mmap: size is too large");
    const std::size_t total = rounded + alignment;
    void* area =
        ::mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return map_error();
    const auto base = reinterpret_cast<std::uintptr_t>(area);
    const std::uintptr_t start = (base + alignment - 1) & ~(alignment - 1);
    auto* place = static_cast<std::byte*>(area) + (start - base);
    if (::mmap(place, size, prot, flags | MAP_FIXED, fd, offset) == MAP_FAILED) {
        Error error = map_error();
        ::munmap(area, total);
        return error;
    }
    if (start > base)
        ::munmap(area, start - base);
    if (base + total > start + rounded)
        ::munmap(place + rounded, base + total - start - rounded);
    return place;
}

Result<void*> map(std::size_t size, const Mapping::Options& options, int flags, int fd,
                  std::uint64_t offset)
{
    if (size == 0)
        return Error(Errc::InvalidArgument, "mmap: size is 0");
    if (options.alignment != 0 && !std::has_single_bit(options.alignment))
        return Error(Errc::InvalidArgument, "mmap: alignment is not a power of two");
    if (offset > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()))
        return Error(Errc::InvalidArgument, "mmap: offset is too large");
    flags |= options.sharing == Mapping::Sharing::Shared ? MAP_SHARED : MAP_PRIVATE;
    if (options.no_reserve || options.inaccessible)
        flags |= MAP_NORESERVE;
    if (options.alignment > host_page_size())
        return map_aligned(size, options.alignment, protection(options), flags, fd,
                           static_cast<off_t>(offset));
    void* data = ::mmap(nullptr, size, protection(options), flags, fd, static_cast<off_t>(offset));
    if (data == MAP_FAILED)
        return map_error();
    return data;
}

}  // namespace

std::size_t host_page_size() noexcept
{
    static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

Result<Mapping> Mapping::anonymous(std::size_t size, Options options)
{
    return Mapping(GW_TRY(map(size, options, MAP_ANONYMOUS, -1, 0)), size);
}

Result<Mapping> Mapping::of_fd(int fd, std::size_t size, std::uint64_t offset, Options options)
{
    return Mapping(GW_TRY(map(size, options, 0, fd, offset)), size);
}

Mapping Mapping::adopt(void* data, std::size_t size) noexcept
{
    return {data, size};
}

Mapping& Mapping::operator=(Mapping&& other) noexcept
{
    if (this != &other) {
        reset();
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

Result<void> Mapping::advise(int advice) const
{
    return advise(0, size_, advice);
}

Result<void> Mapping::advise(std::size_t offset, std::size_t length, int advice) const
{
    if (offset > size_ || length > size_ - offset)
        return Error(Errc::InvalidArgument, "madvise: range is outside the mapping");
    if (::madvise(data_ + offset, length, advice) < 0)
        return Error::from_errno("madvise");
    return ok();
}

Result<void> Mapping::protect(int prot) const
{
    if (::mprotect(data_, size_, prot) < 0)
        return Error::from_errno("mprotect");
    return ok();
}

void Mapping::reset() noexcept
{
    if (data_ != nullptr)
        ::munmap(data_, size_);
    data_ = nullptr;
    size_ = 0;
}

std::byte* Mapping::release() noexcept
{
    size_ = 0;
    return std::exchange(data_, nullptr);
}

}  // namespace godwit
