// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Human commands that run, stop and poke the machine.
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

/// A command without arguments that does what a QMP command does and says nothing.
HmpCommand same_as_qmp(std::string name, std::string help, std::string qmp)
{
    return {.name = std::move(name),
            .help = std::move(help),
            .run = [qmp = std::move(qmp)](HmpContext& context, const HmpArgs&,
                                          HmpOutput&) -> Result<void> {
                GW_TRY(context.qmp(qmp));
                return {};
            }};
}

Result<void> choose_cpu(HmpContext& context, const HmpArgs& args, HmpOutput& out)
{
    const std::int64_t index = args.number("index");
    if (index < 0 || static_cast<std::size_t>(index) >= context.vm.vcpus().size())
        out.print("invalid CPU index\n");
    else
        context.cpu_index = static_cast<unsigned>(index);
    return {};
}

/// A failed write is reported as the QMP command words it.
Result<void> save_memory(std::string_view command, HmpContext& context, const HmpArgs& args)
{
    Json arguments = {{"val", static_cast<std::uint64_t>(args.number("val"))},
                      {"size", args.number("size")},
                      {"filename", args.text("filename")}};
    if (command == "memsave")
        arguments["cpu-index"] = context.cpu_index;
    GW_TRY(context.qmp(command, arguments));
    return {};
}

HmpCommand save_command(std::string name, std::string_view what)
{
    return {.name = name,
            .args = "val:l,size:i,filename:s",
            .params = "addr size file",
            .help =
                fmt::format("save to disk {} memory dump starting at 'addr' of size 'size'", what),
            .run = [name](HmpContext& context, const HmpArgs& args, HmpOutput&) {
                return save_memory(name, context, args);
            }};
}

}  // namespace

void add_control_commands(HmpTable& table)
{
    table.add(same_as_qmp("stop|s", "stop emulation", "stop"));
    table.add(same_as_qmp("cont|c", "resume emulation", "cont"));
    table.add(same_as_qmp("quit|q", "quit the emulator", "quit"));
    table.add(same_as_qmp("system_reset", "reset the system", "system_reset"));
    table.add(same_as_qmp("system_powerdown", "send system power down event", "system_powerdown"));
    table.add(same_as_qmp("system_wakeup", "wakeup guest from suspend", "system_wakeup"));
    table.add(same_as_qmp("nmi", "inject an NMI", "inject-nmi"));
    table.add({.name = "cpu",
               .args = "index:i",
               .params = "index",
               .help = "set the default CPU",
               .run = choose_cpu});
    table.add({.name = "help|?",
               .args = "name:S?",
               .params = "[cmd]",
               .help = "show the help",
               .run = [&table](HmpContext&, const HmpArgs& args, HmpOutput& out) -> Result<void> {
                   out.print(hmp_help(table, args.text("name")));
                   return {};
               }});
    table.add({.name = "info",
               .args = "item:s?",
               .params = "[subcommand]",
               .help = "show various information about the system state",
               .run = [&table](HmpContext&, const HmpArgs&, HmpOutput& out) -> Result<void> {
                   out.print(hmp_help(table, "info"));
                   return {};
               }});
    table.add({.name = "dumpdtb",
               .args = "filename:F",
               .params = "filename",
               .help = "dump the FDT in dtb format to 'filename'",
               .run = [](HmpContext& context, const HmpArgs& args, HmpOutput&) -> Result<void> {
                   GW_TRY(context.qmp("dumpdtb", {{"filename", args.text("filename")}}));
                   return {};
               }});
    table.add(save_command("memsave", "virtual"));
    table.add(save_command("pmemsave", "physical"));
}

}  // namespace godwit::monitor
