// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/cpu_model.h"
#include "accel/kvm/cpuid.h"
#include "cpuid_golden.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>

namespace godwit::accel::kvm {
namespace {

HostCpu recorded_host()
{
    std::vector<kvm_cpuid_entry2> entries;
    for (const golden::Row& row : golden::kSupported) {
        kvm_cpuid_entry2 entry{};
        entry.function = row.leaf;
        entry.index = row.subleaf;
        entry.eax = row.eax;
        entry.ebx = row.ebx;
        entry.ecx = row.ecx;
        entry.edx = row.edx;
        entries.push_back(entry);
    }
    HostCpu host = HostCpu::from(std::move(entries), 0x41564952, true);
    // What the processor itself said when the tables were recorded.
    host.supported[FeatureWord::Leaf7Ebx] |= 1u << 9;
    host.supported[FeatureWord::Leaf7Edx] |= 1u << 4;
    host.vendor = "GenuineIntel";
    host.family = 6;
    host.model = 207;
    host.stepping = 2;
    host.model_id = "Intel(R) Xeon(R) Processor";
    host.phys_bits = 48;
    host.tsc_khz = 2299998;
    return host;
}

using Leaves = std::map<std::pair<std::uint32_t, std::uint32_t>, std::string>;

std::string print(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d)
{
    return fmt::format("{:08x} {:08x} {:08x} {:08x}", a, b, c, d);
}

Leaves golden_leaves(std::span<const golden::Row> rows)
{
    Leaves leaves;
    for (const golden::Row& row : rows)
        leaves[{row.leaf, row.subleaf}] = print(row.eax, row.ebx, row.ecx, row.edx);
    return leaves;
}

Leaves our_leaves(std::string_view model, CpuDefaults defaults, CpuTopology topology)
{
    const HostCpu host = recorded_host();
    auto cpu = parse_cpu(model, &host, defaults);
    if (!cpu) {
        ADD_FAILURE() << cpu.error().message();
        return {};
    }
    EXPECT_TRUE(filter_features(*cpu, host));
    Leaves leaves;
    for (const kvm_cpuid_entry2& e : build_cpuid(*cpu, topology, host))
        leaves[{e.function, e.index}] = print(e.eax, e.ebx, e.ecx, e.edx);
    return leaves;
}

constexpr CpuDefaults kMicrovm{.host_phys_bits = true, .msi_ext_dest_id = true};

struct Recorded {
    const char* model;
    std::span<const golden::Row> rows;
    CpuDefaults defaults = kMicrovm;
    CpuTopology topology = {};
};

class RecordedCpuid : public testing::TestWithParam<Recorded> {};

TEST_P(RecordedCpuid, IsWhatQemuShowedTheGuest)
{
    const Recorded& recorded = GetParam();
    EXPECT_EQ(our_leaves(recorded.model, recorded.defaults, recorded.topology),
              golden_leaves(recorded.rows));
}

INSTANTIATE_TEST_SUITE_P(
    Models, RecordedCpuid,
    testing::Values(Recorded{"qemu64", golden::kQemu64}, Recorded{"qemu64-v1", golden::kQemu64},
                    Recorded{"base", golden::kBase}, Recorded{"max", golden::kMax},
                    Recorded{"host", golden::kMax}, Recorded{"kvm64", golden::kKvm64},
                    Recorded{"kvm32", golden::kKvm32}, Recorded{"qemu32", golden::kQemu32},
                    Recorded{"qemu64,-apic", golden::kQemu64NoApic},
                    Recorded{"qemu64,+invtsc", golden::kQemu64Invtsc},
                    Recorded{"qemu64", golden::kSecondOfTwo, kMicrovm, {2, 1}},
                    Recorded{"qemu64", golden::kQ35SecondOfTwo, {}, {2, 1}}));

std::string error_of(std::string_view text)
{
    const HostCpu host = recorded_host();
    auto cpu = parse_cpu(text, &host, {});
    return cpu ? "accepted" : cpu.error().message();
}

TEST(CpuModel, ErrorsAreQemusWords)
{
    EXPECT_EQ(error_of("nope"), "unable to find CPU model 'nope'");
    EXPECT_EQ(error_of(""), "unable to find CPU model ''");
    EXPECT_EQ(error_of("qemu64,+nope"), "Property 'qemu64-x86_64-cpu.nope' not found");
    EXPECT_EQ(error_of("qemu64,-nope"), "Property 'qemu64-x86_64-cpu.nope' not found");
    EXPECT_EQ(error_of("qemu64,nope=on"), "can't apply global qemu64-x86_64-cpu.nope=on: "
                                          "Property 'qemu64-x86_64-cpu.nope' not found");
    EXPECT_EQ(error_of("qemu64,nope"), "can't apply global qemu64-x86_64-cpu.nope=on: "
                                       "Property 'qemu64-x86_64-cpu.nope' not found");
    EXPECT_EQ(error_of("qemu64,sse4.2=maybe"), "can't apply global qemu64-x86_64-cpu.sse4.2=maybe: "
                                               "Parameter 'sse4.2' expects 'on' or 'off'");
    EXPECT_EQ(error_of("qemu64,family=300"), "can't apply global qemu64-x86_64-cpu.family=300: "
                                             "parameter 'family' can be at most 270");
    EXPECT_EQ(error_of("qemu64,vendor=abc"),
              "can't apply global qemu64-x86_64-cpu.vendor=abc: "
              "value of property 'vendor' must consist of exactly 12 characters");
    EXPECT_EQ(error_of("qemu64,migratable=off"),
              "can't apply global qemu64-x86_64-cpu.migratable=off: "
              "Property 'qemu64-x86_64-cpu.migratable' not found");
    EXPECT_EQ(error_of("max,migratable=off"), "accepted");
    EXPECT_EQ(error_of("qemu64,,+sse4_2,-pni,"), "accepted");
}

TEST(CpuModel, HostModelsNeedKvm)
{
    auto cpu = parse_cpu("host", nullptr, {});
    ASSERT_FALSE(cpu);
    EXPECT_EQ(cpu.error().message(), "CPU model 'host' requires KVM");
    EXPECT_TRUE(parse_cpu("qemu64", nullptr, {}));
}

TEST(CpuModel, PlusAndMinusWinOverOnAndOff)
{
    const HostCpu host = recorded_host();
    auto cpu = parse_cpu("qemu64,-avx2,avx2=on", &host, {});
    ASSERT_TRUE(cpu);
    EXPECT_FALSE(has_feature(cpu->features, "avx2"));
}

TEST(CpuModel, MissingFeaturesAreNamedAsQemuDoesAndEnforceRefuses)
{
    const HostCpu host = recorded_host();
    auto cpu = parse_cpu("qemu64,+avx512f", &host, {});
    ASSERT_TRUE(cpu);
    auto missing = filter_features(*cpu, host);
    ASSERT_TRUE(missing);
    EXPECT_THAT(*missing, testing::ElementsAre("CPUID.01H:ECX.pni [bit 0]",
                                               "CPUID.07H:EBX.avx512f [bit 16]"));
    cpu = parse_cpu("qemu64,enforce", &host, {});
    ASSERT_TRUE(cpu);
    missing = filter_features(*cpu, host);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().message(), "Host doesn't support requested features");
}

TEST(CpuModel, UnavailableFeaturesOfQemu64OnTheRecordedHostIsPni)
{
    const HostCpu host = recorded_host();
    auto cpu = parse_cpu("qemu64", &host, {});
    ASSERT_TRUE(cpu);
    EXPECT_THAT(unavailable_features(*cpu, host), testing::ElementsAre("pni"));
}

TEST(CpuFeatures, EveryNameIsFoundAndNoBitHasTwo)
{
    std::map<std::pair<FeatureWord, unsigned>, std::string_view> bits;
    for (const Feature& feature : all_features()) {
        EXPECT_LT(feature.bit, 32u);
        EXPECT_TRUE(bits.emplace(std::pair(feature.word, feature.bit), feature.name).second)
            << feature.name;
        EXPECT_FALSE(find_features(feature.name).empty()) << feature.name;
    }
    EXPECT_EQ(canonical_feature_name("sse4_2"), "sse4.2");
    EXPECT_EQ(canonical_feature_name("avx512_bf16"), "avx512-bf16");
    EXPECT_EQ(canonical_feature_name("nonsense"), "");
    EXPECT_EQ(find_features("kvmclock").size(), 2u);
}

}  // namespace
}  // namespace godwit::accel::kvm
