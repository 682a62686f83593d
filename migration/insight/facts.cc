// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/insight/facts.h"

#include "migration/service.h"
#include "migration/stream/registry.h"
#include "system/main_loop.h"
#include "system/populated_pages.h"
#include "system/run_state.h"
#include "system/vm.h"
#include "util/hex.h"
#include "util/unique_fd.h"

#include "godwit-config.h"
#include <algorithm>
#include <array>
#include <fcntl.h>
#include <fstream>
#include <linux/userfaultfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace godwit::migration {
namespace {

// What a host calls its own: names of things that are not the guest's.
constexpr auto kHostProperties =
    std::to_array<std::string_view>({"chardev", "drive", "hotplugged", "id", "memdev", "netdev",
                                     "realized", "parent_bus", "type", "hotpluggable"});

std::string text_of(const Json& value)
{
    return value.is_string() ? value.get<std::string>() : dump_json(value);
}

Json properties_of(const system::Object& object)
{
    Json all = Json::object();
    for (const system::Property* property : object.properties()) {
        if (std::ranges::find(kHostProperties, property->name) != kHostProperties.end() ||
            property->type.starts_with("child<") || property->type.starts_with("link<"))
            continue;
        if (const auto value = object.get_property(property->name);
            value && !value->is_structured())
            all[property->name] = text_of(*value);
    }
    return all;
}

// CPUs are compared by themselves.
void add_devices(const system::Object& object, const std::vector<const system::Object*>& cpus,
                 Json& all)
{
    for (const system::Object* child : object.children()) {
        const auto* device = dynamic_cast<const system::Device*>(child);
        const bool cpu = std::ranges::find(cpus, child) != cpus.end();
        if (device != nullptr && device->realized() && !cpu)
            all[child->path()] = {{"type", std::string(child->type_name())},
                                  {"properties", properties_of(*child)}};
        add_devices(*child, cpus, all);
    }
}

Json cpu_facts(system::Vm& vm)
{
    Json facts = {{"count", vm.vcpus().size()}, {"features", Json::object()}};
    if (vm.vcpus().empty())
        return facts;
    facts["type"] = std::string(vm.vcpus().front()->type_name());
    facts["features"] = properties_of(*vm.vcpus().front());
    // What tells one CPU from the other is not the model's.
    for (const char* own : {"apic-id", "thread-id", "core-id", "socket-id", "die-id", "node-id",
                            "module-id", "index", "cpu-index"})
        facts["features"].erase(own);
    return facts;
}

std::uint64_t available_memory()
{
    std::ifstream file("/proc/meminfo");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("MemAvailable:"))
            return std::strtoull(line.c_str() + 13, nullptr, 10) << 10;
    return 0;
}

// As postcopy would ask for it.
std::string userfaultfd_state()
{
    const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
    if (device)
        return "ok";
    const UniqueFd fd(
        static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)));
    return fd ? "ok" : Error::from_errno("userfaultfd").message();
}

Json limit_facts()
{
    rlimit locked{};
    ::getrlimit(RLIMIT_MEMLOCK, &locked);
    return {{"free-memory", available_memory()},
            {"locked-memory",
             locked.rlim_cur == RLIM_INFINITY ? Json("unlimited") : Json(locked.rlim_cur)},
            {"userfaultfd", userfaultfd_state()}};
}

Json ram_facts(system::Vm& vm)
{
    const system::PopulatedPages populated = system::PopulatedPages::open();
    Json blocks = Json::object();
    for (const system::RamBlock* block : vm.ram().blocks()) {
        if (!block->migratable())
            continue;
        std::uint64_t touched = 0;
        for (const system::PageRun& run : populated.runs(*block))
            touched += run.count * system::kPageSize;
        blocks[block->id()] = {{"bytes", block->used_length()},
                               {"page-size", block->page_size()},
                               {"touched", touched}};
    }
    return blocks;
}

Json section_facts(system::Vm& vm)
{
    Json sections = Json::object();
    for (const auto& entry : vm.state_registry().entries())
        if (entry->live != nullptr || entry->needed())
            sections[entry->idstr + " " + std::to_string(entry->instance_id)] = entry->version;
    return sections;
}

}  // namespace

Json machine_facts(system::Vm& vm, const MigrationService& service)
{
    const system::MachineGuardIfNeeded guard(vm.lock());
    Json facts = Json::object();
    facts["program"] = "Godwit " GW_VERSION;
    facts["machine"] = vm.machine() != nullptr ? std::string(vm.machine()->info().name) : "none";
    if (vm.config().uuid)
        facts["uuid"] = to_hex(std::as_bytes(std::span(*vm.config().uuid)));
    facts["accelerator"] =
        vm.accelerator() != nullptr ? std::string(vm.accelerator()->name()) : "none";
    facts["cpu"] = cpu_facts(vm);
    facts["ram"] = ram_facts(vm);
    facts["sections"] = section_facts(vm);
    std::vector<const system::Object*> cpus(vm.vcpus().begin(), vm.vcpus().end());
    facts["devices"] = Json::object();
    add_devices(vm.root(), cpus, facts["devices"]);
    facts["capabilities"] = Json::object();
    for (std::size_t i = 0; i < kCapabilityCount; ++i)
        facts["capabilities"][std::string(to_string(static_cast<Capability>(i)))] =
            service.capabilities().has(static_cast<Capability>(i));
    facts["multifd-channels"] = service.parameters().multifd_channels;
    facts["limits"] = limit_facts();
    facts["blockers"] = service.blocked_reasons();
    return facts;
}

}  // namespace godwit::migration
