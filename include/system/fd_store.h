// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Descriptor sets: open files that a client handed over with add-fd, opened again by name as
// "/dev/fdset/N" wherever a path is taken. Below migration, because it opens files as well.
#pragma once

#include "util/registration.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::system {

/// A file opened by path. While `in_set` lives, the descriptor counts as a duplicate of its set;
/// keep both together and let `in_set` go when the descriptor is closed. Empty for a plain file.
struct OpenedFile {
    UniqueFd fd;
    Registration in_set;
};

/// The descriptor sets of one Vm.
///
/// Life     a set exists while it has members or duplicates; it leaves query-fdsets with the last.
/// Threads  any thread; a set may be used by several at once.
/// Source   QEMU 10.0, add-fd, remove-fd, query-fdsets.
class FdStore {
public:
    struct Member {
        int fd = -1;  ///< the number clients see; borrowed
        std::optional<std::string> opaque;
    };
    struct Set {
        std::int64_t id = 0;
        std::vector<Member> members;
    };
    struct Added {
        std::int64_t set_id = 0;
        int fd = -1;
    };

    FdStore();
    ~FdStore();

    /// Into set `set_id`, which is made if need be; without one, into a new set with the lowest
    /// free id.
    /// Errors  "Parameter 'fdset-id' expects a non-negative value".
    Result<Added> add(UniqueFd fd, std::optional<std::int64_t> set_id,
                      std::optional<std::string> opaque);
    /// Closes one member, or all of a set.
    /// Errors  NotFound: "File descriptor named 'fdset-id:1, fd:9' not found".
    Result<void> remove(std::int64_t set_id, std::optional<std::int64_t> fd);
    /// Newest set first, and in it the newest member first.
    std::vector<Set> list() const;

    /// open(2), but "/dev/fdset/N" gives a duplicate of the first member of set N whose access mode
    /// and O_DIRECT bit are those of `flags`; the other flags are then ignored, and the file offset
    /// is shared. Always close-on-exec.
    /// Errors  the path is named.
    Result<OpenedFile> open(const std::string& path, int flags, unsigned mode = 0600);

    /// No monitor is connected any more: sets without duplicates go.
    void drop_unused();

private:
    struct State;
    std::shared_ptr<State> state_;
};

/// N of "/dev/fdset/N", nothing for any other path.
std::optional<std::int64_t> fdset_of_path(std::string_view path) noexcept;

}  // namespace godwit::system
