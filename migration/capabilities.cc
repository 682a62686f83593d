// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/capabilities.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace godwit::migration {
namespace {

using enum Capability;

struct Row {
    std::string_view name;
    bool working;
};

constexpr auto kRows = std::to_array<Row>({
    {"xbzrle", true},
    {"rdma-pin-all", false},
    {"auto-converge", true},
    {"zero-blocks", false},
    {"events", true},
    {"postcopy-ram", false},
    {"x-colo", false},
    {"release-ram", true},
    {"return-path", true},
    {"pause-before-switchover", true},
    {"multifd", false},
    {"dirty-bitmaps", false},
    {"postcopy-blocktime", false},
    {"late-block-activate", true},
    {"x-ignore-shared", false},
    {"validate-uuid", true},
    {"background-snapshot", false},
    {"zero-copy-send", false},
    {"postcopy-preempt", false},
    {"switchover-ack", true},
    {"dirty-limit", false},
    {"mapped-ram", false},
});
static_assert(kRows.size() == kCapabilityCount);

// background-snapshot excludes these, and says which one it met first.
constexpr auto kNotWithSnapshot =
    std::to_array<Capability>({PostcopyRam, DirtyBitmaps, PostcopyBlocktime, LateBlockActivate,
                               ReturnPath, Multifd, PauseBeforeSwitchover, AutoConverge, ReleaseRam,
                               RdmaPinAll, Xbzrle, XColo, ValidateUuid, ZeroCopySend});

Error refused(std::string text)
{
    return Error(Errc::InvalidArgument, std::move(text));
}

Result<void> check_postcopy(const Capabilities& c)
{
    if (c.has(PostcopyRam) && c.has(XIgnoreShared))
        return refused("Postcopy is not compatible with ignore-shared");
    if (c.has(PostcopyRam) && c.has(Multifd))
        return refused("Postcopy is not yet compatible with multifd");
    if (c.has(BackgroundSnapshot))
        for (Capability other : kNotWithSnapshot)
            if (c.has(other))
                return refused(
                    fmt::format("Background-snapshot is not compatible with {}", to_string(other)));
    return ok();
}

Result<void> check_pairs(const Capabilities& before, const Capabilities& c,
                         const CapabilitySurroundings& s)
{
    GW_TRY(check_postcopy(c));
    if (c.has(ZeroCopySend) && (!c.has(Multifd) || c.has(Xbzrle) || !s.plain_transfer))
        return refused("Zero copy only available for non-compressed non-TLS multifd migration");
    if (c.has(PostcopyPreempt) && !c.has(PostcopyRam))
        return refused("Postcopy preempt requires postcopy-ram");
    if (s.incoming_started && c.has(PostcopyPreempt) && !before.has(PostcopyPreempt))
        return refused("Postcopy preempt must be set before incoming starts");
    if (s.incoming_started && c.has(Multifd) && !before.has(Multifd))
        return refused("Multifd must be set before incoming starts");
    if (c.has(SwitchoverAck) && !c.has(ReturnPath))
        return refused("Capability 'switchover-ack' requires capability 'return-path'");
    if (c.has(DirtyLimit) && c.has(AutoConverge))
        return refused("dirty-limit conflicts with auto-converge"
                       " either of then available currently");
    if (c.has(DirtyLimit) && !s.dirty_ring)
        return refused("dirty-limit requires KVM with accelerator property 'dirty-ring-size' set");
    if (c.has(Multifd) && c.has(Xbzrle))
        return refused("Multifd is not compatible with xbzrle");
    if (c.has(MappedRam) && c.has(Xbzrle))
        return refused("Mapped-ram migration is incompatible with xbzrle");
    if (c.has(MappedRam) && c.has(PostcopyRam))
        return refused("Mapped-ram migration is incompatible with postcopy");
    return ok();
}

}  // namespace

std::string_view to_string(Capability capability) noexcept
{
    return kRows[static_cast<std::size_t>(capability)].name;
}

std::optional<Capability> capability_from(std::string_view name) noexcept
{
    const auto row = std::ranges::find(kRows, name, &Row::name);
    if (row == kRows.end())
        return std::nullopt;
    return static_cast<Capability>(row - kRows.begin());
}

bool is_working(Capability capability) noexcept
{
    return kRows[static_cast<std::size_t>(capability)].working;
}

Result<Capabilities> changed(const Capabilities& now, std::span<const CapabilityChange> changes,
                             const CapabilitySurroundings& surroundings)
{
    Capabilities then = now;
    for (const CapabilityChange& change : changes)
        then.set(change.capability, change.on);
    GW_TRY(check_pairs(now, then, surroundings));
    for (const CapabilityChange& change : changes)
        if (change.on && !is_working(change.capability))
            return Error(Errc::Unsupported,
                         fmt::format("Capability '{}' is not supported by this version",
                                     to_string(change.capability)));
    return then;
}

}  // namespace godwit::migration
