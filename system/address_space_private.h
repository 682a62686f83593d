// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the files of AddressSpace share: regions and listeners here, commits in address_space.cc,
// accesses in address_space_access.cc, dirty logging in address_space_log.cc.
#pragma once

#include "system/flat_view.h"
#include "system/main_loop.h"
#include "system/memory_listener.h"

#include <optional>
#include <string>
#include <vector>

namespace godwit::system {

struct AddressSpace::Impl {
    Impl(std::string space_name, MachineLock& machine_lock, std::uint64_t space_size)
        : name(std::move(space_name)), lock(machine_lock),
          size(space_size != 0 ? space_size : ~std::uint64_t{0}),
          publisher(FlatView::render({}, size))
    {}

    Region* region(RegionId id) noexcept;
    /// Notes that a change is about to be made; keeps what it was for an undo.
    void before_change();
    Result<void> end_transaction();

    const std::string name;
    MachineLock& lock;
    const std::uint64_t size;

    // All below: machine lock, but for publisher's readers.
    std::vector<Region> regions;
    RegionId next_region = 1;
    unsigned depth = 0;
    std::optional<std::vector<Region>> before;  // set by the first change of a transaction
    ViewPublisher publisher;
    std::vector<MemoryListener*> listeners;  // ascending priority
    unsigned log_users = 0;
    std::function<void(const Error&)> on_error;

private:
    using Sections = std::vector<MemorySection>;
    Result<void> commit();
    Result<void> tell(const Sections& old_sections, const Sections& new_sections);
    void sync_before_removal(const Sections& going);
};

/// Tells one listener of `sections`, in order; on refusal takes those told back and says why.
Result<void> add_sections(MemoryListener& listener, const std::vector<MemorySection>& sections);
void remove_sections(MemoryListener& listener, const std::vector<MemorySection>& sections,
                     std::size_t count);

}  // namespace godwit::system
