// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/groups.h"

#include "hw/vfio/abi.h"
#include "hw/vfio/type1.h"

#include <array>
#include <fmt/format.h>

namespace godwit::hw::vfio {

/// An open container and what is mapped through it.
struct GroupSet::ContainerFile {
    UniqueFd fd;
    std::unique_ptr<Container> container;
    ~ContainerFile() { container.reset(); }  // unmaps before the descriptor goes
};

struct GroupSet::Group {
    std::shared_ptr<Kernel> kernel;
    unsigned number = 0;
    std::shared_ptr<ContainerFile> container;
    UniqueFd fd;
    ~Group()
    {
        if (container)
            (void)kernel->ioctl_number(fd.get(), request::kGroupUnsetContainer, 0);
    }
};

GroupSet::GroupSet(system::Vm& vm, std::shared_ptr<Kernel> kernel)
    : vm_(vm), kernel_(std::move(kernel))
{}

GroupSet::~GroupSet() = default;

Result<GroupSet::Opened> GroupSet::open(unsigned number, const std::string& device,
                                        const std::string& vf_token)
{
    const std::shared_ptr<Group> group = GW_TRY(group_of(number));
    const std::string asked = vf_token.empty() ? device : device + " vf_token=" + vf_token;
    std::vector<char> name(asked.begin(), asked.end());
    name.push_back('\0');
    const int fd = GW_TRY(with_context(kernel_->ioctl(group->fd.get(), request::kGroupGetDeviceFd,
                                                      std::as_writable_bytes(std::span(name))),
                                       fmt::format("device {} in group {}", device, number)));
    // The container lives while its group does: whoever holds the one holds the other.
    return Opened{.device = UniqueFd(fd), .container = {group, group->container->container.get()}};
}

Result<std::shared_ptr<GroupSet::Group>> GroupSet::group_of(unsigned number)
{
    if (auto known = groups_[number].lock())
        return known;
    auto group = std::make_shared<Group>();
    group->kernel = kernel_;
    group->number = number;
    group->fd = GW_TRY(kernel_->open(fmt::format("/dev/vfio/{}", number)));
    AbiGroupStatus status;
    GW_TRY(with_context(kernel_->call(group->fd.get(), request::kGroupGetStatus, status),
                        fmt::format("group {}", number)));
    if ((status.flags & kGroupViable) == 0)
        return Error(Errc::BadState, fmt::format("group {} is not viable", number))
            .with_hint("Please ensure all devices within the iommu_group are bound to their vfio "
                       "bus driver.");
    if ((status.flags & kGroupContainerSet) != 0)
        return Error(Errc::Busy, fmt::format("group {} is in another container", number));
    GW_TRY(place(*group));
    groups_[number] = group;
    return group;
}

/// Into a container that takes the group, or a new one.
Result<void> GroupSet::place(Group& group)
{
    const auto attach = [&](ContainerFile& file) {
        int fd = file.fd.get();
        return kernel_->call(group.fd.get(), request::kGroupSetContainer, fd);
    };
    for (const auto& known : containers_) {
        const auto file = known.lock();
        if (file && attach(*file)) {
            group.container = file;
            return {};
        }
    }
    auto file = std::make_shared<ContainerFile>();
    file->fd = GW_TRY(kernel_->open("/dev/vfio/vfio"));
    const int version = GW_TRY(kernel_->ioctl_number(file->fd.get(), request::kGetApiVersion, 0));
    if (version != 0)
        return Error(Errc::Unsupported,
                     fmt::format("supported vfio version: 0, reported version: {}", version));
    unsigned long type = kType1v2Iommu;
    if (GW_TRY(kernel_->ioctl_number(file->fd.get(), request::kCheckExtension, type)) == 0)
        type = kType1Iommu;
    if (GW_TRY(kernel_->ioctl_number(file->fd.get(), request::kCheckExtension, type)) == 0)
        return Error(Errc::Unsupported, "No available IOMMU models");
    GW_TRY(with_context(attach(*file), fmt::format("group {}", group.number)));
    group.container = file;
    GW_TRY(with_context(kernel_->ioctl_number(file->fd.get(), request::kSetIommu, type),
                        "failed to set iommu for container"));
    const std::string name = fmt::format("vfio container {}", next_container_++);
    file->container =
        std::make_unique<Container>(vm_, std::make_unique<Type1Dma>(kernel_, file->fd.get(), name));
    std::erase_if(containers_, [](const auto& gone) { return gone.expired(); });
    containers_.push_back(file);
    return {};
}

}  // namespace godwit::hw::vfio
