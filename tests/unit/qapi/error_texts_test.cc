// SPDX-License-Identifier: LGPL-2.1-or-later
//
// error_texts.json holds requests and QEMU's answers; test_qemu.py asks QEMU itself.
#include "tests/unit/qapi/requests.h"
#include "util/json.h"

#include <gtest/gtest.h>
#include <string>

namespace godwit::qapi {
namespace {

TEST(ErrorTexts, AreThoseOfQemu)
{
    const Json cases = error_texts();
    ASSERT_GT(cases.size(), 30u);
    for (const Json& item : cases) {
        const auto result = request_readers().at(item["command"])(item["arguments"]);
        ASSERT_FALSE(result) << item.dump();
        EXPECT_EQ(result.error().message(), item["error"].get<std::string>()) << item.dump();
        EXPECT_EQ(result.error().code(), Errc::InvalidArgument);
    }
}

}  // namespace
}  // namespace godwit::qapi
