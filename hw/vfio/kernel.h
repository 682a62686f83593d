// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The one way from this folder to the kernel's VFIO and iommufd. A kernel made of test code
// implements the same calls (tests/unit/vfio/kernel).
#pragma once

#include "util/result.h"
#include "util/unique_fd.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace godwit::hw::vfio {

/// System calls on VFIO's files.
///
/// Shape    descriptors are real ones: they can be duplicated, polled and mapped. Structures that
///          ioctl() gets begin with their argsz or size.
/// Threads  any.
/// Errors   from_errno with the name of the request; os_errno() is the kernel's.
class Kernel {
public:
    virtual ~Kernel() = default;
    /// For reading and writing, closed on exec.
    virtual Result<UniqueFd> open(const std::string& path) = 0;
    /// What a symbolic link points at, and whether a path exists.
    virtual Result<std::string> read_link(const std::string& path) = 0;
    /// Names in a directory, sorted.
    virtual Result<std::vector<std::string>> list_dir(const std::string& path) = 0;

    /// `argument` is read and written. Returns what ioctl(2) returns.
    virtual Result<int> ioctl(int fd, unsigned long request, std::span<std::byte> argument) = 0;
    /// For requests whose argument is a number, or nothing at all.
    virtual Result<int> ioctl_number(int fd, unsigned long request, unsigned long number) = 0;

    /// At `offset`; may be short.
    virtual Result<std::size_t> pread(int fd, std::span<std::byte> into, std::uint64_t offset) = 0;
    virtual Result<std::size_t> pwrite(int fd, std::span<const std::byte> from,
                                       std::uint64_t offset) = 0;
    /// Streams (data_fd); may be short, 0 is the end.
    virtual Result<std::size_t> read(int fd, std::span<std::byte> into) = 0;
    virtual Result<std::size_t> write(int fd, std::span<const std::byte> from) = 0;

    /// ioctl() with a structure.
    template <class T>
        requires std::is_trivially_copyable_v<T>
    Result<int> call(int fd, unsigned long request, T& argument)
    {
        return ioctl(fd, request, std::as_writable_bytes(std::span(&argument, 1)));
    }
};

/// The kernel that runs this process.
std::shared_ptr<Kernel> host_kernel();

/// "VFIO_DEVICE_SET_IRQS", for messages.
std::string_view request_name(unsigned long request) noexcept;

}  // namespace godwit::hw::vfio
