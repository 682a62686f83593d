// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Stands between a source and a destination, and breaks or holds the connection at a byte.
#pragma once

#include "tests/qtest/libqtest/temp_dir.h"
#include "util/event_fd.h"
#include "util/unique_fd.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

namespace godwit::chaos {

enum class Way { Forward, Backward };  ///< to the destination, or back from it

/// For one connection.
///
/// Life     the destination listens at target() first; the source is told uri(). The connection is
///          made when the source comes, and ends with the first of: a side closed, the cut, the
///          destructor, and, for a second one, stream() or mark().
/// Threads  one of its own; the getters from any thread.
class Relay {
public:
    struct Plan {
        /// After exactly so many bytes of this way both connections are closed.
        std::optional<std::uint64_t> cut_at;
        /// cut_at counts from behind the first time that this is seen.
        std::string after{};
        Way way = Way::Forward;
        bool record = false;
        /// After the cut one more connection gets through, whole. Without it the address refuses.
        bool again = false;
    };

    explicit Relay(Plan plan);
    ~Relay();
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    /// What migrate-incoming is told.
    std::string target() const { return "unix:" + dir_.file("target"); }
    /// What migrate is told.
    std::string uri() const { return "unix:" + dir_.file("relay"); }
    std::uint64_t passed(Way way) const { return passed_[static_cast<std::size_t>(way)]; }
    /// From now on nothing passes and nothing is noticed, as if the other host had lost its power.
    void hold();
    /// Where the mark ended; once the connection has ended.
    std::optional<std::uint64_t> mark();
    /// What went this way; once the connection has ended.
    const std::string& stream(Way way);

private:
    void run();
    void serve();
    void finish();
    bool pump(int from, int to, Way way);
    std::uint64_t room(Way way) const;
    void look_for_mark(Way way, const char* data, std::size_t size);

    Plan plan_;
    qtest::TempDir dir_;
    UniqueFd listener_;
    EventFd stop_;
    EventFd hold_;
    std::array<std::atomic<std::uint64_t>, 2> passed_{};
    std::array<std::string, 2> streams_;
    std::optional<std::uint64_t> mark_;
    std::string tail_;  // where the mark may have begun
    std::thread thread_;
};

}  // namespace godwit::chaos
