// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Moving a guest between two programs under test, over any kind of address.
#pragma once

#include "tests/qtest/libqtest/vmm.h"

#include <string>
#include <string_view>
#include <vector>

namespace godwit::qtest {

enum class Transport { Tcp, Tcp6, Unix, Fd, Exec, File };
std::string_view to_string(Transport transport);

/// A way from one program to the other: sockets, pipes and files in a directory of its own.
///
/// Life     prepare_target() first (`-incoming defer` was given), then start_source(). A file is
///          loaded only when it is complete: for Transport::File prepare_target() does nothing, and
///          load_file() loads.
class Path {
public:
    explicit Path(Transport transport) : transport_(transport) {}

    /// Starts the incoming side where that comes first.
    void prepare_target(Vmm& target);
    /// Issues `migrate`.
    void start_source(Vmm& source);
    /// Loads a file that start_source() wrote.
    void load_file(Vmm& target);
    /// All that comes before the first byte: events on both sides, no bandwidth limit but what
    /// `parameters` of the source say, and both started.
    void start(Vmm& source, Vmm& target, const Json& parameters = Json::object());
    bool is_file() const noexcept { return transport_ == Transport::File; }

private:
    Transport transport_;
    TempDir dir_;
    std::string uri_;  // what the source is told
    UniqueFd source_fd_;
};

/// Switches events on and the bandwidth limit off.
void prepare(Vmm& vmm);
/// Waits until a migration comes to `status`; fails when it does not.
void wait_migration(Vmm& vmm, std::string_view status);
/// Waits for the end of a migration; its status, "none" when it does not come.
std::string wait_migration_end(Vmm& vmm);
/// Waits for the end of a migration and expects `status`.
void expect_end(Vmm& vmm, std::string_view status);
/// The whole move: both sides completed, or the test fails.
void move(Vmm& source, Vmm& target, Transport transport);

/// Sets capabilities, all to on.
void enable(Vmm& vmm, const std::vector<std::string>& capabilities);

/// A directory with the assembled guests (GODWIT_GUESTS).
std::string guest_image(std::string_view name);
/// A copy of a guest image in `dir`, as a disk of 1 MiB, with 32-bit parameters put at byte `at`.
std::string patched_disk(const TempDir& dir, std::string_view name, std::size_t at,
                         const std::vector<std::uint32_t>& parameters);
/// Waits until the guest sent `text` `times` times to the file; fails when it sent an 'X' (it found
/// wrong memory).
void wait_for_beats(const std::string& serial_file, std::string_view text, std::size_t times);

/// `x-synth-check` must find every page right.
void expect_synth_right(Vmm& vmm);

}  // namespace godwit::qtest
