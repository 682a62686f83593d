// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/stream/registry.h"

#include "migration/stream/description.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"

#include <algorithm>
#include <cassert>
#include <fmt/format.h>

namespace godwit::migration::stream {

bool StateEntry::needed() const
{
    if (!described)
        return true;
    if (described->needed)
        return described->needed();
    return described->how->needed == nullptr ||
           described->how->needed(*described->how, described->state);
}

Result<Registration> StateRegistry::add_described(DescribedState described, EntryOptions options)
{
    StateEntry entry;
    entry.version = described.how->current;
    entry.priority = described.how->priority;
    const std::string_view name = described.how->name;
    entry.described = std::move(described);
    return add_entry(name, std::move(entry), std::move(options));
}

Result<Registration> StateRegistry::add_callbacks(std::string_view name, Version version,
                                                  SectionCallbacks& callbacks, EntryOptions options)
{
    StateEntry entry;
    entry.version = version;
    entry.callbacks = &callbacks;
    return add_entry(name, std::move(entry), std::move(options));
}

Result<Registration> StateRegistry::add_live(std::string_view name, Version version,
                                             Priority priority, LiveHandler& handler,
                                             EntryOptions options)
{
    StateEntry entry;
    entry.version = version;
    entry.priority = priority;
    entry.live = &handler;
    return add_entry(name, std::move(entry), std::move(options));
}

Result<Registration> StateRegistry::add_entry(std::string_view name, StateEntry entry,
                                              EntryOptions options)
{
    entry.idstr = options.device_path.empty() ? std::string(name)
                                              : fmt::format("{}/{}", options.device_path, name);
    if (name.empty() || entry.idstr.size() > 255)
        return Error(Errc::InvalidArgument,
                     fmt::format("section name '{}' is not 1 to 255 bytes long", entry.idstr));
    // One more than the highest number in use, so that a removed device leaves a gap.
    std::uint32_t next = 0;
    std::uint32_t next_compat = 0;
    for (const auto& other : entries_) {
        if (other->idstr == entry.idstr) {
            next = std::max(next, other->instance_id + 1);
            if (options.instance_id == other->instance_id)
                return Error(Errc::Exists, fmt::format("section '{}' instance {} exists already",
                                                       entry.idstr, other->instance_id));
        }
        if (other->compat_name == name)
            next_compat = std::max(next_compat, other->compat_instance_id + 1);
    }
    entry.instance_id = options.instance_id.value_or(next);
    entry.alias_id = options.alias_id;
    if (!options.device_path.empty()) {
        entry.compat_name = name;
        entry.compat_instance_id = next_compat;
    }
    entry.section_id = next_section_id_++;
    const auto at = std::ranges::find_if(
        entries_, [&](const auto& other) { return other->priority < entry.priority; });
    const auto placed = entries_.insert(at, std::make_unique<StateEntry>(std::move(entry)));
    return Registration([this, added = placed->get()]() noexcept {
        std::erase_if(entries_, [&](const auto& other) { return other.get() == added; });
    });
}

StateEntry* StateRegistry::find(std::string_view idstr, std::uint32_t instance_id) const
{
    for (const auto& entry : entries_)
        if (entry->idstr == idstr &&
            (entry->instance_id == instance_id || entry->alias_id == instance_id))
            return entry.get();
    for (const auto& entry : entries_)
        if (!entry->compat_name.empty() && entry->compat_name == idstr &&
            (entry->compat_instance_id == instance_id || entry->alias_id == instance_id))
            return entry.get();
    return nullptr;
}

const StateEntry* StateRegistry::unmigratable() const
{
    for (const auto& entry : entries_)
        if (entry->described && entry->described->how->unmigratable)
            return entry.get();
    return nullptr;
}

void describe_opaque(DescriptionWriter& description, std::uint64_t size)
{
    description.number("size", size);
    description.begin_array("fields");
    description.begin_object();
    description.text("name", "data");
    description.number("size", size);
    description.text("type", "buffer");
    description.end_object();
    description.end_array();
}

Result<void> save_entry(StreamWriter& out, const StateEntry& entry, DescriptionWriter* description)
{
    if (entry.described) {
        const DescribedState& d = *entry.described;
        if (d.pre_save)
            GW_TRY(d.pre_save());
        return save_state(out, *d.how, d.state, description);
    }
    assert(entry.callbacks != nullptr);
    const std::uint64_t before = out.position();
    GW_TRY(entry.callbacks->save(out));
    if (description != nullptr)
        describe_opaque(*description, out.position() - before);
    return ok();
}

Result<void> load_entry(StreamReader& in, StateEntry& entry, Version version)
{
    if (!entry.described) {
        assert(entry.callbacks != nullptr);
        return entry.callbacks->load(in, version);
    }
    const DescribedState& d = *entry.described;
    const StateOps& ops = *d.how->ops;
    const std::unique_ptr<void, void (*)(void*)> copy(ops.clone(d.state), ops.destroy);
    if (!copy)
        return Error(Errc::OutOfMemory, "no memory for a copy of the state");
    GW_TRY(load_state(in, *d.how, copy.get(), version));
    if (d.validate)
        GW_TRY(d.validate(copy.get()));
    ops.commit(d.state, copy.get());
    return d.post_load ? d.post_load(version) : ok();
}

}  // namespace godwit::migration::stream
