// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Arguments that were damaged at random: read or refused by name, never anything else.
#include "tests/unit/qapi/requests.h"
#include "util/json.h"

#include <cstdint>
#include <gtest/gtest.h>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godwit::qapi {
namespace {

class Mutator {
public:
    explicit Mutator(unsigned seed) : random_(seed) {}

    /// `value` with a few changes somewhere in it.
    Json mutate(Json value)
    {
        for (std::size_t changes = 1 + below(3); changes > 0; --changes)
            change(value);
        return value;
    }

private:
    std::size_t below(std::size_t end) { return random_() % end; }

    void change(Json& value)
    {
        if (value.is_structured() && !value.empty() && below(4) != 0) {
            auto member = value.begin();
            std::advance(member, static_cast<long>(below(value.size())));
            if (below(8) == 0)
                value.erase(member);
            else
                change(*member);
        } else if (value.is_object() && below(2) == 0) {
            value["stray"] = anything();
        } else if (value.is_array() && below(2) == 0) {
            value.push_back(value.empty() ? anything() : value[0]);
        } else {
            value = anything();
        }
    }

    Json anything()
    {
        static const std::vector<Json> values = {
            nullptr,
            true,
            false,
            0,
            -1,
            255,
            256,
            65536,
            1.5,
            -1e300,
            1e300,
            INT64_MIN,
            INT64_MAX,
            UINT64_MAX,
            "",
            "none",
            "main",
            "unix",
            "socket",
            std::string("a\0b", 3),
            Json::array(),
            Json::object(),
            {1, 2},
            {{"x", 1}},
            {{"type", "unix"}},
        };
        return values[below(values.size())];
    }

    std::mt19937 random_;
};

/// Arguments that are in order, to start from.
std::vector<std::pair<std::string, Json>> good_requests()
{
    std::vector<std::pair<std::string, Json>> out;
    const auto add = [&out](const char* command, const char* arguments) {
        out.emplace_back(command, *parse_json(arguments));
    };
    add("announce-self", R"({"initial":50,"max":550,"rounds":10,"step":50,"interfaces":["a"]})");
    add("blockdev-add", R"({"driver":"raw","node-name":"d","cache":{"direct":true},
                            "file":{"driver":"file","filename":"f","aio":"threads"}})");
    add("blockdev-add", R"({"driver":"raw","node-name":"d","file":"other","offset":512})");
    add("calc-dirty-rate", R"({"calc-time":1,"sample-pages":512,"mode":"dirty-ring"})");
    add("chardev-add", R"({"id":"a","backend":{"type":"socket","data":{"server":true,
                           "addr":{"type":"inet","data":{"host":"h","port":"1","to":9}}}}})");
    add("human-monitor-command", R"({"command-line":"info status","cpu-index":0})");
    add("migrate", R"({"channels":[{"channel-type":"main","addr":{"transport":"socket",
                       "type":"vsock","cid":"2","port":"1"}},{"channel-type":"cpr",
                       "addr":{"transport":"file","filename":"f","offset":4096}}]})");
    add("migrate-set-capabilities", R"({"capabilities":[{"capability":"events","state":true},
                                        {"capability":"multifd","state":false}]})");
    add("migrate-set-parameters", R"({"max-bandwidth":1,"multifd-channels":4,"mode":"normal",
                                      "tls-creds":null,"tls-authz":"a","direct-io":true,
                                      "block-bitmap-mapping":[{"node-name":"n","alias":"a",
                                      "bitmaps":[{"name":"b","alias":"c"}]}]})");
    add("object-add", R"({"qom-type":"memory-backend-file","id":"m","size":4096,"mem-path":"p",
                          "host-nodes":[0],"policy":"bind","rom":"auto"})");
    add("qom-set", R"({"path":"/a","property":"b","value":{"c":[1]}})");
    add("yank", R"({"instances":[{"type":"chardev","id":"a"},{"type":"migration"}]})");
    return out;
}

TEST(Mutation, GoodRequestsAreReadAndWrittenUnchanged)
{
    for (const auto& [command, arguments] : good_requests()) {
        const auto written = request_readers().at(command)(arguments);
        ASSERT_TRUE(written) << command << ": " << written.error().message();
        EXPECT_TRUE(written->size() == arguments.size()) << written->dump();
    }
}

/// One of the texts of docs/developer/qapi.md, with something between the first quotes.
bool is_refusal(std::string_view text)
{
    for (const std::string_view start : {"Parameter '", "Invalid parameter type for '"}) {
        if (!text.starts_with(start))
            continue;
        const std::string_view rest = text.substr(start.size());
        const std::size_t end = rest.find('\'');
        if (end == 0 || end == rest.npos)
            return false;
        const std::string_view what = rest.substr(end + 1);
        if (start.starts_with('I'))
            return what.starts_with(", expected: ");
        return what == " is missing" || what == " is unexpected" ||
               what.starts_with(" expects uint") || what.starts_with(" expects int") ||
               what.starts_with(" does not accept value '");
    }
    return false;
}

TEST(Mutation, DamagedArgumentsAreReadOrRefusedByName)
{
    const auto good = good_requests();
    Mutator mutator(20250423);
    std::size_t read = 0;
    constexpr std::size_t kRounds = 20000;
    for (std::size_t round = 0; round < kRounds; ++round) {
        const auto& [command, arguments] = good[round % good.size()];
        const Json damaged = mutator.mutate(arguments);
        const auto written = request_readers().at(command)(damaged);
        if (!written) {
            const std::string& text = written.error().message();
            ASSERT_TRUE(is_refusal(text)) << text << ": " << damaged.dump();
            continue;
        }
        ++read;
        const auto again = request_readers().at(command)(*written);
        ASSERT_TRUE(again) << again.error().message() << ": " << written->dump();
        ASSERT_EQ(again->dump(), written->dump());
    }
    EXPECT_GT(read, kRounds / 50);
    EXPECT_LT(read, kRounds / 2);
}

}  // namespace
}  // namespace godwit::qapi
