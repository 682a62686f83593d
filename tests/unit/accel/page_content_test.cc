// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/page_content.h"

#include <array>
#include <cstring>
#include <gtest/gtest.h>

namespace godwit::accel::synth {
namespace {

struct alignas(4096) Page {
    std::array<std::byte, kPageBytes> bytes{};
};

TEST(PageContent, EveryWordIsWhatTheFormulaSays)
{
    Page page;
    fill_page(page.bytes.data(), 0x123456789abcdef0);
    for (std::size_t i = 0; i < kPageWords; ++i) {
        std::uint64_t word;
        std::memcpy(&word, page.bytes.data() + 8 * i, 8);
        ASSERT_EQ(word, page_word(0x123456789abcdef0, i)) << "word " << i;
    }
    EXPECT_EQ(first_wrong_word(page.bytes.data(), 0x123456789abcdef0), std::nullopt);
}

TEST(PageContent, EverySingleBitFlipIsFoundInItsWord)
{
    Page page;
    const std::uint64_t base = page_base(1, 2, 3);
    fill_page(page.bytes.data(), base);
    for (std::size_t bit = 0; bit < kPageBytes * 8; ++bit) {
        page.bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        ASSERT_EQ(first_wrong_word(page.bytes.data(), base), bit / 64) << "bit " << bit;
        page.bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
}

TEST(PageContent, APageOfZerosHasNoNonzeroWordAndOneBitIsFound)
{
    Page page;
    EXPECT_EQ(first_nonzero_word(page.bytes.data()), std::nullopt);
    page.bytes[4095] = std::byte{0x80};
    EXPECT_EQ(first_nonzero_word(page.bytes.data()), 511u);
}

TEST(PageContent, SeedPageAndGenerationAllMatter)
{
    EXPECT_NE(page_base(1, 2, 3), page_base(2, 2, 3));
    EXPECT_NE(page_base(1, 2, 3), page_base(1, 3, 3));
    EXPECT_NE(page_base(1, 2, 3), page_base(1, 2, 4));
}

}  // namespace
}  // namespace godwit::accel::synth
