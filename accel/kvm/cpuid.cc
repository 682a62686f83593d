// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/cpuid.h"

#include <algorithm>
#include <asm/kvm_para.h>
#include <bit>
#include <cstring>

namespace godwit::accel::kvm {
namespace {

struct Regs {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    bool zero() const { return (eax | ebx | ecx | edx) == 0; }
};

std::uint32_t text_word(std::string_view text, std::size_t at)
{
    std::uint32_t word = 0;
    if (at < text.size())
        std::memcpy(&word, text.data() + at, std::min<std::size_t>(4, text.size() - at));
    return word;
}

/// Collects leaves. Those that are all zero are left out: the guest reads zeros there anyway.
class Table {
public:
    void leaf(std::uint32_t function, Regs r)
    {
        if (!r.zero())
            put(function, 0, 0, r);
    }
    void subleaf(std::uint32_t function, std::uint32_t index, Regs r)
    {
        put(function, index, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, r);
    }
    std::vector<kvm_cpuid_entry2> take() { return std::move(entries_); }

private:
    void put(std::uint32_t function, std::uint32_t index, std::uint32_t flags, Regs r)
    {
        kvm_cpuid_entry2 entry{};
        entry.function = function;
        entry.index = index;
        entry.flags = flags;
        entry.eax = r.eax;
        entry.ebx = r.ebx;
        entry.ecx = r.ecx;
        entry.edx = r.edx;
        entries_.push_back(entry);
    }
    std::vector<kvm_cpuid_entry2> entries_;
};

/// Builds the leaves in groups; one object a vCPU.
class Builder {
public:
    Builder(const CpuDefinition& cpu, const CpuTopology& topology, const HostCpu& host)
        : cpu_(cpu), f_(cpu.features), topology_(topology), host_(host),
          id_bits_(static_cast<unsigned>(std::bit_width(std::max(topology.cpus, 1u) - 1)))
    {}

    std::vector<kvm_cpuid_entry2> build()
    {
        hypervisor();
        basic();
        structured();
        topology();
        extended();
        return table_.take();
    }

private:
    bool wants(std::uint32_t leaf) const
    {
        return leaf <= (leaf >= 0x80000000 ? cpu_.xlevel : cpu_.level);
    }
    bool many() const { return topology_.cpus > 1; }
    bool intel() const { return cpu_.vendor == "GenuineIntel"; }
    bool amd() const { return cpu_.vendor == "AuthenticAMD" || cpu_.vendor == "HygonGenuine"; }
    Regs vendor_leaf(std::uint32_t highest) const
    {
        return {highest, text_word(cpu_.vendor, 0), text_word(cpu_.vendor, 8),
                text_word(cpu_.vendor, 4)};
    }

    void hypervisor();
    void basic();
    void caches();
    void structured();
    void xsave();
    void topology();
    void extended();
    void extended_caches();
    Regs address_sizes() const;

    const CpuDefinition& cpu_;
    const FeatureSet& f_;
    const CpuTopology& topology_;
    const HostCpu& host_;
    unsigned id_bits_;  ///< of an APIC id that tell the cores apart
    Table table_;
};

void Builder::hypervisor()
{
    if (!cpu_.expose_kvm)
        return;
    const bool frequencies = has_feature(f_, "invtsc") && host_.tsc_khz != 0;
    table_.leaf(KVM_CPUID_SIGNATURE,
                {frequencies ? 0x40000010u : 0x40000001u, 0x4b4d564b, 0x564b4d56, 0x4d});
    table_.subleaf(KVM_CPUID_FEATURES, 0, {f_[FeatureWord::KvmEax], 0, 0, f_[FeatureWord::KvmEdx]});
    if (frequencies)  // TSC and APIC bus, in kHz
        table_.leaf(0x40000010, {static_cast<std::uint32_t>(host_.tsc_khz), 1'000'000, 0, 0});
}

void Builder::basic()
{
    table_.leaf(0, vendor_leaf(cpu_.level));
    if (!wants(1))
        return;
    const std::uint32_t cpus = many() ? topology_.cpus << 16 : 0;
    const std::uint32_t ht = many() ? std::uint32_t{1} << 28 : 0;
    table_.leaf(1, {cpuid_signature(cpu_.family, cpu_.model_number, cpu_.stepping),
                    topology_.apic_id << 24 | cpus | 8u << 8, f_[FeatureWord::Leaf1Ecx],
                    f_[FeatureWord::Leaf1Edx] | ht});
    caches();
    if (wants(5))  // MONITOR/MWAIT: extensions are enumerated
        table_.leaf(5, {0, 0, 3, 0});
    if (wants(6))
        table_.leaf(6, {f_[FeatureWord::Leaf6Eax], 0, 0, 0});
}

/// 32 KiB + 32 KiB, 4 MiB, 16 MiB: the caches of QEMU's models.
void Builder::caches()
{
    if (wants(2))
        table_.leaf(2, {1, 0, 0x4d, 0x002c307d});
    if (!wants(4))
        return;
    const std::uint32_t mask = (std::uint32_t{1} << id_bits_) - 1;
    const std::uint32_t cores = mask << 26;
    table_.subleaf(4, 0, {cores | 0x121, 0x01c0003f, 0x3f, 1});
    table_.subleaf(4, 1, {cores | 0x122, 0x01c0003f, 0x3f, 1});
    table_.subleaf(4, 2, {cores | 0x143, 0x03c0003f, 0xfff, 1});
    table_.subleaf(4, 3, {cores | mask << 14 | 0x163, 0x03c0003f, 0x3fff, 6});
    table_.subleaf(4, 4, {});
}

void Builder::structured()
{
    if (wants(7)) {
        const bool second = f_[FeatureWord::Leaf72Edx] != 0;
        const bool first =
            second || f_[FeatureWord::Leaf71Eax] != 0 || f_[FeatureWord::Leaf71Edx] != 0;
        table_.subleaf(7, 0,
                       {second  ? 2u
                        : first ? 1u
                                : 0u,
                        f_[FeatureWord::Leaf7Ebx], f_[FeatureWord::Leaf7Ecx],
                        f_[FeatureWord::Leaf7Edx]});
        if (first)
            table_.subleaf(7, 1, {f_[FeatureWord::Leaf71Eax], 0, 0, f_[FeatureWord::Leaf71Edx]});
        if (second)
            table_.subleaf(7, 2, {0, 0, 0, f_[FeatureWord::Leaf72Edx]});
    }
    if (wants(0xd) && has_feature(f_, "xsave"))
        xsave();
    if (wants(0x12))
        for (std::uint32_t i = 0; i < 3; ++i)
            table_.subleaf(0x12, i, {});
    if (wants(0x14))
        table_.subleaf(0x14, 0, {});
}

/// State components of XSAVE, as far as a feature needs them and the host lays them out.
void Builder::xsave()
{
    static constexpr std::pair<unsigned, std::string_view> kComponents[] = {
        {2, "avx"},     {3, "mpx"}, {4, "mpx"},       {5, "avx512f"},   {6, "avx512f"},
        {7, "avx512f"}, {9, "pku"}, {17, "amx-tile"}, {18, "amx-tile"},
    };
    const auto host_subleaf = [this](std::uint32_t index) -> const kvm_cpuid_entry2* {
        for (const kvm_cpuid_entry2& entry : host_.entries)
            if (entry.function == 0xd && entry.index == index)
                return &entry;
        return nullptr;
    };
    std::uint64_t mask = 3;
    std::uint32_t size = 0x240;
    std::vector<std::pair<std::uint32_t, Regs>> parts;
    for (const auto& [component, feature] : kComponents) {
        const kvm_cpuid_entry2* entry = host_subleaf(component);
        if (entry == nullptr || entry->eax == 0 || !has_feature(f_, feature))
            continue;
        mask |= std::uint64_t{1} << component;
        size = std::max(size, entry->ebx + entry->eax);
        parts.emplace_back(component, Regs{entry->eax, entry->ebx, entry->ecx, 0});
    }
    table_.subleaf(
        0xd, 0,
        {static_cast<std::uint32_t>(mask), size, size, static_cast<std::uint32_t>(mask >> 32)});
    table_.subleaf(0xd, 1, {f_[FeatureWord::LeafD1Eax], size, 0, 0});
    for (const auto& [component, regs] : parts)
        table_.subleaf(0xd, component, regs);
}

void Builder::topology()
{
    if (!wants(0xb))
        return;
    table_.subleaf(0xb, 0, {0, 1, 0x100, topology_.apic_id});
    table_.subleaf(0xb, 1, {id_bits_, topology_.cpus, 0x201, topology_.apic_id});
    table_.subleaf(0xb, 2, {0, 0, 2, topology_.apic_id});
}

Regs Builder::address_sizes() const
{
    if (!has_feature(f_, "lm"))
        return {has_feature(f_, "pse36") ? 36u : 32u, f_[FeatureWord::Ext8Ebx], 0, 0};
    const std::uint32_t linear = has_feature(f_, "la57") ? 57 : 48;
    const std::uint32_t cores = many() ? id_bits_ << 12 | (topology_.cpus - 1) : 0;
    return {cpu_.phys_bits | linear << 8, f_[FeatureWord::Ext8Ebx], cores, 0};
}

void Builder::extended()
{
    if (cpu_.xlevel < 0x80000000)
        return;
    table_.leaf(0x80000000, vendor_leaf(cpu_.xlevel));
    if (wants(0x80000001)) {
        // AMD repeats the old features of leaf 1 here.
        const std::uint32_t repeated = amd() ? f_[FeatureWord::Leaf1Edx] & 0x0183f3ff : 0;
        const std::uint32_t legacy = many() && !intel() ? 2 : 0;
        table_.leaf(0x80000001,
                    {cpuid_signature(cpu_.family, cpu_.model_number, cpu_.stepping), 0,
                     f_[FeatureWord::Ext1Ecx] | legacy, f_[FeatureWord::Ext1Edx] | repeated});
    }
    for (std::uint32_t i = 0; i < 3 && wants(0x80000002 + i); ++i)
        table_.leaf(0x80000002 + i,
                    {text_word(cpu_.model_id, 16 * i), text_word(cpu_.model_id, 16 * i + 4),
                     text_word(cpu_.model_id, 16 * i + 8), text_word(cpu_.model_id, 16 * i + 12)});
    extended_caches();
    if (wants(0x80000007))
        table_.leaf(0x80000007, {0, f_[FeatureWord::Ext7Ebx], 0, f_[FeatureWord::Ext7Edx]});
    if (wants(0x80000008))
        table_.leaf(0x80000008, address_sizes());
    if (wants(0x80000021))
        table_.leaf(0x80000021, {f_[FeatureWord::Ext21Eax], 0, 0, 0});
}

void Builder::extended_caches()
{
    if (wants(0x80000005))
        table_.leaf(0x80000005, {0x01ff01ff, 0x01ff01ff, 0x40020140, 0x40020140});
    if (wants(0x80000006))
        table_.leaf(0x80000006, {0, 0x42004200, 0x02008140, 0x00808140});
    if (!wants(0x8000001d))
        return;
    const std::uint32_t shared = ((std::uint32_t{1} << id_bits_) - 1) << 14;
    table_.subleaf(0x8000001d, 0, {0x121, 0x0040003f, 0x1ff, 1});
    table_.subleaf(0x8000001d, 1, {0x122, 0x0040003f, 0x1ff, 1});
    table_.subleaf(0x8000001d, 2, {0x043, 0x03c0003f, 0x1ff, 0});
    table_.subleaf(0x8000001d, 3, {shared | 0x163, 0x03c0003f, 0x3fff, 2});
    table_.subleaf(0x8000001d, 4, {});
}

}  // namespace

std::uint32_t cpuid_signature(unsigned family, unsigned model, unsigned stepping) noexcept
{
    const unsigned base_family = std::min(family, 15u);
    const unsigned more_family = family - base_family;
    return more_family << 20 | (model >> 4) << 16 | base_family << 8 | (model & 0xf) << 4 |
           stepping;
}

std::vector<kvm_cpuid_entry2> build_cpuid(const CpuDefinition& cpu, const CpuTopology& topology,
                                          const HostCpu& host)
{
    return Builder(cpu, topology, host).build();
}

}  // namespace godwit::accel::kvm
