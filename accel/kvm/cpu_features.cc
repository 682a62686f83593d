// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Names and numbers of feature bits: Intel SDM and AMD APM, "CPUID"; names as `-cpu help` of QEMU
// 10.0 prints them, so that command lines written for it work.
#include "accel/kvm/cpu_features.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

using enum CpuidRegister;

constexpr std::array<FeatureWordInfo, kFeatureWords> kWords{{
    {0x1, 0, Edx},        {0x1, 0, Ecx},        {0x6, 0, Eax},         {0x7, 0, Ebx},
    {0x7, 0, Ecx},        {0x7, 0, Edx},        {0x7, 1, Eax},         {0x7, 1, Edx},
    {0x7, 2, Edx},        {0xd, 1, Eax},        {0x12, 0, Eax},        {0x12, 0, Ebx},
    {0x12, 1, Eax},       {0x14, 0, Ecx},       {0x24, 0, Ebx},        {0x40000001, 0, Eax},
    {0x40000001, 0, Edx}, {0x80000001, 0, Edx}, {0x80000001, 0, Ecx},  {0x80000007, 0, Ebx},
    {0x80000007, 0, Edx}, {0x80000008, 0, Ebx}, {0x8000000a, 0, Edx},  {0x80000021, 0, Eax},
    {0x80000022, 0, Eax}, {0xc0000001, 0, Edx}, {0x10a, 0, Eax, true},
}};

constexpr Feature kFeatures[] = {
    {FeatureWord::Leaf1Edx, 0, "fpu"},
    {FeatureWord::Leaf1Edx, 1, "vme"},
    {FeatureWord::Leaf1Edx, 2, "de"},
    {FeatureWord::Leaf1Edx, 3, "pse"},
    {FeatureWord::Leaf1Edx, 4, "tsc"},
    {FeatureWord::Leaf1Edx, 5, "msr"},
    {FeatureWord::Leaf1Edx, 6, "pae"},
    {FeatureWord::Leaf1Edx, 7, "mce"},
    {FeatureWord::Leaf1Edx, 8, "cx8"},
    {FeatureWord::Leaf1Edx, 9, "apic"},
    {FeatureWord::Leaf1Edx, 11, "sep"},
    {FeatureWord::Leaf1Edx, 12, "mtrr"},
    {FeatureWord::Leaf1Edx, 13, "pge"},
    {FeatureWord::Leaf1Edx, 14, "mca"},
    {FeatureWord::Leaf1Edx, 15, "cmov"},
    {FeatureWord::Leaf1Edx, 16, "pat"},
    {FeatureWord::Leaf1Edx, 17, "pse36"},
    {FeatureWord::Leaf1Edx, 18, "pn"},
    {FeatureWord::Leaf1Edx, 19, "clflush"},
    {FeatureWord::Leaf1Edx, 21, "ds"},
    {FeatureWord::Leaf1Edx, 22, "acpi"},
    {FeatureWord::Leaf1Edx, 23, "mmx"},
    {FeatureWord::Leaf1Edx, 24, "fxsr"},
    {FeatureWord::Leaf1Edx, 25, "sse"},
    {FeatureWord::Leaf1Edx, 26, "sse2"},
    {FeatureWord::Leaf1Edx, 27, "ss"},
    {FeatureWord::Leaf1Edx, 28, "ht"},
    {FeatureWord::Leaf1Edx, 29, "tm"},
    {FeatureWord::Leaf1Edx, 30, "ia64"},
    {FeatureWord::Leaf1Edx, 31, "pbe"},
    {FeatureWord::Leaf1Ecx, 0, "pni"},
    {FeatureWord::Leaf1Ecx, 1, "pclmulqdq"},
    {FeatureWord::Leaf1Ecx, 2, "dtes64"},
    {FeatureWord::Leaf1Ecx, 3, "monitor"},
    {FeatureWord::Leaf1Ecx, 4, "ds-cpl"},
    {FeatureWord::Leaf1Ecx, 5, "vmx"},
    {FeatureWord::Leaf1Ecx, 6, "smx"},
    {FeatureWord::Leaf1Ecx, 7, "est"},
    {FeatureWord::Leaf1Ecx, 8, "tm2"},
    {FeatureWord::Leaf1Ecx, 9, "ssse3"},
    {FeatureWord::Leaf1Ecx, 10, "cid"},
    {FeatureWord::Leaf1Ecx, 12, "fma"},
    {FeatureWord::Leaf1Ecx, 13, "cx16"},
    {FeatureWord::Leaf1Ecx, 14, "xtpr"},
    {FeatureWord::Leaf1Ecx, 15, "pdcm"},
    {FeatureWord::Leaf1Ecx, 17, "pcid"},
    {FeatureWord::Leaf1Ecx, 18, "dca"},
    {FeatureWord::Leaf1Ecx, 19, "sse4.1"},
    {FeatureWord::Leaf1Ecx, 20, "sse4.2"},
    {FeatureWord::Leaf1Ecx, 21, "x2apic"},
    {FeatureWord::Leaf1Ecx, 22, "movbe"},
    {FeatureWord::Leaf1Ecx, 23, "popcnt"},
    {FeatureWord::Leaf1Ecx, 24, "tsc-deadline"},
    {FeatureWord::Leaf1Ecx, 25, "aes"},
    {FeatureWord::Leaf1Ecx, 26, "xsave"},
    {FeatureWord::Leaf1Ecx, 28, "avx"},
    {FeatureWord::Leaf1Ecx, 29, "f16c"},
    {FeatureWord::Leaf1Ecx, 30, "rdrand"},
    {FeatureWord::Leaf1Ecx, 31, "hypervisor"},
    {FeatureWord::Leaf6Eax, 2, "arat"},
    {FeatureWord::Leaf7Ebx, 0, "fsgsbase"},
    {FeatureWord::Leaf7Ebx, 1, "tsc-adjust"},
    {FeatureWord::Leaf7Ebx, 2, "sgx"},
    {FeatureWord::Leaf7Ebx, 3, "bmi1"},
    {FeatureWord::Leaf7Ebx, 4, "hle"},
    {FeatureWord::Leaf7Ebx, 5, "avx2"},
    {FeatureWord::Leaf7Ebx, 6, "fdp-excptn-only"},
    {FeatureWord::Leaf7Ebx, 7, "smep"},
    {FeatureWord::Leaf7Ebx, 8, "bmi2"},
    {FeatureWord::Leaf7Ebx, 9, "erms"},
    {FeatureWord::Leaf7Ebx, 10, "invpcid"},
    {FeatureWord::Leaf7Ebx, 11, "rtm"},
    {FeatureWord::Leaf7Ebx, 13, "zero-fcs-fds"},
    {FeatureWord::Leaf7Ebx, 14, "mpx"},
    {FeatureWord::Leaf7Ebx, 16, "avx512f"},
    {FeatureWord::Leaf7Ebx, 17, "avx512dq"},
    {FeatureWord::Leaf7Ebx, 18, "rdseed"},
    {FeatureWord::Leaf7Ebx, 19, "adx"},
    {FeatureWord::Leaf7Ebx, 20, "smap"},
    {FeatureWord::Leaf7Ebx, 21, "avx512ifma"},
    {FeatureWord::Leaf7Ebx, 22, "pcommit"},
    {FeatureWord::Leaf7Ebx, 23, "clflushopt"},
    {FeatureWord::Leaf7Ebx, 24, "clwb"},
    {FeatureWord::Leaf7Ebx, 25, "intel-pt"},
    {FeatureWord::Leaf7Ebx, 26, "avx512pf"},
    {FeatureWord::Leaf7Ebx, 27, "avx512er"},
    {FeatureWord::Leaf7Ebx, 28, "avx512cd"},
    {FeatureWord::Leaf7Ebx, 29, "sha-ni"},
    {FeatureWord::Leaf7Ebx, 30, "avx512bw"},
    {FeatureWord::Leaf7Ebx, 31, "avx512vl"},
    {FeatureWord::Leaf7Ecx, 1, "avx512vbmi"},
    {FeatureWord::Leaf7Ecx, 2, "umip"},
    {FeatureWord::Leaf7Ecx, 3, "pku"},
    {FeatureWord::Leaf7Ecx, 5, "waitpkg"},
    {FeatureWord::Leaf7Ecx, 6, "avx512vbmi2"},
    {FeatureWord::Leaf7Ecx, 8, "gfni"},
    {FeatureWord::Leaf7Ecx, 9, "vaes"},
    {FeatureWord::Leaf7Ecx, 10, "vpclmulqdq"},
    {FeatureWord::Leaf7Ecx, 11, "avx512vnni"},
    {FeatureWord::Leaf7Ecx, 12, "avx512bitalg"},
    {FeatureWord::Leaf7Ecx, 14, "avx512-vpopcntdq"},
    {FeatureWord::Leaf7Ecx, 16, "la57"},
    {FeatureWord::Leaf7Ecx, 22, "rdpid"},
    {FeatureWord::Leaf7Ecx, 24, "bus-lock-detect"},
    {FeatureWord::Leaf7Ecx, 25, "cldemote"},
    {FeatureWord::Leaf7Ecx, 27, "movdiri"},
    {FeatureWord::Leaf7Ecx, 28, "movdir64b"},
    {FeatureWord::Leaf7Ecx, 30, "sgxlc"},
    {FeatureWord::Leaf7Ecx, 31, "pks"},
    {FeatureWord::Leaf7Edx, 2, "avx512-4vnniw"},
    {FeatureWord::Leaf7Edx, 3, "avx512-4fmaps"},
    {FeatureWord::Leaf7Edx, 4, "fsrm"},
    {FeatureWord::Leaf7Edx, 8, "avx512-vp2intersect"},
    {FeatureWord::Leaf7Edx, 10, "md-clear"},
    {FeatureWord::Leaf7Edx, 14, "serialize"},
    {FeatureWord::Leaf7Edx, 16, "tsx-ldtrk"},
    {FeatureWord::Leaf7Edx, 19, "arch-lbr"},
    {FeatureWord::Leaf7Edx, 22, "amx-bf16"},
    {FeatureWord::Leaf7Edx, 23, "avx512-fp16"},
    {FeatureWord::Leaf7Edx, 24, "amx-tile"},
    {FeatureWord::Leaf7Edx, 25, "amx-int8"},
    {FeatureWord::Leaf7Edx, 26, "spec-ctrl"},
    {FeatureWord::Leaf7Edx, 27, "stibp"},
    {FeatureWord::Leaf7Edx, 28, "flush-l1d"},
    {FeatureWord::Leaf7Edx, 29, "arch-capabilities"},
    {FeatureWord::Leaf7Edx, 30, "core-capability"},
    {FeatureWord::Leaf7Edx, 31, "ssbd"},
    {FeatureWord::Leaf71Eax, 0, "sha512"},
    {FeatureWord::Leaf71Eax, 1, "sm3"},
    {FeatureWord::Leaf71Eax, 2, "sm4"},
    {FeatureWord::Leaf71Eax, 4, "avx-vnni"},
    {FeatureWord::Leaf71Eax, 5, "avx512-bf16"},
    {FeatureWord::Leaf71Eax, 7, "cmpccxadd"},
    {FeatureWord::Leaf71Eax, 10, "fzrm"},
    {FeatureWord::Leaf71Eax, 11, "fsrs"},
    {FeatureWord::Leaf71Eax, 12, "fsrc"},
    {FeatureWord::Leaf71Eax, 17, "fred"},
    {FeatureWord::Leaf71Eax, 18, "lkgs"},
    {FeatureWord::Leaf71Eax, 19, "wrmsrns"},
    {FeatureWord::Leaf71Eax, 21, "amx-fp16"},
    {FeatureWord::Leaf71Eax, 23, "avx-ifma"},
    {FeatureWord::Leaf71Eax, 26, "lam"},
    {FeatureWord::Leaf71Edx, 4, "avx-vnni-int8"},
    {FeatureWord::Leaf71Edx, 5, "avx-ne-convert"},
    {FeatureWord::Leaf71Edx, 8, "amx-complex"},
    {FeatureWord::Leaf71Edx, 10, "avx-vnni-int16"},
    {FeatureWord::Leaf71Edx, 14, "prefetchiti"},
    {FeatureWord::Leaf71Edx, 19, "avx10"},
    {FeatureWord::Leaf72Edx, 0, "intel-psfd"},
    {FeatureWord::Leaf72Edx, 1, "ipred-ctrl"},
    {FeatureWord::Leaf72Edx, 2, "rrsba-ctrl"},
    {FeatureWord::Leaf72Edx, 3, "ddpd-u"},
    {FeatureWord::Leaf72Edx, 4, "bhi-ctrl"},
    {FeatureWord::Leaf72Edx, 5, "mcdt-no"},
    {FeatureWord::LeafD1Eax, 0, "xsaveopt"},
    {FeatureWord::LeafD1Eax, 1, "xsavec"},
    {FeatureWord::LeafD1Eax, 2, "xgetbv1"},
    {FeatureWord::LeafD1Eax, 3, "xsaves"},
    {FeatureWord::LeafD1Eax, 4, "xfd"},
    {FeatureWord::Leaf121Eax, 1, "sgx-debug"},
    {FeatureWord::Leaf12Eax, 0, "sgx1"},
    {FeatureWord::Leaf12Eax, 1, "sgx2"},
    {FeatureWord::Leaf121Eax, 2, "sgx-mode64"},
    {FeatureWord::Leaf121Eax, 4, "sgx-provisionkey"},
    {FeatureWord::Leaf121Eax, 5, "sgx-tokenkey"},
    {FeatureWord::Leaf121Eax, 7, "sgx-kss"},
    {FeatureWord::Leaf121Eax, 10, "sgx-aex-notify"},
    {FeatureWord::Leaf12Eax, 11, "sgx-edeccssa"},
    {FeatureWord::Leaf12Ebx, 0, "sgx-exinfo"},
    {FeatureWord::Leaf14Ecx, 31, "intel-pt-lip"},
    {FeatureWord::Leaf24Ebx, 16, "avx10-128"},
    {FeatureWord::Leaf24Ebx, 17, "avx10-256"},
    {FeatureWord::Leaf24Ebx, 18, "avx10-512"},
    {FeatureWord::KvmEax, 0, "kvmclock"},
    {FeatureWord::KvmEax, 1, "kvm-nopiodelay"},
    {FeatureWord::KvmEax, 2, "kvm-mmu"},
    {FeatureWord::KvmEax, 3, "kvmclock"},
    {FeatureWord::KvmEax, 4, "kvm-asyncpf"},
    {FeatureWord::KvmEax, 5, "kvm-steal-time"},
    {FeatureWord::KvmEax, 6, "kvm-pv-eoi"},
    {FeatureWord::KvmEax, 7, "kvm-pv-unhalt"},
    {FeatureWord::KvmEax, 9, "kvm-pv-tlb-flush"},
    {FeatureWord::KvmEax, 10, "kvm-asyncpf-vmexit"},
    {FeatureWord::KvmEax, 11, "kvm-pv-ipi"},
    {FeatureWord::KvmEax, 12, "kvm-poll-control"},
    {FeatureWord::KvmEax, 13, "kvm-pv-sched-yield"},
    {FeatureWord::KvmEax, 14, "kvm-asyncpf-int"},
    {FeatureWord::KvmEax, 15, "kvm-msi-ext-dest-id"},
    {FeatureWord::KvmEax, 24, "kvmclock-stable-bit"},
    {FeatureWord::KvmEdx, 0, "kvm-hint-dedicated"},
    {FeatureWord::Ext1Edx, 11, "syscall"},
    {FeatureWord::Ext1Edx, 20, "nx"},
    {FeatureWord::Ext1Edx, 22, "mmxext"},
    {FeatureWord::Ext1Edx, 25, "fxsr-opt"},
    {FeatureWord::Ext1Edx, 26, "pdpe1gb"},
    {FeatureWord::Ext1Edx, 27, "rdtscp"},
    {FeatureWord::Ext1Edx, 29, "lm"},
    {FeatureWord::Ext1Edx, 30, "3dnowext"},
    {FeatureWord::Ext1Edx, 31, "3dnow"},
    {FeatureWord::Ext1Ecx, 0, "lahf-lm"},
    {FeatureWord::Ext1Ecx, 1, "cmp-legacy"},
    {FeatureWord::Ext1Ecx, 2, "svm"},
    {FeatureWord::Ext1Ecx, 3, "extapic"},
    {FeatureWord::Ext1Ecx, 4, "cr8legacy"},
    {FeatureWord::Ext1Ecx, 5, "abm"},
    {FeatureWord::Ext1Ecx, 6, "sse4a"},
    {FeatureWord::Ext1Ecx, 7, "misalignsse"},
    {FeatureWord::Ext1Ecx, 8, "3dnowprefetch"},
    {FeatureWord::Ext1Ecx, 9, "osvw"},
    {FeatureWord::Ext1Ecx, 10, "ibs"},
    {FeatureWord::Ext1Ecx, 11, "xop"},
    {FeatureWord::Ext1Ecx, 12, "skinit"},
    {FeatureWord::Ext1Ecx, 13, "wdt"},
    {FeatureWord::Ext1Ecx, 15, "lwp"},
    {FeatureWord::Ext1Ecx, 16, "fma4"},
    {FeatureWord::Ext1Ecx, 17, "tce"},
    {FeatureWord::Ext1Ecx, 19, "nodeid-msr"},
    {FeatureWord::Ext1Ecx, 21, "tbm"},
    {FeatureWord::Ext1Ecx, 22, "topoext"},
    {FeatureWord::Ext1Ecx, 23, "perfctr-core"},
    {FeatureWord::Ext1Ecx, 24, "perfctr-nb"},
    {FeatureWord::Ext7Ebx, 0, "overflow-recov"},
    {FeatureWord::Ext7Ebx, 1, "succor"},
    {FeatureWord::Ext7Edx, 8, "invtsc"},
    {FeatureWord::Ext8Ebx, 0, "clzero"},
    {FeatureWord::Ext8Ebx, 2, "xsaveerptr"},
    {FeatureWord::Ext8Ebx, 9, "wbnoinvd"},
    {FeatureWord::Ext8Ebx, 12, "ibpb"},
    {FeatureWord::Ext8Ebx, 14, "ibrs"},
    {FeatureWord::Ext8Ebx, 15, "amd-stibp"},
    {FeatureWord::Ext8Ebx, 17, "stibp-always-on"},
    {FeatureWord::Ext8Ebx, 24, "amd-ssbd"},
    {FeatureWord::Ext8Ebx, 25, "virt-ssbd"},
    {FeatureWord::Ext8Ebx, 26, "amd-no-ssb"},
    {FeatureWord::Ext8Ebx, 28, "amd-psfd"},
    {FeatureWord::ExtAEdx, 0, "npt"},
    {FeatureWord::ExtAEdx, 1, "lbrv"},
    {FeatureWord::ExtAEdx, 2, "svm-lock"},
    {FeatureWord::ExtAEdx, 3, "nrip-save"},
    {FeatureWord::ExtAEdx, 4, "tsc-scale"},
    {FeatureWord::ExtAEdx, 5, "vmcb-clean"},
    {FeatureWord::ExtAEdx, 6, "flushbyasid"},
    {FeatureWord::ExtAEdx, 7, "decodeassists"},
    {FeatureWord::ExtAEdx, 10, "pause-filter"},
    {FeatureWord::ExtAEdx, 12, "pfthreshold"},
    {FeatureWord::ExtAEdx, 13, "avic"},
    {FeatureWord::ExtAEdx, 15, "v-vmsave-vmload"},
    {FeatureWord::ExtAEdx, 16, "vgif"},
    {FeatureWord::ExtAEdx, 25, "vnmi"},
    {FeatureWord::ExtAEdx, 28, "svme-addr-chk"},
    {FeatureWord::Ext21Eax, 0, "no-nested-data-bp"},
    {FeatureWord::Ext21Eax, 2, "lfence-always-serializing"},
    {FeatureWord::Ext21Eax, 6, "null-sel-clr-base"},
    {FeatureWord::Ext21Eax, 8, "auto-ibrs"},
    {FeatureWord::Ext21Eax, 24, "eraps"},
    {FeatureWord::Ext21Eax, 27, "sbpb"},
    {FeatureWord::Ext21Eax, 28, "ibpb-brtype"},
    {FeatureWord::Ext21Eax, 29, "srso-no"},
    {FeatureWord::Ext21Eax, 30, "srso-user-kernel-no"},
    {FeatureWord::Ext22Eax, 0, "perfmon-v2"},
    {FeatureWord::CentaurEdx, 2, "xstore"},
    {FeatureWord::CentaurEdx, 3, "xstore-en"},
    {FeatureWord::CentaurEdx, 6, "xcrypt"},
    {FeatureWord::CentaurEdx, 7, "xcrypt-en"},
    {FeatureWord::CentaurEdx, 8, "ace2"},
    {FeatureWord::CentaurEdx, 9, "ace2-en"},
    {FeatureWord::CentaurEdx, 10, "phe"},
    {FeatureWord::CentaurEdx, 11, "phe-en"},
    {FeatureWord::CentaurEdx, 12, "pmm"},
    {FeatureWord::CentaurEdx, 13, "pmm-en"},
    {FeatureWord::ArchCap, 0, "rdctl-no"},
    {FeatureWord::ArchCap, 1, "ibrs-all"},
    {FeatureWord::ArchCap, 2, "rsba"},
    {FeatureWord::ArchCap, 3, "skip-l1dfl-vmentry"},
    {FeatureWord::ArchCap, 4, "ssb-no"},
    {FeatureWord::ArchCap, 5, "mds-no"},
    {FeatureWord::ArchCap, 6, "pschange-mc-no"},
    {FeatureWord::ArchCap, 7, "tsx-ctrl"},
    {FeatureWord::ArchCap, 8, "taa-no"},
    {FeatureWord::ArchCap, 13, "sbdr-ssdp-no"},
    {FeatureWord::ArchCap, 14, "fbsdp-no"},
    {FeatureWord::ArchCap, 15, "psdp-no"},
    {FeatureWord::ArchCap, 17, "fb-clear"},
    {FeatureWord::ArchCap, 20, "bhi-no"},
    {FeatureWord::ArchCap, 24, "pbrsb-no"},
    {FeatureWord::ArchCap, 26, "gds-no"},
    {FeatureWord::ArchCap, 27, "rfds-no"},
    {FeatureWord::ArchCap, 28, "rfds-clear"},
};

/// Other spellings that command lines use, and what they mean.
constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
    {"sse3", "pni"},
    {"pclmuldq", "pclmulqdq"},
    {"sse4-1", "sse4.1"},
    {"sse4_1", "sse4.1"},
    {"sse4-2", "sse4.2"},
    {"sse4_2", "sse4.2"},
    {"xd", "nx"},
    {"i64", "lm"},
    {"ffxsr", "fxsr-opt"},
    {"lahf_lm", "lahf-lm"},
    {"cmp_legacy", "cmp-legacy"},
    {"nodeid_msr", "nodeid-msr"},
    {"perfctr_core", "perfctr-core"},
    {"perfctr_nb", "perfctr-nb"},
    {"kvm_nopiodelay", "kvm-nopiodelay"},
    {"kvm_mmu", "kvm-mmu"},
    {"kvm_asyncpf", "kvm-asyncpf"},
    {"kvm_asyncpf_int", "kvm-asyncpf-int"},
    {"kvm_steal_time", "kvm-steal-time"},
    {"kvm_pv_eoi", "kvm-pv-eoi"},
    {"kvm_pv_unhalt", "kvm-pv-unhalt"},
    {"kvm_poll_control", "kvm-poll-control"},
    {"svm_lock", "svm-lock"},
    {"nrip_save", "nrip-save"},
    {"tsc_scale", "tsc-scale"},
    {"vmcb_clean", "vmcb-clean"},
    {"pause_filter", "pause-filter"},
    {"ds_cpl", "ds-cpl"},
    {"tsc_adjust", "tsc-adjust"},
    {"fxsr_opt", "fxsr-opt"},
};

}  // namespace

const FeatureWordInfo& feature_word_info(FeatureWord word) noexcept
{
    return kWords[static_cast<std::size_t>(word)];
}

std::span<const Feature> all_features() noexcept
{
    return kFeatures;
}

std::string canonical_feature_name(std::string_view name)
{
    for (const auto& [alias, canonical] : kAliases)
        if (alias == name)
            return std::string(canonical);
    const auto known = [](std::string_view wanted) {
        return std::ranges::any_of(kFeatures, [&](const Feature& f) { return f.name == wanted; });
    };
    if (known(name))
        return std::string(name);
    std::string dashed(name);
    std::ranges::replace(dashed, '_', '-');
    return known(dashed) ? dashed : std::string();
}

std::vector<Feature> find_features(std::string_view name)
{
    const std::string canonical = canonical_feature_name(name);
    std::vector<Feature> found;
    for (const Feature& feature : kFeatures)
        if (feature.name == canonical)
            found.push_back(feature);
    return found;
}

std::vector<std::string> feature_aliases(std::string_view name)
{
    std::vector<std::string> aliases;
    for (const auto& [alias, canonical] : kAliases)
        if (canonical == name)
            aliases.emplace_back(alias);
    return aliases;
}

bool has_feature(const FeatureSet& set, std::string_view name)
{
    return std::ranges::any_of(find_features(name), [&](const Feature& feature) {
        return (set[feature.word] >> feature.bit & 1) != 0;
    });
}

std::string describe_feature_bit(FeatureWord word, unsigned bit)
{
    static constexpr std::string_view kRegisters[] = {"EAX", "EBX", "ECX", "EDX"};
    const FeatureWordInfo& info = feature_word_info(word);
    std::string text = info.msr ? fmt::format("MSR({:X}H)", info.leaf)
                                : fmt::format("CPUID.{:02X}H:{}", info.leaf,
                                              kRegisters[static_cast<unsigned>(info.reg)]);
    for (const Feature& feature : kFeatures)
        if (feature.word == word && feature.bit == bit) {
            text += fmt::format(".{}", feature.name);
            break;
        }
    return text + fmt::format(" [bit {}]", bit);
}

}  // namespace godwit::accel::kvm
