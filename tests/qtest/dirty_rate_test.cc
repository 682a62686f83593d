// SPDX-License-Identifier: LGPL-2.1-or-later
//
// calc-dirty-rate of a guest whose rate is known, and its refusals in QEMU's words.
#include "tests/qtest/libqtest/vmm.h"

#include <gtest/gtest.h>
#include <thread>

namespace godwit::qtest {
namespace {

Json measure(Vmm& vmm, const Json& arguments)
{
    vmm.qmp().execute("calc-dirty-rate", arguments);
    Json info = vmm.qmp().execute("query-dirty-rate");
    while (info["status"] == "measuring") {
        std::this_thread::yield();
        info = vmm.qmp().execute("query-dirty-rate");
    }
    return info;
}

TEST(DirtyRate, MeasuresWhatTheGuestWrites)
{
    Vmm vmm({"-machine", "none", "-m", "64M", "-accel", "synth,working-set=32M,rate=20M"},
            kAccelGiven);
    EXPECT_EQ(vmm.qmp().execute("query-dirty-rate")["status"], "unstarted");
    const Json bitmap = measure(
        vmm, {{"calc-time", 500}, {"calc-time-unit", "millisecond"}, {"mode", "dirty-bitmap"}});
    EXPECT_EQ(bitmap["status"], "measured") << bitmap.dump();
    EXPECT_EQ(bitmap["mode"], "dirty-bitmap") << bitmap.dump();
    // At most what it is allowed to write; beside a busy machine it does not get that far.
    constexpr std::int64_t kMost = 28;
    EXPECT_GT(bitmap["dirty-rate"], 0) << bitmap.dump();
    EXPECT_LE(bitmap["dirty-rate"], kMost) << bitmap.dump();
    const Json samples = measure(vmm, {{"calc-time", 1}, {"sample-pages", 16384}});
    EXPECT_EQ(samples["sample-pages"], 16384) << samples.dump();
    EXPECT_EQ(samples["calc-time"], 1) << samples.dump();
    EXPECT_GT(samples["dirty-rate"], 0) << samples.dump();
    EXPECT_LE(samples["dirty-rate"], kMost) << samples.dump();
    EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "running");
}

TEST(DirtyRate, RefusesInTheWordsOfQemu)
{
    Vmm vmm({"-machine", "none", "-m", "16M", "-accel", "synth"}, kAccelGiven);
    const std::string range = "Calculation time is out of range [50ms, 60000ms].";
    const std::vector<std::pair<Json, std::string>> cases = {
        {{{"calc-time", 0}}, range},
        {{{"calc-time", 61}}, range},
        {{{"calc-time", INT64_MAX}}, range},
        {{{"calc-time", 49}, {"calc-time-unit", "millisecond"}}, range},
        {{{"calc-time", 1}, {"sample-pages", 127}}, "sample-pages is out of range[128, 16384]."},
        {{{"calc-time", 1}, {"sample-pages", 512}, {"mode", "dirty-bitmap"}},
         "sample-pages is used only in page-sampling mode"},
        {{{"calc-time", 1}, {"mode", "dirty-ring"}},
         "mode dirty-ring is not enabled, use other method instead."},
    };
    for (const auto& [arguments, text] : cases)
        EXPECT_EQ(vmm.qmp().error_of("calc-dirty-rate", arguments), text);
    vmm.qmp().execute("calc-dirty-rate", {{"calc-time", 60}});
    EXPECT_EQ(vmm.qmp().error_of("calc-dirty-rate", {{"calc-time", 1}}),
              "the dirty rate is already being measured.");
}

}  // namespace
}  // namespace godwit::qtest
