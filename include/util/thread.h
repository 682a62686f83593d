// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Threads that have a name, an owner and a stop.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

namespace godwit {

/// The kernel's limit, without the final zero.
inline constexpr std::size_t kMaxThreadName = 15;

/// Names the calling thread in /proc, in debuggers and in the flight recorder. Longer names are
/// cut.
void set_thread_name(std::string_view name) noexcept;

/// What the calling thread is called.
std::string thread_name();

/// Who the calling thread is, as the flight recorder notes it down. Costs no system call but the
/// first time in each thread.
struct ThreadIdentity {
    std::int32_t tid = 0;         ///< gettid()
    std::array<char, 16> name{};  ///< zero-padded
};
const ThreadIdentity& this_thread_identity() noexcept;

/// A std::jthread with a name: its destructor asks it to stop and joins it.
///
/// Make it the last member of its owner, so that it joins before what it uses is gone.
class NamedThread {
public:
    NamedThread() noexcept = default;
    NamedThread(std::string name, std::move_only_function<void(std::stop_token)> body);
    NamedThread(NamedThread&&) noexcept = default;
    NamedThread& operator=(NamedThread&&) noexcept = default;

    bool joinable() const noexcept { return thread_.joinable(); }
    void join() { thread_.join(); }
    bool request_stop() noexcept { return thread_.request_stop(); }
    std::stop_token stop_token() const noexcept { return thread_.get_stop_token(); }

private:
    std::jthread thread_;
};

}  // namespace godwit
