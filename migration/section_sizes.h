// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How long the device sections of a stream are, as its self-description tells.
#pragma once

#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godwit::migration {

/// Lengths of bodies by name and instance.
class SectionSizes {
public:
    /// From the JSON text; every number is bounded.
    /// Errors   BadFormat: not JSON, or not of the form of docs/migration/stream.md.
    static Result<SectionSizes> from_description(std::string_view json);

    /// Errors   NotFound.
    Result<std::uint64_t> body(std::string_view idstr, std::uint32_t instance_id) const;

private:
    std::map<std::pair<std::string, std::uint32_t>, std::uint64_t> sizes_;
};

/// Where the description begins (its type byte) in the rest of a stream, if all of it is there.
/// `rest` may still grow.
struct FoundDescription {
    std::size_t at = 0;
    std::string_view json;
};
bool find_description(std::span<const std::byte> rest, FoundDescription& found);

}  // namespace godwit::migration
