// SPDX-License-Identifier: LGPL-2.1-or-later
//
// CPU models: what `-cpu` names, with the features a guest is shown. Host-independent but for "max"
// and "host", which are whatever the host has.
#pragma once

#include "accel/kvm/cpu_features.h"
#include "util/result.h"

#include <cstdint>
#include <linux/kvm.h>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godwit::accel::kvm {

/// A model as it is built in.
struct CpuModel {
    std::string_view name;
    std::string_view alias_of;  ///< "qemu64-v1" for "qemu64"
    std::string_view help;      ///< in -cpu help
    bool from_host = false;     ///< max, host
    bool is_static = false;     ///< base: the same in every version
    std::uint32_t level = 0;
    std::uint32_t xlevel = 0;
    unsigned family = 0;
    unsigned model = 0;
    unsigned stepping = 0;
    std::string_view model_id;
    std::string_view features;  ///< names, separated by spaces
};

/// In the order of -cpu help.
std::span<const CpuModel> cpu_models() noexcept;
const CpuModel* find_cpu_model(std::string_view name) noexcept;

/// What this host and its KVM can show a guest.
struct HostCpu {
    FeatureSet supported;
    std::uint32_t level = 0;
    std::uint32_t xlevel = 0;
    std::string vendor;
    unsigned family = 0;
    unsigned model = 0;
    unsigned stepping = 0;
    std::string model_id;
    unsigned phys_bits = 0;
    std::uint64_t tsc_khz = 0;
    std::vector<kvm_cpuid_entry2> entries;  ///< KVM_GET_SUPPORTED_CPUID, for the XSAVE layout

    /// `entries` from KVM; `arch_capabilities` is MSR 0x10a, 0 if there is none. The processor's
    /// own CPUID fills in what KVM does not say.
    static HostCpu from(std::vector<kvm_cpuid_entry2> entries, std::uint64_t arch_capabilities,
                        bool tsc_deadline_timer);
};

/// What the machine type decides.
struct CpuDefaults {
    bool host_phys_bits = false;
    bool msi_ext_dest_id = false;
    bool x2apic = true;
};

/// A model with the user's wishes applied: all that CPUID shows.
struct CpuDefinition {
    std::string model;  ///< "qemu64"
    FeatureSet features;
    FeatureSet user_set;                  ///< features the user named, on or off
    std::vector<std::string> unknown_on;  ///< vmx-... switched on: known to us only as absent
    std::uint32_t level = 0;
    std::uint32_t xlevel = 0;
    std::string vendor;  ///< 12 characters
    unsigned family = 0;
    unsigned model_number = 0;
    unsigned stepping = 0;
    std::string model_id;
    unsigned phys_bits = 0;
    bool expose_kvm = true;
    bool check = true;     ///< warn of features the host lacks
    bool enforce = false;  ///< refuse to start instead

    std::string type_name() const { return model + "-x86_64-cpu"; }
};

/// Understands "model[,feature...]": "+x", "-x", "x=on|off", "x", family, model, stepping, vendor,
/// model-id, level, xlevel, phys-bits, host-phys-bits, kvm, check, enforce, migratable.
///
/// `host` is null where there is none (no KVM): max and host then are refused, and vendor is Intel.
/// Errors   in QEMU's words: "unable to find CPU model 'x'", "Property 'qemu64-x86_64-cpu.x' not
///          found", ...
Result<CpuDefinition> parse_cpu(std::string_view text, const HostCpu* host,
                                const CpuDefaults& defaults);

/// The model `name` with properties set one by one, as query-cpu-model-expansion wants it.
/// Errors   as parse_cpu(), without "can't apply global".
Result<CpuDefinition> expand_cpu(std::string_view name,
                                 const std::vector<std::pair<std::string, std::string>>& properties,
                                 const HostCpu* host, const CpuDefaults& defaults);

/// Takes out of `definition` what the host cannot do; the answer names each bit, as QEMU warns.
///
/// Errors   Unsupported when `enforce` is set and something is missing.
Result<std::vector<std::string>> filter_features(CpuDefinition& definition, const HostCpu& host);

/// Names of the features of `definition` that the host lacks, for query-cpu-definitions.
std::vector<std::string> unavailable_features(const CpuDefinition& definition, const HostCpu& host);

}  // namespace godwit::accel::kvm
