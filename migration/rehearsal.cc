// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/rehearsal.h"

#include "migration/outgoing.h"
#include "migration/stream/description.h"
#include "migration/stream/vmstate.h"
#include "system/main_loop.h"

#include <algorithm>

namespace godwit::migration {

void Rehearsal::run(const stream::StateRegistry& registry, const Clock& clock)
{
    done_ = true;
    stream::StreamWriter nowhere;
    stream::DescriptionWriter description;
    description.begin_object();
    description.begin_array("devices");
    for (const auto& entry : registry.entries()) {
        if (!entry->described || entry->early_setup() || !entry->needed())
            continue;
        const std::int64_t since = clock.now_ns();
        const std::uint64_t from = nowhere.position();
        description.begin_object();
        const stream::DescribedState& state = *entry->described;
        if (!stream::save_state(nowhere, *state.how, state.state, &description))
            return;  // the description is broken off in the middle
        description.end_object();
        parts_.push_back({.name = entry->idstr,
                          .kind = PartKind::Device,
                          .bytes = nowhere.position() - from,
                          .predicted_ns = clock.now_ns() - since});
        ns_ += parts_.back().predicted_ns;
        bytes_ += parts_.back().bytes;
    }
    description_bytes_ = description.str().size();
}

// Once, when the end comes near.
void Outgoing::rehearse()
{
    if (rehearsal_.done())
        return;
    const system::MachineGuard guard(p_.env.lock);
    rehearsal_.run(p_.env.registry, p_.env.clock);
    p_.timeline->note(TimelineKind::Switchover, "rehearsed", rehearsal_.ns());
}

// The guest is about to be stopped with `left` bytes unsent. The destination is taken to load as
// fast as we save; a Godwit then says so, and once more that its guest runs: a way there and back
// each.
void Outgoing::predict_downtime(std::uint64_t left)
{
    const double rate = estimate_.bytes_per_ms() / 1e6;  // bytes a ns
    const auto sending = [&](std::uint64_t bytes) {
        return rate > 0 ? static_cast<std::int64_t>(static_cast<double>(bytes) / rate) : 0;
    };
    std::vector<SwitchoverPart> parts;
    const auto add = [&](std::string name, PartKind kind, std::int64_t ns, std::uint64_t bytes) {
        parts.push_back(
            {.name = std::move(name), .kind = kind, .bytes = bytes, .predicted_ns = ns});
    };
    add("last-sync", PartKind::Sync, look_ns_, 0);
    add("ram", PartKind::Ram, sending(left), left);
    parts.insert(parts.end(), rehearsal_.parts().begin(), rehearsal_.parts().end());
    add("flush", PartKind::Flush, sending(rehearsal_.bytes() + rehearsal_.description_bytes()),
        rehearsal_.bytes());
    // What the last look asked beside a busy link; else what an idle one took.
    const std::optional<std::int64_t> there_and_back = peer_timeline_.round_trip_ns();
    const std::int64_t way = way_ns_ != 0 ? way_ns_ : there_and_back.value_or(0);
    const std::uint64_t underway = channel_->bytes_underway();
    add("handover", PartKind::Handover, rehearsal_.ns() + way + sending(underway), underway);
    if (peer_ == Peer::Godwit)
        add("resume", PartKind::Resume, there_and_back.value_or(way), 0);
    std::int64_t sum = 0;
    for (const SwitchoverPart& part : parts)
        sum += part.predicted_ns;
    statistics_.predicted_downtime_ns = sum;
    statistics_.foretell(std::move(parts));
}

}  // namespace godwit::migration
