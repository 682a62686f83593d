// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/vfio/kernel/test_kernel.h"

#include "tests/unit/vfio/kernel/device_file.h"
#include "tests/unit/vfio/kernel/iommufd_file.h"
#include "tests/unit/vfio/kernel/migration_engine.h"
#include "tests/unit/vfio/kernel/type1_file.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godwit::hw::vfio::test {

namespace {

std::uint64_t inode_of(int fd)
{
    struct stat info{};
    return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

constexpr std::string_view kSysfs = "/sys/bus/pci/devices/";

}  // namespace

TestKernel::TestKernel() = default;

TestKernel::~TestKernel() = default;

TestDevice& TestKernel::add(DeviceSpec spec)
{
    const std::lock_guard guard(lock_);
    const auto device = std::make_shared<TestDevice>(std::move(spec), lock_);
    auto& group = groups_[device->spec().group];
    if (!group)
        group = std::make_shared<GroupFile>(*this);
    std::static_pointer_cast<GroupFile>(group)->add(device);
    devices_[device->spec().address] = device;
    return *device;
}

void TestKernel::fail(unsigned long request, int error, unsigned times)
{
    const std::lock_guard guard(lock_);
    failures_[request] = {error, times};
}

std::vector<std::string> TestKernel::trace() const
{
    const std::lock_guard guard(lock_);
    return trace_;
}

void TestKernel::clear_trace()
{
    const std::lock_guard guard(lock_);
    trace_.clear();
}

std::shared_ptr<File> TestKernel::file(int fd) const
{
    const std::lock_guard guard(lock_);
    const auto found = files_.find(inode_of(fd));
    return found != files_.end() ? found->second : nullptr;
}

int TestKernel::install(std::shared_ptr<File> file)
{
    if (!file->fd)
        file->fd.reset(::memfd_create("vfio", MFD_CLOEXEC));
    auto copy = file->fd.dup();
    if (!copy)
        return -EMFILE;
    files_[inode_of(copy->get())] = std::move(file);
    return copy->release();
}

Result<UniqueFd> TestKernel::open(const std::string& path)
{
    const std::lock_guard guard(lock_);
    int fd = -ENOENT;
    if (path == "/dev/vfio/vfio")
        fd = install(std::make_shared<ContainerFile>(*this));
    if (path == "/dev/iommu")
        fd = install(std::make_shared<IommufdFile>(*this));
    for (const auto& [number, group] : groups_)
        if (path == fmt::format("/dev/vfio/{}", number))
            fd = install(group);
    for (const auto& [address, device] : devices_)
        if (!device->spec().cdev.empty() && path == "/dev/vfio/devices/" + device->spec().cdev)
            fd = install(std::make_shared<DeviceFile>(*this, device, true));
    if (fd < 0)
        return Error::from_errno(path, -fd);
    return UniqueFd(fd);
}

Result<std::string> TestKernel::read_link(const std::string& path)
{
    const std::lock_guard guard(lock_);
    for (const auto& [address, device] : devices_)
        if (path == fmt::format("{}{}/iommu_group", kSysfs, address))
            return fmt::format("../../../../kernel/iommu_groups/{}", device->spec().group);
    return Error::from_errno(path, ENOENT);
}

Result<std::vector<std::string>> TestKernel::list_dir(const std::string& path)
{
    const std::lock_guard guard(lock_);
    for (const auto& [address, device] : devices_)
        if (path == fmt::format("{}{}/vfio-dev", kSysfs, address) && !device->spec().cdev.empty())
            return std::vector<std::string>{device->spec().cdev};
    return Error::from_errno(path, ENOENT);
}

int TestKernel::planned_failure(unsigned long request)
{
    const auto found = failures_.find(request);
    if (found == failures_.end() || found->second.second == 0)
        return 0;
    --found->second.second;
    return -found->second.first;
}

int TestKernel::note(unsigned long request, int result)
{
    trace_.push_back(result < 0 ? fmt::format("{} -{}", request_name(request), -result)
                                : std::string(request_name(request)));
    return result;
}

void TestKernel::release()
{
    const std::lock_guard guard(lock_);
    hangs_no_more_ = true;
    released_.notify_all();
}

/// `call` on what is behind the descriptor, and the wait when it hangs: without the lock.
template <class F>
auto TestKernel::served(int fd, F&& call) -> decltype(call(std::declval<File&>()))
{
    std::unique_lock guard(lock_);
    const auto target = file(fd);
    const auto result = target ? call(*target) : -EBADF;
    if (result != -DeviceFaults::kHangs)
        return result;
    released_.wait(guard, [this] { return hangs_no_more_; });
    return -EIO;
}

Result<int> TestKernel::ioctl(int fd, unsigned long request, std::span<std::byte> argument)
{
    const int result = served(fd, [&](File& target) {
        const int planned = planned_failure(request);
        return note(request, planned != 0 ? planned : target.ioctl(request, argument));
    });
    if (result < 0)
        return Error::from_errno(request_name(request), -result);
    return result;
}

Result<int> TestKernel::ioctl_number(int fd, unsigned long request, unsigned long number)
{
    const int result = served(fd, [&](File& target) {
        const int planned = planned_failure(request);
        return note(request, planned != 0 ? planned : target.ioctl_number(request, number));
    });
    if (result < 0)
        return Error::from_errno(request_name(request), -result);
    return result;
}

namespace {

Result<std::size_t> length_or_error(std::int64_t result, std::string_view what)
{
    if (result < 0)
        return Error::from_errno(what, static_cast<int>(-result));
    return static_cast<std::size_t>(result);
}

}  // namespace

Result<std::size_t> TestKernel::pread(int fd, std::span<std::byte> into, std::uint64_t offset)
{
    return length_or_error(served(fd, [&](File& target) { return target.pread(into, offset); }),
                           "pread");
}

Result<std::size_t> TestKernel::pwrite(int fd, std::span<const std::byte> from,
                                       std::uint64_t offset)
{
    return length_or_error(served(fd, [&](File& target) { return target.pwrite(from, offset); }),
                           "pwrite");
}

Result<std::size_t> TestKernel::read(int fd, std::span<std::byte> into)
{
    return length_or_error(served(fd, [&](File& target) { return target.read(into); }), "read");
}

Result<std::size_t> TestKernel::write(int fd, std::span<const std::byte> from)
{
    return length_or_error(served(fd, [&](File& target) { return target.write(from); }), "write");
}

}  // namespace godwit::hw::vfio::test
