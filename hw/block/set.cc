// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/block.h"
#include "hw/register_private.h"
#include "qapi/block_codec.h"
#include "system/vm.h"
#include "util/json.h"
#include "util/option_list.h"
#include "util/size.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

constexpr const char* kChild = "block";
// Behind whatever may still write when the guest stops.
constexpr int kFlushLast = -100;

// Words of a key list become what the schema wants.
Result<void> type_words(Json& options)
{
    for (auto& [key, value] : options.items()) {
        if (value.is_object()) {
            GW_TRY(type_words(value));
            continue;
        }
        if (!value.is_string())
            continue;
        const std::string text = value.get<std::string>();
        if (key == "size" || key == "offset" || key == "latency-ns") {
            value = GW_TRY(with_context(parse_size(text), key));
        } else if (key == "read-only" || key == "auto-read-only" || key == "direct" ||
                   key == "no-flush" || key == "read-zeroes") {
            if (text != "on" && text != "off")
                return Error(Errc::InvalidArgument,
                             fmt::format("Parameter '{}' expects 'on' or 'off'", key));
            value = text == "on";
        }
    }
    return {};
}

Result<void> check_cache(std::string_view mode, BlockNode::Options& options)
{
    if (mode == "none" || mode == "directsync") {
        options.direct = true;
    } else if (mode == "unsafe") {
        options.no_flush = true;
    } else if (mode != "writeback" && mode != "writethrough") {
        return Error(Errc::InvalidArgument, "invalid cache option");
    }
    return {};
}

template <class T>
void take_common(const T& from, BlockNode::Options& to)
{
    to.node_name = from.node_name.value_or("");
    to.read_only = from.read_only.value_or(false);
    to.auto_read_only = from.auto_read_only.value_or(false);
    if (from.cache) {
        to.direct = from.cache->direct.value_or(false);
        to.no_flush = from.cache->no_flush.value_or(false);
    }
}

Result<void> take_null(const qapi::BlockdevOptionsNull& from, BlockNode::Options& to)
{
    if (from.size.value_or(0) < 0)
        return Error(Errc::InvalidArgument, "Parameter 'size' expects a non-negative number");
    to.driver = "null-co";
    if (from.size)
        to.size = static_cast<std::uint64_t>(*from.size);
    return {};
}

}  // namespace

BlockSet::~BlockSet() = default;

BlockSet& BlockSet::of(system::Vm& vm)
{
    auto* there = dynamic_cast<BlockSet*>(vm.root().child(kChild));
    if (there == nullptr) {
        // Neither can fail: the type is ours and the name is free.
        (void)vm.root().add_child(kChild, vm.types().create("block-set").value());
        there = dynamic_cast<BlockSet*>(vm.root().child(kChild));
        there->vm_ = &vm;
        there->follow(vm.run_state().state());
        there->activity_ = vm.run_state().on_change(
            [there](system::RunState, system::RunState to) { there->follow(to); });
        there->flusher_ =
            vm.run_state().add({.priority = kFlushLast,
                                .name = "block",
                                .prepare = {},
                                .handle = [there](bool running, system::RunState) {
                                    return running ? Result<void>() : there->flush_writes();
                                }});
    }
    return *there;
}

Result<void> BlockSet::flush_writes()
{
    for (const auto& node : nodes_)
        GW_TRY(with_context(node->flush_writes(), node->name()));
    return {};
}

void BlockSet::follow(system::RunState state) noexcept
{
    using enum system::RunState;
    if (state == Running || state == Suspended)
        active_ = true;
    else if (state == Inmigrate || state == Postmigrate)
        active_ = false;
    for (const auto& node : nodes_)
        node->set_active(active_);
}

// --- nodes -------------------------------------------------------------------------------------

BlockNode* BlockSet::find_node(std::string_view name) const noexcept
{
    for (const auto& node : nodes_)
        if (node->name() == name)
            return node.get();
    return nullptr;
}

std::vector<BlockNode*> BlockSet::nodes() const
{
    std::vector<BlockNode*> list;
    for (const auto& node : nodes_)
        list.push_back(node.get());
    return list;
}

Result<BlockNode*> BlockSet::insert(BlockNode::Options options)
{
    if (options.node_name.empty())
        options.node_name = fmt::format("#block{:03}", automatic_++);
    else if (options.node_name.size() > 31)
        return Error(Errc::InvalidArgument, "Node name too long");
    if (find_node(options.node_name) != nullptr)
        return Error(Errc::Exists,
                     fmt::format("Duplicate nodes with node-name='{}'", options.node_name));
    auto node = GW_TRY(BlockNode::open(vm_->fds(), std::move(options)));
    node->set_active(active_);
    nodes_.push_back(std::move(node));
    return nodes_.back().get();
}

// "raw" stands on a file that is described in place or was opened before; both share its name.
Result<void> BlockSet::add_node(const qapi::BlockdevOptions& from)
{
    BlockNode::Options options;
    take_common(from, options);
    if (options.node_name.empty())
        return Error(Errc::InvalidArgument, "'node-name' must be specified for the root node");
    if (const auto* file = std::get_if<qapi::BlockdevOptionsFile>(&from.u)) {
        options.driver = "file";
        options.filename = file->filename;
    } else if (const auto* null = std::get_if<qapi::BlockdevOptionsNull>(&from.u)) {
        GW_TRY(take_null(*null, options));
    } else if (const auto* raw = std::get_if<qapi::BlockdevOptionsRaw>(&from.u)) {
        if (raw->offset.value_or(0) < 0 || raw->size.value_or(0) < 0)
            return Error(Errc::InvalidArgument, "'offset' and 'size' must not be negative");
        options.driver = "raw";
        options.offset = static_cast<std::uint64_t>(raw->offset.value_or(0));
        if (raw->size)
            options.size = static_cast<std::uint64_t>(*raw->size);
        if (const auto* name = std::get_if<std::string>(&raw->file.u)) {
            const BlockNode* below = find_node(*name);
            if (below == nullptr)
                return Error(Errc::NotFound,
                             fmt::format("Cannot find device='{0}' nor node-name='{0}'", *name));
            options.below = below->name();
            options.filename = below->options().filename;
            options.read_only = options.read_only || below->read_only();
            options.direct = below->options().direct;
            if (below->options().driver == "null-co")
                return Error(Errc::Unsupported, "raw over null-co is not supported");
        } else {
            const auto& inner = std::get<qapi::BlockdevFileOptions>(raw->file.u);
            const auto* file_options = std::get_if<qapi::BlockdevOptionsFile>(&inner.u);
            if (file_options == nullptr)
                return Error(Errc::Unsupported, "raw over null-co is not supported");
            options.filename = file_options->filename;
            options.read_only = options.read_only || inner.read_only.value_or(false);
            options.auto_read_only = inner.auto_read_only.value_or(options.auto_read_only);
            if (inner.cache)
                options.direct = inner.cache->direct.value_or(false);
        }
    }
    GW_TRY(insert(std::move(options)));
    return {};
}

Result<void> BlockSet::add_blockdev(std::string_view option)
{
    Json json = GW_TRY(parse_keyval(option, "driver"));
    if (!option.starts_with('{'))
        GW_TRY(type_words(json));
    qapi::BlockdevOptions options;
    GW_TRY(qapi::decode(json, qapi::Path(), options));
    return add_node(options);
}

Result<void> BlockSet::remove_node(std::string_view name)
{
    const BlockNode* node = find_node(name);
    if (node == nullptr)
        return Error(Errc::NotFound, fmt::format("Failed to find node with node-name='{}'", name));
    for (const auto& drive : drives_)
        if (drive->node == node)
            return Error(Errc::Busy, fmt::format("Node {} is in use", name));
    for (const auto& other : nodes_)
        if (other->options().below == name)
            return Error(Errc::Busy, fmt::format("Block device {} is in use", name));
    std::erase_if(nodes_, [node](const auto& entry) { return entry.get() == node; });
    return {};
}

// --- drives ------------------------------------------------------------------------------------

Drive* BlockSet::find_drive(std::string_view id) const noexcept
{
    for (const auto& drive : drives_)
        if (!id.empty() && drive->id == id)
            return drive.get();
    return nullptr;
}

std::vector<const Drive*> BlockSet::drives() const
{
    std::vector<const Drive*> list;
    for (const auto& drive : drives_)
        list.push_back(drive.get());
    return list;
}

std::vector<Drive*> BlockSet::default_disks(std::string_view interface) const
{
    std::vector<Drive*> list;
    for (const auto& drive : drives_)
        if (drive->interface == interface)
            list.push_back(drive.get());
    std::ranges::sort(list, {}, &Drive::index);
    return list;
}

Result<Drive*> BlockSet::add_drive(std::string_view text)
{
    const OptionList list = GW_TRY(OptionList::parse(text));
    GW_TRY(list.only({"file",
                      "if",
                      "id",
                      "index",
                      "format",
                      "driver",
                      "readonly",
                      "read-only",
                      "media",
                      "node-name",
                      "cache",
                      "cache.direct",
                      "cache.no-flush",
                      "aio",
                      "werror",
                      "rerror",
                      "discard",
                      "detect-zeroes",
                      "snapshot",
                      "auto-read-only"}));
    const std::string format = list.get_string("format", list.get_string("driver", "raw"));
    if (format != "raw" && format != "file" && format != "null-co")
        return Error(Errc::InvalidArgument, fmt::format("Unknown driver '{}'", format));
    if (GW_TRY(list.get_bool("snapshot", false)))
        return Error(Errc::Unsupported, "snapshot=on is not supported");
    const std::string media = list.get_string("media", "disk");
    if (media != "disk")
        return Error(Errc::Unsupported, fmt::format("media={} is not supported", media));

    BlockNode::Options options{.node_name = list.get_string("node-name"),
                               .driver = format,
                               .filename = list.get_string("file")};
    options.read_only =
        GW_TRY(list.get_bool(list.has("read-only") ? "read-only" : "readonly", false));
    options.auto_read_only = GW_TRY(list.get_bool("auto-read-only", false));
    GW_TRY(check_cache(list.get_string("cache", "writeback"), options));
    options.direct = GW_TRY(list.get_bool("cache.direct", options.direct));
    options.no_flush = GW_TRY(list.get_bool("cache.no-flush", options.no_flush));
    if (options.filename.empty() && format != "null-co")
        return Error(Errc::Unsupported, "a drive without a medium is not supported");

    auto drive = std::make_unique<Drive>();
    drive->interface = list.get_string("if", "ide");
    if (drive->interface != "none" && drive->interface != "ide" && drive->interface != "virtio")
        return Error(Errc::InvalidArgument,
                     fmt::format("unsupported bus type '{}'", drive->interface));
    const auto taken = default_disks(drive->interface);
    unsigned free = 0;
    while (std::ranges::any_of(taken, [&](const Drive* d) { return d->index == free; }))
        ++free;
    drive->index =
        static_cast<unsigned>(std::min<std::uint64_t>(GW_TRY(list.get_u64("index", free)), 1000));
    if (drive->interface != "none" && drive->index != free &&
        std::ranges::any_of(taken, [&](const Drive* d) { return d->index == drive->index; }))
        return Error(Errc::Exists, fmt::format("drive with bus={}, unit=0 (index={}) exists",
                                               drive->index, drive->index));
    drive->id = list.get_string(
        "id", drive->interface == "none" ? fmt::format("none{}", drives_.size())
                                         : fmt::format("{}{}-hd0", drive->interface, drive->index));
    GW_TRY(system::check_identifier(drive->id));
    if (find_drive(drive->id) != nullptr)
        return Error(Errc::Exists, fmt::format("Duplicate ID '{}' for drive", drive->id));
    drive->node = GW_TRY(insert(std::move(options)));
    drives_.push_back(std::move(drive));
    return drives_.back().get();
}

Result<BlockNode*> BlockSet::claim(std::string_view name, system::Object& user,
                                   std::string_view property)
{
    Drive* drive = find_drive(name);
    if (drive == nullptr) {
        BlockNode* node = find_node(name);
        if (node == nullptr)
            return Error(Errc::NotFound,
                         fmt::format("Property '{}' can't find value '{}'", property, name));
        for (const auto& other : drives_)
            if (other->node == node)
                return Error(Errc::Busy, fmt::format("Drive '{}' is already in use by another "
                                                     "device",
                                                     name));
        drives_.push_back(std::make_unique<Drive>(Drive{.node = node, .interface = "none"}));
        drive = drives_.back().get();
    } else if (drive->user != nullptr) {
        return Error(Errc::Busy,
                     fmt::format("Drive '{}' is already in use by another device", name));
    }
    drive->user = &user;
    return drive->node;
}

void BlockSet::release(system::Object& user) noexcept
{
    for (const auto& drive : drives_)
        if (drive->user == &user)
            drive->user = nullptr;
    std::erase_if(drives_,
                  [](const auto& drive) { return drive->id.empty() && drive->user == nullptr; });
}

Result<void> register_block(system::TypeRegistry& types)
{
    return types.add({.name = "block-set",
                      .parent = "object",
                      .user_creatable = false,
                      .description = "disk images and drives",
                      .create = [] { return std::unique_ptr<BlockSet>(new BlockSet()); }});
}

}  // namespace godwit::hw
