// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/printable.h"

#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

TEST(Printable, KeepsTextAndEscapesWhatIsNone)
{
    EXPECT_EQ(printable("section 'ram', at byte 5"), "section 'ram', at byte 5");
    EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa6"),
              "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa6");
    EXPECT_EQ(printable(std::string_view("a\0b\nc\x1b[1m\x7f", 10)), "a\\x00b\\x0ac\\x1b[1m\\x7f");
}

TEST(Printable, EscapesEachByteThatIsNoUtf8)
{
    EXPECT_EQ(printable("\xff\xc0\x80"), "\\xff\\xc0\\x80");
    EXPECT_EQ(printable("\xe2\x82"), "\\xe2\\x82");                    // cut off
    EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
    EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // behind the last character
    EXPECT_EQ(printable("\xe0\x80\x80x"), "\\xe0\\x80\\x80x");         // overlong
}

TEST(Printable, AnythingIsCutAtAWholeCharacter)
{
    EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f", 3), "gr");
    EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f", 4), "gr\xc3\xbc");
    EXPECT_EQ(printable("ab\x1b", 5), "ab");
    EXPECT_EQ(printable("ab", 0), "");
}

}  // namespace
}  // namespace godwit::migration
