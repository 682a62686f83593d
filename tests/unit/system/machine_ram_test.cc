// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/machine_ram.h"

#include "system/memory_backend.h"
#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"
#include "util/units.h"

#include <gtest/gtest.h>

namespace godwit::system {
namespace {

class Board : public Machine {
public:
    const MachineInfo& info() const noexcept override { return info_; }
    Result<void> init(Vm&) override { return {}; }

private:
    MachineInfo info_{
        .name = "board", .default_ram_id = "board.ram", .default_ram_bytes = 16 * kMiB};
};

class MachineRamTest : public ::testing::Test {
protected:
    MachineRamTest()
    {
        vm_ = Vm::create(log_, recorder_).value();
        if (!vm_->types().find("memory-backend")) {
            EXPECT_TRUE(register_memory_backends(vm_->types()));
        }
        EXPECT_TRUE(vm_->types().add({.name = "board-machine", .parent = "machine"}));
        auto board = std::make_unique<Board>();
        EXPECT_TRUE(vm_->types().adopt(*board, "board-machine"));
        EXPECT_TRUE(vm_->set_machine(std::move(board)));
        lock_.emplace(vm_->lock());
    }
    void backend(const char* id, std::uint64_t size)
    {
        EXPECT_TRUE(vm_->add_object("memory-backend-ram", id, {{"size", size}}));
    }
    std::string refusal()
    {
        const auto ram = MachineRam::create(*vm_);
        EXPECT_FALSE(ram);
        return ram ? std::string() : ram.error().message();
    }

    Log log_;
    FlightRecorder recorder_;
    std::unique_ptr<Vm> vm_;
    std::optional<MachineGuard> lock_;
};

TEST_F(MachineRamTest, TheDefaultAndTheOptionMakeABlockWithTheMachinesId)
{
    const auto ram = MachineRam::create(*vm_);
    ASSERT_TRUE(ram);
    EXPECT_EQ(ram->size(), 16 * kMiB);
    EXPECT_EQ(ram->block(), vm_->ram().find("board.ram"));
    EXPECT_EQ(vm_->config().ram_bytes, 16 * kMiB);
}

TEST_F(MachineRamTest, OddSizesAreRoundedUpAsInQemu)
{
    vm_->config().ram_bytes = kMiB + 1;
    EXPECT_EQ(MachineRam::create(*vm_)->size(), kMiB + 8192);
}

TEST_F(MachineRamTest, ABackEndGivesItsSizeUnlessTheOptionSaysAnother)
{
    vm_->config().memory_backend = "nope";
    EXPECT_EQ(refusal(), "Memory backend 'nope' not found");
    backend("a", 4 * kMiB);
    backend("b", 4 * kMiB);
    vm_->config().memory_backend = "a";
    const auto ram = MachineRam::create(*vm_);
    ASSERT_TRUE(ram);
    EXPECT_EQ(vm_->config().ram_bytes, 4 * kMiB);
    EXPECT_EQ(ram->block()->id(), "a");
    EXPECT_EQ(refusal(), "memory backend a can't be used multiple times.");
    vm_->config().memory_backend = "b";
    vm_->config().ram_bytes = kMiB;
    EXPECT_EQ(refusal(), "Machine memory size does not match the size of the memory backend");
}

TEST_F(MachineRamTest, NodesAddUpAndAreOnePieceForTheGuest)
{
    backend("a", 4 * kMiB);
    backend("b", 8 * kMiB);
    vm_->config().numa_nodes = {NumaNode{.memdev = "a"}, NumaNode{.memdev = "b"}};
    vm_->config().ram_bytes = 12 * kMiB;
    const auto ram = MachineRam::create(*vm_);
    ASSERT_TRUE(ram);
    ram->map(vm_->memory(), 0, 0, 6 * kMiB, "low");
    ram->map(vm_->memory(), 1024 * kMiB, 6 * kMiB, 6 * kMiB, "high");
    vm_->memory().store(4 * kMiB, 0x11, 1);
    EXPECT_EQ(vm_->ram().find("b")->host()[0], std::byte{0x11});
    vm_->memory().store(1024 * kMiB, 0x22, 1);
    EXPECT_EQ(vm_->ram().find("b")->host()[2 * kMiB], std::byte{0x22});
    EXPECT_FALSE(vm_->memory().find(6 * kMiB));
}

TEST_F(MachineRamTest, NodesThatDoNotAddUpAreRefused)
{
    backend("a", 4 * kMiB);
    vm_->config().numa_nodes = {NumaNode{.memdev = "a"}};
    vm_->config().ram_bytes = 8 * kMiB;
    EXPECT_EQ(refusal(), "total memory for NUMA nodes (0x400000) should equal RAM size (0x800000)");
    vm_->config().memory_backend = "a";
    EXPECT_EQ(refusal(), "'-machine memory-backend' and '-numa memdev' properties are mutually "
                         "exclusive");
}

TEST_F(MachineRamTest, AuxiliaryRamIsSharedOnRequest)
{
    EXPECT_FALSE((*create_aux_ram(*vm_, "x", 4096))->shared());
    vm_->config().aux_ram_share = true;
    RamBlock* shared = *create_aux_ram(*vm_, "y", 4096, 8192);
    EXPECT_TRUE(shared->shared());
    EXPECT_GE(shared->fd(), 0);
    EXPECT_EQ(shared->max_length(), 8192u);
}

}  // namespace
}  // namespace godwit::system
