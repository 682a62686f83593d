// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/ide/ahci.h"
#include "system/vm.h"

#include <fmt/format.h>

namespace godwit::hw {

IdeBus::IdeBus(std::string name, Ahci& owner, unsigned port)
    : Bus("IDE", std::move(name), &owner), controller_(owner), port_(port)
{}

Result<void> IdeBus::check_plug(system::Device&)
{
    if (full())
        return Error(Errc::Busy, fmt::format("Bus '{}' is full", name()));
    return {};
}

Result<void> IdeHd::realize()
{
    auto* bus = dynamic_cast<IdeBus*>(parent_bus());
    if (bus == nullptr)
        return Error(Errc::InvalidArgument, "ide-hd needs an IDE bus");
    if (unit_ != 0xffffffff && unit_ != 0)
        return Error(Errc::InvalidArgument, "Can't create IDE unit 1, bus supports only 1 units");
    if (drive_.empty())
        return Error(Errc::InvalidArgument, "No drive specified");
    if (logical_ != kSectorBytes)
        return Error(Errc::InvalidArgument, "logical_block_size must be 512 for IDE");
    if (heads_ > 16 || secs_ > 255 || cyls_ > 65535)
        return Error(Errc::InvalidArgument,
                     "cyls must be between 1 and 65535, heads between 1 and 16, secs between 1 "
                     "and 255");
    if (serial_.size() > 20 || model_.size() > 40 || version_.size() > 8)
        return Error(Errc::InvalidArgument,
                     "serial, model and ver take at most 20, 40 and 8 characters");
    node_ = GW_TRY(BlockSet::of(vm()).claim(drive_, *this, "ide-hd.drive"));
    if (node_->sectors() == 0) {
        BlockSet::of(vm()).release(*this);
        return Error(Errc::InvalidArgument, "Device needs media, but drive is empty");
    }
    IdeSettings settings{.cylinders = cyls_,
                         .heads = heads_,
                         .sectors = secs_,
                         .serial = serial_,
                         .version = version_.empty() ? "2.5+" : version_,
                         .model = model_};
    if (settings.serial.empty())
        settings.serial = fmt::format("QM{:05}", bus->port() + 1);
    bus->controller().attach(bus->port(), *node_, settings);
    return {};
}

void IdeHd::unrealize() noexcept
{
    if (auto* bus = dynamic_cast<IdeBus*>(parent_bus()))
        bus->controller().detach(bus->port());
    BlockSet::of(vm()).release(*this);
}

BlockNode* boot_disk(system::Vm& vm)
{
    const IdeHd* best = nullptr;
    for (const system::Device* device : vm.devices().devices()) {
        const auto* disk = dynamic_cast<const IdeHd*>(device);
        if (disk == nullptr)
            continue;
        const bool earlier =
            best == nullptr || (disk->bootindex_ >= 0 &&
                                (best->bootindex_ < 0 || disk->bootindex_ < best->bootindex_));
        if (earlier)
            best = disk;
    }
    return best != nullptr ? best->node() : nullptr;
}

}  // namespace godwit::hw
