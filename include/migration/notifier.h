// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Observers of a migration that may say no: devices that keep state in guest RAM and must flush it,
// back-ends that cannot move now, network cards that announce themselves.
#pragma once

#include "migration/status.h"
#include "util/registration.h"
#include "util/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::migration {

/// The moments a notifier hears of.
enum class Moment : std::uint8_t {
    Setup,         ///< source: connected, nothing sent. May refuse
    InCompletion,  ///< source: vCPUs stopped, before the last dirty sync. May refuse
    Completed,     ///< source: the guest is the destination's now
    Failed,        ///< source: failed or cancelled; the guest runs on here if it ran before
};
std::string_view to_string(Moment moment) noexcept;

/// Order    lower numbers first at Setup and InCompletion; the other way round at Completed and
///          Failed. Equal numbers in order of registration.
/// Threads  migration thread, machine lock held.
/// Errors   at Setup and InCompletion a refusal fails the migration with that error, which reaches
///          the client; those already asked hear Failed. Elsewhere an error is logged.
struct Notifier {
    std::string name;
    int priority = 0;
    std::function<Result<void>(Moment)> notify;
};

/// Threads  add() and removal with the machine lock.
class Notifiers {
public:
    [[nodiscard]] Registration add(Notifier notifier);
    /// Asks in order until one refuses; its name is put before the message.
    Result<void> ask(Moment moment) const;
    /// Tells all, whatever they answer; returns the complaints.
    std::vector<Error> tell(Moment moment) const;

private:
    std::shared_ptr<std::vector<std::shared_ptr<const Notifier>>> list_ =
        std::make_shared<std::vector<std::shared_ptr<const Notifier>>>();
};

}  // namespace godwit::migration
