// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Being in somebody's list, as an object.
#pragma once

#include <functional>
#include <utility>

namespace godwit {

/// An entry in a registry; destroying it removes the entry.
///
/// Threads  a value; the callback runs in the thread that destroys or resets it.
class [[nodiscard]] Registration {
public:
    Registration() noexcept = default;
    explicit Registration(std::move_only_function<void() noexcept> remove) noexcept
        : remove_(std::move(remove))
    {}
    Registration(Registration&& other) noexcept : remove_(std::exchange(other.remove_, nullptr)) {}
    Registration& operator=(Registration&& other) noexcept
    {
        if (this != &other) {
            reset();
            remove_ = std::exchange(other.remove_, nullptr);
        }
        return *this;
    }
    ~Registration() { reset(); }

    explicit operator bool() const noexcept { return static_cast<bool>(remove_); }
    /// Removes the entry now.
    void reset() noexcept
    {
        if (auto remove = std::exchange(remove_, nullptr))
            remove();
    }
    /// Leaves the entry in the registry for good.
    void release() noexcept { remove_ = nullptr; }

private:
    std::move_only_function<void() noexcept> remove_;
};

}  // namespace godwit
