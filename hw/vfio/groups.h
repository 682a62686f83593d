// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The groups and containers of one Vm: legacy VFIO.
#pragma once

#include "hw/vfio/container.h"
#include "hw/vfio/kernel.h"

#include <map>
#include <memory>
#include <string>

namespace godwit::system {
class Vm;
}

namespace godwit::hw::vfio {

/// Opens devices by their group and shares one container among all groups that fit into it.
///
/// Life     a group is open as long as one of its devices is, a container as long as one group.
/// Threads  with the machine lock.
/// Errors   those of the kernel, with the path or group; "group 12 is not viable" with a hint.
class GroupSet : public std::enable_shared_from_this<GroupSet> {
public:
    GroupSet(system::Vm& vm, std::shared_ptr<Kernel> kernel);
    ~GroupSet();

    Kernel& kernel() noexcept { return *kernel_; }
    const std::shared_ptr<Kernel>& shared_kernel() const noexcept { return kernel_; }

    struct Opened {
        UniqueFd device;
        std::shared_ptr<Container> container;
    };
    /// `device` is the name the kernel gives it: "0000:3b:00.1". `vf_token`: a UUID, for a virtual
    /// function whose physical one asks for it; else empty.
    Result<Opened> open(unsigned group, const std::string& device,
                        const std::string& vf_token = {});

    // What an open device holds, in the order in which it lets go.
    struct ContainerFile;
    struct Group;

private:
    Result<std::shared_ptr<Group>> group_of(unsigned number);
    Result<void> place(Group& group);

    system::Vm& vm_;
    std::shared_ptr<Kernel> kernel_;
    std::map<unsigned, std::weak_ptr<Group>> groups_;
    std::vector<std::weak_ptr<ContainerFile>> containers_;
    unsigned next_container_ = 0;
};

}  // namespace godwit::hw::vfio
