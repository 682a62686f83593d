// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Migration capabilities: QEMU's names, in QEMU's order, and which go together.
#pragma once

#include "util/result.h"

#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace godwit::migration {

enum class Capability : std::uint8_t {
    Xbzrle,
    RdmaPinAll,
    AutoConverge,
    ZeroBlocks,
    Events,
    PostcopyRam,
    XColo,
    ReleaseRam,
    ReturnPath,
    PauseBeforeSwitchover,
    Multifd,
    DirtyBitmaps,
    PostcopyBlocktime,
    LateBlockActivate,
    XIgnoreShared,
    ValidateUuid,
    BackgroundSnapshot,
    ZeroCopySend,
    PostcopyPreempt,
    SwitchoverAck,
    DirtyLimit,
    MappedRam,
};
inline constexpr std::size_t kCapabilityCount = 22;

std::string_view to_string(Capability capability) noexcept;
std::optional<Capability> capability_from(std::string_view name) noexcept;
/// Whether this version of the program can do it; the others are known by name only.
bool is_working(Capability capability) noexcept;

/// Which capabilities are on.
class Capabilities {
public:
    bool has(Capability c) const noexcept { return on_[static_cast<std::size_t>(c)]; }
    void set(Capability c, bool on) noexcept { on_[static_cast<std::size_t>(c)] = on; }
    bool operator==(const Capabilities&) const = default;

private:
    std::bitset<kCapabilityCount> on_;
};

/// What else decides which capabilities are legal.
struct CapabilitySurroundings {
    bool plain_transfer = true;  ///< neither TLS nor compression is configured
    bool dirty_ring = false;     ///< KVM runs with a dirty ring
    bool incoming_started = false;
};

struct CapabilityChange {
    Capability capability;
    bool on;
};

/// The set after `changes`, all or none of them.
/// Errors   in QEMU's words for pairs that exclude each other; Unsupported for what is_working()
///          denies: "Capability 'multifd' is not supported by this version".
Result<Capabilities> changed(const Capabilities& now, std::span<const CapabilityChange> changes,
                             const CapabilitySurroundings& surroundings);

}  // namespace godwit::migration
