// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The options of the system room.
#include "system/plugin.h"
#include "system/startup_private.h"
#include "util/flight_recorder.h"
#include "util/hex.h"
#include "util/json.h"
#include "util/log.h"

#include <algorithm>
#include <fmt/format.h>

#include "godwit-config.h"

namespace godwit::system {

Result<std::array<std::uint8_t, 16>> parse_uuid(std::string_view text)
{
    const Error wrong(Errc::InvalidArgument, "failed to parse UUID string: wrong format");
    std::string digits;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool dash_here = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash_here != (text[i] == '-'))
            return wrong;
        if (!dash_here)
            digits += text[i];
    }
    const auto bytes = from_hex(digits);
    if (!bytes || bytes->size() != 16)
        return wrong;
    std::array<std::uint8_t, 16> uuid{};
    std::ranges::transform(*bytes, uuid.begin(),
                           [](std::byte byte) { return static_cast<std::uint8_t>(byte); });
    return uuid;
}

Result<void> Startup::Impl::add_machine_words(const std::string& text)
{
    const OptionList words = GW_TRY(OptionList::parse(text, "type"));
    if (words.wants_help() || words.get_string("type") == "help" ||
        words.get_string("type") == "?") {
        const std::string type = words.get_string("type");
        if (type.empty() || type == "help" || type == "?") {
            help("machine", "help");
            return {};
        }
        const auto machine = GW_TRY(create_machine(vm.types(), type));
        print_out(GW_TRY(properties_help(vm.types(), machine->type_name())));
        line.finish(0);
        return {};
    }
    for (const Option& word : words.all()) {
        machine_words.take(word.key);
        machine_words.set(word.key, word.value);
        if (word.key != "accel")
            continue;
        // "kvm:tcg": a list of preference of its own.
        std::string_view rest = word.value;
        accels.clear();
        while (!rest.empty()) {
            const std::size_t end = std::min(rest.find(':'), rest.size());
            Accel accel{.option = "-machine accel=" + word.value, .words = {}};
            accel.words.set("accel", rest.substr(0, end));
            accels.push_back(std::move(accel));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    }
    return {};
}

Result<void> Startup::Impl::add_global(const std::string& text)
{
    const std::size_t dot = text.find('.');
    const std::size_t equals = text.find('=');
    if (dot < equals && equals != std::string::npos && dot > 0 && equals > dot + 1) {
        vm.devices().add_global(text.substr(0, dot), text.substr(dot + 1, equals - dot - 1),
                                text.substr(equals + 1));
        return {};
    }
    const OptionList words = GW_TRY(OptionList::parse(text));
    GW_TRY(words.only({"driver", "property", "value"}));
    vm.devices().add_global(GW_TRY(words.require_string("driver")),
                            GW_TRY(words.require_string("property")),
                            GW_TRY(words.require_string("value")));
    return {};
}

Result<void> Startup::Impl::add_device(const std::string& text)
{
    Json properties = Json::object();
    const bool is_json = text.starts_with('{');
    if (is_json) {
        properties = GW_TRY(parse_json(text));
    } else {
        const OptionList words = GW_TRY(OptionList::parse(text, "driver"));
        for (const Option& word : words.all())
            properties[word.key] = word.value;
    }
    const auto text_of = [&](const char* key) -> Result<std::string> {
        const auto it = properties.find(key);
        if (it == properties.end())
            return std::string();
        if (!it->is_string()) {
            return Error(Errc::InvalidArgument, fmt::format("Invalid parameter type for '{}', "
                                                            "expected: string",
                                                            key));
        }
        return it->get<std::string>();
    };
    const std::string driver = GW_TRY(text_of("driver"));
    const std::string id = GW_TRY(text_of("id"));
    if (properties.contains("id"))
        GW_TRY(check_identifier(id));
    if (driver.empty())
        return Error(Errc::InvalidArgument, "Parameter 'driver' is missing");
    if (!id.empty() && !device_ids.insert(id).second)
        return Error(Errc::Exists, fmt::format("Duplicate ID '{}' for device", id));
    const auto words = is_json ? DeviceManager::Words::Typed : DeviceManager::Words::Text;
    GW_TRY(vm.devices().add(driver, id, properties, false, words));
    return {};
}

Result<void> Startup::Impl::add_object(const std::string& text)
{
    bool wants_help = false;
    const bool is_json = text.starts_with('{');
    const Json properties =
        GW_TRY(is_json ? parse_json(text) : parse_keyval(text, "qom-type", wants_help));
    const auto text_of = [&](const char* key) -> Result<std::string> {
        const auto it = properties.find(key);
        if (it == properties.end() || !it->is_string()) {
            return Error(Errc::InvalidArgument, fmt::format("Parameter '{}' is missing", key));
        }
        return it->get<std::string>();
    };
    if (wants_help && !properties.contains("qom-type")) {
        help("object", "help");
        return {};
    }
    const std::string type = GW_TRY(text_of("qom-type"));
    if (!vm.types().find(type))
        GW_TRY(vm.plugins().load_for_type(type));
    if (wants_help) {
        print_out(GW_TRY(properties_help(vm.types(), type)));
        line.finish(0);
        return {};
    }
    if (!vm.types().is_a(type, "user-creatable")) {
        return Error(Errc::InvalidArgument,
                     fmt::format("Parameter 'qom-type' does not accept value '{}'", type));
    }
    const std::string id = GW_TRY(text_of("id"));
    if (vm.find_object(id))
        return Error(Errc::Exists, fmt::format("Duplicate ID '{}' for object", id));
    const auto words = is_json ? DeviceManager::Words::Typed : DeviceManager::Words::Text;
    GW_TRY(vm.add_object(type, id, properties, words));
    return {};
}

Result<void> Startup::Impl::open_serial(const std::string& text)
{
    VmConfig& config = vm.config();
    const std::string label = fmt::format("serial{}", config.serial.size());
    Chardev* chardev = GW_TRY(vm.chardevs().add_short(text, label));
    config.serial.push_back(text);
    config.serial_chardevs.push_back(chardev);
    return {};
}

/// -add-fd: an inherited descriptor into a set, from where /dev/fdset/N opens it.
static Result<void> add_fd(Vm& vm, const std::string& text)
{
    const OptionList words = GW_TRY(OptionList::parse(text));
    GW_TRY(words.only({"fd", "set", "opaque"}));
    const std::uint64_t fd = GW_TRY(words.get_u64("fd", UINT64_MAX));
    const std::uint64_t set = GW_TRY(words.get_u64("set", UINT64_MAX));
    if (fd > INT32_MAX)
        return Error(Errc::InvalidArgument, "fd option is required and must be non-negative");
    if (set > INT32_MAX)
        return Error(Errc::InvalidArgument, "set option is required and must be non-negative");
    if (fd <= 2)
        return Error(Errc::InvalidArgument, "fd cannot be a standard I/O stream");
    UniqueFd copy = GW_TRY(UniqueFd::dup_of(static_cast<int>(fd)));
    std::optional<std::string> opaque;
    if (const std::string* found = words.find("opaque"))
        opaque = *found;
    GW_TRY(vm.fds().add(std::move(copy), static_cast<std::int64_t>(set), std::move(opaque)));
    return {};
}

void Startup::Impl::add_builders()
{
    line.add({.name = "add-fd",
              .parameters = "fd=FD,set=SET[,opaque=TEXT]",
              .help = "put an inherited descriptor into a set",
              .stage = Stage::Process,
              .handle = [this](const std::string& text) { return add_fd(vm, text); },
              .keys = "fd:number set:number opaque:string"});
    line.add({.name = "object",
              .parameters = "TYPENAME[,PROP1=VALUE1,...]",
              .help = "create an object of type TYPENAME with properties PROP1, ...\n"
                      "'help' lists the types, 'TYPENAME,help' its properties",
              .stage = Stage::Objects,
              .handle = [this](const std::string& text) { return add_object(text); },
              .keys = "qom-type:string id:string"});
    line.add({.name = "chardev",
              .parameters = "BACKEND,id=ID[,PROP=VALUE,...]",
              .help = "make a character device: socket, file, pipe, pty, stdio, null, ringbuf, fd",
              .stage = Stage::Chardevs,
              .handle = [this](const std::string& text) -> Result<void> {
                  if (text == "help" || text == "?") {
                      print_out("Available chardev backend types: \n  socket\n  file\n  pipe\n"
                                "  pty\n  stdio\n  null\n  vc\n  ringbuf\n  memory\n  fd\n");
                      line.finish(0);
                      return {};
                  }
                  GW_TRY(vm.chardevs().add(text));
                  return {};
              },
              .keys = "backend:string id:string path:string host:string port:string "
                      "server:boolean wait:boolean reconnect-ms:number fd:string mux:boolean "
                      "size:size append:boolean"});
    line.add({.name = "serial",
              .parameters = "DEV",
              .help = "the next serial port: none, null, stdio, mon:stdio, file:PATH, pipe:PATH,\n"
                      "pty, unix:PATH[,server=on,wait=off], tcp:HOST:PORT[,...], chardev:ID",
              .stage = Stage::Ports,
              .handle = [this](const std::string& text) { return open_serial(text); }});
    line.add({.name = "device",
              .parameters = "DRIVER[,PROP=VALUE,...]",
              .help = "add a device; 'help' lists the drivers, 'DRIVER,help' its properties",
              .stage = Stage::Devices,
              .handle = [this](const std::string& text) { return add_device(text); },
              .keys = "driver:string id:string bus:string"});
}

}  // namespace godwit::system
