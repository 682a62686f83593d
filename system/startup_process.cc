// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The options that concern the process: log, daemon, sandbox, modules, files with more options.
#include "system/config_file.h"
#include "system/startup_private.h"
#include "util/flight_recorder.h"
#include "util/log.h"
#include "util/read_file.h"

#include <algorithm>
#include <fmt/format.h>

#include "godwit-config.h"

namespace godwit::system {

namespace {

constexpr std::string_view kLogItems[] = {
    "out_asm", "in_asm", "op",          "op_opt",    "op_ind", "int",          "exec", "cpu",
    "fpu",     "mmu",    "pcall",       "cpu_reset", "unimp",  "guest_errors", "page", "nochain",
    "tid",     "plugin", "invalid_mem", "vpu",       "strace", "per_thread",   "all",  "none"};

/// A pattern a line, as -trace events= has them; '#' begins a remark.
Result<void> read_trace_patterns(const std::string& path, std::vector<std::string>& patterns)
{
    const std::string text = GW_TRY(read_small_file(path));
    std::string_view rest = text;
    while (!rest.empty()) {
        std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        const auto begin = line.find_first_not_of(" \t\r");
        if (begin == std::string_view::npos || line[begin] == '#')
            continue;
        const auto end = line.find_last_not_of(" \t\r");
        patterns.emplace_back(line.substr(begin, end + 1 - begin));
    }
    return {};
}

/// What -name calls the guest, before that option has its turn.
std::string guest_name(const CommandLine& line)
{
    std::string name;
    for (const std::string& text : line.arguments("name")) {
        if (const auto words = OptionList::parse(text, "guest"))
            name = words->get_string("guest", name);
    }
    return name;
}

/// -readconfig: each section becomes an option that stands here.
Result<void> read_config(CommandLine& line, const std::string& path)
{
    const std::string text = GW_TRY(read_small_file(path));
    for (const ConfigSection& section : GW_TRY(parse_config(text))) {
        const CommandLineOption* option = line.find_group(section.group);
        if (!option) {
            return Error(Errc::InvalidArgument, fmt::format("{}: There is no option group '{}'",
                                                            section.line, section.group));
        }
        GW_TRY(
            line.insert(option->name, section.options.to_string(),
                        fmt::format("-readconfig {}:{}: [{}]", path, section.line, section.group)));
    }
    return {};
}

Result<void> set_messages(const std::string& text, CommandLine& line, StreamLogSink& sink)
{
    const OptionList words = GW_TRY(OptionList::parse(text));
    GW_TRY(words.only({"timestamp", "guest-name"}));
    const bool timestamps = GW_TRY(words.get_bool("timestamp", false));
    const bool named = GW_TRY(words.get_bool("guest-name", false));
    sink.set_timestamps(timestamps);
    sink.set_guest(named ? guest_name(line) : "");
    return {};
}

}  // namespace

void Startup::Impl::add_process_options()
{
    line.add({.name = "h",
              .parameters = "",
              .help = "print this and exit",
              .stage = Stage::Process,
              .handle = [this](const std::string&) -> Result<void> {
                  print_out(
                      fmt::format("usage: {} [options] [disk_image]\n\n{}", program, line.help()));
                  line.finish(0);
                  return {};
              },
              .alias = "help"});
    line.add({.name = "version",
              .parameters = "",
              .help = "print the version and exit",
              .stage = Stage::Process,
              .handle = [this](const std::string&) -> Result<void> {
                  print_out("Godwit emulator version " GW_VERSION
                            " (compatible with QEMU emulator version 10.0.2)\n");
                  line.finish(0);
                  return {};
              }});
    line.add({.name = "daemonize",
              .parameters = "",
              .help = "go into the background once everything is set up",
              .stage = Stage::Process,
              .handle = switch_on(daemonize)});
    line.add({.name = "pidfile",
              .parameters = "FILE",
              .help = "write our process id there, and lock it",
              .stage = Stage::Process,
              .handle = store(pid_path)});
    line.add({.name = "sandbox",
              .parameters = "on[,obsolete=allow|deny][,elevateprivileges=allow|deny|children]"
                            "[,spawn=allow|deny][,resourcecontrol=allow|deny]",
              .help = "filter our own system calls",
              .stage = Stage::Process,
              .handle = [this](const std::string& text) -> Result<void> {
                  sandbox = GW_TRY(parse_sandbox(text));
                  return {};
              },
              .keys = "enable:boolean obsolete:string elevateprivileges:string spawn:string "
                      "resourcecontrol:string"});
    line.add({.name = "trace",
              .parameters = "[enable=]PATTERN[,events=FILE][,file=FILE]",
              .help = "log what the flight recorder sees; 'help' lists the events, to which\n"
                      "devices and plugins add theirs",
              .stage = Stage::Process,
              .handle = [this](const std::string& text) -> Result<void> {
                  const OptionList words = GW_TRY(OptionList::parse(text, "enable"));
                  GW_TRY(words.only({"enable", "events", "file"}));
                  if (words.get_string("enable") == "help") {
                      for (const TraceEventInfo* event : vm.recorder().declared())
                          print_out(std::string(event->name) + "\n");
                      line.finish(0);
                      return {};
                  }
                  if (const std::string* pattern = words.find("enable"))
                      trace_patterns.push_back(*pattern);
                  if (const std::string* path = words.find("events"))
                      GW_TRY(read_trace_patterns(*path, trace_patterns));
                  if (const std::string* file = words.find("file"))
                      log_path = *file;
                  return {};
              },
              .keys = "enable:string events:string file:string"});
    line.add({.name = "D",
              .parameters = "FILE",
              .help = "where -trace and -d write",
              .stage = Stage::Process,
              .handle = store(log_path)});
    line.add({.name = "d",
              .parameters = "ITEM[,...]",
              .help = "items to log; trace:PATTERN is as -trace, the others are accepted",
              .stage = Stage::Process,
              .handle = [this](const std::string& text) -> Result<void> {
                  std::string_view rest = text;
                  while (!rest.empty()) {
                      const std::string_view item = rest.substr(0, rest.find(','));
                      rest.remove_prefix(std::min(item.size() + 1, rest.size()));
                      if (item.starts_with("trace:")) {
                          trace_patterns.emplace_back(item.substr(6));
                      } else if (item == "help" || item == "?") {
                          print_out(fmt::format("Log items (comma separated):\n{}\n",
                                                fmt::join(kLogItems, "\n")));
                          line.finish(0);
                      } else if (std::ranges::find(kLogItems, item) == std::end(kLogItems)) {
                          return Error(Errc::InvalidArgument,
                                       fmt::format("unknown log item '{}'", item));
                      }
                  }
                  return {};
              }});
    line.add(
        {.name = "msg",
         .parameters = "[timestamp=on|off][,guest-name=on|off]",
         .help = "what stands before each line on standard error",
         .stage = Stage::Process,
         .handle = [this](const std::string& text) { return set_messages(text, line, log_sink); },
         .keys = "timestamp:boolean guest-name:boolean"});
    line.add({.name = "readconfig",
              .parameters = "FILE",
              .help = "read options from FILE: [group \"id\"] and key = \"value\" lines",
              .stage = Stage::Process,
              .handle = [this](const std::string& text) { return read_config(line, text); }});
    line.add({.name = "plugin",
              .parameters = "FILE",
              .help = "load a module that adds devices",
              .stage = Stage::Process,
              .handle = [this](const std::string& text) -> Result<void> {
                  plugins.push_back(text);
                  return {};
              },
              .alias = "module"});
}

}  // namespace godwit::system
