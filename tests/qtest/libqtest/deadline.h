// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How long a test waits for what must happen. Tests wait for events; a deadline only ends a hang.
#pragma once

#include <chrono>

namespace godwit::qtest {

/// 60 s, times the environment's GODWIT_TEST_PATIENCE (sanitizers, busy machines).
std::chrono::milliseconds patience();

class Deadline {
public:
    explicit Deadline(std::chrono::milliseconds wait = patience())
        : end_(std::chrono::steady_clock::now() + wait)
    {}
    bool passed() const { return std::chrono::steady_clock::now() >= end_; }
    /// For poll(2): at least 0.
    int left_ms() const;

private:
    std::chrono::steady_clock::time_point end_;
};

/// Waits until `fd` can be read; false when the deadline passed.
bool wait_readable(int fd, const Deadline& deadline);

}  // namespace godwit::qtest
