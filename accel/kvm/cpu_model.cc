// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/cpu_model.h"

#include "util/size.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>

namespace godwit::accel::kvm {
namespace {

constexpr std::string_view kQemu64 =
    "fpu de pse tsc msr pae mce cx8 pge cmov pat fxsr mmx sse sse2 sep apic mtrr clflush mca pse36 "
    "pni cx16 lm syscall nx lahf-lm svm";
constexpr std::string_view kKvm64 =
    "fpu de pse tsc msr pae mce cx8 pge cmov pat fxsr mmx sse sse2 sep apic vme mtrr clflush mca "
    "pse36 pni cx16 lm syscall nx";
constexpr std::string_view kKvm32 =
    "fpu de pse tsc msr pae mce cx8 pge cmov pat fxsr mmx sse sse2 sep apic vme mtrr clflush mca "
    "pse36 pni";
constexpr std::string_view kQemu32 =
    "fpu de pse tsc msr pae mce cx8 pge cmov pat fxsr mmx sse sse2 sep apic pni";

constexpr std::string_view kQemuId = "QEMU Virtual CPU version 2.5+";

constexpr CpuModel kKvm32V1{.name = "kvm32-v1",
                            .help = "Common 32-bit KVM processor",
                            .level = 5,
                            .xlevel = 0x80000008,
                            .family = 15,
                            .model = 6,
                            .stepping = 1,
                            .model_id = "Common 32-bit KVM processor",
                            .features = kKvm32};
constexpr CpuModel kKvm64V1{.name = "kvm64-v1",
                            .help = "Common KVM processor",
                            .level = 0xd,
                            .xlevel = 0x80000008,
                            .family = 15,
                            .model = 6,
                            .stepping = 1,
                            .model_id = "Common KVM processor",
                            .features = kKvm64};
constexpr CpuModel kQemu32V1{.name = "qemu32-v1",
                             .help = kQemuId,
                             .level = 4,
                             .xlevel = 0x80000004,
                             .family = 6,
                             .model = 6,
                             .stepping = 3,
                             .model_id = kQemuId,
                             .features = kQemu32};
constexpr CpuModel kQemu64V1{.name = "qemu64-v1",
                             .help = kQemuId,
                             .level = 0xd,
                             .xlevel = 0x8000000a,
                             .family = 15,
                             .model = 107,
                             .stepping = 1,
                             .model_id = kQemuId,
                             .features = kQemu64};

/// The name without a version stands for the first one.
constexpr CpuModel alias(std::string_view name, CpuModel model)
{
    model.alias_of = model.name;
    model.name = name;
    model.help = {};
    return model;
}

constexpr CpuModel kModels[] = {
    alias("kvm32", kKvm32V1),
    kKvm32V1,
    alias("kvm64", kKvm64V1),
    kKvm64V1,
    alias("qemu32", kQemu32V1),
    kQemu32V1,
    alias("qemu64", kQemu64V1),
    kQemu64V1,
    {.name = "base", .help = "base CPU model type with no features enabled", .is_static = true},
    {.name = "host", .help = "processor with all supported host features ", .from_host = true},
    {.name = "max",
     .help = "Enables all features supported by the accelerator in the current host",
     .from_host = true},
};

/// What every model but base, max and host gets and loses under KVM, as in QEMU.
constexpr std::string_view kKvmAdds =
    "kvmclock kvm-nopiodelay kvm-asyncpf kvm-steal-time kvm-pv-eoi kvmclock-stable-bit hypervisor";
constexpr std::string_view kKvmRemoves[] = {"acpi", "monitor", "svm"};
/// A guest that has these cannot move to another host.
constexpr std::string_view kUnmigratable[] = {"invtsc"};

void set_feature(FeatureSet& set, std::string_view name, bool on)
{
    for (const Feature& feature : find_features(name)) {
        const std::uint32_t bit = std::uint32_t{1} << feature.bit;
        set[feature.word] = on ? set[feature.word] | bit : set[feature.word] & ~bit;
    }
}

void set_features(FeatureSet& set, std::string_view names)
{
    while (!names.empty()) {
        const std::size_t end = std::min(names.find(' '), names.size());
        set_feature(set, names.substr(0, end), true);
        names.remove_prefix(std::min(end + 1, names.size()));
    }
}

/// Keeps only bits that have a name: the rest nobody asked for and nobody can switch off.
FeatureSet named_only(const FeatureSet& set)
{
    FeatureSet named;
    for (const Feature& feature : all_features())
        named[feature.word] |= set[feature.word] & (std::uint32_t{1} << feature.bit);
    return named;
}

CpuDefinition host_definition(const CpuModel& model, const HostCpu& host)
{
    CpuDefinition cpu{.model = std::string(model.name),
                      .features = named_only(host.supported),
                      .level = host.level,
                      .xlevel = host.xlevel,
                      .vendor = host.vendor,
                      .family = host.family,
                      .model_number = host.model,
                      .stepping = host.stepping,
                      .model_id = host.model_id};
    for (std::string_view name : kUnmigratable)
        set_feature(cpu.features, name, false);
    set_feature(cpu.features, "ht", false);  // follows from the topology
    return cpu;
}

CpuDefinition built_in_definition(const CpuModel& model, const HostCpu* host)
{
    CpuDefinition cpu{.model = std::string(model.name),
                      .level = model.level,
                      .xlevel = model.xlevel,
                      .vendor = host != nullptr ? host->vendor : "GenuineIntel",
                      .family = model.family,
                      .model_number = model.model,
                      .stepping = model.stepping,
                      .model_id = std::string(model.model_id)};
    if (model.is_static)
        cpu.vendor.clear();
    set_features(cpu.features, model.features);
    if (model.is_static)
        return cpu;
    set_features(cpu.features, kKvmAdds);
    for (std::string_view name : kKvmRemoves)
        set_feature(cpu.features, name, false);
    return cpu;
}

Result<unsigned> number_up_to(std::string_view key, std::string_view text, unsigned most)
{
    auto number = parse_u64(text);
    if (!number)
        return Error(Errc::InvalidArgument, fmt::format("Parameter '{}' expects uint64", key));
    if (*number > most)
        return Error(Errc::InvalidArgument,
                     fmt::format("parameter '{}' can be at most {}", key, most));
    return static_cast<unsigned>(*number);
}

Result<bool> on_or_off(std::string_view key, std::string_view text)
{
    auto on = parse_bool(text);
    if (!on)
        return Error(Errc::InvalidArgument,
                     fmt::format("Parameter '{}' expects 'on' or 'off'", key));
    return *on;
}

/// Applies the words behind the model's name.
class Wishes {
public:
    Wishes(CpuDefinition& cpu, const HostCpu* host, const CpuDefaults& defaults)
        : cpu_(cpu), host_(host), host_phys_bits_(defaults.host_phys_bits)
    {}

    Result<void> apply(std::string_view list);
    Result<void> set(std::string_view key, std::string_view value);
    void finish();

private:
    Result<void> apply_word(std::string_view word);
    Result<bool> set_number(std::string_view key, std::string_view value);
    Result<bool> set_switch(std::string_view key, std::string_view value);
    Result<void> set_vendor(std::string_view value);
    Result<void> set_named_feature(std::string_view name, bool on);

    CpuDefinition& cpu_;
    const HostCpu* host_;
    bool host_phys_bits_;
    bool level_set_ = false;
    bool xlevel_set_ = false;
    std::vector<std::pair<std::string, bool>> last_;  ///< +x and -x win over x=on
};

Result<void> Wishes::apply(std::string_view list)
{
    while (!list.empty()) {
        const std::size_t end = std::min(list.find(','), list.size());
        if (end > 0)
            GW_TRY(apply_word(list.substr(0, end)));
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    for (const auto& [name, on] : last_)
        GW_TRY(set_named_feature(name, on));
    return {};
}

Result<void> Wishes::apply_word(std::string_view word)
{
    if (word.starts_with('+') || word.starts_with('-')) {
        last_.emplace_back(word.substr(1), word.front() == '+');
        return {};
    }
    const std::size_t equals = word.find('=');
    const std::string_view key = word.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? "on" : word.substr(equals + 1);
    return with_context(set(key, value),
                        fmt::format("can't apply global {}.{}={}", cpu_.type_name(), key, value));
}

Result<void> Wishes::set_vendor(std::string_view value)
{
    if (value.size() != 12)
        return Error(Errc::InvalidArgument,
                     "value of property 'vendor' must consist of exactly 12 characters");
    cpu_.vendor = value;
    return {};
}

Result<bool> Wishes::set_number(std::string_view key, std::string_view value)
{
    if (key == "family")
        cpu_.family = GW_TRY(number_up_to(key, value, 0xff + 0xf));
    else if (key == "model")
        cpu_.model_number = GW_TRY(number_up_to(key, value, 0xff));
    else if (key == "stepping")
        cpu_.stepping = GW_TRY(number_up_to(key, value, 0xf));
    else if (key == "level" || key == "min-level")
        cpu_.level = GW_TRY(number_up_to(key, value, UINT32_MAX))
    , level_set_ = key == "level";
    else if (key == "xlevel" || key == "min-xlevel") cpu_.xlevel =
        GW_TRY(number_up_to(key, value, UINT32_MAX))
    , xlevel_set_ = key == "xlevel";
    else if (key == "phys-bits") cpu_.phys_bits = GW_TRY(number_up_to(key, value, 255));
    else return false;
    return true;
}

Result<bool> Wishes::set_switch(std::string_view key, std::string_view value)
{
    if (key == "kvm")
        cpu_.expose_kvm = GW_TRY(on_or_off(key, value));
    else if (key == "check")
        cpu_.check = GW_TRY(on_or_off(key, value));
    else if (key == "enforce")
        cpu_.enforce = GW_TRY(on_or_off(key, value));
    else if (key == "host-phys-bits")
        host_phys_bits_ = GW_TRY(on_or_off(key, value));
    else if (key == "migratable" && host_ != nullptr &&
             (cpu_.model == "max" || cpu_.model == "host")) {
        if (!GW_TRY(on_or_off(key, value)))
            for (std::string_view name : kUnmigratable)
                set_feature(cpu_.features, name, has_feature(host_->supported, name));
    } else
        return false;
    return true;
}

Result<void> Wishes::set(std::string_view key, std::string_view value)
{
    if (key == "vendor")
        return set_vendor(value);
    if (key == "model-id") {
        cpu_.model_id = value;
        return {};
    }
    if (GW_TRY(set_number(key, value)) || GW_TRY(set_switch(key, value)))
        return {};
    if (find_features(key).empty() && !key.starts_with("vmx-"))
        return set_named_feature(key, true);
    return set_named_feature(key, GW_TRY(on_or_off(key, value)));
}

Result<void> Wishes::set_named_feature(std::string_view name, bool on)
{
    if (name == "kvm") {
        cpu_.expose_kvm = on;
        return {};
    }
    if (name.starts_with("vmx-")) {
        if (on)
            cpu_.unknown_on.emplace_back(name);
        return {};
    }
    if (find_features(name).empty())
        return Error(Errc::InvalidArgument,
                     fmt::format("Property '{}.{}' not found", cpu_.type_name(), name));
    set_feature(cpu_.features, name, on);
    set_feature(cpu_.user_set, name, true);
    return {};
}

/// The model as it is built in, before anybody wished for anything.
Result<CpuDefinition> model_definition(std::string_view name, const HostCpu* host,
                                       const CpuDefaults& defaults)
{
    const CpuModel* model = find_cpu_model(name);
    if (model == nullptr)
        return Error(Errc::InvalidArgument, fmt::format("unable to find CPU model '{}'", name));
    if (model->from_host && host == nullptr)
        return Error(Errc::Unsupported, fmt::format("CPU model '{}' requires KVM", name));
    CpuDefinition cpu =
        model->from_host ? host_definition(*model, *host) : built_in_definition(*model, host);
    if (!model->is_static) {
        set_feature(cpu.features, "kvm-msi-ext-dest-id", defaults.msi_ext_dest_id);
        set_feature(cpu.features, "x2apic", defaults.x2apic);
    }
    return cpu;
}

/// The highest leaf with a feature in it, so that the guest finds it.
void raise_levels(CpuDefinition& cpu, bool level, bool xlevel)
{
    for (std::size_t i = 0; i < kFeatureWords; ++i) {
        const auto word = static_cast<FeatureWord>(i);
        const FeatureWordInfo& info = feature_word_info(word);
        if (cpu.features[word] == 0 || info.msr || info.leaf >> 30 == 1)
            continue;
        if (info.leaf < 0x40000000 && level)
            cpu.level = std::max(cpu.level, info.leaf);
        if (info.leaf >> 16 == 0x8000 && xlevel)
            cpu.xlevel = std::max(cpu.xlevel, info.leaf);
    }
}

void Wishes::finish()
{
    if (cpu_.model != "base")
        raise_levels(cpu_, !level_set_, !xlevel_set_);
    const bool follow_host = host_phys_bits_ || cpu_.model == "max" || cpu_.model == "host";
    if (host_ != nullptr && follow_host && (host_phys_bits_ || cpu_.phys_bits == 0))
        cpu_.phys_bits = host_->phys_bits;
    if (cpu_.phys_bits == 0)
        cpu_.phys_bits = 40;
}

}  // namespace

std::span<const CpuModel> cpu_models() noexcept
{
    return kModels;
}

const CpuModel* find_cpu_model(std::string_view name) noexcept
{
    const auto found = std::ranges::find(kModels, name, &CpuModel::name);
    return found == std::end(kModels) ? nullptr : &*found;
}

Result<CpuDefinition> parse_cpu(std::string_view text, const HostCpu* host,
                                const CpuDefaults& defaults)
{
    const std::size_t comma = text.find(',');
    CpuDefinition cpu = GW_TRY(model_definition(text.substr(0, comma), host, defaults));
    Wishes wishes(cpu, host, defaults);
    if (comma != std::string_view::npos)
        GW_TRY(wishes.apply(text.substr(comma + 1)));
    wishes.finish();
    return cpu;
}

Result<CpuDefinition> expand_cpu(std::string_view name,
                                 const std::vector<std::pair<std::string, std::string>>& properties,
                                 const HostCpu* host, const CpuDefaults& defaults)
{
    if (find_cpu_model(name) == nullptr)
        return Error(Errc::InvalidArgument, fmt::format("CPU model '{}' not found", name));
    CpuDefinition cpu = GW_TRY(model_definition(name, host, defaults));
    Wishes wishes(cpu, host, defaults);
    for (const auto& [key, value] : properties)
        GW_TRY(wishes.set(key, value));
    wishes.finish();
    return cpu;
}

Result<std::vector<std::string>> filter_features(CpuDefinition& definition, const HostCpu& host)
{
    std::vector<std::string> missing;
    for (std::size_t i = 0; i < kFeatureWords; ++i) {
        const auto word = static_cast<FeatureWord>(i);
        const std::uint32_t lacking = definition.features[word] & ~host.supported[word];
        for (unsigned bit = 0; bit < 32; ++bit)
            if ((lacking >> bit & 1) != 0)
                missing.push_back(describe_feature_bit(word, bit));
        definition.features[word] &= host.supported[word];
    }
    missing.insert(missing.end(), definition.unknown_on.begin(), definition.unknown_on.end());
    if (definition.enforce && !missing.empty())
        return Error(Errc::Unsupported, "Host doesn't support requested features")
            .with_hint(fmt::format("missing: {}", fmt::join(missing, ", ")));
    return missing;
}

std::vector<std::string> unavailable_features(const CpuDefinition& definition, const HostCpu& host)
{
    std::vector<std::string> names;
    for (const Feature& feature : all_features()) {
        const std::uint32_t bit = std::uint32_t{1} << feature.bit;
        if ((definition.features[feature.word] & ~host.supported[feature.word] & bit) != 0 &&
            std::ranges::find(names, feature.name) == names.end())
            names.emplace_back(feature.name);
    }
    return names;
}

}  // namespace godwit::accel::kvm
