// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/zero_page.h"

#include <gtest/gtest.h>

#include <vector>

namespace godwit::migration {
namespace {

TEST(ZeroPage, OneBitAnywhereIsSeen)
{
    alignas(64) static std::byte page[4096];
    EXPECT_TRUE(is_zero(page, sizeof page));
    for (std::size_t at = 0; at < sizeof page; ++at) {
        page[at] = std::byte{0x80};
        ASSERT_FALSE(is_zero(page, sizeof page)) << at;
        page[at] = std::byte{0};
    }
}

TEST(ZeroPage, OnlyTheGivenBytesCount)
{
    alignas(64) static std::byte pages[2 * 4096];
    pages[4096] = std::byte{1};
    EXPECT_TRUE(is_zero(pages, 4096));
    EXPECT_FALSE(is_zero(pages, 8192));
}

}  // namespace
}  // namespace godwit::migration
