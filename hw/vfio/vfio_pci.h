// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Type "vfio-pci": a PCI device of the host, behind the kernel's VFIO.
#pragma once

#include "hw/vfio/device.h"
#include "hw/vfio/groups.h"
#include "hw/vfio/iommufd.h"

#include <memory>
#include <string>

namespace godwit::system {
class TypeRegistry;
}

namespace godwit::hw::vfio {

/// Properties  host=[dddd:]bb:dd.f or sysfsdev=PATH; iommufd=ID for its cdev and page tables, then
///             also fd=N, a cdev that somebody opened. Without iommufd: group and container, and
///             vf-token=UUID for a virtual function that asks for one.
class VfioPci final : public VfioDevice {
public:
    explicit VfioPci(std::shared_ptr<GroupSet> groups);
    ~VfioPci() override;

    std::string host_;
    std::string sysfsdev_;
    std::string fd_;
    std::string vf_token_;
    Iommufd* iommufd_ = nullptr;

protected:
    Result<Opened> open() override;
    void close() noexcept override;

private:
    Result<std::string> sysfs_path();
    Result<Opened> open_group(const std::string& sysfs, const std::string& name);
    Result<Opened> open_cdev(const std::string& sysfs, const std::string& name);

    std::shared_ptr<GroupSet> groups_;
    IommufdDma* attached_ = nullptr;
    int device_fd_ = -1;  ///< borrowed from the back end
};

/// `migration`: what its devices stop and start with.
Result<void> register_vfio_pci(system::TypeRegistry& types, std::shared_ptr<GroupSet> groups,
                               std::shared_ptr<MigrationGroup> migration);

}  // namespace godwit::hw::vfio
