// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the saving and the loading half of the VMState engine must agree on: which fields exist, how
// many elements they have and where those lie.
#pragma once

#include "migration/stream/vmstate.h"

namespace godwit::migration::stream {

/// Whether `f` is in the stream of `version` of its description.
inline bool field_exists(const Field& f, const void* object, Version version)
{
    return f.exists != nullptr ? f.exists(object, version) : f.since <= version;
}

/// Elements (bytes, bits) of `f` now, before any bound is applied.
inline std::uint64_t element_count(const Field& f, const void* object)
{
    return f.counter != nullptr ? f.counter(object) : f.count;
}

/// The memory of the first element; for a sequence of `count` elements, its buffer.
inline std::byte* first_element(const Field& f, void* object, std::uint64_t count)
{
    void* where = f.address(object);
    if (f.sequence != nullptr && f.kind != FieldKind::List)
        where = count == 0 ? nullptr : f.sequence->at(where, 0);
    return static_cast<std::byte*>(where) + std::size_t{f.first} * f.stride;
}

constexpr std::uint8_t kSubsectionMark = 0x05;
constexpr std::uint8_t kNullMark = 0x30;

}  // namespace godwit::migration::stream
