// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/qmp.h"

#include "accel/kvm/kvm_accel.h"
#include "accel/kvm/trace.h"
#include "accel/synth/synth_accel.h"
#include "accel/synth/synth_vcpu.h"
#include "qapi/accel_commands.h"
#include "system/vm.h"
#include "util/json.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>

namespace godwit::accel {
namespace {

class AccelQmp : public qapi::AccelCommands {
public:
    explicit AccelQmp(system::Vm& vm) : vm_(vm) {}

    Result<qapi::KvmInfo> query_kvm() override;
    Result<std::vector<qapi::CpuInfoFast>> query_cpus_fast() override;
    Result<std::vector<qapi::CpuDefinitionInfo>> query_cpu_definitions() override;
    Result<qapi::CpuModelExpansionInfo>
    query_cpu_model_expansion(const qapi::QueryCpuModelExpansionArgs& args) override;
    Result<qapi::SynthCheck> x_synth_check(const qapi::XSynthCheckArgs& args) override;
    Result<std::vector<qapi::SynthCpu>> x_query_synth() override;

private:
    const kvm::KvmAccelerator* kvm() const
    {
        return dynamic_cast<const kvm::KvmAccelerator*>(vm_.accelerator());
    }
    const kvm::HostCpu* host() const { return kvm() != nullptr ? kvm()->host() : nullptr; }
    kvm::CpuDefaults defaults() const
    {
        return kvm() != nullptr ? kvm()->cpu_defaults() : kvm::CpuDefaults{};
    }
    Result<synth::SynthAccelerator*> synth() const;
    std::uint64_t guest_address(const system::RamBlock& block, std::uint64_t offset) const;

    system::Vm& vm_;
};

Result<qapi::KvmInfo> AccelQmp::query_kvm()
{
    return qapi::KvmInfo{.enabled = kvm() != nullptr, .present = true};
}

Result<std::vector<qapi::CpuInfoFast>> AccelQmp::query_cpus_fast()
{
    std::vector<qapi::CpuInfoFast> cpus;
    for (const system::Vcpu* vcpu : vm_.vcpus()) {
        qapi::CpuInfoFast cpu;
        cpu.cpu_index = vcpu->index();
        cpu.qom_path = vcpu->path();
        cpu.thread_id = vcpu->thread_id();
        cpu.target = qapi::SysEmuTarget::X86_64;
        cpu.props = system::cpu_place(vm_.config(), vcpu->index());
        cpus.push_back(std::move(cpu));
    }
    return cpus;
}

Result<std::vector<qapi::CpuDefinitionInfo>> AccelQmp::query_cpu_definitions()
{
    std::vector<qapi::CpuDefinitionInfo> models;
    for (const kvm::CpuModel& model : kvm::cpu_models()) {
        qapi::CpuDefinitionInfo info;
        info.name = model.name;
        info.typename_ = fmt::format("{}-x86_64-cpu", model.name);
        info.static_ = model.is_static;
        info.migration_safe = !model.from_host;
        if (!model.alias_of.empty())
            info.alias_of = std::string(model.alias_of);
        if (host() != nullptr) {
            const auto cpu = kvm::parse_cpu(model.name, host(), defaults());
            info.unavailable_features =
                cpu ? kvm::unavailable_features(*cpu, *host()) : std::vector<std::string>{"kvm"};
        } else if (model.from_host) {
            info.unavailable_features = std::vector<std::string>{"kvm"};
        }
        models.push_back(std::move(info));
    }
    return models;
}

/// What a client wrote for a property, as -cpu would have it.
Result<std::string> property_text(const std::string& name, const Json& value)
{
    if (value.is_boolean())
        return std::string(value.get<bool>() ? "on" : "off");
    if (value.is_number_integer())
        return value.dump();
    if (value.is_string())
        return value.get<std::string>();
    return Error(Errc::InvalidArgument,
                 fmt::format("Invalid parameter type for '{}', expected: boolean", name));
}

Json features_of(const kvm::CpuDefinition& cpu, bool with_aliases)
{
    std::map<std::string, bool> on;
    for (const kvm::Feature& feature : kvm::all_features()) {
        auto [found, first] = on.emplace(feature.name, true);
        found->second &= (cpu.features[feature.word] >> feature.bit & 1) != 0;
    }
    Json features = Json::object();
    for (const auto& [name, value] : on) {
        features[name] = value;
        if (with_aliases)
            for (const std::string& alias : kvm::feature_aliases(name))
                features[alias] = value;
    }
    return features;
}

Result<qapi::CpuModelExpansionInfo>
AccelQmp::query_cpu_model_expansion(const qapi::QueryCpuModelExpansionArgs& args)
{
    std::vector<std::pair<std::string, std::string>> wishes;
    if (args.model.props) {
        const Json& props = args.model.props->json();
        if (!props.is_object())
            return Error(Errc::InvalidArgument,
                         "Invalid parameter type for 'model.props', expected: object");
        for (const auto& [name, value] : props.items())
            wishes.emplace_back(name, GW_TRY(property_text(name, value)));
    }
    const kvm::CpuDefinition cpu =
        GW_TRY(kvm::expand_cpu(args.model.name, wishes, host(), defaults()));
    const bool full = args.type == qapi::CpuModelExpansionType::Full;
    Json props = features_of(cpu, full);
    props["family"] = cpu.family;
    props["model"] = cpu.model_number;
    props["stepping"] = cpu.stepping;
    props["model-id"] = cpu.model_id;
    props["vendor"] = cpu.vendor;
    props["min-level"] = cpu.level;
    props["min-xlevel"] = cpu.xlevel;
    if (full) {
        props["level"] = cpu.level;
        props["xlevel"] = cpu.xlevel;
        props["phys-bits"] = cpu.phys_bits;
        props["kvm"] = cpu.expose_kvm;
        props["check"] = cpu.check;
        props["enforce"] = cpu.enforce;
    }
    return qapi::CpuModelExpansionInfo{
        .model = {.name = full ? args.model.name : "base", .props = qapi::Any(std::move(props))}};
}

Result<synth::SynthAccelerator*> AccelQmp::synth() const
{
    auto* accelerator = dynamic_cast<synth::SynthAccelerator*>(vm_.accelerator());
    if (accelerator == nullptr)
        return Error(Errc::Unsupported, "the accelerator is not synth");
    return accelerator;
}

std::uint64_t AccelQmp::guest_address(const system::RamBlock& block, std::uint64_t offset) const
{
    for (const system::MemorySection& section : *vm_.memory().view())
        if (section.block == &block && offset >= section.block_offset &&
            offset - section.block_offset < section.size)
            return section.start + (offset - section.block_offset);
    return offset;
}

/// Out of their workload for the time of the check, then on as before.
class PausedVcpus {
public:
    explicit PausedVcpus(system::Vm& vm) : vm_(vm), resume_(vm.run_state().running())
    {
        for (system::Vcpu* vcpu : vm_.vcpus())
            vcpu->request_pause();
        for (system::Vcpu* vcpu : vm_.vcpus())
            vcpu->wait_paused();
    }
    ~PausedVcpus()
    {
        if (resume_)
            for (system::Vcpu* vcpu : vm_.vcpus())
                vcpu->resume();
    }
    PausedVcpus(const PausedVcpus&) = delete;
    PausedVcpus& operator=(const PausedVcpus&) = delete;

private:
    system::Vm& vm_;
    bool resume_;
};

Result<qapi::SynthCheck> AccelQmp::x_synth_check(const qapi::XSynthCheckArgs& args)
{
    const synth::SynthAccelerator& accelerator = *GW_TRY(synth());
    synth::CheckResult result;
    qapi::SynthCheck reply;
    if (accelerator.block() == nullptr)
        return reply;
    {
        const PausedVcpus paused(vm_);
        for (system::Vcpu* vcpu : vm_.vcpus()) {
            const auto& cpu = static_cast<synth::SynthVcpu&>(*vcpu);
            result.add(cpu.check());
            reply.reads_wrong += cpu.wrong_reads();
        }
    }
    reply.pages_checked = result.pages;
    reply.pages_wrong = result.wrong;
    reply.pages_never_written = result.never_written;
    const std::size_t most = args.max_wrong.value_or(synth::kMaxReported);
    for (const synth::WrongPage& wrong : result.first) {
        if (reply.wrong.size() >= most)
            break;
        qapi::SynthWrongPage page;
        page.address = guest_address(*accelerator.block(), wrong.offset);
        page.block = accelerator.block()->id();
        page.offset = wrong.offset;
        page.cpu_index = wrong.vcpu;
        page.expected = wrong.expected;
        page.found = wrong.found;
        page.writes = wrong.generation;
        if (wrong.stale_by != 0)
            page.stale_by = wrong.stale_by;
        reply.wrong.push_back(std::move(page));
    }
    return reply;
}

Result<std::vector<qapi::SynthCpu>> AccelQmp::x_query_synth()
{
    GW_TRY(synth());
    std::vector<qapi::SynthCpu> cpus;
    for (const system::Vcpu* vcpu : vm_.vcpus()) {
        const auto& synthetic = static_cast<const synth::SynthVcpu&>(*vcpu);
        const std::uint64_t accesses = synthetic.accesses();
        const std::uint64_t writes = synthetic.writes_of(accesses);
        cpus.push_back({.cpu_index = vcpu->index(),
                        .pages_written = writes,
                        .pages_read = accesses - writes,
                        .bytes_written = writes * system::kPageSize});
    }
    return cpus;
}

}  // namespace

std::unique_ptr<qapi::AccelCommands> make_accel_commands(system::Vm& vm)
{
    const TraceEventInfo* const events[] = {&kvm::kTraceSync};
    vm.recorder().declare(events);
    return std::make_unique<AccelQmp>(vm);
}

}  // namespace godwit::accel
