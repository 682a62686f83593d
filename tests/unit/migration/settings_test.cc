// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Capabilities and parameters: names, defaults, ranges, what excludes what, in QEMU's words.
#include "migration/blockers.h"
#include "migration/capabilities.h"
#include "migration/notifier.h"
#include "migration/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::migration {
namespace {

using enum Capability;
using testing::ElementsAre;

std::string refusal(std::initializer_list<Capability> on, CapabilitySurroundings s = {})
{
    std::vector<CapabilityChange> changes;
    for (Capability c : on)
        changes.push_back({c, true});
    const auto result = changed({}, changes, s);
    return result ? "" : result.error().message();
}

TEST(Capabilities, AreAllKnownByQemusNames)
{
    for (std::size_t i = 0; i < kCapabilityCount; ++i) {
        const auto c = static_cast<Capability>(i);
        EXPECT_EQ(capability_from(to_string(c)), c);
    }
    EXPECT_EQ(to_string(Xbzrle), "xbzrle");
    EXPECT_EQ(to_string(MappedRam), "mapped-ram");
    EXPECT_FALSE(capability_from("compress"));
}

TEST(Capabilities, ThatDoNotWorkYetAreRefusedByName)
{
    for (std::size_t i = 0; i < kCapabilityCount; ++i) {
        const auto c = static_cast<Capability>(i);
        std::vector<CapabilityChange> changes{{ReturnPath, c == SwitchoverAck}, {c, true}};
        const auto result = changed({}, changes, {.dirty_ring = true});
        EXPECT_EQ(result.has_value(), is_working(c)) << to_string(c);
    }
    EXPECT_EQ(refusal({Multifd}), "Capability 'multifd' is not supported by this version");
}

TEST(Capabilities, CanBeSwitchedOffWhetherTheyWorkOrNot)
{
    const CapabilityChange off{Multifd, false};
    EXPECT_TRUE(changed({}, {&off, 1}, {}));
}

TEST(Capabilities, ThatExcludeEachOtherAreRefusedInQemusWords)
{
    EXPECT_EQ(refusal({PostcopyRam, XIgnoreShared}),
              "Postcopy is not compatible with ignore-shared");
    EXPECT_EQ(refusal({PostcopyRam, Multifd}), "Postcopy is not yet compatible with multifd");
    EXPECT_EQ(refusal({BackgroundSnapshot, ReturnPath}),
              "Background-snapshot is not compatible with return-path");
    EXPECT_EQ(refusal({PostcopyPreempt}), "Postcopy preempt requires postcopy-ram");
    EXPECT_EQ(refusal({ZeroCopySend}),
              "Zero copy only available for non-compressed non-TLS multifd migration");
    EXPECT_EQ(refusal({SwitchoverAck}),
              "Capability 'switchover-ack' requires capability 'return-path'");
    EXPECT_EQ(refusal({DirtyLimit, AutoConverge}),
              "dirty-limit conflicts with auto-converge either of then available currently");
    EXPECT_EQ(refusal({DirtyLimit}),
              "dirty-limit requires KVM with accelerator property 'dirty-ring-size' set");
    EXPECT_EQ(refusal({Multifd, Xbzrle}), "Multifd is not compatible with xbzrle");
    EXPECT_EQ(refusal({MappedRam, Xbzrle}), "Mapped-ram migration is incompatible with xbzrle");
    EXPECT_EQ(refusal({MappedRam, PostcopyRam}),
              "Mapped-ram migration is incompatible with postcopy");
    EXPECT_EQ(refusal({Multifd}, {.incoming_started = true}),
              "Multifd must be set before incoming starts");
}

TEST(Capabilities, ChangeAllTogetherOrNotAtAll)
{
    const std::vector<CapabilityChange> changes{{Events, true}, {Multifd, true}};
    EXPECT_FALSE(changed({}, changes, {}));
    const std::vector<CapabilityChange> good{{ReturnPath, true}, {SwitchoverAck, true}};
    const auto both = changed({}, good, {}).value();
    EXPECT_TRUE(both.has(ReturnPath) && both.has(SwitchoverAck));
    const CapabilityChange off{ReturnPath, false};
    EXPECT_FALSE(changed(both, {&off, 1}, {}));
}

std::string refusal(const ParameterChanges& changes)
{
    const auto result = changed({}, changes);
    return result ? "" : result.error().message();
}

TEST(Parameters, EdgesOfEveryRangeAreLegal)
{
    for (const ParameterChanges& c : {
             ParameterChanges{.announce_initial_ms = 0},
             ParameterChanges{.announce_initial_ms = 100000},
             ParameterChanges{.announce_max_ms = 100000},
             ParameterChanges{.announce_rounds = 1000},
             ParameterChanges{.announce_step_ms = 1},
             ParameterChanges{.announce_step_ms = 10000},
             ParameterChanges{.throttle_trigger_threshold = 1},
             ParameterChanges{.throttle_trigger_threshold = 100},
             ParameterChanges{.cpu_throttle_initial = 1},
             ParameterChanges{.cpu_throttle_initial = 99},
             ParameterChanges{.max_cpu_throttle = 20},
             ParameterChanges{.downtime_limit_ms = 0},
             ParameterChanges{.downtime_limit_ms = 2000000},
             ParameterChanges{.multifd_channels = 255},
             ParameterChanges{.multifd_zstd_level = 20},
             ParameterChanges{.xbzrle_cache_size = 4096},
             ParameterChanges{.x_vcpu_dirty_limit_period_ms = 1000},
         })
        EXPECT_EQ(refusal(c), "");
}

TEST(Parameters, WhatLiesOutsideIsRefusedInQemusWords)
{
    EXPECT_EQ(refusal({.announce_initial_ms = 100001}),
              "Parameter 'announce_initial' expects a value between 0 and 100000");
    EXPECT_EQ(refusal({.announce_step_ms = 0}),
              "Parameter 'announce_step' expects a value between 0 and 10000");
    EXPECT_EQ(refusal({.throttle_trigger_threshold = 0}),
              "Parameter 'throttle_trigger_threshold' expects an integer in the range of 1 to 100");
    EXPECT_EQ(refusal({.cpu_throttle_initial = 100}),
              "Parameter 'cpu_throttle_initial' expects an integer in the range of 1 to 99");
    EXPECT_EQ(refusal({.max_cpu_throttle = 19}), "Parameter 'max_cpu_throttle' expects an integer "
                                                 "in the range of cpu_throttle_initial to 99");
    EXPECT_EQ(
        refusal({.downtime_limit_ms = 2000001}),
        "Parameter 'downtime_limit' expects an integer in the range of 0 to (2000 * 1000) ms");
    EXPECT_EQ(refusal({.multifd_channels = 0}),
              "Parameter 'multifd_channels' expects a value between 1 and 255");
    EXPECT_EQ(refusal({.multifd_qatzip_level = 0}),
              "Parameter 'multifd_qatzip_level' expects a value between 1 and 9");
    EXPECT_EQ(
        refusal({.xbzrle_cache_size = 5000}),
        "Parameter 'xbzrle_cache_size' expects a power of two no less than the target page size");
    EXPECT_EQ(refusal({.x_vcpu_dirty_limit_period_ms = 0}),
              "Parameter 'x-vcpu-dirty-limit-period' expects a value between 1 and 1000");
    EXPECT_EQ(refusal({.vcpu_dirty_limit = 0}),
              "Parameter 'vcpu_dirty_limit' must be greater than 1 MB/s");
    EXPECT_EQ(refusal({.mode = Mode::CprReboot}),
              "Parameter 'mode' value 'cpr-reboot' is not supported by this version");
    EXPECT_EQ(refusal({.tls_creds = "tls0"}),
              "Parameter 'tls-creds' is not supported by this version");
}

TEST(Parameters, ChangeAllTogetherOrNotAtAll)
{
    const auto result = changed({}, {.downtime_limit_ms = 5, .multifd_channels = 0});
    EXPECT_FALSE(result);
    EXPECT_EQ(changed({}, {.max_bandwidth = 0, .downtime_limit_ms = 5}).value().downtime_limit_ms,
              5u);
}

TEST(Blockers, StandUntilTheyAreTakenAway)
{
    Blockers blockers;
    EXPECT_TRUE(blockers.check());
    auto first = blockers.add("one").value();
    auto second = blockers.add("two").value();
    EXPECT_THAT(blockers.reasons(), ElementsAre("two", "one"));
    EXPECT_EQ(blockers.check().error().message(), "two");
    second.reset();
    EXPECT_THAT(blockers.reasons(), ElementsAre("one"));
    EXPECT_EQ(blockers.add("late", true).error().message(),
              "disallowing migration blocker (migration/snapshot in progress) for: late");
    blockers.set_only_migratable(true);
    EXPECT_EQ(blockers.add("never").error().message(),
              "disallowing migration blocker (--only-migratable) for: never");
}

TEST(Notifiers, AreAskedByPriorityAndToldInReverse)
{
    Notifiers notifiers;
    std::vector<std::string> calls;
    std::vector<Registration> kept;
    const auto add = [&](std::string name, int priority, bool refuse = false) {
        kept.push_back(
            notifiers.add({name, priority, [&calls, name, refuse](Moment m) -> Result<void> {
                               calls.push_back(name + " " + std::string(to_string(m)));
                               if (refuse)
                                   return Error(Errc::Busy, "not now");
                               return ok();
                           }}));
    };
    add("b", 5);
    add("a", -1);
    add("c", 5);
    EXPECT_TRUE(notifiers.ask(Moment::Setup));
    EXPECT_TRUE(notifiers.tell(Moment::Failed).empty());
    EXPECT_THAT(calls,
                ElementsAre("a setup", "b setup", "c setup", "c failed", "b failed", "a failed"));
    calls.clear();
    add("x", 0, true);
    EXPECT_EQ(notifiers.ask(Moment::InCompletion).error().message(), "x: not now");
    EXPECT_THAT(calls, ElementsAre("a in-completion", "x in-completion"));
}

}  // namespace
}  // namespace godwit::migration
