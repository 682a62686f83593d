// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The migration states of a test device, walked as Linux' drivers walk them, in both dialects.
#pragma once

#include "hw/vfio/abi.h"
#include "tests/unit/vfio/kernel/state_stream.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godwit::hw::vfio::test {

class TestDevice;

/// Source   Linux, drivers/vfio/vfio_main.c (next state), include/uapi/linux/vfio.h.
class MigrationEngine {
public:
    explicit MigrationEngine(TestDevice& device) : device_(device) {}

    MigrationState state() const { return state_; }
    bool running() const;
    const std::string& walked() const { return walked_; }

    /// Version 2. 0 or minus an errno; `opened` says that a data stream began and is open still.
    int set_state(std::uint32_t target, bool& opened);
    /// Counts transfers: a descriptor made for an earlier one is dead.
    std::uint64_t transfer() const { return transfer_; }
    std::int64_t read(std::span<std::byte> into);
    std::int64_t write(std::span<const std::byte> from);
    int precopy_info(AbiPrecopyInfo& info) const;
    std::uint64_t stop_copy_size() const;
    void reset();
    void changed(std::size_t at, std::size_t length);

    /// Version 1: the header of the region; `offset` and length as the access has them.
    std::int64_t v1_read(std::span<std::byte> into, std::uint64_t offset);
    std::int64_t v1_write(std::span<const std::byte> from, std::uint64_t offset);
    static constexpr std::uint64_t kV1Data = 4096;  ///< where the data section starts

private:
    int step(MigrationState next);
    int planned(int& error);
    void enter(MigrationState next);
    int v1_set_state(std::uint32_t value);
    std::uint64_t v1_pending();
    void v1_stage();
    int v1_accept(std::uint64_t size);

    TestDevice& device_;
    MigrationState state_ = MigrationState::Running;
    std::string walked_;
    std::unique_ptr<StateSource> source_;
    std::unique_ptr<StateSink> sink_;
    std::vector<std::byte> out_;  // what is left of the current record
    std::uint64_t transfer_ = 0;
    std::optional<std::uint64_t> staged_;  // v1: size of the record in the data section
    bool staged_read_ = false;             // v1: its size was asked, so the user has it
    unsigned stages_ = 0;
};

}  // namespace godwit::hw::vfio::test
