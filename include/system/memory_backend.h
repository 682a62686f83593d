// SPDX-License-Identifier: LGPL-2.1-or-later
//
// -object memory-backend-ram, -memfd, -file: guest RAM with an id of its own.
#pragma once

#include "system/guest_memory.h"
#include "system/object.h"

namespace godwit::system {

class Vm;

/// Base of the three back-end types ("memory-backend").
///
/// Life     properties set; complete() makes the RamBlock with the object's id; a machine or NUMA
/// node takes it
///          once (Busy afterwards: "memory backend 'x' can't be used multiple times.").
class MemoryBackend : public UserObject {
public:
    Result<void> complete(Vm& vm) override = 0;
    virtual RamBlock* block() const noexcept = 0;
    virtual std::uint64_t size() const noexcept = 0;
    bool in_use() const noexcept override = 0;
    virtual void set_in_use(bool yes) noexcept = 0;
};

/// Adds the types to the registry.
Result<void> register_memory_backends(TypeRegistry& types);

}  // namespace godwit::system
