// SPDX-License-Identifier: LGPL-2.1-or-later
//
// `info` topics that say in a few lines what a query-... command answers.
#include "monitor/hmp_runner.h"
#include "system/vm.h"
#include "util/json.h"

#include <fmt/format.h>

namespace godwit::monitor {

namespace {

using system::HmpArgs;
using system::HmpCommand;
using system::HmpContext;
using system::HmpOutput;
using system::HmpTable;

/// A member as text; "" if it is not there.
std::string text_of(const Json& object, const char* member)
{
    const auto found = object.find(member);
    if (found == object.end())
        return {};
    return found->is_string() ? found->get<std::string>() : dump_json(*found);
}

bool flag_of(const Json& object, const char* member)
{
    return text_of(object, member) == "true";
}

std::string_view on_off(bool on)
{
    return on ? "true" : "false";
}

Result<void> status(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    const Json info = GW_TRY(context.qmp("query-status"));
    const std::string state = text_of(info, "status");
    out.print(flag_of(info, "running") ? "VM status: running" : "VM status: paused");
    if (!flag_of(info, "running") && state != "paused")
        out.print(fmt::format(" ({})", state));
    out.print("\n");
    return {};
}

Result<void> version(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    const Json info = GW_TRY(context.qmp("query-version"));
    const Json& number = info["qemu"];
    out.print(fmt::format("{}.{}.{}{}\n", text_of(number, "major"), text_of(number, "minor"),
                          text_of(number, "micro"), text_of(info, "package")));
    return {};
}

Result<void> name(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    const std::string text = text_of(GW_TRY(context.qmp("query-name")), "name");
    if (!text.empty())
        out.print(text + "\n");
    return {};
}

Result<void> uuid(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    out.print(text_of(GW_TRY(context.qmp("query-uuid")), "UUID") + "\n");
    return {};
}

Result<void> kvm(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    const Json info = GW_TRY(context.qmp("query-kvm"));
    out.print("kvm support: ");
    if (!flag_of(info, "present"))
        out.print("not compiled\n");
    else
        out.print(flag_of(info, "enabled") ? "enabled\n" : "disabled\n");
    return {};
}

Result<void> chardevs(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    for (const Json& info : GW_TRY(context.qmp("query-chardev")))
        out.print(
            fmt::format("{}: filename={}\n", text_of(info, "label"), text_of(info, "filename")));
    return {};
}

void print_block(const Json& info, HmpOutput& out)
{
    const auto inserted = info.find("inserted");
    std::string title = text_of(info, "device");
    if (inserted != info.end()) {
        if (title.empty())
            title = text_of(*inserted, "node-name");
        out.print(fmt::format("{}: {} ({}{})\n", title, text_of(*inserted, "file"),
                              text_of(*inserted, "drv"),
                              flag_of(*inserted, "ro") ? ", read-only" : ""));
    } else {
        out.print(fmt::format("{}: [not inserted]\n", title));
    }
    if (info.contains("qdev"))
        out.print(fmt::format("    Attached to:      {}\n", text_of(info, "qdev")));
    if (flag_of(info, "removable"))
        out.print(fmt::format("    Removable device: {}locked, tray {}\n",
                              flag_of(info, "locked") ? "" : "not ",
                              flag_of(info, "tray_open") ? "open" : "closed"));
    if (inserted != info.end() && inserted->contains("cache")) {
        const Json& cache = (*inserted)["cache"];
        out.print(fmt::format("    Cache mode:       {}{}{}\n",
                              flag_of(cache, "writeback") ? "writeback" : "writethrough",
                              flag_of(cache, "direct") ? ", direct" : "",
                              flag_of(cache, "no-flush") ? ", ignore flushes" : ""));
    }
}

Result<void> block(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    const std::string wanted = args.text("device");
    bool first = true;
    for (const Json& info : GW_TRY(context.qmp("query-block"))) {
        if (!wanted.empty() && text_of(info, "device") != wanted)
            continue;
        if (!std::exchange(first, false))
            out.print("\n");
        print_block(info, out);
    }
    return {};
}

Result<void> cpus(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    for (const system::Vcpu* cpu : context.vm.vcpus())
        out.print(fmt::format("{} CPU #{}: thread_id={}\n",
                              cpu->index() == context.cpu_index ? '*' : ' ', cpu->index(),
                              cpu->thread_id()));
    return {};
}

Result<void> registers(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    const auto& all = context.vm.vcpus();
    if (args.has("vcpu") &&
        (args.number("vcpu") < 0 || static_cast<std::size_t>(args.number("vcpu")) >= all.size())) {
        out.print(fmt::format("CPU#{} not available\n", args.number("vcpu")));
        return {};
    }
    if (context.cpu_index >= all.size()) {
        out.print("No CPU available\n");
        return {};
    }
    const auto chosen = static_cast<std::size_t>(args.number("vcpu", context.cpu_index));
    for (std::size_t i = 0; i < all.size(); ++i)
        if (args.flag("cpustate_all") || i == chosen)
            out.print(fmt::format("\nCPU#{}\n{}", i, all[i]->describe_registers()));
    return {};
}

Result<void> lapic(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    const auto& all = context.vm.vcpus();
    const std::int64_t wanted = args.number("apic-id", context.cpu_index);
    if (wanted < 0 || static_cast<std::size_t>(wanted) >= all.size())
        out.print("No CPU available\n");
    else
        out.print(all[static_cast<std::size_t>(wanted)]->describe_apic());
    return {};
}

Result<void> iothreads(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    for (const Json& info : GW_TRY(context.qmp("query-iothreads"))) {
        out.print(text_of(info, "id") + ":\n");
        for (const char* member :
             {"thread-id", "poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch"})
            out.print(fmt::format("  {}={}\n",
                                  member == std::string_view("thread-id") ? "thread_id" : member,
                                  text_of(info, member)));
    }
    return {};
}

Result<void> memdev(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    const Json list = GW_TRY(context.qmp("query-memdev"));
    for (const Json& info : list) {
        std::string nodes;
        for (const Json& node : info["host-nodes"])
            nodes += (nodes.empty() ? "" : " ") + dump_json(node);
        out.print(fmt::format("memory backend: {}\n  size:  {}\n", text_of(info, "id"),
                              text_of(info, "size")));
        for (const char* member : {"merge", "dump", "prealloc", "share", "reserve"})
            out.print(fmt::format("  {}: {}\n", member, on_off(flag_of(info, member))));
        out.print(fmt::format("  policy: {}\n  host nodes: {}\n", text_of(info, "policy"), nodes));
    }
    out.print("\n");
    return {};
}

Result<void> memory_size(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    const Json info = GW_TRY(context.qmp("query-memory-size-summary"));
    out.print(fmt::format("base memory: {}\n", text_of(info, "base-memory")));
    if (info.contains("plugged-memory"))
        out.print(fmt::format("plugged memory: {}\n", text_of(info, "plugged-memory")));
    return {};
}

Result<void> numa(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    const system::VmConfig& config = context.vm.config();
    const auto& nodes = config.numa_nodes;
    out.print(fmt::format("{} nodes\n", nodes.size()));
    if (nodes.empty())
        return {};
    const Json list = GW_TRY(context.qmp("query-memdev"));
    for (std::size_t node = 0; node < nodes.size(); ++node) {
        std::string cpus_text;
        for (std::size_t i = 0; i < context.vm.vcpus().size(); ++i)
            if (i < config.cpu_nodes.size() && config.cpu_nodes[i] == node)
                cpus_text += fmt::format(" {}", i);
        std::uint64_t bytes = 0;
        for (const Json& info : list)
            if (text_of(info, "id") == nodes[node].memdev)
                bytes = info["size"].get<std::uint64_t>();
        out.print(fmt::format("node {0} cpus:{1}\nnode {0} size: {2} MB\nnode {0} plugged: 0 MB\n",
                              node, cpus_text, bytes >> 20));
    }
    return {};
}

Result<void> ramblock(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    out.print(text_of(GW_TRY(context.qmp("x-query-ramblock")), "human-readable-text"));
    return {};
}

Result<void> hotpluggable_cpus(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    out.print("Hotpluggable CPUs:\n");
    for (const Json& info : GW_TRY(context.qmp("query-hotpluggable-cpus"))) {
        out.print(fmt::format("  type: \"{}\"\n  vcpus_count: \"{}\"\n", text_of(info, "type"),
                              text_of(info, "vcpus-count")));
        if (info.contains("qom-path"))
            out.print(fmt::format("  qom_path: \"{}\"\n", text_of(info, "qom-path")));
        out.print("  CPUInstance Properties:\n");
        for (const auto& [key, value] : info["props"].items())
            out.print(fmt::format("    {}: \"{}\"\n", key, dump_json(value)));
    }
    return {};
}

Result<void> history(HmpContext& context, const HmpArgs&, HmpOutput& out)
{
    for (std::size_t i = 0; i < context.history.size(); ++i)
        out.print(fmt::format("{}: '{}'\n", i, context.history[i]));
    return {};
}

HmpCommand topic(std::string name, std::string help,
                 Result<void> (*run)(HmpContext&, const HmpArgs&, HmpOutput&))
{
    return {.name = std::move(name), .help = std::move(help), .run = run};
}

}  // namespace

void add_info_commands(HmpTable& table)
{
    table.add_info(topic("status", "show the current VM status (running|paused)", status));
    table.add_info(topic("version", "show the version of the program", version));
    table.add_info(topic("name", "show the current VM name", name));
    table.add_info(topic("uuid", "show the current VM UUID", uuid));
    table.add_info(topic("kvm", "show KVM information", kvm));
    table.add_info(topic("chardev", "show the character devices", chardevs));
    table.add_info(topic("cpus", "show infos for each CPU", cpus));
    table.add_info(topic("iothreads", "show iothreads", iothreads));
    table.add_info(topic("memdev", "show memory backends", memdev));
    table.add_info(topic("memory_size_summary",
                         "show the amount of initially allocated and present hotpluggable (if "
                         "enabled) memory in bytes.",
                         memory_size));
    table.add_info(topic("history", "show the command line history", history));
    table.add_info(topic("numa", "show NUMA information", numa));
    table.add_info(topic("ramblock", "Display system ramblock information", ramblock));
    table.add_info(
        topic("hotpluggable-cpus", "Show information about hotpluggable CPUs", hotpluggable_cpus));
    table.add_info({.name = "network",
                    .help = "show the network state",
                    .run = [](HmpContext&, const HmpArgs&, HmpOutput&) -> Result<void> {
                        return {};  // there are no network back ends
                    }});
    table.add_info({.name = "block",
                    .args = "nodes:-n,verbose:-v,device:B?",
                    .params = "[-n] [-v] [device]",
                    .help = "show info of one block device or all block devices (-n: show named "
                            "nodes; -v: show details)",
                    .run = block});
    table.add_info({.name = "registers",
                    .args = "cpustate_all:-a,vcpu:i?",
                    .params = "[-a|vcpu]",
                    .help = "show the cpu registers (-a: show register info for all cpus; vcpu: "
                            "specific vCPU to query; show the current CPU's registers if no "
                            "argument is specified)",
                    .run = registers});
    table.add_info({.name = "lapic",
                    .args = "apic-id:i?",
                    .params = "[apic-id]",
                    .help = "show local apic state (apic-id: local apic to read, default is which "
                            "of current CPU)",
                    .run = lapic});
}

}  // namespace godwit::monitor
