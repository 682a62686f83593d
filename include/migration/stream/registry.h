// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Who takes part in a migration, in which order and under which name. The Vm owns one registry,
// devices enter themselves when they are realized, migration reads it.
#pragma once

#include "migration/stream/vmstate.h"
#include "util/registration.h"
#include "util/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godwit::migration::stream {

class StreamReader;
class StreamWriter;

/// A section whose bytes the device writes and reads by hand.
///
/// Threads  machine lock held, vCPUs stopped.
/// Errors   end the migration; the message is given the section's name by the caller.
class SectionCallbacks {
public:
    virtual ~SectionCallbacks() = default;
    virtual Result<void> save(StreamWriter& out) = 0;
    virtual Result<void> load(StreamReader& in, Version version) = 0;
};

/// Base of migration::LiveStateHandler (migration/live_state.h), which this floor cannot know.
class LiveHandler {
public:
    virtual ~LiveHandler() = default;
};

/// What a device adds to its description: things that need the device and not only its state.
///
/// Order    pre_save runs before the description's; validate sees the loaded copy after the
///          description's post_load; then the copy becomes the state; then post_load runs.
/// Threads  machine lock held, vCPUs stopped.
template <class T>
struct StateHooks {
    std::function<bool()> needed;            ///< instead of the description's
    std::function<Result<void>()> pre_save;  ///< fetch what lives elsewhere (KVM, a back end)
    std::function<Result<void>(const T& loaded)> validate;
    std::function<Result<void>(Version version)> post_load;  ///< put it to use
};

/// How an entry is found and numbered.
struct EntryOptions {
    /// The path of a device on a bus that has one ("0000:00:02.0"); goes before the name.
    std::string device_path;
    /// Default: the next free number for this name.
    std::optional<std::uint32_t> instance_id;
    /// Accepted as instance id on load, never sent.
    std::optional<std::uint32_t> alias_id;
};

/// Devices that describe themselves, for the registry's own use.
struct DescribedState {
    const VMState* how = nullptr;
    void* state = nullptr;
    std::function<bool()> needed;
    std::function<Result<void>()> pre_save;
    std::function<Result<void>(const void* loaded)> validate;
    std::function<Result<void>(Version version)> post_load;
};

/// One participant.
struct StateEntry {
    std::string idstr;  ///< "serial", "0000:00:02.0/virtio-net"
    std::uint32_t instance_id = 0;
    std::optional<std::uint32_t> alias_id;
    std::string compat_name;  ///< the bare name, for entries with a path
    std::uint32_t compat_instance_id = 0;
    std::uint32_t section_id = 0;
    Version version = 1;
    Priority priority = Priority::Default;
    /// Exactly one of these three is set.
    std::optional<DescribedState> described;
    SectionCallbacks* callbacks = nullptr;
    LiveHandler* live = nullptr;

    bool early_setup() const { return described && described->how->early_setup; }
    /// False when the section is to be left out now.
    bool needed() const;
};

/// The participants of one machine: higher priority first, then in order of registration.
///
/// Shape    section ids come from a counter and are never reused; instance ids count per name.
/// Threads  machine lock. It must not change while a migration runs. It outlives what add() gives.
/// Errors   add(): Errc::InvalidArgument for a name over 255 bytes, Errc::Exists for an instance
///          id that is taken.
class StateRegistry {
public:
    StateRegistry() = default;
    StateRegistry(const StateRegistry&) = delete;
    StateRegistry& operator=(const StateRegistry&) = delete;

    /// `how` is a static description, `state` and what the hooks capture live as long as the
    /// Registration.
    template <class T>
    Result<Registration> add(const VMStateOf<T>& how, T& state, EntryOptions options = {},
                             StateHooks<T> hooks = {})
    {
        static_assert(std::is_copy_constructible_v<T> && std::is_move_assignable_v<T>,
                      "a load goes to a copy, so the state must be a value");
        DescribedState described{.how = &how,
                                 .state = &state,
                                 .needed = std::move(hooks.needed),
                                 .pre_save = std::move(hooks.pre_save),
                                 .validate = {},
                                 .post_load = std::move(hooks.post_load)};
        if (hooks.validate)
            described.validate = [check = std::move(hooks.validate)](const void* loaded) {
                return check(*static_cast<const T*>(loaded));
            };
        return add_described(std::move(described), std::move(options));
    }
    Result<Registration> add_callbacks(std::string_view name, Version version,
                                       SectionCallbacks& callbacks, EntryOptions options = {});
    Result<Registration> add_live(std::string_view name, Version version, Priority priority,
                                  LiveHandler& handler, EntryOptions options = {});
    /// Uses up a section id for a section that this machine never has, so that the following ones
    /// are numbered as in QEMU.
    void skip_section_id() { ++next_section_id_; }

    const std::vector<std::unique_ptr<StateEntry>>& entries() const noexcept { return entries_; }
    /// By name and instance or alias id; then, for entries with a path, by the bare name.
    StateEntry* find(std::string_view idstr, std::uint32_t instance_id) const;
    /// The first entry whose device cannot be migrated, or nullptr.
    const StateEntry* unmigratable() const;

private:
    Result<Registration> add_described(DescribedState described, EntryOptions options);
    Result<Registration> add_entry(std::string_view name, StateEntry entry, EntryOptions options);

    std::vector<std::unique_ptr<StateEntry>> entries_;
    std::uint32_t next_section_id_ = 0;
};

/// The keys in the description of a body that only its device understands.
void describe_opaque(DescriptionWriter& description, std::uint64_t size);

/// Writes the body of a described or callback entry and its keys in the description.
Result<void> save_entry(StreamWriter& out, const StateEntry& entry,
                        DescriptionWriter* description = nullptr);
/// Reads the body into a copy, validates it, commits it and lets the device use it. After an error
/// the state is what it was, unless the device's own post_load failed.
Result<void> load_entry(StreamReader& in, StateEntry& entry, Version version);

}  // namespace godwit::migration::stream
