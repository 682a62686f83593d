// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/guest_paging.h"

#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/log.h"

#include <gtest/gtest.h>

namespace godwit::system {
namespace {

class GuestPaging : public testing::Test {
protected:
    void SetUp() override
    {
        auto block = vm_->ram().create({.id = "ram", .used_length = 1 << 20});
        ASSERT_TRUE(block);
        vm_->lock().lock();
        AddressSpace::Transaction change(vm_->memory());
        vm_->memory().add(
            {.name = "ram", .size = 1 << 20, .kind = RegionKind::Ram, .block = *block});
    }
    void TearDown() override { vm_->lock().unlock(); }
    void put(std::uint64_t at, std::uint64_t value) { vm_->memory().store(at, value, 8); }
    void put32(std::uint64_t at, std::uint64_t value) { vm_->memory().store(at, value, 4); }
    auto find(const PagingMode& mode, std::uint64_t address)
    {
        return translate(vm_->memory(), mode, address);
    }
    static constexpr std::uint64_t kPaging = 0x80000001;

    Log log_;
    FlightRecorder recorder_{0};
    std::unique_ptr<Vm> vm_ = Vm::create(log_, recorder_).value();
};

TEST_F(GuestPaging, WithoutPagingAnAddressIsItself)
{
    EXPECT_EQ(find({}, 0x1234), 0x1234);
}

TEST_F(GuestPaging, FourLevelsOfTablesAndLargePagesAreWalked)
{
    const PagingMode mode{.cr0 = kPaging, .cr3 = 0x1000, .cr4 = 0x20, .efer = 0x500};
    const std::uint64_t address = 0xffff'8000'0040'3678;  // 256, 0, 2, 3
    put(0x1000 + 8 * 256, 0x2003);
    put(0x2000, 0x3003);
    put(0x3000 + 8 * 2, 0x4003);
    put(0x4000 + 8 * 3, 0x8000'0000'000a'b003);
    EXPECT_EQ(find(mode, address), 0xab678);
    EXPECT_FALSE(find(mode, address + 0x1000)) << "not present";
    put(0x3000 + 8 * 2, 0x4000'0083);
    EXPECT_EQ(find(mode, address), 0x40003678) << "2 MiB";
    put(0x2000, 0x8000'0083);
    EXPECT_EQ(find(mode, address), 0x80403678) << "1 GiB";
}

TEST_F(GuestPaging, ThirtyTwoBitTablesAreWalked)
{
    const PagingMode mode{.cr0 = kPaging, .cr3 = 0x1000, .cr4 = 0x10, .efer = 0};
    put32(0x1000 + 4 * 3, 0x2003);
    put32(0x2000 + 4 * 5, 0x7003);
    EXPECT_EQ(find(mode, 0x00c05abc), 0x7abc);
    put32(0x1000 + 4 * 3, 0x00c00083);
    EXPECT_EQ(find(mode, 0x00c05abc), 0x00c05abc) << "4 MiB";
    EXPECT_FALSE(find(mode, 0x01005abc));
}

TEST_F(GuestPaging, PaeHasFourPointersOnTop)
{
    const PagingMode mode{.cr0 = kPaging, .cr3 = 0x1020, .cr4 = 0x20, .efer = 0};
    put(0x1020 + 8 * 3, 0x2001);
    put(0x2000, 0x3003);
    put(0x3000 + 8, 0x9003);
    EXPECT_EQ(find(mode, 0xc0001fff), 0x9fff);
    EXPECT_FALSE(find(mode, 0x40001fff));
}

}  // namespace
}  // namespace godwit::system
