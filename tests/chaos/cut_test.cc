// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /chaos/cut: the connection breaks at a byte. Exactly one side runs the guest afterwards, the
// errors say where it broke, and the source keeps nothing of the attempt.
#include "tests/chaos/belongings.h"
#include "tests/chaos/chaos.h"
#include "tests/chaos/relay.h"

#include <algorithm>
#include <atomic>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <vector>

namespace godwit::chaos {
namespace {

using qtest::Vmm;

constexpr std::uint64_t kPage = 4096;
// The name of the first device section, with its length.
constexpr std::string_view kDevices = "\x05timer";
// The first behind those of the vCPU.
constexpr std::string_view kBoard = "\x06"
                                    "fw_cfg";
// How the description behind them begins.
constexpr std::string_view kDescription = "{\"configuration\"";
// What the destination says when it has everything.
constexpr std::string_view kReady = "GWr2";
// What the source says to give the guest away.
constexpr std::string_view kGo = "GWg3";

/// Small machines of three kinds: all devices, a synth vCPU that writes, and a KVM guest that
/// checks what it writes and says so on its serial line.
class Guest {
public:
    explicit Guest(std::string kind) : kind_(std::move(kind))
    {
        if (kind_ == "Kvm")
            disk_ = qtest::patched_disk(dir_, "memory_writer.img", 494,
                                        {0x100000, 0x140000, 0x100000, 0x108000});
    }
    const std::string& kind() const { return kind_; }
    std::unique_ptr<Vmm> start(bool as_target)
    {
        std::vector<std::string> arguments = {"-machine", "q35", "-m", "2M"};
        if (kind_ == "Synth")
            arguments = {"-machine", "none", "-m",     "1M",
                         "-smp",     "1",    "-accel", "synth,working-set=64K,rate=1M"};
        if (kind_ == "Kvm")
            arguments.insert(arguments.end(),
                             {"-accel", "kvm", "-drive",
                              fmt::format("file={},format=raw,if=none,id=d0", disk_), "-device",
                              "ide-hd,drive=d0", "-serial",
                              as_target ? "null" : "file:" + dir_.file("serial")});
        auto vmm =
            std::make_unique<Vmm>(as_target ? incoming(std::move(arguments)) : std::move(arguments),
                                  kind_ == "Q35" ? Vmm::Options() : kOwnAccel);
        qtest::prepare(*vmm);
        if (!as_target && kind_ == "Q35")
            qtest::fill_pattern(vmm->qtest(), 0x100000, 16 * kPage, 3);
        if (!as_target && kind_ == "Kvm")
            qtest::wait_for_beats(dir_.file("serial"), "B", 1);
        return vmm;
    }
    /// Its memory is right, and it runs.
    void check(Vmm& vmm)
    {
        if (kind_ == "Q35") {
            qtest::check_pattern(vmm.qtest(), 0x100000, 16 * kPage, 3);
        } else if (kind_ == "Synth") {
            qtest::expect_synth_right(vmm);
        } else {
            const std::string said = qtest::read_file(dir_.file("serial"));
            qtest::wait_for_beats(dir_.file("serial"), "B",
                                  static_cast<std::size_t>(std::ranges::count(said, 'B')) + 2);
        }
    }

private:
    std::string kind_;
    qtest::TempDir dir_;
    std::string disk_;
};

/// A source, and as many destinations as there are cuts.
///
/// Threads  one at a time; several of these at once do not disturb each other.
class Cutter {
public:
    explicit Cutter(const std::string& kind) : guest_(kind) { renew(); }

    void cut(const Relay::Plan& plan);
    /// Another source.
    void renew();
    /// The source has lost its guest.
    bool moved() const { return moved_; }
    unsigned attempts() const { return attempts_; }
    void check_guest() { guest_.check(*source_); }

private:
    void expect_exactly_one_runs(Vmm& target, const std::string& end);
    void expect_source_has_guest(Vmm& target, Relay& relay, const Relay::Plan& plan);
    void measure();

    Guest guest_;
    std::unique_ptr<Vmm> source_;
    Belongings idle_;  // of the source before any attempt
    unsigned attempts_ = 0;
    bool moved_ = false;
};

void Cutter::renew()
{
    source_ = guest_.start(false);
    idle_ = idle_source(source_->process().pid());
    moved_ = false;
}

void Cutter::measure()
{
    const pid_t pid = source_->process().pid();
    ++attempts_;
    const Belongings now = settled(pid, idle_);
    ASSERT_LE(now.descriptors, idle_.descriptors) << to_string(now);
    ASSERT_EQ(now.threads, idle_.threads) << to_string(now);
}

void Cutter::expect_source_has_guest(Vmm& target, Relay& relay, const Relay::Plan& plan)
{
    source_->wait_status("running");
    const std::string error = error_desc(*source_);
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    EXPECT_NE(error.find("byte"), std::string::npos) << "names the place: " << error;
    ASSERT_EQ(qtest::wait_migration_end(target), "failed");
    EXPECT_EQ(target.qmp().execute("query-status")["status"], "inmigrate");
    const std::string there = error_desc(target);
    if (plan.way == Way::Forward) {
        const std::uint64_t at = *plan.cut_at + relay.mark().value_or(0);
        EXPECT_NE(there.find(fmt::format("byte {}", at)), std::string::npos) << there;
    }
    EXPECT_NE(there, "");
}

// The source could ask what became of the guest.
void Cutter::expect_exactly_one_runs(Vmm& target, const std::string& end)
{
    const std::string there = qtest::wait_migration_end(target);
    ASSERT_EQ(end, there) << error_desc(*source_);
    const std::string here_state = source_->qmp().execute("query-status")["status"];
    const std::string there_state = target.qmp().execute("query-status")["status"];
    if (end == "completed") {
        moved_ = true;
        EXPECT_EQ(here_state, "postmigrate");
        EXPECT_EQ(there_state, "running");
        guest_.check(target);
        return;
    }
    EXPECT_EQ(here_state, "running");
    EXPECT_EQ(there_state, "inmigrate");
    EXPECT_NE(error_desc(*source_).find("the destination says that it did not start the guest"),
              std::string::npos)
        << error_desc(*source_);
    guest_.check(*source_);
    measure();
}

void Cutter::cut(const Relay::Plan& plan)
{
    SCOPED_TRACE(fmt::format("{}, byte {} {}", plan.way == Way::Forward ? "forward" : "backward",
                             *plan.cut_at, plan.after.empty() ? "" : "behind the mark"));
    const auto made = guest_.start(true);
    Vmm& target = *made;
    Relay relay({.cut_at = plan.cut_at,
                 .after = plan.after,
                 .way = plan.way,
                 .record = true,
                 .again = plan.again});
    expect_at(target, relay.target());
    source_->qmp().execute("migrate", {{"uri", relay.uri()}});
    const std::string end = qtest::wait_migration_end(*source_);
    if (plan.again)
        return expect_exactly_one_runs(target, end);
    const std::string status = source_->qmp().execute("query-status")["status"];
    if (end == "failed" && status != "postmigrate") {
        ASSERT_NO_FATAL_FAILURE(expect_source_has_guest(target, relay, plan));
        measure();
        return;
    }
    moved_ = true;
    ASSERT_EQ(status, "postmigrate");
    // Never without the last byte there, and the destination's word.
    EXPECT_TRUE(relay.stream(Way::Forward).contains(kDescription));
    EXPECT_TRUE(relay.stream(Way::Backward).contains(kReady));
    if (end == "completed") {
        // The cut was behind the end.
        ASSERT_EQ(qtest::wait_migration_end(target), "completed");
        ASSERT_EQ(target.qmp().execute("query-status")["status"], "running");
        return;
    }
    // Inside the handover: the source cannot know, and says so. At most one runs.
    EXPECT_NE(error_desc(*source_).find("the destination may be running"), std::string::npos);
    qtest::wait_migration_end(target);
}

class Cut : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override
    {
        if (GetParam() == "Kvm")
            GW_SKIP_WITHOUT_KVM();
    }

    /// The whole stream of this guest.
    void learn()
    {
        Guest twin(GetParam());
        const auto other = twin.start(false);
        const auto target = twin.start(true);
        Relay relay({.record = true});
        expect_at(*target, relay.target());
        other->qmp().execute("migrate", {{"uri", relay.uri()}});
        ASSERT_EQ(qtest::wait_migration_end(*other), "completed") << error_desc(*other);
        ASSERT_EQ(qtest::wait_migration_end(*target), "completed");
        stream_ = relay.stream(Way::Forward);
        const std::string& answers = relay.stream(Way::Backward);
        answers_ = answers.size();
        ready_ = answers.find(kReady) + kReady.size();
        ASSERT_GT(ready_, 4u);
        devices_ = stream_.find(kDevices) + kDevices.size();
        const std::size_t description = stream_.rfind(kDescription);
        ASSERT_NE(description, std::string::npos);
        end_mark_ = description - 6;
        // Behind the description: the PING that hands the guest over.
        given_ = stream_.rfind(kGo) + kGo.size();
        handover_ = given_ - 9;
    }

    /// Every one leaves the guest at its source, which then has its memory right.
    void expect_all_fail(const std::vector<Relay::Plan>& plans);
    void work_off(const std::vector<Relay::Plan>& plans);

    std::string stream_;
    std::uint64_t answers_ = 0;
    std::uint64_t ready_ = 0;  // of them, up to the end of "I have everything"
    std::size_t devices_ = 0;
    std::size_t end_mark_ = 0;
    std::size_t handover_ = 0;
    std::size_t given_ = 0;                  // behind that PING
    std::atomic<std::size_t> next_ = 0;      // of the plans
    std::atomic<std::size_t> attempts_ = 0;  // that failed as they should
};

INSTANTIATE_TEST_SUITE_P(Guests, Cut, testing::Values("Q35", "Synth", "Kvm"),
                         [](const auto& at) { return at.param; });

// The first attempts fill what is kept on purpose: stacks of threads, the recorder, the heap.
constexpr unsigned kWarmUp = 8;

void Cut::work_off(const std::vector<Relay::Plan>& plans)
{
    Cutter cutter(GetParam());
    for (std::size_t n = next_++; n < plans.size(); n = next_++) {
        ASSERT_NO_FATAL_FAILURE(cutter.cut(plans[n]));
        if (!cutter.moved())
            continue;
        // It needs a pass less now and then: the stream and the answers end earlier than those of
        // its twin.
        cutter.renew();
    }
    cutter.check_guest();
    attempts_ += cutter.attempts();
}

void Cut::expect_all_fail(const std::vector<Relay::Plan>& plans)
{
    // An attempt is mostly waiting for the other process.
    std::vector<std::thread> others;
    for (unsigned n = 1; long_form() && n < 2 * std::thread::hardware_concurrency(); ++n)
        others.emplace_back([&] { work_off(plans); });
    work_off(plans);
    for (std::thread& other : others)
        other.join();
    ASSERT_FALSE(HasFailure());
    // Most: see above.
    EXPECT_GE(attempts_, plans.size() / 2);
    RecordProperty("attempts", std::to_string(attempts_));
}

TEST_P(Cut, AnywhereInThePagesLeavesTheGuestAtTheSource)
{
    ASSERT_NO_FATAL_FAILURE(learn());
    std::vector<Relay::Plan> plans;
    // Mostly-zero pages make a short stream.
    const std::uint64_t pages =
        std::min<std::uint64_t>(long_form() ? kPage : 4 * kPage, devices_ / 24 + 1);
    const std::uint64_t margin = std::min<std::uint64_t>(kPage, devices_ / 8);
    for (std::uint64_t at = 0; at < devices_ - margin; at += pages)
        plans.push_back({.cut_at = at});
    // Every byte of the headers too.
    const std::uint64_t step = long_form() ? 1 : 13;
    for (std::uint64_t at = 1; at < std::min<std::uint64_t>(160, devices_); at += step)
        plans.push_back({.cut_at = at});
    expect_all_fail(plans);
}

TEST_P(Cut, AnywhereInTheDevicePartLeavesTheGuestAtTheSource)
{
    ASSERT_NO_FATAL_FAILURE(learn());
    std::vector<Relay::Plan> plans;
    const std::string mark(kDevices);
    const std::uint64_t devices = end_mark_ + 1 - devices_;
    // Under KVM what only KVM has, the vCPU; its other devices are those of Q35, and start slowly.
    const std::size_t board = stream_.find(kBoard, devices_);
    const std::uint64_t every_byte =
        GetParam() == "Kvm" ? std::min(board, end_mark_) - devices_ : devices;
    std::uint64_t step = long_form() ? 1 : devices / 25 + 1;
    for (std::uint64_t at = 0; at < devices; at += step) {
        if (long_form() && at >= every_byte)
            step = 61;
        plans.push_back({.cut_at = at, .after = mark});
    }
    // The end mark and the description behind it.
    const std::uint64_t all = handover_ - devices_;
    for (std::uint64_t at = devices; at < all; at += long_form() ? 997 : (all - devices) / 4)
        plans.push_back({.cut_at = at, .after = mark});
    expect_all_fail(plans);
    EXPECT_GT(attempts_, 20u);
}

TEST_P(Cut, InTheAnswersLeavesTheGuestAtTheSource)
{
    ASSERT_NO_FATAL_FAILURE(learn());
    std::vector<Relay::Plan> plans;
    for (std::uint64_t at = 0; at < ready_; at += long_form() ? 1 : 7)
        plans.push_back({.cut_at = at, .way = Way::Backward});
    expect_all_fail(plans);
}

// A guest whose devices have the same length every time.
class Handover : public Cut {};
INSTANTIATE_TEST_SUITE_P(Guests, Handover, testing::Values("Q35"),
                         [](const auto& at) { return at.param; });

TEST_P(Handover, CutAnywhereNeverLeavesTwoGuests)
{
    ASSERT_NO_FATAL_FAILURE(learn());
    Cutter cutter(GetParam());
    const auto expect_moved = [&](const Relay::Plan& plan) {
        ASSERT_NO_FATAL_FAILURE(cutter.cut(plan));
        ASSERT_TRUE(cutter.moved());
        cutter.renew();
    };
    for (std::uint64_t back = 0; back < 9; back += long_form() ? 1 : 4)
        ASSERT_NO_FATAL_FAILURE(
            expect_moved({.cut_at = given_ - devices_ - back, .after = std::string(kDevices)}));
    // SHUT comes only after the handover. Cut right behind "ready", the source may see either.
    const std::uint64_t answers = answers_ - ready_;
    for (std::uint64_t back = 1; back < answers; back += long_form() ? 1 : answers / 3)
        ASSERT_NO_FATAL_FAILURE(expect_moved(
            {.cut_at = answers - back, .after = std::string(kReady), .way = Way::Backward}));
}

// Where the destination can be asked over another connection there is no doubt.
TEST_P(Handover, CutAnywhereLeavesExactlyOneGuestWhereTheSourceCanAskAgain)
{
    ASSERT_NO_FATAL_FAILURE(learn());
    Cutter cutter(GetParam());
    const auto expect = [&](const Relay::Plan& plan, bool moves) {
        ASSERT_NO_FATAL_FAILURE(cutter.cut(plan));
        ASSERT_EQ(cutter.moved(), moves);
        if (moves)
            cutter.renew();
    };
    for (std::uint64_t back = 0; back < 9; back += long_form() ? 1 : 4)
        ASSERT_NO_FATAL_FAILURE(expect(
            {.cut_at = given_ - devices_ - back, .after = std::string(kDevices), .again = true},
            back == 0));
    // The first bytes of SHUT have to pass: what is cut right behind "ready" may be the word too.
    const std::uint64_t answers = answers_ - ready_;
    for (std::uint64_t back = 1; back < answers; back += long_form() ? 1 : answers / 3)
        ASSERT_NO_FATAL_FAILURE(expect({.cut_at = answers - back,
                                        .after = std::string(kReady),
                                        .way = Way::Backward,
                                        .again = true},
                                       true));
}

// The same attempt again and again: nothing is kept of any, mappings included.
TEST(Leaks, ASourceThatFailsAgainAndAgainKeepsNothing)
{
    Guest guest("Q35");
    const auto started = guest.start(false);
    Vmm& source = *started;
    const pid_t pid = source.process().pid();
    const unsigned rounds = long_form() ? 200 : 24;
    const Belongings quiet = idle_source(pid);
    Belongings before;
    for (unsigned turn = 0; turn < rounds; ++turn) {
        const auto target = guest.start(true);
        Relay relay({.cut_at = 40000});
        expect_at(*target, relay.target());
        source.qmp().execute("migrate", {{"uri", relay.uri()}});
        ASSERT_EQ(qtest::wait_migration_end(source), "failed");
        ASSERT_EQ(qtest::wait_migration_end(*target), "failed");
        if (turn == kWarmUp)
            before = settled(pid, quiet);
    }
    const Belongings after = settled(pid, quiet);
    EXPECT_LE(after.descriptors, quiet.descriptors) << to_string(after);
    EXPECT_EQ(after.threads, quiet.threads);
    EXPECT_LE(after.mappings, before.mappings + 2)
        << to_string(before) << " / " << to_string(after);
    EXPECT_LE(after.mapped_bytes, before.mapped_bytes + (1 << 20))
        << to_string(before) << " / " << to_string(after);
}

}  // namespace
}  // namespace godwit::chaos
