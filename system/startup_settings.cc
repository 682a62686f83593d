// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The options that note something down, those that concern the process, and those that are accepted
// because QEMU has them.
#include "system/startup_private.h"
#include "util/flight_recorder.h"
#include "util/log.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

#include "godwit-config.h"

namespace godwit::system {

namespace {

using Handler = std::function<Result<void>(const std::string&)>;

Handler store(std::string& to)
{
    return [&to](const std::string& text) -> Result<void> {
        to = text;
        return {};
    };
}

Handler switch_on(bool& to)
{
    return [&to](const std::string&) -> Result<void> {
        to = true;
        return {};
    };
}

/// Later words win over earlier ones of the same key.
void merge(OptionList& into, const OptionList& words)
{
    for (const Option& word : words.all()) {
        into.take(word.key);
        into.set(word.key, word.value);
    }
}

Error not_accepted(std::string_view parameter, std::string_view value)
{
    return Error(Errc::InvalidArgument,
                 fmt::format("Parameter '{}' does not accept value '{}'", parameter, value));
}

Result<void> check_date(const std::string& base)
{
    if (base == "utc" || base == "localtime")
        return {};
    const auto shaped = [&](std::string_view shape) {
        return std::ranges::equal(
            base, shape, [](char c, char s) { return s == '0' ? c >= '0' && c <= '9' : c == s; });
    };
    if (shaped("0000-00-00") || shaped("0000-00-00T00:00:00"))
        return {};
    return Error(Errc::InvalidArgument, "invalid datetime format")
        .with_hint("valid formats: '2006-06-17T16:01:21' or '2006-06-17'");
}

Result<void> set_action(VmConfig& config, const std::string& text)
{
    const OptionList words = GW_TRY(OptionList::parse(text));
    GW_TRY(words.only({"reboot", "shutdown", "panic", "watchdog"}));
    if (const std::string* reboot = words.find("reboot")) {
        if (*reboot != "reset" && *reboot != "shutdown")
            return not_accepted("reboot", *reboot);
        config.no_reboot = *reboot == "shutdown";
    }
    if (const std::string* shutdown = words.find("shutdown")) {
        if (*shutdown != "poweroff" && *shutdown != "pause")
            return not_accepted("shutdown", *shutdown);
        config.no_shutdown = *shutdown == "pause";
    }
    return {};
}

constexpr std::string_view kLogItems[] = {
    "out_asm", "in_asm", "op",          "op_opt",    "op_ind", "int",          "exec", "cpu",
    "fpu",     "mmu",    "pcall",       "cpu_reset", "unimp",  "guest_errors", "page", "nochain",
    "tid",     "plugin", "invalid_mem", "vpu",       "strace", "per_thread",   "all",  "none"};

}  // namespace

void Startup::Impl::add_settings()
{
    VmConfig& config = vm.config();
    line.add({.name = "machine",
              .parameters = "[type=]NAME[,PROP=VALUE,...]",
              .help = "choose and set up the machine; repeats merge; 'help' lists the types",
              .handle = [this](const std::string& text) { return add_machine_words(text); },
              .alias = "M",
              .keys = "type:string accel:string memory-backend:string aux-ram-share:boolean "
                      "kernel-irqchip:string dumpdtb:string graphics:boolean usb:boolean "
                      "dump-guest-core:boolean mem-merge:boolean"});
    line.add({.name = "accel",
              .parameters = "[accel=]NAME[,PROP=VALUE,...]",
              .help = "what executes the guest: kvm, synth, qtest; the first of several that\n"
                      "works is taken; 'help' lists them",
              .handle = [this](const std::string& text) -> Result<void> {
                  if (help("accel", text))
                      return {};
                  if (machine_words.has("accel")) {
                      return Error(Errc::InvalidArgument, "The -accel and \"-machine accel=\" "
                                                          "options are incompatible");
                  }
                  auto words = GW_TRY(OptionList::parse(text, "accel"));
                  if (words.wants_help()) {
                      print_out(GW_TRY(
                          properties_help(vm.types(), words.get_string("accel") + "-accel")));
                      line.finish(0);
                      return {};
                  }
                  accels.push_back({.option = "-accel " + text, .words = std::move(words)});
                  return {};
              },
              .keys = "accel:string dirty-ring-size:number"});
    line.add({.name = "enable-kvm",
              .parameters = "",
              .help = "as -accel kvm",
              .handle = [this](const std::string&) -> Result<void> {
                  Accel accel{.option = "-enable-kvm", .words = {}};
                  accel.words.set("accel", "kvm");
                  accels.push_back(std::move(accel));
                  return {};
              }});
    line.add({.name = "m",
              .parameters = "[size=]SIZE[,slots=N,maxmem=SIZE]",
              .help = "guest memory; a bare number is MiB",
              .handle = [this](const std::string& text) -> Result<void> {
                  const OptionList words = GW_TRY(OptionList::parse(text, "size"));
                  GW_TRY(words.only({"size", "slots", "maxmem"}));
                  merge(memory, words);
                  return {};
              },
              .keys = "size:size slots:number maxmem:size"});
    line.add({.name = "smp",
              .parameters = "[[cpus=]N][,maxcpus=N][,sockets=N][,cores=N][,threads=N]",
              .help = "number and arrangement of virtual CPUs",
              .handle = [this](const std::string& text) -> Result<void> {
                  const OptionList words = GW_TRY(OptionList::parse(text, "cpus"));
                  GW_TRY(words.only({"cpus", "maxcpus", "sockets", "dies", "modules", "clusters",
                                     "cores", "threads"}));
                  merge(smp, words);
                  return {};
              },
              .keys = "cpus:number sockets:number dies:number cores:number threads:number "
                      "maxcpus:number"});
    line.add({.name = "numa",
              .parameters = "node[,memdev=ID]",
              .help = "take guest memory from the memory back end ID",
              .handle = [this](const std::string& text) -> Result<void> {
                  OptionList words = GW_TRY(OptionList::parse(text, "type"));
                  const std::string type = words.take("type").value_or("");
                  if (type != "node")
                      return not_accepted("type", type);
                  GW_TRY(words.only({"memdev", "nodeid", "cpus", "mem", "initiator"}));
                  if (words.has("mem"))
                      return Error(Errc::Unsupported, "Parameter -numa node,mem is not supported "
                                                      "by this machine type");
                  numa_nodes.push_back(std::move(words));
                  return {};
              },
              .keys = "type:string memdev:string nodeid:number"});
    line.add({.name = "cpu",
              .parameters = "MODEL[,FEATURE=on|off,...]",
              .help = "CPU model; 'help' lists them",
              .handle = [this](const std::string& text) -> Result<void> {
                  if (!help("cpu", text))
                      vm.config().cpu_model = text;
                  return {};
              }});
    line.add({.name = "name",
              .parameters = "[guest=]NAME[,process=NAME][,debug-threads=on|off]",
              .help = "name of the guest",
              .handle = [this](const std::string& text) -> Result<void> {
                  const OptionList words = GW_TRY(OptionList::parse(text, "guest"));
                  GW_TRY(words.only({"guest", "process", "debug-threads"}));
                  GW_TRY(words.get_bool("debug-threads", false));
                  vm.config().name = words.get_string("guest");
                  return {};
              },
              .keys = "guest:string process:string debug-threads:boolean"});
    line.add({.name = "uuid",
              .parameters = "UUID",
              .help = "the machine's UUID",
              .handle = [this](const std::string& text) -> Result<void> {
                  vm.config().uuid = GW_TRY(parse_uuid(text));
                  return {};
              }});
    line.add({.name = "rtc",
              .parameters = "[base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew]",
              .help = "the guest's wall clock",
              .handle = [this](const std::string& text) -> Result<void> {
                  const OptionList words = GW_TRY(OptionList::parse(text));
                  GW_TRY(words.only({"base", "clock", "driftfix"}));
                  const std::string base = words.get_string("base", "utc");
                  GW_TRY(check_date(base));
                  vm.config().rtc_base = base;
                  return {};
              },
              .keys = "base:string clock:string driftfix:string"});
    line.add({.name = "kernel",
              .parameters = "FILE",
              .help = "boot this kernel",
              .handle = store(config.kernel)});
    line.add({.name = "initrd",
              .parameters = "FILE",
              .help = "its initial RAM disk",
              .handle = store(config.initrd)});
    line.add({.name = "append",
              .parameters = "TEXT",
              .help = "its command line",
              .handle = store(config.append)});
    line.add({.name = "bios",
              .parameters = "FILE",
              .help = "firmware image",
              .handle = store(config.firmware)});
    line.add({.name = "dtb",
              .parameters = "FILE",
              .help = "device tree for the kernel",
              .handle = [this](const std::string& text) -> Result<void> {
                  machine_words.set("dtb", text);
                  return {};
              }});
    line.add({.name = "S",
              .parameters = "",
              .help = "do not start the guest ('cont' does)",
              .handle = switch_on(config.stopped)});
    line.add({.name = "no-reboot",
              .parameters = "",
              .help = "end instead of resetting",
              .handle = switch_on(config.no_reboot)});
    line.add({.name = "no-shutdown",
              .parameters = "",
              .help = "stop instead of ending when the guest powers off",
              .handle = switch_on(config.no_shutdown)});
    line.add({.name = "action",
              .parameters = "EVENT=ACTION[,...]",
              .help = "reboot=reset|shutdown, shutdown=poweroff|pause",
              .handle = [this](const std::string& text) { return set_action(vm.config(), text); },
              .keys = "reboot:string shutdown:string panic:string watchdog:string"});
    line.add({.name = "nodefaults",
              .parameters = "",
              .help = "no devices but those asked for",
              .handle = [this](const std::string&) -> Result<void> {
                  vm.config().defaults = false;
                  return {};
              }});
    line.add({.name = "nographic",
              .parameters = "",
              .help = "serial port and monitor on the terminal",
              .handle = switch_on(config.nographic)});
    line.add({.name = "global",
              .parameters = "DRIVER.PROP=VALUE",
              .help = "another default for a property of every device of a type",
              .handle = [this](const std::string& text) { return add_global(text); },
              .keys = "driver:string property:string value:string"});
}

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
              .parameters = "[enable=]PATTERN[,file=FILE]",
              .help = "log what the flight recorder sees; 'help' lists the events",
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
    line.add({.name = "msg",
              .parameters = "[timestamp=on|off][,guest-name=on|off]",
              .help = "what stands before each line on standard error",
              .stage = Stage::Process,
              .handle = [this](const std::string& text) -> Result<void> {
                  const OptionList words = GW_TRY(OptionList::parse(text));
                  GW_TRY(words.only({"timestamp", "guest-name"}));
                  log_sink.set_timestamps(GW_TRY(words.get_bool("timestamp", false)));
                  GW_TRY(words.get_bool("guest-name", false));
                  return {};
              },
              .keys = "timestamp:boolean guest-name:boolean"});
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

/// What QEMU's users and harnesses say to switch things off that we do not have.
void Startup::Impl::add_ignored_options()
{
    struct Choice {
        std::string_view name;
        std::string_view parameters;
        std::string_view help;
        std::string_view accepted;  // words, or "" for any text
        std::string_view parameter;
    };
    static constexpr auto kChoices = std::to_array<Choice>({
        {"display", "none", "there is no display", " none ", "type"},
        {"vga", "none", "there is no graphics card", " none std ", "vga"},
        {"net", "none", "there is no network by default", " none ", "type"},
        {"nic", "none", "there is no network by default", " none ", "type"},
        {"parallel", "none|null", "there is no parallel port", " none null ", "parallel"},
        {"audio", "none", "there is no sound", " none ", "driver"},
        {"audiodev", "none,id=ID", "there is no sound", " none ", "driver"},
        {"boot", "[order=]DRIVES[,...]", "accepted: the first disk is booted", "", ""},
        {"L", "PATH", "accepted: no file of an installation is needed", "", ""},
        {"k", "LANGUAGE", "accepted: there is no keyboard", "", ""},
        {"overcommit", "[mem-lock=on|off][,cpu-pm=on|off]", "accepted", "", ""},
        {"watchdog-action", "ACTION", "accepted: there is no watchdog", "", ""},
    });
    for (const Choice& choice : kChoices) {
        line.add({.name = choice.name,
                  .parameters = choice.parameters,
                  .help = choice.help,
                  .handle = [&choice](const std::string& text) -> Result<void> {
                      const std::string word = text.substr(0, text.find(','));
                      const bool known =
                          choice.accepted.empty() ||
                          choice.accepted.find(" " + word + " ") != std::string_view::npos;
                      if (known)
                          return {};
                      return not_accepted(choice.parameter, word);
                  }});
    }
    for (const std::string_view name : {"no-user-config", "no-fd-bootchk"}) {
        line.add({.name = name,
                  .parameters = "",
                  .help = "accepted: we read no configuration files and check no signatures"});
    }
}

}  // namespace godwit::system
