// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What kernel drivers refuse, at every state of either side, in each dialect and with each way of
// finding dirty pages: the error names device and state, and the source's guest and device run on.
#include "hw/vfio/migration_states.h"
#include "tests/unit/vfio/moving.h"

#include <cerrno>
#include <fmt/format.h>
#include <optional>

namespace godwit::hw::vfio::test {
namespace {

using State = MigrationState;

constexpr Kind kV1{"v1", Dialect::V1, false, false, false, true, true, false, false};
constexpr Kind kType1{"v2_type1", Dialect::V2, false, false, false, true, true};
constexpr Kind kLogs{"v2_logs", Dialect::V2, false, true, false, false, true};
constexpr Kind kIommufd{"v2_iommufd", Dialect::V2, true, false, true, false, true};

struct Row {
    Kind kind;
    bool source;
    std::optional<State> enter;  ///< refused; nothing: its data is
    bool breaks;                 ///< and then it is in ERROR
    bool back = false;           ///< the source's way back, after the target refused the data

    std::string name() const
    {
        return fmt::format("{}{}_{}_{}{}", kind.name, kind.precopy ? "" : "_stop_copy",
                           source ? back ? "back" : "out" : "in",
                           enter ? to_string(*enter) : "data", breaks ? "_breaks" : "");
    }
};

void PrintTo(const Row& row, std::ostream* out)
{
    *out << row.name();
}

std::vector<Row> table()
{
    std::vector<Row> rows;
    const auto add = [&](Kind kind, bool source, std::vector<std::optional<MigrationState>> at,
                         bool back = false) {
        for (const auto& enter : at)
            for (const bool breaks : {false, true})
                if (enter || !breaks)
                    rows.push_back({kind, source, enter, breaks, back});
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

class VfioKernelFaults : public testing::TestWithParam<Row> {};

TEST_P(VfioKernelFaults, EndTheMoveAndNothingElse)
{
    const Row& row = GetParam();
    House a;
    House b;
    a.plug(spec_of(row.kind, 0), row.kind.iommufd);
    b.plug(spec_of(row.kind, 0), row.kind.iommufd);
    ASSERT_TRUE(a.migration->machine_done());
    ASSERT_TRUE(b.migration->machine_done());
    a.device->fill_internal(5);
    ASSERT_TRUE(a.device->poke(0, std::vector<std::byte>(8)));
    ASSERT_TRUE(a.vm->run_state().start());
    {
        Running from(a);
        Running to(b);
        const Engine engine(*a.kernel, *a.device, 0);
        until_around(*a.device);
        {
            const std::lock_guard guard(a.kernel->lock());
            const std::lock_guard guard_b(b.kernel->lock());
            DeviceFaults& faults = row.source ? a.device->faults : b.device->faults;
            if (row.enter)
                faults.enter[*row.enter] = {.error = EIO,
                                            .lands_in = row.breaks ? std::optional(State::Error)
                                                                   : std::nullopt};
            else if (row.source)
                faults.read = EIO;
            else
                faults.write = EIO;
            if (row.back)
                b.device->faults.write = EIO;
        }
        begin_move(b, from, to);
        EXPECT_EQ(from.wait_for_end(), Status::Failed);
        EXPECT_EQ(to.wait_for_end(), Status::Failed);
        const std::string error = row.source && !row.back ? from.error() : to.error();
        EXPECT_NE(error.find("0000:3b:00.0"), std::string::npos) << error;
        if (row.enter && !row.back) {
            EXPECT_NE(error.find(to_string(*row.enter)), std::string::npos) << error;
        }
        // The engine writes: the device runs, and its memory is the guest's.
        const std::uint64_t then = Engine::next_sequence(*a.device);
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (Engine::next_sequence(*a.device) == then &&
               std::chrono::steady_clock::now() < deadline)
            std::this_thread::yield();
        EXPECT_NE(Engine::next_sequence(*a.device), then) << "the device stands still";
        EXPECT_EQ(a.device->state(), State::Running);
        EXPECT_TRUE(a.vm->run_state().running());
    }
    EXPECT_EQ(a.device->forbidden_accesses() + b.device->forbidden_accesses(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Table, VfioKernelFaults, testing::ValuesIn(table()),
                         [](const auto& row) { return row.param.name(); });

}  // namespace
}  // namespace godwit::hw::vfio::test
