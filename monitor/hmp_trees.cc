// SPDX-License-Identifier: LGPL-2.1-or-later
//
// `info` topics that draw trees: memory, devices, objects.
#include "monitor/hmp_runner.h"
#include "system/accelerator.h"
#include "system/type_help.h"
#include "system/vm.h"
#include "util/json.h"

#include <algorithm>
#include <fmt/format.h>
#include <tuple>

namespace godwit::monitor {

namespace {

using system::AddressSpace;
using system::HmpArgs;
using system::HmpContext;
using system::HmpOutput;
using system::HmpTable;
using system::RegionKind;

std::string_view kind_name(RegionKind kind)
{
    switch (kind) {
    case RegionKind::Ram:
        return "ram";
    case RegionKind::Rom:
        return "rom";
    case RegionKind::RomDevice:
        return "romd";
    case RegionKind::Io:
        break;
    }
    return "i/o";
}

std::string span_text(std::uint64_t start, std::uint64_t size)
{
    return fmt::format("{:016x}-{:016x}", start, size ? start + (size - 1) : start);
}

std::string_view root_name(const AddressSpace& space)
{
    return space.name() == "I/O" ? "io" : "system";
}

/// Every region added, in the order of addresses; what is disabled says so.
void regions(AddressSpace& space, std::uint64_t last, HmpOutput& out)
{
    out.print(fmt::format("address-space: {}\n  {:016x}-{:016x} (prio 0, i/o): {}\n", space.name(),
                          0, last, root_name(space)));
    auto list = space.regions();
    std::ranges::sort(list, {}, [](const system::RegionSpec& region) {
        return std::tuple(region.start, -region.priority);
    });
    for (const auto& region : list)
        out.print(fmt::format("    {} (prio {}, {}): {}{}\n", span_text(region.start, region.size),
                              region.priority, kind_name(region.kind), region.name,
                              region.enabled ? "" : " [disabled]"));
    out.print("\n");
}

/// What an access finds: the flat view.
void flat_view(AddressSpace& space, unsigned number, HmpOutput& out)
{
    out.print(fmt::format("FlatView #{}\n AS \"{}\", root: {}\n Root memory region: {}\n", number,
                          space.name(), root_name(space), root_name(space)));
    const auto view = space.view();
    if (view->empty())
        out.print("  No rendered FlatView\n");
    for (const auto& section : *view) {
        const std::uint64_t offset = section.block ? section.block_offset : section.io_offset;
        const std::string at = offset ? fmt::format(" @{:016x}", offset) : "";
        out.print(fmt::format("  {} (prio 0, {}): {}{}\n", span_text(section.start, section.size),
                              kind_name(section.kind),
                              section.block && section.kind == RegionKind::Ram ? section.block->id()
                                                                               : section.name,
                              at));
    }
    out.print("\n");
}

Result<void> mtree(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    system::Vm& vm = context.vm;
    if (args.flag("flatview")) {
        flat_view(vm.io(), 0, out);
        flat_view(vm.memory(), 1, out);
    } else {
        regions(vm.io(), 0xffff, out);
        regions(vm.memory(), ~std::uint64_t{0}, out);
    }
    return {};
}

/// A property's value as QEMU's tree shows it: numbers also in hexadecimal.
std::string shown(const Json& value)
{
    if (value.is_number_unsigned() || (value.is_number_integer() && value.get<std::int64_t>() >= 0))
        return fmt::format("{} (0x{:x})", value.get<std::uint64_t>(), value.get<std::uint64_t>());
    return dump_json(value);
}

class DeviceTree {
public:
    DeviceTree(HmpOutput& out, bool brief) : out_(out), brief_(brief) {}

    /// `apart` are devices that sit on no bus, shown after its own.
    void bus(const system::Bus& bus, const std::vector<const system::Device*>& apart = {})
    {
        line(fmt::format("bus: {}", bus.name()));
        ++level_;
        if (!brief_)
            line(fmt::format("type {}", bus.type()));
        for (const system::Device* child : bus.devices())
            device(*child);
        for (const system::Device* child : apart)
            device(*child);
        --level_;
    }

private:
    void device(const system::Device& device)
    {
        line(fmt::format("dev: {}, id \"{}\"", device.type_name(), device.id()));
        ++level_;
        if (!brief_)
            details(device);
        for (const auto& child : device.buses())
            bus(*child);
        --level_;
    }

    void details(const system::Device& device)
    {
        for (const auto& list : device.gpio_lists()) {
            if (!list->inputs.empty())
                line(fmt::format("gpio-in \"{}\" {}", list->name, list->inputs.size()));
            if (!list->outputs.empty())
                line(fmt::format("gpio-out \"{}\" {}", list->name, list->outputs.size()));
        }
        for (const system::Property* property : device.properties()) {
            const bool structure = property->type.starts_with("child<") || !property->set ||
                                   property->name == "type" || property->name == "realized";
            if (structure || !property->get)
                continue;
            if (const auto value = property->get(device))
                line(fmt::format("{} = {}", property->name, shown(*value)));
        }
    }

    void line(std::string_view text)
    {
        out_.print(std::string(level_ * 2, ' '));
        out_.print(text);
        out_.print("\n");
    }

    HmpOutput& out_;
    bool brief_;
    std::size_t level_ = 0;
};

Result<void> qtree(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    // A board's own chips are on no bus; QEMU has them on this one. vCPUs are not shown.
    const system::DeviceManager& devices = context.vm.devices();
    std::vector<const system::Device*> apart;
    for (const system::Device* device : devices.devices())
        if (!device->parent_bus() && !dynamic_cast<const system::Vcpu*>(device))
            apart.push_back(device);
    DeviceTree(out, args.flag("brief")).bus(context.vm.devices().system_bus(), apart);
    return {};
}

void objects(const system::Object& object, std::size_t level, HmpOutput& out)
{
    out.print(fmt::format("{}/{} ({})\n", std::string(level * 2, ' '), object.name(),
                          object.type_name()));
    auto children = object.children();
    std::ranges::sort(children, {}, [](const system::Object* child) { return child->name(); });
    for (const system::Object* child : children)
        objects(*child, level + 1, out);
}

Result<void> qom_tree(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    const std::string path = args.has("path") ? args.text("path") : "/machine";
    const system::Object* object = context.vm.root().resolve(path);
    if (!object)
        out.print(fmt::format("Path '{}' could not be resolved.\n", path));
    else
        objects(*object, 0, out);
    return {};
}

Result<void> qdm(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    out.print(system::devices_help(context.vm.types()));
    return {};
}

}  // namespace

void add_tree_commands(HmpTable& table)
{
    table.add_info({.name = "mtree",
                    .args = "flatview:-f,dispatch_tree:-d,owner:-o,disabled:-D",
                    .params = "[-f][-d][-o][-D]",
                    .help = "show memory tree (-f: dump flat view for address spaces)",
                    .run = mtree});
    table.add_info({.name = "qtree",
                    .args = "brief:-b",
                    .params = "[-b]",
                    .help = "show device tree (-b: brief, omit properties)",
                    .run = qtree});
    table.add_info({.name = "qom-tree",
                    .args = "path:s?",
                    .params = "[path]",
                    .help = "show QOM composition tree",
                    .run = qom_tree});
    table.add_info({.name = "qdm", .help = "show qdev device model list", .run = qdm});
}

}  // namespace godwit::monitor
