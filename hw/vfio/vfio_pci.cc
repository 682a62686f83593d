// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/vfio_pci.h"

#include "hw/vfio/abi.h"
#include "hw/vfio/fd_argument.h"
#include "hw/vfio/kernel_device.h"
#include "system/property.h"
#include "system/vm.h"

#include <cctype>
#include <charconv>
#include <cstdio>
#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

constexpr std::string_view kPciDevices = "/sys/bus/pci/devices/";

/// "3b:00.1" is "0000:3b:00.1".
Result<std::string> full_address(const std::string& text)
{
    unsigned domain = 0;
    unsigned bus = 0;
    unsigned slot = 0;
    unsigned function = 0;
    int used = 0;
    const int length = static_cast<int>(text.size());
    const bool four = std::sscanf(text.c_str(), "%4x:%2x:%2x.%1o%n", &domain, &bus, &slot,
                                  &function, &used) == 4 &&
                      used == length;
    if (!four) {
        domain = 0;
        const bool three =
            std::sscanf(text.c_str(), "%2x:%2x.%1o%n", &bus, &slot, &function, &used) == 3 &&
            used == length;
        if (!three)
            return Error(Errc::InvalidArgument,
                         fmt::format("Property 'vfio-pci.host' doesn't take value '{}'", text));
    }
    if (slot > 31)
        return Error(Errc::InvalidArgument,
                     fmt::format("Property 'vfio-pci.host' doesn't take value '{}'", text));
    return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, slot, function);
}

/// "8-4-4-4-12" hexadecimal digits.
bool is_uuid(std::string_view text)
{
    if (text.size() != 36)
        return false;
    for (std::size_t n = 0; n < text.size(); ++n) {
        const bool dash = n == 8 || n == 13 || n == 18 || n == 23;
        if (dash ? text[n] != '-' : std::isxdigit(static_cast<unsigned char>(text[n])) == 0)
            return false;
    }
    return true;
}

std::string last_part(const std::string& path)
{
    return path.substr(path.rfind('/') + 1);
}

}  // namespace

VfioPci::VfioPci(std::shared_ptr<GroupSet> groups) : groups_(std::move(groups)) {}

VfioPci::~VfioPci() = default;

Result<std::string> VfioPci::sysfs_path()
{
    if (!sysfsdev_.empty())
        return sysfsdev_;
    if (host_.empty())
        return Error(Errc::InvalidArgument, "No provided host device")
            .with_hint("Use -device vfio-pci,host=DDDD:BB:DD.F or -device "
                       "vfio-pci,sysfsdev=PATH_TO_DEVICE");
    return std::string(kPciDevices) + GW_TRY(full_address(host_));
}

Result<VfioDevice::Opened> VfioPci::open()
{
    if (!fd_.empty() && iommufd_ == nullptr)
        return Error(Errc::InvalidArgument, "Use FD passing only with iommufd backend");
    if (!vf_token_.empty() && !is_uuid(vf_token_))
        return Error(
            Errc::InvalidArgument,
            fmt::format("Property 'vfio-pci.vf-token' doesn't take value '{}'", vf_token_));
    if (!vf_token_.empty() && iommufd_ != nullptr)
        return Error(Errc::InvalidArgument, "vf-token needs a group: a cdev does not take one");
    if (!fd_.empty())
        return with_context(open_cdev({}, fmt::format("VFIO_FD{}", fd_)), "vfio");
    const std::string sysfs = GW_TRY(sysfs_path());
    const std::string name = last_part(sysfs);
    return with_context(
        with_context(iommufd_ != nullptr ? open_cdev(sysfs, name) : open_group(sysfs, name), name),
        "vfio");
}

Result<VfioDevice::Opened> VfioPci::open_group(const std::string& sysfs, const std::string& name)
{
    const std::string link = GW_TRY(
        with_context(groups_->kernel().read_link(sysfs + "/iommu_group"), "no iommu_group found"));
    const std::string number = last_part(link);
    unsigned group = 0;
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), group);
    if (parsed.ec != std::errc() || parsed.ptr != number.data() + number.size())
        return Error(Errc::BadFormat, fmt::format("'{}' is no group", link));
    GroupSet::Opened opened = GW_TRY(groups_->open(group, name, vf_token_));
    return Opened{.device = std::make_unique<KernelDevice>(
                      groups_->shared_kernel(), name, std::move(opened.device), state_timeout()),
                  .container = std::move(opened.container)};
}

Result<VfioDevice::Opened> VfioPci::open_cdev(const std::string& sysfs, const std::string& name)
{
    Kernel& kernel = *iommufd_->kernel();
    UniqueFd fd;
    if (!fd_.empty()) {
        fd = GW_TRY(fd_argument(vm(), fd_));
    } else {
        const auto names = GW_TRY(
            with_context(kernel.list_dir(sysfs + "/vfio-dev"), "the kernel has no cdev for it"));
        if (names.size() != 1)
            return Error(Errc::NotFound, "the kernel has no cdev for it");
        fd = GW_TRY(kernel.open("/dev/vfio/devices/" + names.front()));
    }
    AbiBindIommufd bind{.iommufd = iommufd_->fd()};
    GW_TRY(kernel.call(fd.get(), request::kDeviceBindIommufd, bind));
    auto container = GW_TRY(iommufd_->attach(vm(), fd.get(), bind.out_devid));
    attached_ = static_cast<IommufdDma*>(&container->backend());
    device_fd_ = fd.get();
    return Opened{.device = std::make_unique<KernelDevice>(iommufd_->kernel(), name, std::move(fd),
                                                           state_timeout()),
                  .container = std::move(container)};
}

void VfioPci::close() noexcept
{
    if (attached_ != nullptr)
        attached_->detach(device_fd_);
    attached_ = nullptr;
}

Result<void> register_vfio_pci(system::TypeRegistry& types, std::shared_ptr<GroupSet> groups,
                               std::shared_ptr<MigrationGroup> migration)
{
    using system::property;
    const std::shared_ptr<Kernel> kernel = groups->shared_kernel();
    GW_TRY(types.add({.name = "iommufd",
                      .parent = "object",
                      .description = "I/O address spaces of the kernel's iommufd",
                      .properties = {property<&Iommufd::fd_>("fd")},
                      .create = [kernel] { return std::make_unique<Iommufd>(kernel); }}));
    std::vector<system::Property> properties = device_properties();
    properties.push_back(property<&VfioPci::host_>("host"));
    properties.push_back(property<&VfioPci::sysfsdev_>("sysfsdev"));
    properties.push_back(property<&VfioPci::fd_>("fd"));
    properties.push_back(property<&VfioPci::vf_token_>("vf-token"));
    properties.push_back(system::link_property<&VfioPci::iommufd_>("iommufd", "iommufd"));
    return types.add({.name = "vfio-pci",
                      .parent = "pci-device",
                      .hotpluggable = true,
                      .bus = "PCI",
                      .description = "VFIO-based PCI device assignment",
                      .properties = std::move(properties),
                      .create = [groups, migration] {
                          auto made = std::make_unique<VfioPci>(groups);
                          made->set_migration_group(migration);
                          return made;
                      }});
}

}  // namespace godwit::hw::vfio
