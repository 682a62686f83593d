// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Device state declared once: vmstate<T>("name", {...}, fields...). The same declaration writes,
// reads, bounds-checks and describes itself. How to use it: docs/migration/vmstate.md.
// Wire format: docs/migration/stream.md.
#pragma once

#include "migration/stream/field.h"

#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace godwit::migration::stream {

class DescriptionWriter;

/// Higher goes first, on the source and therefore on the destination.
enum class Priority : std::uint8_t {
    Default = 0,
    Iommu = 1,
    PciBus = 2,
    VirtioMem = 3,
};

/// Copies of a whole state object, so that a load can be dropped.
struct StateOps {
    void* (*clone)(const void* object);
    void (*commit)(void* object, void* copy);
    void (*destroy)(void* copy);
};

/// What can be said about a description besides its fields.
///
/// Order    save: needed, pre_save, fields, subsections, post_save (also after a failure).
///          load: pre_load, fields, subsections, post_load. A subsection's hooks run inside.
/// Threads  machine lock held, vCPUs stopped.
/// Errors   an error of any hook ends the migration and names the section.
template <class T>
struct VMStateOptions {
    Version current = 1;
    Version oldest = 1;  ///< older sections are refused; 0 as in QEMU where it matters
    Priority priority = Priority::Default;
    bool early_setup = false;   ///< sent in setup, before any page, instead of at the end
    bool unmigratable = false;  ///< the device blocks migration
    bool (*needed)(const T& state) = nullptr;
    Result<void> (*pre_save)(T& state) = nullptr;
    void (*post_save)(T& state) = nullptr;
    Result<void> (*pre_load)(T& state) = nullptr;
    Result<void> (*post_load)(T& state, Version version) = nullptr;
};

/// A description without its C++ type; always part of a static constexpr VMStateDef.
struct VMState {
    std::string_view name;
    Version current = 1;
    Version oldest = 1;
    Priority priority = Priority::Default;
    bool early_setup = false;
    bool unmigratable = false;
    const Field* (*table_of)(const VMState& self) = nullptr;  ///< fields, then subsections
    std::uint32_t field_count = 0;
    std::uint32_t subsection_count = 0;
    bool (*needed)(const VMState& self, const void* object) = nullptr;
    Result<void> (*pre_save)(const VMState& self, void* object) = nullptr;
    void (*post_save)(const VMState& self, void* object) = nullptr;
    Result<void> (*pre_load)(const VMState& self, void* object) = nullptr;
    Result<void> (*post_load)(const VMState& self, void* object, Version version) = nullptr;
    const StateOps* ops = nullptr;

    std::span<const Field> plain_fields() const { return {table_of(*this), field_count}; }
    std::span<const Field> subsections() const
    {
        return {table_of(*this) + field_count, subsection_count};
    }

    /// Names, versions in order, ranges not empty, subsections last and named after their parent.
    /// For static_assert.
    constexpr bool well_formed() const;
};

template <class T>
inline constexpr StateOps kStateOps{
    .clone = [](const void* object) -> void* {
        return new (std::nothrow) T(*static_cast<const T*>(object));
    },
    .commit = [](void* object,
                 void* copy) { *static_cast<T*>(object) = std::move(*static_cast<T*>(copy)); },
    .destroy = [](void* copy) { delete static_cast<T*>(copy); },
};

/// A description of a T.
template <class T>
struct VMStateOf : VMState {
    VMStateOptions<T> options;

protected:
    constexpr VMStateOf(std::string_view the_name, const VMStateOptions<T>& the_options)
        : options(the_options)
    {
        name = the_name;
        current = options.current;
        oldest = options.oldest;
        priority = options.priority;
        early_setup = options.early_setup;
        unmigratable = options.unmigratable;
        if constexpr (std::is_copy_constructible_v<T> && std::is_move_assignable_v<T>)
            ops = &kStateOps<T>;
        set_hooks();
    }

private:
    static const VMStateOptions<T>& of(const VMState& self)
    {
        return static_cast<const VMStateOf&>(self).options;
    }
    static T& state(void* object) { return *static_cast<T*>(object); }

    constexpr void set_hooks()
    {
        if (options.needed != nullptr)
            needed = [](const VMState& self, const void* object) {
                return of(self).needed(*static_cast<const T*>(object));
            };
        if (options.pre_save != nullptr)
            pre_save = [](const VMState& self, void* object) {
                return of(self).pre_save(state(object));
            };
        if (options.post_save != nullptr)
            post_save = [](const VMState& self, void* object) {
                of(self).post_save(state(object));
            };
        if (options.pre_load != nullptr)
            pre_load = [](const VMState& self, void* object) {
                return of(self).pre_load(state(object));
            };
        if (options.post_load != nullptr)
            post_load = [](const VMState& self, void* object, Version version) {
                return of(self).post_load(state(object), version);
            };
    }
};

/// A description with its table; make it with vmstate<T>() as a static constexpr object.
template <class T, std::size_t N>
struct VMStateDef : VMStateOf<T> {
    Field table[N == 0 ? 1 : N];

    template <class... Fields>
    constexpr VMStateDef(std::string_view the_name, const VMStateOptions<T>& the_options,
                         const Fields&... all)
        : VMStateOf<T>(the_name, the_options), table{all...}
    {
        // Not a pointer to the table: g++ 12 cannot use a constant that points into itself.
        this->table_of = [](const VMState& self) -> const Field* {
            return static_cast<const VMStateDef&>(self).table;
        };
        for (const Field& f : table)
            if (f.kind == FieldKind::Subsection)
                ++this->subsection_count;
        this->field_count = static_cast<std::uint32_t>(N) - this->subsection_count;
    }
    VMStateDef(const VMStateDef&) = delete;
    VMStateDef& operator=(const VMStateDef&) = delete;
};

/// `inline constexpr auto kUart = vmstate<UartState>("uart", {.current = 3, .oldest = 2}, ...);`
/// followed by `static_assert(kUart.well_formed());`.
template <class T, class... Owners>
constexpr VMStateDef<T, sizeof...(Owners)>
vmstate(std::string_view name, const VMStateOptions<T>& options, const FieldOf<Owners>&... fields)
{
    static_assert(((std::is_same_v<Owners, T> || std::is_void_v<Owners>) && ...),
                  "a field of another type");
    return VMStateDef<T, sizeof...(Owners)>(name, options, static_cast<const Field&>(fields)...);
}

constexpr bool VMState::well_formed() const
{
    if (name.empty() || name.size() > 255 || oldest > current)
        return false;
    bool behind = false;
    for (std::uint32_t i = 0; i < field_count + subsection_count; ++i) {
        const Field& f = table_of(*this)[i];
        if (f.kind == FieldKind::Subsection) {
            behind = true;
            const std::string_view sub = f.nested->name;
            if (sub.size() <= name.size() || sub.size() > 255 || !sub.starts_with(name) ||
                f.nested->current > 255)
                return false;
            continue;
        }
        if (behind || f.name.empty() || f.since > current)
            return false;
        if (f.ranged &&
            (f.is_signed ? static_cast<std::int64_t>(f.low) > static_cast<std::int64_t>(f.high)
                         : f.low > f.high))
            return false;
        const bool unbounded = f.kind == FieldKind::List || f.kind == FieldKind::Tree || f.growing;
        if (unbounded && f.capacity == 0)
            return false;
        if (f.key != nullptr && f.key->current != f.nested_version)
            return false;  // one version for both, as in QEMU
        if (!unbounded && f.capacity != 0 && std::uint64_t{f.first} + f.count > f.capacity)
            return false;
    }
    return true;
}

/// Writes `state` as described: fields and subsections, no section header. `description`, if given,
/// receives the keys "vmsd_name", "version", "fields" and perhaps "subsections".
Result<void> save_state(StreamWriter& out, const VMState& how, void* state,
                        DescriptionWriter* description = nullptr);

/// Reads `version` of what save_state() writes, straight into `state`. After an error `state` is
/// partly overwritten: load into a copy, as StateRegistry's sections do.
Result<void> load_state(StreamReader& in, const VMState& how, void* state, Version version);

/// For devices that write their body by hand: only the subsections of `how`.
Result<void> save_subsections(StreamWriter& out, const VMState& how, void* state,
                              DescriptionWriter* description = nullptr);
Result<void> load_subsections(StreamReader& in, const VMState& how, void* state);

}  // namespace godwit::migration::stream

#include "migration/stream/declare.h"
