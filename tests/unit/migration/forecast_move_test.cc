// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The forecast of whole moves, each of them, exactly: a guest that writes at a known rate, over a
// wire of a known rate, on a clock that only they move on.
#include "migration/insight/timeline.h"
#include "tests/unit/migration/test_machine.h"
#include "util/units.h"

#include <algorithm>
#include <optional>
#include <ostream>
#include <random>

namespace godwit::migration {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kGuestBytes = 96 * kMiB;
constexpr std::uint64_t kWire = 48 * kMiB;  // a second

// In which order a guest comes to its pages.
enum class Order { Sequential, Shuffled, Anywhere };

struct Load {
    Order order = Order::Anywhere;
    double rate = 0;  // MiB a second
    double set = 0;   // MiB, at the end of RAM
    friend void PrintTo(const Load& load, std::ostream* out)
    {
        *out << load.rate << " MiB/s in " << load.set << " MiB, order "
             << static_cast<int>(load.order);
    }
};

// Writes as much as fits into the time that went by, whenever somebody looks.
class Guest {
public:
    Guest(TestMachine& machine, FakeClock& clock, const Load& load, unsigned seed)
        : machine_(machine), clock_(clock), load_(load), random_(seed),
          pages_(static_cast<std::uint64_t>(load.set * kMiB) / system::kPageSize),
          first_((kGuestBytes / system::kPageSize) - pages_), order_(pages_), seen_(pages_, 0),
          last_(clock.now_ns()), at_(pages_ == 0 ? 0 : random_() % pages_)
    {
        for (std::uint64_t i = 0; i < pages_; ++i)
            order_[i] = i;
        if (load_.order == Order::Shuffled)
            std::ranges::shuffle(order_, random_);
        machine.dirty.on_sync = [this](bool) { write(); };
        machine.dirty.on_probe_start = [this] {
            write();
            ++probe_;
            distinct_ = 0;
        };
        machine.dirty.on_probe_read = [this] {
            write();
            return distinct_;
        };
    }

private:
    void write()
    {
        const std::int64_t now = clock_.now_ns();
        if (machine_.run_state.running())
            owed_ += load_.rate * kMiB / system::kPageSize * static_cast<double>(now - last_) / 1e9;
        last_ = now;
        for (; owed_ >= 1 && pages_ != 0; owed_ -= 1) {
            const std::uint64_t page = next();
            machine_.ram->mark_dirty((first_ + page) * system::kPageSize, system::kPageSize);
            distinct_ += seen_[page] != probe_;
            seen_[page] = probe_;
        }
    }
    std::uint64_t next()
    {
        if (load_.order == Order::Anywhere)
            return random_() % pages_;
        if (at_ == pages_) {
            at_ = 0;
            if (load_.order == Order::Shuffled)  // each round in another order
                std::ranges::shuffle(order_, random_);
        }
        return order_[at_++];
    }

    TestMachine& machine_;
    FakeClock& clock_;
    Load load_;
    std::mt19937 random_;
    std::uint64_t pages_;
    std::uint64_t first_;
    std::vector<std::uint64_t> order_;
    std::vector<unsigned> seen_;  // the probe in which a page was last written
    unsigned probe_ = 0;
    std::uint64_t distinct_ = 0;
    std::int64_t last_;
    std::uint64_t at_;
    double owed_ = 0;
};

// Takes bytes as fast as the wire carries, and keeps none. It breaks after a while, so that a move
// that does not converge ends at the same place each time.
class Wire final : public io::Channel {
public:
    struct Nature {
        double unsteady = 0;  // by up to this share faster or slower, another every 250 ms
        std::int64_t breaks_ns = 4 * kSecond;
    };
    Wire(FakeClock& clock, Nature nature, unsigned seed)
        : clock_(clock), nature_(nature), until_(clock.now_ns() + nature.breaks_ns), random_(seed)
    {}
    io::PollTarget poll_target(io::Direction) const noexcept override { return {}; }
    Result<void> shutdown(io::Shutdown) override { return ok(); }
    Result<void> close() override { return ok(); }
    std::string describe() const override { return "wire"; }
    bool has(io::Feature) const noexcept override { return false; }

protected:
    Result<std::optional<std::size_t>> do_readv(std::span<const iovec>) override
    {
        return std::optional<std::size_t>{0};
    }
    Result<std::optional<std::size_t>> do_writev(std::span<const iovec> from) override
    {
        if (clock_.now_ns() > until_)
            return Error(Errc::Closed, "broke");
        std::size_t bytes = 0;
        for (const iovec& piece : from)
            bytes += piece.iov_len;
        bytes = std::min(bytes, kPiece);
        if (clock_.now_ns() >= changes_) {
            changes_ = clock_.now_ns() + kSecond / 4;
            rate_ =
                static_cast<double>(kWire) *
                std::uniform_real_distribution(1 - nature_.unsteady, 1 + nature_.unsteady)(random_);
        }
        clock_.pass(static_cast<std::int64_t>(static_cast<double>(bytes) / rate_ * 1e9));
        return std::optional(bytes);
    }

private:
    static constexpr std::size_t kPiece = 64 * 1024;  // what a socket takes at once

    FakeClock& clock_;
    Nature nature_;
    std::int64_t until_;
    std::int64_t changes_ = 0;
    double rate_ = 0;
    std::mt19937 random_;
};

struct MoveOutcome {
    Status status{};
    std::optional<ForecastReport> forecast;
    std::int64_t total_ms = 0;
};

// All memory was written once.
MoveOutcome moved(const Load& load, unsigned seed, std::uint64_t downtime_ms = 300,
                  Wire::Nature nature = {}, bool half_zero = false)
{
    FakeClock clock;
    TestMachine machine(kGuestBytes, &clock);
    std::memset(machine.ram->host(), 0x5a, kGuestBytes);
    for (std::uint64_t at = 0; half_zero && at < kGuestBytes; at += 2 * system::kPageSize)
        std::memset(machine.ram->host() + at, 0, system::kPageSize);
    machine.set({.max_bandwidth = 0, .downtime_limit_ms = downtime_ms});
    machine.start_guest();
    Guest guest(machine, clock, load, seed);
    EXPECT_TRUE(machine.migrate_to(std::make_unique<Wire>(clock, nature, seed)));
    MoveOutcome outcome{.status = machine.wait_for_end(), .forecast = {}};
    const auto timelines = machine.service->timelines().last(1);
    const auto statistics = timelines.at(0)->snapshot().statistics;
    outcome.forecast = statistics->forecast();
    outcome.total_ms = statistics->total_ms;
    return outcome;
}

std::string told(const ForecastReport& report)
{
    const ForecastScore& s = report.scores.front();
    std::string text = std::string(to_string(s.verdict)) + " in pass " + std::to_string(s.pass) +
                       " at " + std::to_string(s.given_at_ms) + " ms: ";
    text += s.total_min_ms ? std::to_string(*s.total_min_ms) : "?";
    text += " to " + (s.total_max_ms ? std::to_string(*s.total_max_ms) : "?");
    return text + ", took " + std::to_string(s.total_ms) + "; " + report.latest.reason;
}

class ForecastOfAMove : public testing::TestWithParam<Load> {
protected:
    // Right, within the second pass, and kept.
    static void expect_verdict(const MoveOutcome& outcome, Verdict verdict)
    {
        ASSERT_TRUE(outcome.forecast && !outcome.forecast->scores.empty());
        const ForecastScore& first = outcome.forecast->scores.front();
        EXPECT_EQ(first.verdict, verdict) << told(*outcome.forecast);
        EXPECT_LE(first.pass, 2u) << told(*outcome.forecast);
        EXPECT_EQ(outcome.forecast->changes, 0u) << told(*outcome.forecast);
    }
};

class Converging : public ForecastOfAMove {};
TEST_P(Converging, IsForetoldWithTheTimeItTakes)
{
    for (unsigned seed = 1; seed <= 2; ++seed) {
        const MoveOutcome outcome = moved(GetParam(), seed);
        ASSERT_EQ(outcome.status, Status::Completed);
        expect_verdict(outcome, Verdict::Converges);
        const ForecastScore& first = outcome.forecast->scores.front();
        EXPECT_EQ(first.correct, true) << told(*outcome.forecast);
        EXPECT_EQ(first.in_range, true) << told(*outcome.forecast);
        EXPECT_TRUE(first.total_max_ms) << told(*outcome.forecast);
    }
}

class Above : public ForecastOfAMove {};
TEST_P(Above, IsForetoldWithADowntimeThatDoes)
{
    for (unsigned seed = 1; seed <= 2; ++seed) {
        const MoveOutcome outcome = moved(GetParam(), seed);
        ASSERT_EQ(outcome.status, Status::Failed);
        expect_verdict(outcome, Verdict::AboveDowntime);
        const auto needed =
            static_cast<std::uint64_t>(*outcome.forecast->latest.downtime_needed_ms);
        EXPECT_EQ(moved(GetParam(), seed, needed).status, Status::Completed) << needed;
        EXPECT_EQ(moved(GetParam(), seed, needed / 2).status, Status::Failed) << needed;
    }
}

class Hopeless : public ForecastOfAMove {};
TEST_P(Hopeless, IsForetoldAsNever)
{
    for (unsigned seed = 1; seed <= 2; ++seed) {
        const MoveOutcome outcome = moved(GetParam(), seed);
        ASSERT_EQ(outcome.status, Status::Failed);
        expect_verdict(outcome, Verdict::Never);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Guest, Converging,
    testing::Values(Load{Order::Sequential, 0, 0}, Load{Order::Sequential, 5, 24},
                    Load{Order::Shuffled, 5, 24}, Load{Order::Anywhere, 5, 24},
                    Load{Order::Shuffled, 20, 24}, Load{Order::Anywhere, 20, 48},
                    Load{Order::Sequential, 20, 48}, Load{Order::Sequential, 500, 8},
                    Load{Order::Shuffled, 500, 8}, Load{Order::Anywhere, 200, 12}));
INSTANTIATE_TEST_SUITE_P(
    Guest, Above,
    testing::Values(Load{Order::Sequential, 160, 40}, Load{Order::Shuffled, 160, 40},
                    Load{Order::Anywhere, 160, 40}, Load{Order::Sequential, 1000, 48},
                    Load{Order::Shuffled, 1000, 48}, Load{Order::Anywhere, 300, 40}));
INSTANTIATE_TEST_SUITE_P(Guest, Hopeless,
                         testing::Values(Load{Order::Sequential, 800, 96},
                                         Load{Order::Shuffled, 800, 96},
                                         Load{Order::Anywhere, 800, 96}));

TEST(ForecastOfMoves, IsRightOverAWireThatIsNotSteady)
{
    for (unsigned seed = 1; seed <= 5; ++seed) {
        const MoveOutcome outcome = moved({Order::Shuffled, 15, 32}, seed, 300, {.unsteady = 0.3});
        ASSERT_EQ(outcome.status, Status::Completed);
        EXPECT_EQ(outcome.forecast->scores.front().in_range, true) << told(*outcome.forecast);
        EXPECT_EQ(outcome.forecast->changes, 0u);
    }
}

// Every second page costs nothing on the wire.
TEST(ForecastOfMoves, GoesByWhatPagesCost)
{
    for (unsigned seed = 1; seed <= 3; ++seed) {
        const MoveOutcome outcome = moved({Order::Shuffled, 20, 32}, seed, 300, {}, true);
        ASSERT_EQ(outcome.status, Status::Completed);
        EXPECT_LT(outcome.total_ms, 1600);
        EXPECT_EQ(outcome.forecast->scores.front().in_range, true) << told(*outcome.forecast);
        EXPECT_EQ(outcome.forecast->changes, 0u) << told(*outcome.forecast);
    }
}

}  // namespace
}  // namespace godwit::migration
