// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The monitors' options of the command line.
#include "monitor/monitor.h"
#include "system/command_line.h"

namespace godwit::monitor {

void MonitorSet::add_options(system::CommandLine& line)
{
    using system::Stage;
    line.add({.name = "mon",
              .parameters = "[chardev=]id[,mode=readline|control][,pretty=on|off]",
              .help = "a monitor on a character device: for people (readline) or QMP (control)",
              .stage = Stage::Monitors,
              .handle = [this](const std::string& text) { return add_mon(text); },
              .keys = "chardev:string mode:string pretty:boolean"});
    line.add({.name = "qmp",
              .parameters = "dev",
              .help = "QMP on dev: stdio, unix:PATH[,server=on,wait=off], tcp:..., fd:N",
              .stage = Stage::Monitors,
              .handle = [this](const std::string& text) { return add_qmp(text, false); }});
    line.add({.name = "qmp-pretty",
              .parameters = "dev",
              .help = "as -qmp, with indented answers",
              .stage = Stage::Monitors,
              .handle = [this](const std::string& text) { return add_qmp(text, true); }});
    line.add({.name = "monitor",
              .parameters = "dev",
              .help = "the human monitor on dev",
              .stage = Stage::Monitors,
              .handle = [this](const std::string& text) { return add_hmp(text); }});
    line.add({.name = "qtest",
              .parameters = "dev",
              .help = "a qtest server on dev",
              .stage = Stage::Monitors,
              .handle = [this](const std::string& text) { return add_qtest(text); }});
    line.add({.name = "qtest-log",
              .parameters = "file",
              .help = "where qtest's traffic is written down; none = nowhere, default stderr",
              .handle = [this](const std::string& text) { return set_qtest_log(text); }});
}

}  // namespace godwit::monitor
