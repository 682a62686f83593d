// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What two machines must have in common, as one document, and how they differ. Members:
// docs/migration/preflight.md.
#pragma once

#include "util/json.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace godwit::system {
class Vm;
}

namespace godwit::migration {

class MigrationService;

/// In the order of the schema's MigrationDifferenceKind.
enum class DifferenceKind : std::uint8_t {
    Machine,
    Accelerator,
    Cpu,
    Ram,
    Section,
    Device,
    Capability,
    Limit,
    Blocker,
    Pace,
};

struct Difference {
    DifferenceKind kind = DifferenceKind::Machine;
    std::string name;
    bool fatal = false;
    std::string desc;
    std::optional<std::string> source{};
    std::optional<std::string> destination{};
};

/// Describes this machine. Takes the machine lock unless the caller holds it.
Json machine_facts(system::Vm& vm, const MigrationService& service);
/// What differs, the fatal ones first. `destination` comes from the peer: whatever is not what it
/// should be counts as not there.
std::vector<Difference> compare_facts(const Json& source, const Json& destination);

}  // namespace godwit::migration
