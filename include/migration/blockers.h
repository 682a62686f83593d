// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reasons why the machine cannot be migrated now.
#pragma once

#include "util/registration.h"
#include "util/result.h"

#include <list>
#include <memory>
#include <string>
#include <vector>

namespace godwit::migration {

/// What `blocked-reasons` of query-migrate lists.
///
/// Threads  machine lock.
class Blockers {
public:
    /// `-only-migratable`: what would block is refused instead.
    void set_only_migratable(bool on) noexcept { only_migratable_ = on; }
    bool only_migratable() const noexcept { return only_migratable_; }

    /// Blocks while the Registration lives. `running` says whether a migration is under way.
    /// Errors   BadState: "disallowing migration blocker (migration/snapshot in progress) for:
    ///          REASON"; PermissionDenied: "disallowing migration blocker (--only-migratable) for:
    ///          REASON".
    Result<Registration> add(std::string reason, bool running = false);

    /// Latest first, as QEMU lists them.
    std::vector<std::string> reasons() const;
    /// The first reason as an error, or nothing.
    Result<void> check() const;

private:
    bool only_migratable_ = false;
    std::shared_ptr<std::list<std::string>> reasons_ = std::make_shared<std::list<std::string>>();
};

}  // namespace godwit::migration
