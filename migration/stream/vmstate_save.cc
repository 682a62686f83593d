// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The writing half of VMState, with the self-description beside it.
#include "migration/stream/description.h"
#include "migration/stream/vmstate.h"
#include "migration/stream/vmstate_shape.h"
#include "migration/stream/writer.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace godwit::migration::stream {
namespace {

Result<void> save_versioned(StreamWriter& out, const VMState& how, void* object, Version version,
                            DescriptionWriter* description);

// Every element of an array of these looks the same, so that the description needs only one of
// them.
bool uniform(const Field& f);

bool uniform(const VMState& how)
{
    return how.subsection_count == 0 &&
           std::ranges::all_of(how.plain_fields(), [](const Field& f) { return uniform(f); });
}

bool uniform(const Field& f)
{
    return f.exists == nullptr && (f.kind != FieldKind::Struct || uniform(*f.nested));
}

std::uint64_t load_native(const std::byte* from, unsigned width)
{
    std::uint64_t value = 0;
    switch (width) {
    case 1:
        return std::to_integer<std::uint64_t>(*from);
    case 2: {
        std::uint16_t half = 0;
        std::memcpy(&half, from, 2);
        return half;
    }
    case 4: {
        std::uint32_t word = 0;
        std::memcpy(&word, from, 4);
        return word;
    }
    default:
        std::memcpy(&value, from, 8);
        return value;
    }
}

struct TmpSave {
    StreamWriter& out;
    const VMState& how;
    DescriptionWriter* description;
};

Result<void> save_tmp(void* context, void* temporary)
{
    auto& c = *static_cast<TmpSave*>(context);
    return save_versioned(c.out, c.how, temporary, c.how.current, c.description);
}

Result<void> save_list(StreamWriter& out, const Field& f, void* object,
                       DescriptionWriter* description)
{
    void* const sequence = f.address(object);
    const std::size_t size = f.sequence->size(sequence);
    for (std::size_t i = 0; i < size; ++i) {
        out.put_u8(1);
        GW_TRY(save_versioned(out, *f.nested, f.sequence->at(sequence, i), f.nested_version,
                              description));
    }
    out.put_u8(0);
    return ok();
}

struct TreeSave {
    StreamWriter& out;
    const Field& f;
    DescriptionWriter* description;
};

Result<void> save_node(void* context, void* key, void* value)
{
    auto& c = *static_cast<TreeSave*>(context);
    c.out.put_u8(1);
    if (c.f.key == nullptr)
        c.out.put_be64(*static_cast<const std::uint64_t*>(key));
    else
        GW_TRY(save_versioned(c.out, *c.f.key, key, c.f.key->current, c.description));
    return save_versioned(c.out, *c.f.nested, value, c.f.nested_version, c.description);
}

Result<void> save_tree(StreamWriter& out, const Field& f, void* object,
                       DescriptionWriter* description)
{
    void* const tree = f.address(object);
    out.put_be32(static_cast<std::uint32_t>(f.tree->size(tree)));
    TreeSave context{out, f, description};
    GW_TRY(f.tree->each(tree, save_node, &context));
    out.put_u8(0);
    return ok();
}

Result<void> save_descriptor(StreamWriter& out, const Field& f, void* object)
{
    const int fd = static_cast<const FdState*>(f.address(object))->fd();
    if (fd < 0)
        return Error(Errc::Internal, "there is no open file to be sent");
    return out.put_fd(fd);
}

Result<void> save_bitmap(StreamWriter& out, const std::byte* words, std::uint64_t bits)
{
    for (std::uint64_t word = 0; word < (bits + 63) / 64; ++word)
        out.put_be64(load_native(words + word * 8, 8));
    return ok();
}

// One element, or a whole field that has no elements. `element` is null for what lies in no object.
Result<void> save_element(StreamWriter& out, const Field& f, void* object, std::byte* element,
                          std::uint64_t count, DescriptionWriter* description)
{
    switch (f.kind) {
    case FieldKind::Integer:
        out.put_be(load_native(element, f.width), f.width);
        return ok();
    case FieldKind::Buffer:
        out.put_bytes({element, count});
        return ok();
    case FieldKind::Bitmap:
        return save_bitmap(out, element, count);
    case FieldKind::Unused:
        out.put_zeros(count);
        return ok();
    case FieldKind::Struct: {
        if (description != nullptr)
            description->begin_object("struct");
        GW_TRY(save_versioned(out, *f.nested, element, f.nested->current, description));
        if (description != nullptr)
            description->end_object();
        return ok();
    }
    case FieldKind::VStruct:
        return save_versioned(out, *f.nested, element, f.nested_version, description);
    case FieldKind::List:
        return save_list(out, f, object, description);
    case FieldKind::Tree:
        return save_tree(out, f, object, description);
    case FieldKind::Descriptor:
        return save_descriptor(out, f, object);
    case FieldKind::Nullable: {
        void* const value = f.present(element);
        if (value == nullptr) {
            out.put_u8(kNullMark);
            return ok();
        }
        if (description != nullptr)
            description->begin_object("struct");
        GW_TRY(save_versioned(out, *f.nested, value, f.nested->current, description));
        if (description != nullptr)
            description->end_object();
        return ok();
    }
    case FieldKind::Tmp: {
        TmpSave context{out, *f.nested, description};
        return f.tmp(object, false, save_tmp, &context);
    }
    case FieldKind::Custom:
        f.custom_save(out, object);
        return ok();
    case FieldKind::Validate:
    case FieldKind::Subsection:
        break;
    }
    return ok();
}

// Fields that are one piece on the wire however many bytes or bits they count.
bool one_piece(const Field& f)
{
    return f.kind != FieldKind::Integer && f.kind != FieldKind::Struct &&
           f.kind != FieldKind::VStruct && f.kind != FieldKind::Nullable;
}

// A name that several fields share gets [k], its number among them.
std::string described_name(const VMState& how, const Field& f)
{
    unsigned same = 0;
    unsigned number = 0;
    for (const Field& other : how.plain_fields()) {
        if (&other == &f)
            number = same;
        same += other.name == f.name;
    }
    std::string name(f.name);
    return same > 1 ? name + '[' + std::to_string(number) + ']' : name;
}

struct Place {
    std::uint64_t index;
    std::uint64_t remaining;  // elements from this one to the end of the array, or of its run
};

void describe_start(DescriptionWriter& d, const VMState& how, const Field& f, Place at, bool absent)
{
    d.begin_object();
    d.text("name", described_name(how, f));
    if (at.remaining > 1) {
        if (uniform(f))
            d.number("array_len", at.remaining);
        else
            d.number("index", at.index);
    }
    d.text("type", absent ? "nullptr" : f.type);
}

// In an array with gaps each run of present or absent elements is described by its first one; the
// leading run, if present, counts to the end of the array as in QEMU.
class Runs {
public:
    Runs(const Field& f, std::byte* first, std::uint64_t count)
        : f_(f), first_(first), count_(count)
    {}

    bool absent(std::uint64_t i) const
    {
        return f_.kind == FieldKind::Nullable && f_.present(first_ + i * f_.stride) == nullptr;
    }
    /// Whether element `i` is described, and as how many.
    bool described(std::uint64_t i, Place& at)
    {
        at = {i, count_ - i};
        if (f_.kind == FieldKind::Nullable && absent(i) != absent_) {
            absent_ = !absent_;
            skip_ = false;
            std::uint64_t end = i + 1;
            while (end < count_ && absent(end) == absent_)
                ++end;
            at.remaining = end - i;
        }
        const bool now = !skip_;
        skip_ = skip_ || uniform(f_);
        return now;
    }

private:
    const Field& f_;
    std::byte* first_;
    std::uint64_t count_;
    bool absent_ = false;
    bool skip_ = false;
};

Result<void> save_array(StreamWriter& out, const VMState& how, const Field& f, void* object,
                        std::uint64_t count, DescriptionWriter* description)
{
    std::byte* const first = first_element(f, object, count);
    Runs runs(f, first, count);
    // The rest of an array of bytes goes at once: some devices have a lot of them.
    const bool bytes = f.kind == FieldKind::Integer && f.width == 1 && f.stride == 1;
    for (std::uint64_t i = 0; i < count; ++i) {
        if (bytes && i == 1) {
            out.put_bytes({first + 1, count - 1});
            break;
        }
        Place at{};
        DescriptionWriter* const d = runs.described(i, at) ? description : nullptr;
        const std::uint64_t before = out.position();
        if (d != nullptr)
            describe_start(*d, how, f, at, runs.absent(i));
        GW_TRY(save_element(out, f, object, first + i * f.stride, 1, d));
        if (d != nullptr) {
            d->number("size", out.position() - before);
            d->end_object();
        }
    }
    return ok();
}

Result<void> save_field(StreamWriter& out, const VMState& how, const Field& f, void* object,
                        DescriptionWriter* description)
{
    if (f.kind == FieldKind::Validate) {
        if (f.counter(object) == 0)
            return Error(Errc::Internal, "the state to be sent is inconsistent");
        return ok();
    }
    const std::uint64_t count = element_count(f, object);
    const std::uint64_t room =
        f.sequence != nullptr && f.kind != FieldKind::List
            ? f.sequence->size(f.address(object)) * (f.kind == FieldKind::Bitmap ? 64 : 1)
            : f.capacity;
    if (f.address != nullptr && f.kind != FieldKind::List && count > room)
        return Error(Errc::Internal, "the state to be sent counts " + std::to_string(count) +
                                         " elements, there is room for " + std::to_string(room));
    if (!one_piece(f))
        return save_array(out, how, f, object, count, description);
    const std::uint64_t before = out.position();
    if (description != nullptr)
        describe_start(*description, how, f, {0, 1}, false);
    std::byte* const where = f.address != nullptr ? first_element(f, object, count) : nullptr;
    GW_TRY(save_element(out, f, object, where, count, description));
    if (description != nullptr) {
        description->number("size", out.position() - before);
        description->end_object();
    }
    return ok();
}

Result<void> save_body(StreamWriter& out, const VMState& how, void* object, Version version,
                       DescriptionWriter* description)
{
    if (description != nullptr) {
        description->text("vmsd_name", how.name);
        description->number("version", version);
        description->begin_array("fields");
    }
    for (const Field& f : how.plain_fields())
        if (field_exists(f, object, version))
            GW_TRY(with_context(save_field(out, how, f, object, description), f.name));
    if (description != nullptr)
        description->end_array();
    return save_subsections(out, how, object, description);
}

Result<void> save_versioned(StreamWriter& out, const VMState& how, void* object, Version version,
                            DescriptionWriter* description)
{
    if (how.pre_save != nullptr)
        GW_TRY(how.pre_save(how, object));
    auto saved = save_body(out, how, object, version, description);
    if (how.post_save != nullptr)
        how.post_save(how, object);
    return saved;
}

}  // namespace

Result<void> save_state(StreamWriter& out, const VMState& how, void* state,
                        DescriptionWriter* description)
{
    return save_versioned(out, how, state, how.current, description);
}

Result<void> save_subsections(StreamWriter& out, const VMState& how, void* state,
                              DescriptionWriter* description)
{
    bool any = false;
    for (const Field& f : how.subsections()) {
        const VMState& part = *f.nested;
        if (part.needed != nullptr && !part.needed(part, state))
            continue;
        if (description != nullptr && !any)
            description->begin_array("subsections");
        any = true;
        if (description != nullptr)
            description->begin_object();
        out.put_u8(kSubsectionMark);
        out.put_str8(part.name);
        out.put_be32(part.current);
        GW_TRY(
            with_context(save_versioned(out, part, state, part.current, description), part.name));
        if (description != nullptr)
            description->end_object();
    }
    if (description != nullptr && any)
        description->end_array();
    return ok();
}

}  // namespace godwit::migration::stream
