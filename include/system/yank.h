// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Connections that can be torn loose from outside when they hang: what `yank` acts on.
#pragma once

#include "util/registration.h"
#include "util/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace godwit::system {

/// What a client names: the migration, or a socket chardev by its id.
struct YankInstance {
    enum class Type : std::uint8_t { Migration, Chardev };
    Type type = Type::Migration;
    std::string id{};  ///< of the chardev

    bool operator==(const YankInstance&) const = default;
};

/// Who can be yanked, and how.
///
/// Threads  everything from any thread; the machine lock is not needed, as who holds it may be what
///          hangs. Breakers run in the thread that yanks, under a mutex of the registry: they shut
///          a connection down and neither wait nor call back.
class YankRegistry {
public:
    using Breaker = std::move_only_function<void()>;

    YankRegistry() : state_(std::make_shared<State>()) {}

    /// `instance` exists while the Registration lives; removing it waits for a yank that runs.
    /// `breaker` may be empty: there is nothing to break yet. One instance may have several.
    [[nodiscard]] Registration add(YankInstance instance, Breaker breaker = {});
    /// Each once, in the order in which they came.
    std::vector<YankInstance> list() const;
    /// Breaks all of them, or none.
    /// Errors   DeviceNotFound: "Instance not found".
    Result<void> yank(std::span<const YankInstance> instances);

private:
    struct Entry {
        YankInstance instance;
        std::shared_ptr<Breaker> breaker;  // its address is the entry's name
    };
    struct State {
        std::mutex mutex;
        std::vector<Entry> entries;  // mutex
    };
    std::shared_ptr<State> state_;  // a Registration may outlive us
};

}  // namespace godwit::system
