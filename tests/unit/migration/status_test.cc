// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <string>

namespace godwit::migration {
namespace {

using enum Status;
using Row = std::pair<Status, Event>;

// The tables once more, as a reader of QEMU's documentation would write them down: what is not here
// is illegal.
const std::map<Row, Status> kSourceRows{
    {{None, Event::Start}, Setup},
    {{Completed, Event::Start}, Setup},
    {{Failed, Event::Start}, Setup},
    {{Cancelled, Event::Start}, Setup},
    {{Setup, Event::SetupDone}, Active},
    {{Setup, Event::Fail}, Failed},
    {{Setup, Event::Cancel}, Cancelling},
    {{Active, Event::Pause}, PreSwitchover},
    {{Active, Event::Switchover}, Device},
    {{Active, Event::Fail}, Failed},
    {{Active, Event::Cancel}, Cancelling},
    {{PreSwitchover, Event::Switchover}, Device},
    {{PreSwitchover, Event::Fail}, Failed},
    {{PreSwitchover, Event::Cancel}, Cancelling},
    {{Device, Event::Finish}, Completed},
    {{Device, Event::Fail}, Failed},
    {{Device, Event::Cancel}, Cancelling},
    {{Device, Event::PostcopyBegin}, PostcopyActive},
    {{Cancelling, Event::Drained}, Cancelled},
    {{PostcopyActive, Event::Finish}, Completed},
    {{PostcopyActive, Event::Fail}, Failed},
    {{PostcopyActive, Event::PostcopyPause}, PostcopyPaused},
    {{PostcopyPaused, Event::PostcopyRetry}, PostcopyRecoverSetup},
    {{PostcopyRecoverSetup, Event::PostcopyConnect}, PostcopyRecover},
    {{PostcopyRecoverSetup, Event::PostcopyPause}, PostcopyPaused},
    {{PostcopyRecover, Event::PostcopyGoOn}, PostcopyActive},
    {{PostcopyRecover, Event::PostcopyPause}, PostcopyPaused},
};
const std::map<Row, Status> kDestinationRows{
    {{None, Event::Start}, Setup},
    {{Failed, Event::Start}, Setup},
    {{Setup, Event::SetupDone}, Active},
    {{Setup, Event::Fail}, Failed},
    {{Active, Event::Finish}, Completed},
    {{Active, Event::Fail}, Failed},
    {{Active, Event::PostcopyBegin}, PostcopyActive},
    {{PostcopyActive, Event::Finish}, Completed},
    {{PostcopyActive, Event::Fail}, Failed},
    {{PostcopyActive, Event::PostcopyPause}, PostcopyPaused},
    {{PostcopyPaused, Event::PostcopyConnect}, PostcopyRecover},
    {{PostcopyRecover, Event::PostcopyGoOn}, PostcopyActive},
    {{PostcopyRecover, Event::PostcopyPause}, PostcopyPaused},
};

void expect_table(Side side, const std::map<Row, Status>& rows)
{
    for (std::size_t s = 0; s < kStatusCount; ++s)
        for (std::size_t e = 0; e < kEventCount; ++e) {
            const Row row{static_cast<Status>(s), static_cast<Event>(e)};
            const auto next = next_status(side, row.first, row.second);
            const auto wanted = rows.find(row);
            const std::string what =
                std::string(to_string(row.first)) + " on " + std::string(to_string(row.second));
            EXPECT_EQ(next.has_value(), wanted != rows.end()) << what;
            if (next && wanted != rows.end()) {
                EXPECT_EQ(*next, wanted->second) << what;
            }
        }
}

TEST(StatusTable, HasExactlyTheMovesOfASource)
{
    expect_table(Side::Source, kSourceRows);
}

TEST(StatusTable, HasExactlyTheMovesOfADestination)
{
    expect_table(Side::Destination, kDestinationRows);
}

TEST(StatusTable, CannotCancelWhatRunsAtTheDestination)
{
    for (Status s : {PostcopyActive, PostcopyPaused, PostcopyRecover, PostcopyRecoverSetup})
        EXPECT_FALSE(next_status(Side::Source, s, Event::Cancel));
}

TEST(StatusTracker, AnIllegalEventIsAnErrorAndChangesNothing)
{
    StatusTracker tracker(Side::Source);
    const auto refused = tracker.apply(Event::Finish);
    EXPECT_EQ(refused.error().code(), Errc::BadState);
    EXPECT_EQ(refused.error().message(), "migration: no finish in status none");
    EXPECT_EQ(tracker.status(), None);
}

TEST(StatusTracker, TellsItsObserversInOrderUntilTheyGo)
{
    StatusTracker tracker(Side::Source);
    std::vector<std::string> seen;
    auto observer = tracker.observe([&](Status from, Status to) {
        seen.push_back(std::string(to_string(from)) + ">" + std::string(to_string(to)));
    });
    ASSERT_TRUE(tracker.apply(Event::Start));
    ASSERT_TRUE(tracker.apply(Event::Fail));
    observer.reset();
    ASSERT_TRUE(tracker.apply(Event::Start));
    EXPECT_THAT(seen, testing::ElementsAre("none>setup", "setup>failed"));
}

}  // namespace
}  // namespace godwit::migration
