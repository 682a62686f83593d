// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From what -machine, -accel, -m, -smp and -numa said to the machine.
#include "system/startup_private.h"
#include "util/log.h"
#include "util/size.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::system {

namespace {

constexpr std::uint64_t kMebibyte = 1 << 20;
constexpr std::uint64_t kRamAlignment = 8192;  // as QEMU rounds -m

Result<void> set_properties(Object& object, const OptionList& words, std::string_view without)
{
    for (const Option& word : words.all()) {
        if (word.key != without)
            GW_TRY(object.set_property_text(word.key, word.value));
    }
    return {};
}

}  // namespace

Result<void> Startup::Impl::try_accelerator(const Accel& accel)
{
    const std::string name = accel.words.get_string("accel");
    const std::string type = name + "-accel";
    if (!vm.types().is_a(type, "accel"))
        return Error(Errc::NotFound, "invalid accelerator " + name);
    std::unique_ptr<Object> object = GW_TRY(vm.types().create(type));
    auto* accelerator = dynamic_cast<Accelerator*>(object.get());
    if (!accelerator)
        return Error(Errc::NotFound, "invalid accelerator " + name);
    GW_TRY(vm.devices().apply_globals(*object));
    const std::string irqchip = machine_words.get_string("kernel-irqchip");
    if (name == "kvm" && !irqchip.empty()) {
        auto set = object->set_property_text("kernel-irqchip", irqchip);
        if (!set)
            return std::unexpected<Error>(std::move(set).error().with_code(Errc::InvalidArgument));
    }
    if (auto set = set_properties(*object, accel.words, "accel"); !set)
        return std::unexpected<Error>(std::move(set).error().with_code(Errc::InvalidArgument));
    object.release();
    // Wrong properties end the start; only what cannot work here is passed over.
    auto started = vm.set_accelerator(std::unique_ptr<Accelerator>(accelerator));
    if (!started)
        return std::unexpected<Error>(std::move(started).error().with_code(Errc::Unsupported));
    return {};
}

Result<void> Startup::Impl::choose_accelerator(const MachineInfo& machine)
{
    const bool chosen = !accels.empty();
    if (!chosen) {
        // Without a choice, quietly: what runs guests, or at least a machine without CPUs.
        for (const char* name : {"kvm", "qtest"}) {
            if (name == std::string_view("kvm") || !machine.needs_cpu) {
                Accel accel;
                accel.words.set("accel", name);
                accels.push_back(std::move(accel));
            }
        }
    }
    std::optional<Error> last;
    for (const Accel& accel : accels) {
        if (last && chosen) {
            vm.log().error(last->message());
            vm.log().warn("falling back to " + accel.words.get_string("accel"));
        }
        auto done = try_accelerator(accel);
        if (done)
            return {};
        last = std::move(done).error();
        if (!accel.option.empty())
            std::move(*last).context(accel.option);
        if (last->code() != Errc::Unsupported && last->code() != Errc::NotFound)
            break;
    }
    return *std::move(last);
}

Result<void> Startup::Impl::set_machine_words(Machine& machine)
{
    GW_TRY(vm.devices().apply_globals(machine));
    for (const Option& word : machine_words.all()) {
        if (word.key != "type" && word.key != "accel")
            GW_TRY(machine.set_property_text(word.key, word.value));
    }
    const auto unsupported = [&](std::string_view property) {
        return Error(Errc::Unsupported, fmt::format("-machine {}={}: not supported here", property,
                                                    machine_words.get_string(property)));
    };
    if (!machine.dtb.empty())
        return unsupported("dtb");  // kernels get no device tree
    if (machine.usb)
        return unsupported("usb");
    VmConfig& config = vm.config();
    config.memory_backend = machine.memory_backend;
    config.aux_ram_share = machine.aux_ram_share;
    const auto take = [](std::string& to, const std::string& from) {
        if (!from.empty())
            to = from;
    };
    take(config.kernel, machine.kernel);
    take(config.initrd, machine.initrd);
    take(config.append, machine.append);
    take(config.firmware, machine.firmware);
    return {};
}

/// "3" or "0-3".
static Result<std::pair<unsigned, unsigned>> cpu_range(std::string_view text)
{
    const std::size_t dash = text.find('-');
    const auto first = parse_u64(text.substr(0, dash));
    const auto last = dash == text.npos ? first : parse_u64(text.substr(dash + 1));
    if (!first || !last || *first > *last) {
        return Error(Errc::InvalidArgument, "Parameter 'cpus' expects a uint64 value or range");
    }
    constexpr std::uint64_t kMost = UINT32_MAX - 1;
    return std::pair(static_cast<unsigned>(std::min(*first, kMost)),
                     static_cast<unsigned>(std::min(*last, kMost)));
}

Result<void> Startup::Impl::add_numa(const std::string& text)
{
    constexpr std::uint64_t kMaxNodes = 128;
    const OptionList words = GW_TRY(OptionList::parse(text, "type"));
    const std::string type = words.get_string("type");
    if (type != "node") {
        return Error(Errc::InvalidArgument,
                     fmt::format("Parameter 'type' does not accept value '{}'", type));
    }
    GW_TRY(words.only({"type", "memdev", "nodeid", "cpus", "mem", "initiator"}));
    if (words.has("mem"))
        return Error(Errc::Unsupported,
                     "Parameter -numa node,mem is not supported by this machine type");
    NumaNode node{.option = "-numa " + text, .memdev = words.get_string("memdev"), .cpus = {}};
    for (const std::string& range : words.find_all("cpus"))
        node.cpus.push_back(GW_TRY(cpu_range(range)));
    const std::uint64_t id = GW_TRY(words.get_u64("nodeid", numa_nodes.size()));
    if (id >= kMaxNodes) {
        return Error(Errc::InvalidArgument,
                     fmt::format("Max number of NUMA nodes reached: {}", id));
    }
    if (!numa_nodes.emplace(id, std::move(node)).second)
        return Error(Errc::Exists, fmt::format("Duplicate NUMA nodeid: {}", id));
    return {};
}

/// -numa node: the nodes make up the machine's RAM (system/machine_ram.h).
static Result<void> set_numa(const std::map<std::uint64_t, NumaNode>& nodes,
                             const MachineInfo& machine, VmConfig& config)
{
    if (nodes.empty())
        return {};
    if (!machine.numa) {
        return Error(Errc::Unsupported, "NUMA is not supported by this machine-type")
            .context(nodes.begin()->second.option);
    }
    for (std::uint64_t id = nodes.rbegin()->first; id-- > 0;) {
        if (!nodes.contains(id)) {
            return Error(Errc::InvalidArgument, fmt::format("-numa: Node ID missing: {}", id));
        }
    }
    for (const auto& [id, node] : nodes)
        config.numa_nodes.push_back(node);
    return {};
}

/// A size of -m with its unit, in QEMU's words.
static Result<std::uint64_t> memory_size(const OptionList& words, std::string_view key)
{
    const std::string* text = words.find(key);
    if (!text || text->empty())
        return 0;
    const auto size = parse_size(*text, key == "size" ? kMebibyte : 1);
    if (size)
        return *size;
    return Error(Errc::InvalidArgument,
                 fmt::format("Parameter '{}' expects a non-negative number below 2^64", key))
        .with_hint("Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                   "and exabytes, respectively.")
        .context("-m " + words.to_string());
}

Result<void> Startup::Impl::set_memory(const Machine& machine)
{
    VmConfig& config = vm.config();
    GW_TRY(set_numa(numa_nodes, machine.info(), config));
    std::uint64_t size = GW_TRY(memory_size(memory, "size"));
    const std::uint64_t max = GW_TRY(memory_size(memory, "maxmem"));
    const std::string option = "-m " + memory.to_string();
    const std::uint64_t slots = GW_TRY(with_context(memory.get_u64("slots", 0), option));
    if (size > UINT64_MAX - kRamAlignment || size >= std::uint64_t{1} << 62)
        return Error(Errc::InvalidArgument, option + ": ram size too large");
    size = (size + kRamAlignment - 1) & ~(kRamAlignment - 1);
    config.ram_bytes = size;  // 0: the back end's size, or the machine's default
    const std::uint64_t least = size != 0 ? size : machine.info().default_ram_bytes;
    if (max != 0 && max < least) {
        return Error(Errc::InvalidArgument,
                     fmt::format("{}: invalid value of maxmem: maximum memory size ({:#x}) must "
                                 "be at least the initial memory size ({:#x})",
                                 option, max, least));
    }
    if (slots != 0 && max == 0)
        return Error(Errc::InvalidArgument, option + ": slots specified but no max-size");
    config.max_ram_bytes = max;
    config.ram_slots = static_cast<unsigned>(std::min<std::uint64_t>(slots, UINT32_MAX));
    return {};
}

Result<void> Startup::Impl::set_cpus(const MachineInfo& machine)
{
    VmConfig& config = vm.config();
    // A machine without CPUs of its own may get synthetic ones.
    const bool synthetic = !machine.needs_cpu && vm.accelerator()->wants_vcpus_on_none();
    if (config.max_cpus > machine.max_cpus && !synthetic) {
        return Error(
            Errc::InvalidArgument,
            fmt::format("{}: Invalid SMP CPUs {}. The max CPUs supported by machine '{}' is {}",
                        smp_option(), config.max_cpus, machine.name, machine.max_cpus));
    }
    for (const std::string& warning : GW_TRY(assign_cpus_to_nodes(config)))
        vm.log().warn(warning);
    return {};
}

Result<void> Startup::machine()
{
    const std::string type = impl_->machine_words.get_string("type");
    auto machine =
        GW_TRY(with_context(create_machine(impl_->vm.types(), type), "-machine " + type));
    GW_TRY(impl_->set_machine_words(*machine));
    GW_TRY(with_context(parse_smp(impl_->smp, impl_->vm.config()), impl_->smp_option()));
    GW_TRY(impl_->choose_accelerator(machine->info()));
    GW_TRY(impl_->set_memory(*machine));
    GW_TRY(impl_->set_cpus(machine->info()));
    GW_TRY(impl_->vm.set_machine(std::move(machine)));
    return impl_->vm.init_machine();
}

namespace {

struct Topology {
    std::uint64_t cpus = 0, sockets = 0, dies = 0, modules = 0, cores = 0, threads = 0, max = 0;

    std::uint64_t product() const { return sockets * dies * modules * cores * threads; }
    std::string text() const
    {
        return fmt::format("sockets ({}) * dies ({}) * modules ({}) * cores ({}) * threads ({})",
                           sockets, dies, modules, cores, threads);
    }
};

/// What was not said follows from what was: cores before sockets before threads.
void complete(Topology& t)
{
    const auto one_if_zero = [](std::uint64_t& n) { n = n ? n : 1; };
    one_if_zero(t.dies);
    one_if_zero(t.modules);
    if (t.cpus == 0 && t.max == 0) {
        one_if_zero(t.sockets);
        one_if_zero(t.cores);
        one_if_zero(t.threads);
    } else {
        t.max = t.max ? t.max : t.cpus;
        if (t.cores == 0) {
            one_if_zero(t.sockets);
            one_if_zero(t.threads);
            t.cores = t.max / (t.sockets * t.dies * t.modules * t.threads);
        } else if (t.sockets == 0) {
            one_if_zero(t.threads);
            t.sockets = t.max / (t.dies * t.modules * t.cores * t.threads);
        }
        if (t.threads == 0)
            t.threads = t.max / (t.sockets * t.dies * t.modules * t.cores);
    }
    t.max = t.max ? t.max : t.product();
    t.cpus = t.cpus ? t.cpus : t.max;
}

Error bad_topology(const std::string& what)
{
    return Error(Errc::InvalidArgument, "Invalid CPU topology: " + what);
}

}  // namespace

Result<void> parse_smp(const OptionList& words, VmConfig& config)
{
    constexpr std::uint64_t kMaxCpus = 4096;
    Topology t;
    const std::pair<const char*, std::uint64_t*> fields[] = {
        {"cpus", &t.cpus},   {"sockets", &t.sockets}, {"dies", &t.dies},  {"modules", &t.modules},
        {"cores", &t.cores}, {"threads", &t.threads}, {"maxcpus", &t.max}};
    for (const auto& [name, value] : fields) {
        const std::string* text = words.find(name);
        if (!text)
            continue;
        const auto number = parse_u64(*text);
        if (!number) {
            return Error(Errc::InvalidArgument,
                         fmt::format("Parameter 'smp.{}' expects integer", name));
        }
        if (*number == 0)
            return bad_topology("CPU topology parameters must be greater than zero");
        if (*number > kMaxCpus)
            return bad_topology(fmt::format("{} is larger than {}", name, kMaxCpus));
        *value = *number;
    }
    complete(t);
    if (t.product() != t.max) {
        return bad_topology(fmt::format("product of the hierarchy must match maxcpus: {} != "
                                        "maxcpus ({})",
                                        t.text(), t.max));
    }
    if (t.max < t.cpus) {
        return bad_topology(fmt::format("maxcpus must be equal to or greater than smp: {} == "
                                        "maxcpus ({}) < smp_cpus ({})",
                                        t.text(), t.max, t.cpus));
    }
    config.cpus = static_cast<unsigned>(t.cpus);
    config.max_cpus = static_cast<unsigned>(t.max);
    config.sockets = static_cast<unsigned>(t.sockets);
    config.dies = static_cast<unsigned>(t.dies * t.modules);
    config.cores = static_cast<unsigned>(t.cores);
    config.threads = static_cast<unsigned>(t.threads);
    return {};
}

}  // namespace godwit::system
