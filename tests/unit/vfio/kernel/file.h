// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What stands behind a descriptor of the test kernel. Calls answer as system calls do inside a
// kernel: not negative, or minus an errno.
#pragma once

#include "util/unique_fd.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace godwit::hw::vfio::test {

class TestKernel;

class File {
public:
    explicit File(TestKernel& kernel) : kernel_(kernel) {}
    virtual ~File() = default;
    virtual int ioctl(unsigned long, std::span<std::byte>) { return -ENOTTY; }
    virtual int ioctl_number(unsigned long, unsigned long) { return -ENOTTY; }
    virtual std::int64_t pread(std::span<std::byte>, std::uint64_t) { return -EINVAL; }
    virtual std::int64_t pwrite(std::span<const std::byte>, std::uint64_t) { return -EINVAL; }
    virtual std::int64_t read(std::span<std::byte>) { return -EINVAL; }
    virtual std::int64_t write(std::span<const std::byte>) { return -EINVAL; }

    UniqueFd fd;  ///< keeps the inode, which is the file's name, alive

protected:
    TestKernel& kernel_;
};

/// The structure at the start of `argument`: false when the caller's buffer or argsz is too short.
template <class T>
bool get_argument(std::span<const std::byte> argument, T& into, std::size_t needed = sizeof(T))
{
    static_assert(std::is_trivially_copyable_v<T>);
    std::uint32_t argsz = 0;
    if (argument.size() < sizeof argsz)
        return false;
    std::memcpy(&argsz, argument.data(), sizeof argsz);
    if (argsz < needed || argsz > argument.size())
        return false;
    std::memcpy(&into, argument.data(), argsz < sizeof into ? argsz : sizeof into);
    return true;
}

template <class T>
void put_argument(std::span<std::byte> argument, const T& from)
{
    std::memcpy(argument.data(), &from,
                argument.size() < sizeof from ? argument.size() : sizeof from);
}

}  // namespace godwit::hw::vfio::test
