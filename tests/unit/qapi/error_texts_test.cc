// SPDX-License-Identifier: LGPL-2.1-or-later
//
// error_texts.json holds requests and QEMU's answers; test_qemu.py asks QEMU itself.
#include "qapi/block_codec.h"
#include "qapi/migration_codec.h"
#include "qapi/monitor_codec.h"
#include "qapi/system_codec.h"
#include "util/json.h"

#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <sstream>
#include <string>

namespace godwit::qapi {
namespace {

using Reader = std::function<Result<void>(const Json&)>;

template <class T>
Reader reader()
{
    return [](const Json& arguments) -> Result<void> {
        T out;
        return decode(arguments, Path(), out);
    };
}

const std::map<std::string, Reader>& readers()
{
    static const std::map<std::string, Reader> table = {
        {"migrate-set-capabilities", reader<MigrateSetCapabilitiesArgs>()},
        {"migrate-set-parameters", reader<MigrateSetParameters>()},
        {"migrate", reader<MigrateArgs>()},
        {"yank", reader<YankArgs>()},
        {"human-monitor-command", reader<HumanMonitorCommandArgs>()},
        {"qom-set", reader<QomSetArgs>()},
        {"chardev-add", reader<ChardevAddArgs>()},
        {"blockdev-add", reader<BlockdevOptions>()},
    };
    return table;
}

TEST(ErrorTexts, AreThoseOfQemu)
{
    std::ifstream file(GW_ERROR_TEXTS);
    std::ostringstream text;
    text << file.rdbuf();
    const auto cases = parse_json(text.str());
    ASSERT_TRUE(cases) << cases.error().message();
    ASSERT_GT(cases->size(), 30u);
    for (const Json& item : *cases) {
        const auto result = readers().at(item["command"])(item["arguments"]);
        ASSERT_FALSE(result) << item.dump();
        EXPECT_EQ(result.error().message(), item["error"].get<std::string>()) << item.dump();
        EXPECT_EQ(result.error().code(), Errc::InvalidArgument);
    }
}

}  // namespace
}  // namespace godwit::qapi
