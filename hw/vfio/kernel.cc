// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/kernel.h"

#include "hw/vfio/abi.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace godwit::hw::vfio {

namespace {

/// A call that a signal interrupted is made again.
template <class F>
auto retry(F&& call) -> decltype(call())
{
    for (;;) {
        const auto result = call();
        if (result >= 0 || errno != EINTR)
            return result;
    }
}

Result<std::size_t> transferred(ssize_t length, const char* what)
{
    if (length < 0)
        return Error::from_errno(what);
    return static_cast<std::size_t>(length);
}

class HostKernel final : public Kernel {
public:
    Result<UniqueFd> open(const std::string& path) override
    {
        UniqueFd fd(retry([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC); }));
        if (!fd)
            return Error::from_errno(path);
        return fd;
    }

    Result<std::string> read_link(const std::string& path) override
    {
        std::array<char, 4096> target;
        const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
        if (length < 0)
            return Error::from_errno(path);
        return std::string(target.data(), static_cast<std::size_t>(length));
    }

    Result<std::vector<std::string>> list_dir(const std::string& path) override
    {
        DIR* const dir = ::opendir(path.c_str());
        if (dir == nullptr)
            return Error::from_errno(path);
        std::vector<std::string> names;
        while (const dirent* entry = ::readdir(dir)) {
            const std::string_view name = entry->d_name;
            if (name != "." && name != "..")
                names.emplace_back(name);
        }
        ::closedir(dir);
        std::ranges::sort(names);
        return names;
    }

    Result<int> ioctl(int fd, unsigned long request, std::span<std::byte> argument) override
    {
        return checked(retry([&] { return ::ioctl(fd, request, argument.data()); }), request);
    }

    Result<int> ioctl_number(int fd, unsigned long request, unsigned long number) override
    {
        return checked(retry([&] { return ::ioctl(fd, request, number); }), request);
    }

    Result<std::size_t> pread(int fd, std::span<std::byte> into, std::uint64_t offset) override
    {
        return transferred(retry([&] {
                               return ::pread(fd, into.data(), into.size(),
                                              static_cast<off_t>(offset));
                           }),
                           "pread");
    }

    Result<std::size_t> pwrite(int fd, std::span<const std::byte> from,
                               std::uint64_t offset) override
    {
        return transferred(retry([&] {
                               return ::pwrite(fd, from.data(), from.size(),
                                               static_cast<off_t>(offset));
                           }),
                           "pwrite");
    }

    Result<std::size_t> read(int fd, std::span<std::byte> into) override
    {
        return transferred(retry([&] { return ::read(fd, into.data(), into.size()); }), "read");
    }

    Result<std::size_t> write(int fd, std::span<const std::byte> from) override
    {
        return transferred(retry([&] { return ::write(fd, from.data(), from.size()); }), "write");
    }

private:
    static Result<int> checked(int result, unsigned long request)
    {
        if (result < 0)
            return Error::from_errno(request_name(request));
        return result;
    }
};

struct RequestName {
    unsigned long request;
    std::string_view name;
};
constexpr auto kNames = std::to_array<RequestName>({
    {request::kGetApiVersion, "VFIO_GET_API_VERSION"},
    {request::kCheckExtension, "VFIO_CHECK_EXTENSION"},
    {request::kSetIommu, "VFIO_SET_IOMMU"},
    {request::kGroupGetStatus, "VFIO_GROUP_GET_STATUS"},
    {request::kGroupSetContainer, "VFIO_GROUP_SET_CONTAINER"},
    {request::kGroupUnsetContainer, "VFIO_GROUP_UNSET_CONTAINER"},
    {request::kGroupGetDeviceFd, "VFIO_GROUP_GET_DEVICE_FD"},
    {request::kDeviceGetInfo, "VFIO_DEVICE_GET_INFO"},
    {request::kDeviceGetRegionInfo, "VFIO_DEVICE_GET_REGION_INFO"},
    {request::kDeviceGetIrqInfo, "VFIO_DEVICE_GET_IRQ_INFO"},
    {request::kDeviceSetIrqs, "VFIO_DEVICE_SET_IRQS"},
    {request::kDeviceReset, "VFIO_DEVICE_RESET"},
    {request::kIommuGetInfo, "VFIO_IOMMU_GET_INFO"},
    {request::kIommuMapDma, "VFIO_IOMMU_MAP_DMA"},
    {request::kIommuUnmapDma, "VFIO_IOMMU_UNMAP_DMA"},
    {request::kDeviceFeature, "VFIO_DEVICE_FEATURE or VFIO_IOMMU_DIRTY_PAGES"},
    {request::kDeviceBindIommufd, "VFIO_DEVICE_BIND_IOMMUFD"},
    {request::kDeviceAttachPt, "VFIO_DEVICE_ATTACH_IOMMUFD_PT"},
    {request::kDeviceDetachPt, "VFIO_DEVICE_DETACH_IOMMUFD_PT"},
    {request::kMigGetPrecopyInfo, "VFIO_MIG_GET_PRECOPY_INFO"},
    {request::kIommufdDestroy, "IOMMU_DESTROY"},
    {request::kIommufdIoasAlloc, "IOMMU_IOAS_ALLOC"},
    {request::kIommufdIovaRanges, "IOMMU_IOAS_IOVA_RANGES"},
    {request::kIommufdMap, "IOMMU_IOAS_MAP"},
    {request::kIommufdUnmap, "IOMMU_IOAS_UNMAP"},
    {request::kIommufdHwptAlloc, "IOMMU_HWPT_ALLOC"},
    {request::kIommufdGetHwInfo, "IOMMU_GET_HW_INFO"},
    {request::kHwptSetDirtyTracking, "IOMMU_HWPT_SET_DIRTY_TRACKING"},
    {request::kHwptGetDirtyBitmap, "IOMMU_HWPT_GET_DIRTY_BITMAP"},
});

}  // namespace

std::shared_ptr<Kernel> host_kernel()
{
    return std::make_shared<HostKernel>();
}

std::string_view request_name(unsigned long request) noexcept
{
    const auto found = std::ranges::find(kNames, request, &RequestName::request);
    return found != kNames.end() ? found->name : "unknown VFIO request";
}

}  // namespace godwit::hw::vfio
