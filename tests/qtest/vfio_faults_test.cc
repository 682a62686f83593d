// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /vfio/faults: what broken devices do, at every arc of either side. The move fails with an error
// that names the device, the state and the step; the source's guest and its devices run on.
#include "tests/qtest/libqtest/migration.h"
#include "tests/qtest/vfio_side.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace godwit::qtest {
namespace {

// What the broken device may take for an answer; those that wait in vain wait for so long.
constexpr const char* kImpatient = "x-msg-timeout=1000";
constexpr std::uint32_t kFewSlots = 500;

const std::vector<std::string> kAll{};
const std::vector<std::string> kNoP2p{"--no-p2p"};
const std::vector<std::string> kNoPrecopy{"--no-precopy"};
const std::vector<std::string> kStopCopyOnly{"--no-precopy", "--no-p2p"};

/// Whose fault makes a source turn back.
enum class Turner : std::uint8_t { Target, Neighbour, Itself };

/// Where something goes wrong.
struct Place {
    const char* name;
    bool source;                      ///< the device is the source's
    std::vector<std::string> device;  ///< options of the servers
    Json where;                       ///< of the fault: "arc", or "command" and "in"
    const char* step;  ///< in the error: the state that was not reached, or the request
    /// What makes the source turn back, where the place is on its way back: a fault of somebody's
    /// device.
    Json turn = {};
    Turner turner = Turner::Target;
};

Json arc(const char* steps)
{
    return {{"arc", steps}};
}
Json command(const char* name, const char* in)
{
    return {{"command", name}, {"in", in}};
}
Json refusal_at(const char* steps)
{
    return {{"kind", "refuse"}, {"arc", steps}};
}

const std::vector<Place>& places()
{
    static const std::vector<Place> all{
        // The way to STOP_COPY.
        {"out_PRE_COPY", true, kAll, arc("RUNNING:PRE_COPY"), "PRE_COPY"},
        {"out_PRE_COPY_P2P", true, kAll, arc("PRE_COPY:PRE_COPY_P2P"), "PRE_COPY_P2P"},
        {"out_STOP_COPY", true, kAll, arc("PRE_COPY_P2P:STOP_COPY"), "STOP_COPY"},
        {"out_STOP_COPY_from_PRE_COPY", true, kNoP2p, arc("PRE_COPY:STOP_COPY"), "STOP_COPY"},
        {"out_RUNNING_P2P", true, kNoPrecopy, arc("RUNNING:RUNNING_P2P"), "RUNNING_P2P"},
        {"out_STOP", true, kNoPrecopy, arc("RUNNING_P2P:STOP"), "STOP"},
        {"out_STOP_COPY_from_STOP", true, kNoPrecopy, arc("STOP:STOP_COPY"), "STOP_COPY"},
        {"out_STOP_from_RUNNING", true, kStopCopyOnly, arc("RUNNING:STOP"), "STOP"},
        // Its data.
        {"out_data_in_PRE_COPY", true, kAll, command("MIG_DATA_READ", "PRE_COPY"), "MIG_DATA_READ"},
        {"out_data_in_STOP_COPY", true, kAll, command("MIG_DATA_READ", "STOP_COPY"),
         "MIG_DATA_READ"},
        // The way back, when the target did not take it.
        {"back_STOP", true, kAll, arc("STOP_COPY:STOP"), "", refusal_at("RESUMING:STOP")},
        {"back_RUNNING_P2P", true, kAll, arc("STOP:RUNNING_P2P"), "", refusal_at("RESUMING:STOP")},
        {"back_RUNNING", true, kAll, arc("RUNNING_P2P:RUNNING"), "", refusal_at("RESUMING:STOP")},
        {"back_RUNNING_from_STOP", true, kNoP2p, arc("STOP:RUNNING"), "",
         refusal_at("RESUMING:STOP")},
        {"back_RUNNING_from_PRE_COPY",
         true,
         kAll,
         arc("PRE_COPY:RUNNING"),
         "",
         {{"kind", "refuse"}, {"command", "MIG_DATA_READ"}, {"in", "PRE_COPY"}},
         Turner::Neighbour},
        {"back_RUNNING_P2P_from_PRE_COPY_P2P", true, kAll, arc("PRE_COPY_P2P:RUNNING_P2P"), "",
         refusal_at("PRE_COPY_P2P:STOP_COPY"), Turner::Itself},
        // The way into the target.
        {"in_RUNNING_P2P", false, kAll, arc("RUNNING:RUNNING_P2P"), "RUNNING_P2P"},
        {"in_STOP", false, kAll, arc("RUNNING_P2P:STOP"), "STOP"},
        {"in_STOP_from_RUNNING", false, kNoP2p, arc("RUNNING:STOP"), "STOP"},
        {"in_RESUMING", false, kAll, arc("STOP:RESUMING"), "RESUMING"},
        {"in_data", false, kAll, command("MIG_DATA_WRITE", "RESUMING"), "MIG_DATA_WRITE"},
        {"in_STOP_from_RESUMING", false, kAll, arc("RESUMING:STOP"), "STOP"},
        {"in_STOP_from_RESUMING_without_precopy", false, kStopCopyOnly, arc("RESUMING:STOP"),
         "STOP"},
        // Its start, after the handover: it has not run, and says so.
        {"start_RUNNING_P2P", false, kAll, arc("STOP:RUNNING_P2P"), "RUNNING"},
        {"start_RUNNING", false, kAll, arc("RUNNING_P2P:RUNNING"), "RUNNING"},
        {"start_RUNNING_from_STOP", false, kNoP2p, arc("STOP:RUNNING"), "RUNNING"},
    };
    return all;
}

constexpr std::array<const char*, 6> kKinds{"refuse",     "reset", "disconnect",
                                            "bad-length", "break", "hang"};

struct Trouble {
    const Place* place;
    std::string kind;
    std::string name() const
    {
        std::string text = fmt::format("{}_at_{}", kind, place->name);
        std::ranges::replace(text, '-', '_');
        return text;
    }
    bool starts() const { return std::string_view(place->name).starts_with("start_"); }
    bool goes_back() const { return !place->turn.empty(); }
    /// The device is beyond reach afterwards.
    bool gone() const { return kind == "disconnect" || kind == "bad-length" || kind == "hang"; }
    Json fault() const
    {
        Json fault = place->where;
        fault["kind"] = kind == "break" ? "refuse" : kind;
        if (kind == "break" && fault.contains("arc"))
            fault["leave"] = "ERROR";
        if (starts())  // a second try would mend it
            fault["count"] = 0;
        return fault;
    }
};

void PrintTo(const Trouble& trouble, std::ostream* out)
{
    *out << trouble.name();
}

/// A reset that ends where the step leads is none that anybody sees; a request has no state to
/// break.
bool makes_sense(const Place& place, std::string_view kind)
{
    const bool is_arc = place.where.contains("arc");
    const std::string steps = is_arc ? place.where["arc"].get<std::string>() : "";
    if (kind == "reset" && steps.ends_with(":RUNNING"))
        return false;
    return kind != "break" || is_arc;
}

/// All of the table, or for the daily run one or two kinds a place.
std::vector<Trouble> table()
{
    std::vector<Trouble> rows;
    for (std::size_t p = 0; p < places().size(); ++p)
        for (std::size_t k = 0; k < kKinds.size(); ++k) {
            const Place& place = places()[p];
            if (makes_sense(place, kKinds[k]) && (long_form() || k == p % kKinds.size() || k == 0))
                rows.push_back({&place, kKinds[k]});
        }
    return rows;
}

/// Fails, and says why on the side where it happened.
void expect_failed_move(Side& source, Side& target)
{
    for (Side* side : {&source, &target}) {
        prepare(side->vmm());
        enable(side->vmm(), {"return-path"});
    }
    const TempDir dir;
    const std::string uri = "unix:" + dir.file("mig");
    target.vmm().qmp().execute("migrate-incoming", {{"uri", uri}, {"exit-on-error", false}});
    source.vmm().qmp().execute("migrate", {{"uri", uri}});
    ASSERT_NO_FATAL_FAILURE(expect_end(source.vmm(), "failed"));
    ASSERT_NO_FATAL_FAILURE(expect_end(target.vmm(), "failed"));
    source.vmm().wait_status("running");
}

class VfioFaults : public testing::TestWithParam<Trouble> {
protected:
    /// Two devices where they can stop together; the last one breaks.
    static Side::Options options(const Trouble& trouble)
    {
        const auto& words = trouble.place->device;
        const bool alone = std::ranges::find(words, "--no-p2p") != words.end();
        Side::Options made{.devices = alone ? 1U : 2U, .server = words, .slots = kFewSlots};
        made.server.insert(made.server.end(), {"--state", "1M"});
        return made;
    }
};

TEST_P(VfioFaults, EndTheMoveAndNothingElse)
{
    const Trouble& trouble = GetParam();
    Side::Options options = VfioFaults::options(trouble);
    if (trouble.gone() && trouble.place->source)
        options.last_properties = kImpatient;
    Side::Options there = options;
    there.last_properties = trouble.gone() && !trouble.place->source ? kImpatient : "";
    Ends ends(options, there);
    ASSERT_TRUE(ends.started());
    auto& [source, target] = ends;
    const Turner turner = trouble.place->turner;
    DeviceServer& turns = turner == Turner::Target      ? target.last()
                          : turner == Turner::Neighbour ? source.device(0)
                                                        : source.last();
    if (trouble.goes_back())
        turns.inject(trouble.place->turn);
    Side& broken = trouble.place->source ? source : target;
    const std::uint64_t before = source.last().next();
    broken.last().inject(trouble.fault());
    ASSERT_NO_FATAL_FAILURE(expect_failed_move(source, target));

    Side& tells = trouble.goes_back() && turner == Turner::Target ? target : broken;
    DeviceServer& guilty = trouble.goes_back() ? turns : broken.last();
    const std::string error =
        tells.vmm().qmp().execute("query-migrate").value("error-desc", std::string());
    EXPECT_NE(error.find(guilty.socket()), std::string::npos) << error;
    EXPECT_NE(error.find(trouble.place->step), std::string::npos) << error;
    EXPECT_NE(error.find("tate "), std::string::npos) << error;
    EXPECT_GE(broken.last().status()["faults"], 1) << "it did not happen";

    const DeviceServer* lost = trouble.place->source && trouble.gone() ? &source.last() : nullptr;
    for (std::size_t n = 0; n < source.devices(); ++n)
        if (&source.device(n) != lost)
            source.device(n).wait_state("RUNNING");
    if (lost == nullptr && source.last().next() < before)  // a reset was the way back
        source.start_engine(source.devices() - 1);
    source.expect_engines_right(lost);
}

INSTANTIATE_TEST_SUITE_P(Table, VfioFaults, testing::ValuesIn(table()),
                         [](const auto& row) { return row.param.name(); });

// The target has everything, and its guest runs: what the source's device does then is its own
// affair.
TEST(VfioFault, ASourceThatCannotLeaveStopCopyAfterTheMoveIsReset)
{
    Side::Options options{.devices = 1, .server = {"--state", "1M"}, .slots = kFewSlots};
    Ends ends(options);
    ASSERT_TRUE(ends.started());
    auto& [source, target] = ends;
    source.device(0).inject(refusal_at("STOP_COPY:STOP"));
    ASSERT_NO_FATAL_FAILURE(move(source.vmm(), target.vmm(), Transport::Unix));
    source.device(0).wait_state("RUNNING");
    EXPECT_NE(source.vmm().process().stderr_text().find("STOP_COPY -> STOP"), std::string::npos)
        << source.vmm().process().stderr_text();
    target.expect_engines_right();
}

// One of four hangs when all are to stop: the time for that is the operator's, and the others and
// the guest go on.
TEST(VfioFault, AHangingDeviceHoldsTheOthersNoLongerThanItMay)
{
    Side::Options options{.devices = 4,
                          .server = {"--state", "1M"},
                          .last_properties = "x-state-timeout=2000,x-msg-timeout=4000",
                          .slots = kFewSlots};
    Ends ends(options);
    ASSERT_TRUE(ends.started());
    auto& [source, target] = ends;
    source.last().inject({{"kind", "hang"}, {"arc", "PRE_COPY_P2P:STOP_COPY"}});
    ASSERT_NO_FATAL_FAILURE(expect_failed_move(source, target));
    const std::string error =
        source.vmm().qmp().execute("query-migrate").value("error-desc", std::string());
    EXPECT_NE(
        error.find(source.last().socket() + ": the change to device state STOP_COPY took too long"),
        std::string::npos)
        << error;
    source.expect_engines_right(&source.last());
    for (std::size_t n = 0; n < 3; ++n)
        EXPECT_EQ(source.device(n).state(), "RUNNING") << n;
}

// --- Data that is wrong --------------------------------------------------------------------------

struct Damage {
    const char* name;
    Json fault;
};

void PrintTo(const Damage& damage, std::ostream* out)
{
    *out << damage.name;
}

class VfioDamagedData : public testing::TestWithParam<Damage> {};

TEST_P(VfioDamagedData, IsFoundByTheDeviceOnTheOtherSide)
{
    Side::Options options{.devices = 1, .server = {"--state", "4M"}, .slots = kFewSlots};
    Ends ends(options);
    ASSERT_TRUE(ends.started());
    auto& [source, target] = ends;
    source.device(0).inject(GetParam().fault);
    ASSERT_NO_FATAL_FAILURE(expect_failed_move(source, target));
    EXPECT_NE(target.device(0).status()["load-error"], "");
    source.device(0).wait_state("RUNNING");
    source.expect_engines_right();
}

INSTANTIATE_TEST_SUITE_P(
    Ways, VfioDamagedData,
    testing::Values(
        Damage{"a_wrong_byte", {{"kind", "corrupt"}, {"command", "MIG_DATA_READ"}, {"after", "1"}}},
        Damage{"an_early_end", {{"kind", "short-read"}, {"arc", "PRE_COPY_P2P:STOP_COPY"}}},
        Damage{"an_early_end_in_STOP_COPY",
               {{"kind", "short-read"}, {"command", "MIG_DATA_READ"}, {"in", "STOP_COPY"}}}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace godwit::qtest
