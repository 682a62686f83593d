// SPDX-License-Identifier: LGPL-2.1-or-later
//
// -object memory-backend-ram, -memfd, -file: guest RAM with an id of its own.
#pragma once

#include "system/guest_memory.h"
#include "system/object.h"

#include <string>
#include <vector>

namespace godwit::system {

class Vm;

/// Base of the three back-end types ("memory-backend").
///
/// Life     properties set; complete() makes the RamBlock with the object's id; a machine or NUMA
///          node takes it once (Busy afterwards). Properties are fixed by complete().
/// Errors   complete(): InvalidArgument for what does not fit together, else
/// GuestMemory::create()'s,
///          in QEMU's words.
class MemoryBackend : public UserObject {
public:
    ~MemoryBackend() override;
    Result<void> complete(Vm& vm) override;
    Result<void> check_settable(const Property& property) const override;
    /// Null before complete().
    RamBlock* block() const noexcept { return block_; }
    std::uint64_t size() const noexcept { return size_; }
    bool in_use() const noexcept override { return in_use_; }
    void set_in_use(bool yes) noexcept { in_use_ = yes; }

    // What query-memdev shows.
    bool share() const noexcept { return share_; }
    bool merge() const noexcept { return merge_; }
    bool dump() const noexcept { return dump_; }
    bool prealloc() const noexcept { return prealloc_; }
    bool reserve() const noexcept { return reserve_; }
    NumaPolicy policy() const noexcept { return policy_; }
    const std::vector<unsigned>& host_nodes() const noexcept { return host_nodes_; }

    static std::vector<Property> own_properties();

protected:
    /// The block's options as this type makes them; calls the base's first.
    virtual Result<RamBlockOptions> options() const;
    bool share_ = false;

private:
    std::uint64_t size_ = 0;
    bool merge_ = true;
    bool dump_ = true;
    bool prealloc_ = false;
    std::uint32_t prealloc_threads_ = 1;
    bool reserve_ = true;
    NumaPolicy policy_ = NumaPolicy::Default;
    std::vector<unsigned> host_nodes_;
    bool canonical_path_id_ = false;

    GuestMemory* ram_ = nullptr;  // set with block_
    RamBlock* block_ = nullptr;
    bool in_use_ = false;
};

/// "default", "preferred", "bind", "interleave": QAPI's HostMemPolicy.
std::string_view to_string(NumaPolicy policy) noexcept;

/// Adds the types to the registry.
Result<void> register_memory_backends(TypeRegistry& types);

}  // namespace godwit::system
