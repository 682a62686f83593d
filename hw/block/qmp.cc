// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/block.h"
#include "qapi/block_commands.h"
#include "system/vm.h"

namespace godwit::hw {
namespace {

qapi::BlockDeviceInfo describe(const BlockNode& node)
{
    const BlockNode::Options& options = node.options();
    const std::string file = options.driver == "null-co" ? "null-co://" : options.filename;
    qapi::BlockDeviceInfo info;
    info.file = file;
    info.node_name = options.node_name;
    info.ro = options.read_only;
    info.drv = options.driver;
    info.active = node.active();
    info.detect_zeroes = qapi::BlockdevDetectZeroesOptions::Off;
    info.image.filename = file;
    info.image.format = options.driver;
    info.image.virtual_size = static_cast<std::int64_t>(node.size_bytes());
    info.image.actual_size = static_cast<std::int64_t>(node.allocated_bytes());
    info.cache = {.writeback = true, .direct = options.direct, .no_flush = options.no_flush};
    return info;
}

class BlockQmp final : public qapi::BlockCommands {
public:
    explicit BlockQmp(system::Vm& vm) : vm_(vm) {}

    Result<std::vector<qapi::BlockInfo>> query_block() override
    {
        std::vector<qapi::BlockInfo> list;
        for (const Drive* drive : BlockSet::of(vm_).drives()) {
            qapi::BlockInfo info;
            info.device = drive->id;
            if (drive->user != nullptr)
                info.qdev = drive->user->path();
            info.type = "unknown";
            info.inserted = describe(*drive->node);
            if (drive->user != nullptr)
                info.io_status = qapi::BlockDeviceIoStatus::Ok;
            list.push_back(std::move(info));
        }
        return list;
    }

    Result<std::vector<qapi::BlockDeviceInfo>>
    query_named_block_nodes(const qapi::QueryNamedBlockNodesArgs&) override
    {
        std::vector<qapi::BlockDeviceInfo> list;
        for (const BlockNode* node : BlockSet::of(vm_).nodes())
            list.push_back(describe(*node));
        return list;
    }

    Result<void> blockdev_add(const qapi::BlockdevOptions& options) override
    {
        return BlockSet::of(vm_).add_node(options);
    }

    Result<void> blockdev_del(const qapi::BlockdevDelArgs& args) override
    {
        return BlockSet::of(vm_).remove_node(args.node_name);
    }

private:
    system::Vm& vm_;
};

}  // namespace

std::unique_ptr<qapi::BlockCommands> make_block_commands(system::Vm& vm)
{
    return std::make_unique<BlockQmp>(vm);
}

}  // namespace godwit::hw
