// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/qapi/requests.h"

#include "qapi/block_codec.h"
#include "qapi/migration_codec.h"
#include "qapi/monitor_codec.h"
#include "qapi/objects_codec.h"
#include "qapi/system_codec.h"
#include "util/json.h"

#include <fstream>
#include <sstream>
#include <utility>

namespace godwit::qapi {

namespace {

template <class T>
Reader reader()
{
    return [](const Json& arguments) -> Result<Json> {
        T out;
        if (auto done = decode(arguments, Path(), out); !done)
            return std::move(done).error();
        return encode(out);
    };
}

}  // namespace

const std::map<std::string, Reader>& request_readers()
{
    static const std::map<std::string, Reader> table = {
        {"announce-self", reader<AnnounceParameters>()},
        {"blockdev-add", reader<BlockdevOptions>()},
        {"calc-dirty-rate", reader<CalcDirtyRateArgs>()},
        {"chardev-add", reader<ChardevAddArgs>()},
        {"human-monitor-command", reader<HumanMonitorCommandArgs>()},
        {"migrate", reader<MigrateArgs>()},
        {"migrate-set-capabilities", reader<MigrateSetCapabilitiesArgs>()},
        {"migrate-set-parameters", reader<MigrateSetParameters>()},
        {"object-add", reader<ObjectOptions>()},
        {"qom-set", reader<QomSetArgs>()},
        {"yank", reader<YankArgs>()},
    };
    return table;
}

Json error_texts()
{
    std::ifstream file(GW_ERROR_TEXTS);
    std::ostringstream text;
    text << file.rdbuf();
    auto cases = parse_json(text.str());
    return cases ? *cases : Json::array();
}

}  // namespace godwit::qapi
