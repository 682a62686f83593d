// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/qtest_words.h"

#include <gtest/gtest.h>

namespace godwit::monitor {
namespace {

TEST(QtestWords, AreSeparatedByBlanks)
{
    const QtestWords words("write  0x10 4 0xff\r");
    EXPECT_EQ(words.command(), "write");
    EXPECT_EQ(words.count(), 3u);
    EXPECT_EQ(words.word(2).value(), "0xff");
    EXPECT_EQ(QtestWords("").command(), "");
    EXPECT_EQ(QtestWords("   ").count(), 0u);
}

TEST(QtestWords, NumbersFollowTheSyntaxOfC)
{
    const QtestWords words("x 16 0x10 020 -1 0 0xffffffffffffffff");
    EXPECT_EQ(words.number(0).value(), 16u);
    EXPECT_EQ(words.number(1).value(), 16u);
    EXPECT_EQ(words.number(2).value(), 16u);
    EXPECT_EQ(words.number(3).value(), ~std::uint64_t{0});
    EXPECT_EQ(words.signed_number(3).value(), -1);
    EXPECT_EQ(words.number(4).value(), 0u);
    EXPECT_EQ(words.number(5).value(), ~std::uint64_t{0});
}

TEST(QtestWords, ABadNumberNamesTheCommandAndTheArgument)
{
    const QtestWords words("readb zz 0x 99999999999999999999 09");
    EXPECT_EQ(words.number(0).error().message(), "readb: argument 1 is not a number");
    EXPECT_EQ(words.number(1).error().message(), "readb: argument 2 is not a number");
    EXPECT_EQ(words.number(2).error().message(), "readb: argument 3 is too large");
    EXPECT_EQ(words.number(3).error().message(), "readb: argument 4 is not a number");
    EXPECT_EQ(words.number(4).error().message(), "readb: argument 5 is missing");
}

}  // namespace
}  // namespace godwit::monitor
