// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The options that note something down, and those that are accepted because QEMU has them.
#include "system/startup_private.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace godwit::system {

namespace {

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

/// The value of `key`, if there is one, is one of these.
Result<void> one_of(const OptionList& words, std::string_view key,
                    std::initializer_list<std::string_view> known)
{
    const std::string* value = words.find(key);
    if (!value || std::ranges::find(known, *value) != known.end())
        return {};
    return not_accepted(key, *value);
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
    GW_TRY(one_of(words, "reboot", {"reset", "shutdown"}));
    GW_TRY(one_of(words, "shutdown", {"poweroff", "pause"}));
    GW_TRY(one_of(words, "panic", {"pause", "shutdown", "exit-failure", "none"}));
    GW_TRY(one_of(words, "watchdog",
                  {"reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"}));
    if (const std::string* reboot = words.find("reboot"))
        config.no_reboot = *reboot == "shutdown";
    if (const std::string* shutdown = words.find("shutdown"))
        config.no_shutdown = *shutdown == "pause";
    return {};
}

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
              .keys = "size:size slots:number maxmem:size",
              .group = "memory"});
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
                      "maxcpus:number",
              .group = "smp-opts"});
    line.add({.name = "numa",
              .parameters = "node[,memdev=ID][,cpus=FIRST[-LAST]]...[,nodeid=N]",
              .help = "a NUMA node with memory from the back end ID, and its vCPUs",
              .handle = [this](const std::string& text) { return add_numa(text); },
              .keys = "type:string memdev:string cpus:string nodeid:number"});
    line.add({.name = "cpu",
              .parameters = "MODEL[,FEATURE=on|off,...]",
              .help = "CPU model; 'help' lists them",
              .handle = [this](const std::string& text) -> Result<void> {
                  if (text.empty())
                      return Error(Errc::InvalidArgument, "-cpu option cannot be empty");
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
                  GW_TRY(one_of(words, "clock", {"host", "rt", "vm"}));
                  GW_TRY(one_of(words, "driftfix", {"none", "slew"}));
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
              .help = "refused: kernels get no device tree",
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

namespace {

/// The order itself changes nothing here, but a wrong one is a mistake all the same.
Result<void> check_drives(const std::string& drives)
{
    std::string seen;
    for (const char drive : drives) {
        if (drive < 'a' || drive > 'p')
            return Error(Errc::InvalidArgument, fmt::format("Invalid boot device '{}'", drive));
        if (seen.find(drive) != std::string::npos)
            return Error(Errc::InvalidArgument,
                         fmt::format("Boot device '{}' was given twice", drive));
        seen += drive;
    }
    return {};
}

Result<void> check_boot(const std::string& text)
{
    const OptionList words = GW_TRY(OptionList::parse(text, "order"));
    GW_TRY(
        words.only({"order", "once", "menu", "splash", "splash-time", "reboot-timeout", "strict"}));
    GW_TRY(check_drives(words.get_string("order")));
    GW_TRY(check_drives(words.get_string("once")));
    GW_TRY(words.get_bool("menu", false));
    GW_TRY(words.get_bool("strict", false));
    return {};
}

/// Who asks for locked memory counts on it: what we do not do is refused.
Result<void> check_overcommit(const std::string& text)
{
    const OptionList words = GW_TRY(OptionList::parse(text));
    GW_TRY(words.only({"mem-lock", "cpu-pm"}));
    GW_TRY(one_of(words, "mem-lock", {"on", "off", "on-fault"}));
    GW_TRY(words.get_bool("cpu-pm", false));
    if (words.get_string("mem-lock", "off") != "off")
        return Error(Errc::Unsupported,
                     fmt::format("mem-lock={} is not supported", words.get_string("mem-lock")));
    return {};
}

}  // namespace

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
        {"L", "PATH", "accepted: no file of an installation is needed", "", ""},
        {"k", "LANGUAGE", "accepted: there is no keyboard", "", ""},
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
    line.add({.name = "boot",
              .parameters = "[order=]DRIVES[,once=DRIVES][,menu=on|off][,strict=on|off]",
              .help = "accepted: the first disk is booted",
              .handle = check_boot,
              .keys = "order:string once:string menu:boolean strict:boolean"});
    line.add({.name = "overcommit",
              .parameters = "[mem-lock=off][,cpu-pm=on|off]",
              .help = "accepted; memory is not locked",
              .handle = check_overcommit,
              .keys = "mem-lock:string cpu-pm:boolean"});
    for (const std::string_view name : {"no-user-config", "no-fd-bootchk"}) {
        line.add({.name = name,
                  .parameters = "",
                  .help = "accepted: we read no configuration files and check no signatures"});
    }
}

}  // namespace godwit::system
