// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A kernel made of test code behind the seam of hw/vfio/kernel.h: VFIO groups, type1 containers,
// device descriptors with migration version 1 or 2, device DMA logging, and iommufd with dirty
// tracking. It refuses what Linux refuses.
#pragma once

#include "hw/vfio/abi.h"
#include "hw/vfio/kernel.h"
#include "tests/unit/vfio/kernel/test_device.h"

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace godwit::hw::vfio::test {

class File;

/// Shape    descriptors are real memfds, told apart by inode, so that dup and mmap work.
/// Threads  any; one lock around everything but what a test asks of a device.
class TestKernel final : public Kernel {
public:
    TestKernel();
    ~TestKernel() override;

    /// A device in its group and, if `spec` names one, with a cdev.
    TestDevice& add(DeviceSpec spec);
    /// Type1 containers grant this many bytes of bitmap, pages of this size, and mappings.
    struct ContainerRules {
        std::uint64_t page_sizes = 4096;
        std::uint64_t max_bitmap_bytes = std::uint64_t{256} << 20;
        bool migration = true;  ///< 5.8 and later
        std::uint32_t max_mappings = 65535;
    };
    ContainerRules container_rules;
    /// The next requests of this number fail with this errno, `times` times.
    void fail(unsigned long request, int error, unsigned times = 1);
    /// Calls that hang come back, with EIO, and no other hangs.
    void release();
    /// Names of requests in order of arrival; failed ones with their errno.
    std::vector<std::string> trace() const;
    void clear_trace();

    Result<UniqueFd> open(const std::string& path) override;
    Result<std::string> read_link(const std::string& path) override;
    Result<std::vector<std::string>> list_dir(const std::string& path) override;
    Result<int> ioctl(int fd, unsigned long request, std::span<std::byte> argument) override;
    Result<int> ioctl_number(int fd, unsigned long request, unsigned long number) override;
    Result<std::size_t> pread(int fd, std::span<std::byte> into, std::uint64_t offset) override;
    Result<std::size_t> pwrite(int fd, std::span<const std::byte> from,
                               std::uint64_t offset) override;
    Result<std::size_t> read(int fd, std::span<std::byte> into) override;
    Result<std::size_t> write(int fd, std::span<const std::byte> from) override;

    // --- for the files ---

    std::recursive_mutex& lock() noexcept { return lock_; }
    /// Null for a descriptor that is none of ours.
    std::shared_ptr<File> file(int fd) const;
    /// A descriptor for the caller; the file lives on here.
    int install(std::shared_ptr<File> file);

private:
    int note(unsigned long request, int result);
    template <class F>
    auto served(int fd, F&& call) -> decltype(call(std::declval<File&>()));
    int planned_failure(unsigned long request);

    mutable std::recursive_mutex lock_;
    std::map<std::uint64_t, std::shared_ptr<File>> files_;  // by inode
    std::map<std::string, std::shared_ptr<TestDevice>> devices_;
    std::map<unsigned, std::shared_ptr<File>> groups_;
    std::map<unsigned long, std::pair<int, unsigned>> failures_;
    std::vector<std::string> trace_;
    std::condition_variable_any released_;
    bool hangs_no_more_ = false;
};

}  // namespace godwit::hw::vfio::test
