// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The reading half of VMState. Everything that arrives is checked before it is used.
#include "migration/stream/reader.h"
#include "migration/stream/vmstate.h"
#include "migration/stream/vmstate_shape.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace godwit::migration::stream {
namespace {

Result<void> load_versioned(StreamReader& in, const VMState& how, void* object, Version version,
                            bool checked);

void store_native(std::byte* to, unsigned width, std::uint64_t value)
{
    switch (width) {
    case 1:
        *to = std::byte(value);
        break;
    case 2: {
        const auto half = static_cast<std::uint16_t>(value);
        std::memcpy(to, &half, 2);
        break;
    }
    case 4: {
        const auto word = static_cast<std::uint32_t>(value);
        std::memcpy(to, &word, 4);
        break;
    }
    default:
        std::memcpy(to, &value, 8);
    }
}

std::uint64_t load_native(const std::byte* from, unsigned width)
{
    if (width == 1)
        return std::to_integer<std::uint64_t>(*from);
    if (width == 2) {
        std::uint16_t half = 0;
        std::memcpy(&half, from, 2);
        return half;
    }
    if (width == 4) {
        std::uint32_t word = 0;
        std::memcpy(&word, from, 4);
        return word;
    }
    std::uint64_t value = 0;
    std::memcpy(&value, from, 8);
    return value;
}

// The value as a signed number of `width` bytes.
std::int64_t as_signed(std::uint64_t value, unsigned width)
{
    const unsigned shift = 64 - 8 * width;
    return static_cast<std::int64_t>(value << shift) >> shift;
}

std::string shown(const Field& f, std::uint64_t value)
{
    return f.is_signed ? std::to_string(as_signed(value, f.width)) : std::to_string(value);
}

std::string shown_bound(const Field& f, std::uint64_t bound)
{
    return f.is_signed ? std::to_string(static_cast<std::int64_t>(bound)) : std::to_string(bound);
}

bool within(const Field& f, std::uint64_t value)
{
    if (!f.is_signed)
        return value >= f.low && value <= f.high;
    const std::int64_t number = as_signed(value, f.width);
    return number >= static_cast<std::int64_t>(f.low) &&
           number <= static_cast<std::int64_t>(f.high);
}

Error bad_value(StreamReader& in, std::string message)
{
    return in.error_here(Errc::BadFormat, std::move(message));
}

Result<void> load_integer(StreamReader& in, const Field& f, std::byte* element)
{
    std::uint64_t value = GW_TRY(in.get_be(f.width));
    if (f.is_bool)
        value = value != 0;
    if (f.ranged && !within(f, value))
        return bad_value(in, fmt::format("{} is outside {}..{}", shown(f, value),
                                         shown_bound(f, f.low), shown_bound(f, f.high)));
    const std::uint64_t local = load_native(element, f.width);
    if (f.check == Check::Equal && value != local)
        return bad_value(in, fmt::format("received {}, must be equal to the local {}",
                                         shown(f, value), shown(f, local)));
    if (f.check == Check::AtMostLocal &&
        (as_signed(value, f.width) < 0 || as_signed(value, f.width) > as_signed(local, f.width)))
        return bad_value(in, fmt::format("received {}, must be between 0 and the local {}",
                                         as_signed(value, f.width), as_signed(local, f.width)));
    store_native(element, f.width, value);
    return ok();
}

Result<void> load_bitmap(StreamReader& in, std::byte* words, std::uint64_t bits)
{
    for (std::uint64_t word = 0; word < (bits + 63) / 64; ++word) {
        const std::uint64_t value = GW_TRY(in.get_be64());
        store_native(words + word * 8, 8, value);
    }
    return ok();
}

Result<void> load_list(StreamReader& in, const Field& f, void* object)
{
    void* const sequence = f.address(object);
    f.sequence->resize(sequence, 0);
    for (std::uint32_t size = 0;; ++size) {
        const std::uint8_t mark = GW_TRY(in.get_u8());
        if (mark == 0)
            return ok();
        if (mark != 1)
            return bad_value(in,
                             fmt::format("0x{:02x} where a list goes on (1) or ends (0)", mark));
        if (size == f.capacity)
            return bad_value(in, fmt::format("more than {} elements", f.capacity));
        void* const element = f.sequence->append(sequence);
        GW_TRY(with_context(load_versioned(in, *f.nested, element, f.nested_version, true),
                            fmt::format("[{}]", size)));
    }
}

struct TreeLoad {
    StreamReader& in;
    const Field& f;
};

Result<void> load_node(void* context, void* key, void* value)
{
    auto& c = *static_cast<TreeLoad*>(context);
    if (c.f.key == nullptr)
        *static_cast<std::uint64_t*>(key) = GW_TRY(c.in.get_be64());
    else
        GW_TRY(with_context(load_versioned(c.in, *c.f.key, key, c.f.nested_version, true), "key"));
    return load_versioned(c.in, *c.f.nested, value, c.f.nested_version, true);
}

Result<void> load_tree(StreamReader& in, const Field& f, void* object)
{
    void* const tree = f.address(object);
    f.tree->clear(tree);
    const std::uint32_t nodes = GW_TRY(in.get_be32());
    if (nodes > f.capacity)
        return bad_value(in, fmt::format("{} elements, there is room for {}", nodes, f.capacity));
    TreeLoad context{in, f};
    for (std::uint32_t i = 0;; ++i) {
        const std::uint8_t mark = GW_TRY(in.get_u8());
        if (mark > 1)
            return bad_value(in,
                             fmt::format("0x{:02x} where a tree goes on (1) or ends (0)", mark));
        if ((mark == 1) != (i < nodes))
            return bad_value(in, fmt::format("a tree of {} elements {} behind {}", nodes,
                                             mark == 1 ? "goes on" : "ends", i));
        if (mark == 0)
            return ok();
        const bool added =
            GW_TRY(with_context(f.tree->add(tree, load_node, &context), fmt::format("[{}]", i)));
        if (!added)
            return bad_value(in, fmt::format("[{}]: a key that is there twice, or too large", i));
    }
}

Result<void> load_descriptor(StreamReader& in, const Field& f, void* object)
{
    static_cast<FdState*>(f.address(object))->file =
        std::make_shared<const UniqueFd>(GW_TRY(in.get_fd()));
    return ok();
}

Result<void> load_nullable(StreamReader& in, const Field& f, std::byte* element)
{
    void* const value = f.present(element);
    if (value != nullptr)
        return load_versioned(in, *f.nested, value, f.nested->current, false);
    const std::uint8_t mark = GW_TRY(in.get_u8());
    if (mark != kNullMark)
        return bad_value(
            in, fmt::format("0x{:02x} for an element that is absent here, 0x30 expected", mark));
    return ok();
}

struct TmpLoad {
    StreamReader& in;
    const VMState& how;
};

Result<void> load_tmp(void* context, void* temporary)
{
    auto& c = *static_cast<TmpLoad*>(context);
    // QEMU loads a temporary with version 0 whatever its description says.
    return load_versioned(c.in, c.how, temporary, 0, false);
}

Result<void> load_element(StreamReader& in, const Field& f, void* object, std::byte* element,
                          std::uint64_t count, Version version)
{
    switch (f.kind) {
    case FieldKind::Integer:
        return load_integer(in, f, element);
    case FieldKind::Buffer:
        return in.get_bytes({element, count});
    case FieldKind::Bitmap:
        return load_bitmap(in, element, count);
    case FieldKind::Unused:
        return in.skip(count);
    case FieldKind::Struct:
        return load_versioned(in, *f.nested, element, f.nested->current, false);
    case FieldKind::VStruct:
        return load_versioned(in, *f.nested, element, f.nested_version, false);
    case FieldKind::List:
        return load_list(in, f, object);
    case FieldKind::Tree:
        return load_tree(in, f, object);
    case FieldKind::Descriptor:
        return load_descriptor(in, f, object);
    case FieldKind::Nullable:
        return load_nullable(in, f, element);
    case FieldKind::Tmp: {
        TmpLoad context{in, *f.nested};
        return f.tmp(object, true, load_tmp, &context);
    }
    case FieldKind::Custom:
        return f.custom_load(in, object, version);
    case FieldKind::Validate:
    case FieldKind::Subsection:
        break;
    }
    return ok();
}

// How many elements are coming. Bounded by the room there is before anything is allocated.
Result<std::uint64_t> incoming_count(StreamReader& in, const Field& f, void* object)
{
    const std::uint64_t count = element_count(f, object);
    if (f.address == nullptr || f.kind == FieldKind::List)
        return count;
    const std::uint64_t room = f.capacity - std::min(f.capacity, f.first);
    if (count > room)
        return bad_value(in, fmt::format("{} elements, there is room for {}", count, room));
    if (f.sequence != nullptr)
        f.sequence->resize(f.address(object),
                           f.kind == FieldKind::Bitmap ? (count + 63) / 64 : count);
    return count;
}

Result<void> load_field(StreamReader& in, const Field& f, void* object, Version version)
{
    if (f.kind == FieldKind::Validate)
        return f.counter(object) != 0 ? ok() : Result<void>(bad_value(in, "does not hold"));
    const std::uint64_t count = GW_TRY(incoming_count(in, f, object));
    std::byte* const first = f.address != nullptr ? first_element(f, object, count) : nullptr;
    const bool elements = f.kind == FieldKind::Integer || f.kind == FieldKind::Struct ||
                          f.kind == FieldKind::VStruct || f.kind == FieldKind::Nullable;
    if (!elements)
        return load_element(in, f, object, first, count, version);
    // Bytes of which any value is legal go at once: some devices have a lot of them.
    if (f.kind == FieldKind::Integer && f.width == 1 && f.stride == 1 && !f.is_bool && !f.ranged &&
        f.check == Check::None)
        return in.get_bytes({first, count});
    for (std::uint64_t i = 0; i < count; ++i) {
        auto loaded = load_element(in, f, object, first + i * f.stride, 1, version);
        if (!loaded)
            return count == 1 ? std::move(loaded)
                              : with_context(std::move(loaded), fmt::format("[{}]", i));
    }
    return ok();
}

// The errors say what QEMU's say, so that people find them.
Result<void> check_version(StreamReader& in, const VMState& how, Version version)
{
    if (version > how.current)
        return bad_value(
            in, fmt::format("{}: incoming version_id {} is too new for local version_id {}",
                            how.name, version, how.current));
    if (version < how.oldest)
        return bad_value(
            in, fmt::format("{}: incoming version_id {} is too old for local minimum version_id {}",
                            how.name, version, how.oldest));
    return ok();
}

Result<void> load_versioned(StreamReader& in, const VMState& how, void* object, Version version,
                            bool checked)
{
    if (checked)
        GW_TRY(check_version(in, how, version));
    if (how.pre_load != nullptr)
        GW_TRY(how.pre_load(how, object));
    for (const Field& f : how.plain_fields())
        if (field_exists(f, object, version))
            GW_TRY(with_context(load_field(in, f, object, version), f.name));
    GW_TRY(load_subsections(in, how, object));
    return how.post_load != nullptr ? how.post_load(how, object, version) : ok();
}

// The name of a subsection of `parent` that comes next, or an empty view. Looks at no more bytes
// than it needs to decide: what follows may belong to the enclosing level, and may be all there is.
Result<std::string_view> next_subsection(StreamReader& in, std::string_view parent)
{
    auto seen = GW_TRY(in.peek(1));
    if (seen.empty() || seen[0] != std::byte{kSubsectionMark})
        return std::string_view();
    seen = GW_TRY(in.peek(2));
    if (seen.size() < 2)
        return std::string_view();
    const auto length = std::to_integer<std::size_t>(seen[1]);
    if (length <= parent.size())
        return std::string_view();
    const auto text = [](std::span<const std::byte> bytes) {
        return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())
            .substr(2);
    };
    seen = GW_TRY(in.peek(2 + parent.size()));
    if (text(seen) != parent)
        return std::string_view();
    seen = GW_TRY(in.peek(2 + length));
    return seen.size() == 2 + length ? text(seen) : std::string_view();
}

}  // namespace

Result<void> load_state(StreamReader& in, const VMState& how, void* state, Version version)
{
    return load_versioned(in, how, state, version, true);
}

Result<void> load_subsections(StreamReader& in, const VMState& how, void* state)
{
    for (;;) {
        const std::string name(GW_TRY(next_subsection(in, how.name)));
        if (name.empty())
            return ok();
        const auto parts = how.subsections();
        const auto part =
            std::ranges::find_if(parts, [&](const Field& f) { return f.nested->name == name; });
        if (part == parts.end())
            return bad_value(in, fmt::format("unknown subsection '{}'", name));
        GW_TRY(in.skip(2 + name.size()));
        const Version version = GW_TRY(in.get_be32());
        GW_TRY(with_context(load_versioned(in, *part->nested, state, version, true), name));
    }
}

}  // namespace godwit::migration::stream
