// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What kernel drivers refuse, at every state of either side, in each dialect and with each way of
// finding dirty pages: the error names device and state, and the source's guest and device run on.
#include "hw/vfio/migration_states.h"
#include "tests/unit/vfio/moving.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fmt/format.h>
#include <optional>

namespace godwit::hw::vfio::test {
namespace {

using State = MigrationState;

constexpr Kind kV1{"v1", Dialect::V1, false, false, false, true, true, false, false};
constexpr Kind kType1{"v2_type1", Dialect::V2, false, false, false, true, true};
constexpr Kind kLogs{"v2_logs", Dialect::V2, false, true, false, false, true};
constexpr Kind kIommufd{"v2_iommufd", Dialect::V2, true, false, true, false, true};

/// What goes wrong.
enum class Trouble : std::uint8_t {
    Refuses,      ///< an errno, and nothing has changed
    Breaks,       ///< and it is in ERROR
    Hangs,        ///< the driver does not come back from the call
    Vanishes,     ///< ENODEV, to this and everything after it
    Resets,       ///< it gets there, and is reset behind us
    WrongLength,  ///< of its data: more than was asked for, or given
    EndsEarly,    ///< its data
};

constexpr auto kTroubles =
    std::to_array<std::pair<Trouble, const char*>>({{Trouble::Refuses, ""},
                                                    {Trouble::Breaks, "_breaks"},
                                                    {Trouble::Hangs, "_hangs"},
                                                    {Trouble::Vanishes, "_vanishes"},
                                                    {Trouble::Resets, "_resets"},
                                                    {Trouble::WrongLength, "_wrong_length"},
                                                    {Trouble::EndsEarly, "_ends_early"}});

// The operator's patience with a device that hangs.
constexpr unsigned kPatienceMs = 600;

struct Row {
    Kind kind;
    bool source;
    std::optional<State> enter;  ///< where it happens; nothing: with its data
    Trouble trouble;
    bool back = false;  ///< the source's way back, after the target refused the data

    std::string name() const
    {
        const auto* const found =
            std::ranges::find(kTroubles, trouble, &std::pair<Trouble, const char*>::first);
        return fmt::format("{}{}_{}_{}{}", kind.name, kind.precopy ? "" : "_stop_copy",
                           source ? back ? "back" : "out" : "in",
                           enter ? to_string(*enter) : "data", found->second);
    }
    /// The device is beyond reach afterwards.
    bool lost() const { return trouble == Trouble::Hangs || trouble == Trouble::Vanishes; }
    bool makes_sense() const
    {
        switch (trouble) {
        case Trouble::Breaks:
            return enter.has_value();
        case Trouble::Resets:  // one that ends where the step leads is none that anybody sees
            return enter != State::Running;
        case Trouble::WrongLength:  // v1: the device is told the length
            return !enter && (source || kind.dialect == Dialect::V2);
        case Trouble::EndsEarly:
            return !enter && source;
        default:
            return true;
        }
    }
    /// Waiting takes time: one way of finding dirty pages in each dialect, unless all was asked
    /// for.
    bool is_daily() const
    {
        return trouble != Trouble::Hangs ||
               (kind.precopy && (kind.dialect == Dialect::V1 || kind.name == kType1.name));
    }
};

void PrintTo(const Row& row, std::ostream* out)
{
    *out << row.name();
}

std::vector<Row> table()
{
    const char* const form = std::getenv("GODWIT_CHAOS");
    const bool all = form != nullptr && std::string_view(form) == "long";
    std::vector<Row> rows;
    const auto add = [&](Kind kind, bool source, std::vector<std::optional<MigrationState>> at,
                         bool back = false) {
        for (const auto& enter : at)
            for (const auto& [trouble, name] : kTroubles) {
                const Row row{kind, source, enter, trouble, back};
                if (row.makes_sense() && (all || row.is_daily()))
                    rows.push_back(row);
            }
    };
    const std::optional<MigrationState> data;
    for (Kind kind : {kType1, kLogs, kIommufd}) {
        add(kind, true, {State::PreCopy, State::PreCopyP2p, State::StopCopy, data});
        add(kind, false, {State::Resuming, State::Stop, State::RunningP2p, State::Running, data});
        add(kind, true, {State::Stop, State::RunningP2p, State::Running}, true);
        kind.precopy = false;
        add(kind, true, {State::RunningP2p, State::Stop, State::StopCopy, data});
        add(kind, false, {State::Resuming, State::Stop, data});
    }
    for (Kind kind : {kV1}) {
        add(kind, true, {State::PreCopy, State::StopCopy, data});
        add(kind, false, {State::Resuming, State::Running, data});
        add(kind, true, {State::Stop, State::Running}, true);
        kind.precopy = false;
        add(kind, true, {State::StopCopy, data});
        add(kind, false, {State::Resuming, State::Running, data});
    }
    return rows;
}

DeviceFaults faults_of(const Row& row)
{
    DeviceFaults faults;
    const int error = row.trouble == Trouble::Hangs      ? DeviceFaults::kHangs
                      : row.trouble == Trouble::Vanishes ? ENODEV
                                                         : EIO;
    if (row.enter)
        faults.enter[*row.enter] = {
            .error = error,
            .lands_in = row.trouble == Trouble::Breaks ? std::optional(State::Error) : std::nullopt,
            .resets = row.trouble == Trouble::Resets};
    else if (row.trouble == Trouble::Resets)
        faults.data_resets = true;
    else if (row.trouble == Trouble::WrongLength)
        (row.source ? faults.read_too_long : faults.write_too_long) = true;
    else if (row.trouble == Trouble::EndsEarly)
        faults.ends_early = true;
    else
        (row.source ? faults.read : faults.write) = error;
    return faults;
}

class VfioKernelFaults : public testing::TestWithParam<Row> {
protected:
    /// The device writes on: it runs, and its memory is the guest's.
    static void expect_at_work(const House& house)
    {
        const std::uint64_t then = Engine::next_sequence(*house.device);
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (Engine::next_sequence(*house.device) == then &&
               std::chrono::steady_clock::now() < deadline)
            std::this_thread::yield();
        EXPECT_NE(Engine::next_sequence(*house.device), then) << "the device stands still";
        EXPECT_EQ(house.device->state(), State::Running);
    }
};

TEST_P(VfioKernelFaults, EndTheMoveAndNothingElse)
{
    const Row& row = GetParam();
    House a;
    House b;
    const Json impatient = {{"x-state-timeout", kPatienceMs}};
    const bool waits = row.trouble == Trouble::Hangs;
    a.plug(spec_of(row.kind, 0), row.kind.iommufd,
           waits && row.source ? impatient : Json::object());
    b.plug(spec_of(row.kind, 0), row.kind.iommufd,
           waits && !row.source ? impatient : Json::object());
    const auto release = [](House* house) { house->kernel->release(); };
    const std::unique_ptr<House, decltype(release)> at_the_end_a(&a, release);
    const std::unique_ptr<House, decltype(release)> at_the_end_b(&b, release);
    ASSERT_TRUE(a.migration->machine_done());
    ASSERT_TRUE(b.migration->machine_done());
    a.device->fill_internal(5);
    ASSERT_TRUE(a.device->poke(0, std::vector<std::byte>(8)));
    ASSERT_TRUE(a.vm->run_state().start());
    {
        Running to(b);
        Running from(a);
        const Engine engine(*a.kernel, *a.device, 0);
        until_around(*a.device);
        {
            const std::lock_guard guard(a.kernel->lock());
            const std::lock_guard guard_b(b.kernel->lock());
            (row.source ? a : b).device->faults = faults_of(row);
            if (row.back)
                b.device->faults.write = EIO;
        }
        begin_move(b, from, to);
        EXPECT_EQ(from.wait_for_end(), Status::Failed);
        EXPECT_EQ(to.wait_for_end(), Status::Failed);
        // Data that ends too early is for the other side's device to find.
        const bool source_tells = row.source && !row.back && row.trouble != Trouble::EndsEarly;
        const std::string error = source_tells ? from.error() : to.error();
        EXPECT_NE(error.find("0000:3b:00.0"), std::string::npos) << error;
        EXPECT_NE(error.find("evice state "), std::string::npos) << error;
        if (row.enter && !row.back) {
            EXPECT_NE(error.find(to_string(*row.enter)), std::string::npos) << error;
        }
        if (!row.source || !row.lost())
            expect_at_work(a);
        EXPECT_TRUE(a.vm->run_state().running());
    }
    EXPECT_EQ(a.device->forbidden_accesses() + b.device->forbidden_accesses(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Table, VfioKernelFaults, testing::ValuesIn(table()),
                         [](const auto& row) { return row.param.name(); });

}  // namespace
}  // namespace godwit::hw::vfio::test
