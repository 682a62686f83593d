// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What KVM offers, and the little that only the processor itself says.
#include "accel/kvm/cpu_model.h"

#include <cpuid.h>
#include <cstring>

namespace godwit::accel::kvm {
namespace {

const kvm_cpuid_entry2* find_entry(const std::vector<kvm_cpuid_entry2>& entries, std::uint32_t leaf,
                                   std::uint32_t subleaf)
{
    for (const kvm_cpuid_entry2& entry : entries)
        if (entry.function == leaf && entry.index == subleaf)
            return &entry;
    return nullptr;
}

std::uint32_t register_of(const kvm_cpuid_entry2& entry, CpuidRegister reg)
{
    switch (reg) {
    case CpuidRegister::Eax:
        return entry.eax;
    case CpuidRegister::Ebx:
        return entry.ebx;
    case CpuidRegister::Ecx:
        return entry.ecx;
    case CpuidRegister::Edx:
        return entry.edx;
    }
    return 0;
}

void read_signature(HostCpu& host)
{
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    __cpuid(0, a, b, c, d);
    char vendor[12];
    std::memcpy(vendor, &b, 4);
    std::memcpy(vendor + 4, &d, 4);
    std::memcpy(vendor + 8, &c, 4);
    host.vendor.assign(vendor, sizeof vendor);
    __cpuid(1, a, b, c, d);
    host.family = (a >> 8 & 0xf) + (a >> 20 & 0xff);
    host.model = (a >> 4 & 0xf) | (a >> 12 & 0xf0);
    host.stepping = a & 0xf;
    __cpuid(0x80000000, a, b, c, d);
    if (a >= 0x80000004) {
        char name[49] = {};
        for (unsigned i = 0; i < 3; ++i) {
            __cpuid(0x80000002 + i, a, b, c, d);
            const std::uint32_t words[] = {a, b, c, d};
            std::memcpy(name + 16 * i, words, sizeof words);
        }
        host.model_id = name;
    }
}

unsigned physical_bits()
{
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(0x80000008, &a, &b, &c, &d) != 0 && (a & 0xff) != 0)
        return a & 0xff;
    return 36;
}

/// Harmless features of the processor that KVM leaves out of its list.
void add_from_processor(HostCpu& host)
{
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0)
        return;
    host.supported[FeatureWord::Leaf7Ebx] |= b & (1u << 9);  // erms
    host.supported[FeatureWord::Leaf7Edx] |= d & (1u << 4);  // fsrm
}

}  // namespace

HostCpu HostCpu::from(std::vector<kvm_cpuid_entry2> entries, std::uint64_t arch_capabilities,
                      bool tsc_deadline_timer)
{
    HostCpu host;
    for (std::size_t i = 0; i < kFeatureWords; ++i) {
        const auto word = static_cast<FeatureWord>(i);
        const FeatureWordInfo& info = feature_word_info(word);
        if (info.msr)
            host.supported[word] = static_cast<std::uint32_t>(arch_capabilities);
        else if (const auto* entry = find_entry(entries, info.leaf, info.subleaf))
            host.supported[word] = register_of(*entry, info.reg);
    }
    // KVM's answer is about hardware; these it emulates, or we do.
    // The state of a guest that runs guests is more than we keep: not offered.
    host.supported[FeatureWord::Leaf1Ecx] &= ~(1u << 5);  // vmx
    host.supported[FeatureWord::Ext1Ecx] &= ~(1u << 2);   // svm
    host.supported[FeatureWord::Leaf1Ecx] |= 1u << 31;    // hypervisor
    host.supported[FeatureWord::Leaf1Edx] |= 1u << 28;    // ht
    host.supported[FeatureWord::Leaf6Eax] |= 1u << 2;     // arat: the APIC timer never stops
    host.supported[FeatureWord::KvmEax] |= 1u << 15;      // kvm-msi-ext-dest-id
    if (tsc_deadline_timer)
        host.supported[FeatureWord::Leaf1Ecx] |= 1u << 24;
    else
        host.supported[FeatureWord::Leaf1Ecx] &= ~(1u << 24);
    if (const auto* leaf0 = find_entry(entries, 0, 0))
        host.level = leaf0->eax;
    if (const auto* ext0 = find_entry(entries, 0x80000000, 0))
        host.xlevel = ext0->eax;
    read_signature(host);
    host.phys_bits = physical_bits();
    add_from_processor(host);
    host.entries = std::move(entries);
    return host;
}

}  // namespace godwit::accel::kvm
