// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/insight/checker.h"

#include "migration/pacing/dirty_probe.h"
#include "migration/pacing/forecast.h"
#include "migration/service.h"
#include "system/main_loop.h"
#include "system/vm.h"

#include <algorithm>
#include <condition_variable>
#include <fmt/format.h>

namespace godwit::migration {
namespace {

constexpr std::int64_t kStepNs = 50'000'000;

std::uint64_t touched_bytes(const Json& facts)
{
    std::uint64_t sum = 0;
    for (const auto& [name, block] : facts["ram"].items())
        sum += block["touched"].get<std::uint64_t>();
    return sum;
}

std::string program_of(const Json& facts)
{
    const auto found = facts.find("program");
    if (found == facts.end() || !found->is_string())
        return "unknown";
    std::string name = found->get<std::string>().substr(0, 100);
    for (char& c : name)
        if (c < 0x20 || c > 0x7e)
            c = '?';
    return name;
}

CheckVerdict verdict_of(const std::vector<Difference>& differences)
{
    if (std::ranges::any_of(differences, &Difference::fatal))
        return CheckVerdict::Refused;
    return differences.empty() ? CheckVerdict::Fits : CheckVerdict::Doubtful;
}

// What the forecast would say in the first moment, with the limits as they are.
Forecast foretell(const CheckResult& result, const DirtyCurve& curve, const Parameters& p)
{
    const auto wire = static_cast<double>(
        p.max_bandwidth != 0 ? std::min(p.max_bandwidth, result.bandwidth) : result.bandwidth);
    Forecast f = judge({.curve = curve,
                        .wire_rate = wire,
                        .switchover_rate = p.avail_switchover_bandwidth != 0
                                               ? static_cast<double>(p.avail_switchover_bandwidth)
                                               : wire,
                        .touched = result.touched,
                        .remaining = result.touched,
                        .pass_seconds = 0,
                        .downtime_limit_ms = p.downtime_limit_ms});
    f.wire_rate = static_cast<std::uint64_t>(wire);
    f.dirty_rate = result.dirty_rate.value_or(0);
    return f;
}

}  // namespace

Checker::~Checker()
{
    cancel_.request();
    join();
}

// The thread may be waiting for the lock.
void Checker::join() noexcept
{
    if (vm_.lock().held()) {
        const system::MachineUnlock unlocked(vm_.lock());
        thread_ = NamedThread();
    } else {
        thread_ = NamedThread();
    }
}

Result<void> Checker::start(Connect connect, std::int64_t measure_ns)
{
    if (result().status == CheckStatus::Running)
        return Error(Errc::Busy, "There's a migration check in progress");
    join();  // it is over
    cancel_ = GW_TRY(io::Cancel::create());
    {
        const std::lock_guard guard(mutex_);
        result_ = CheckResult{};
        result_.status = CheckStatus::Running;
    }
    thread_ = NamedThread("mig/check", [this, measure_ns, c = std::move(connect)](
                                           const std::stop_token&) mutable { run(c, measure_ns); });
    return ok();
}

CheckResult Checker::result() const
{
    const std::lock_guard guard(mutex_);
    return result_;
}

void Checker::run(Connect& connect, std::int64_t measure_ns)
{
    CheckResult result;
    auto checked = check(result, connect, measure_ns);
    if (checked) {
        result.status = CheckStatus::Done;
        result.verdict = verdict_of(result.differences);
    } else {
        result = CheckResult{};
        result.status = CheckStatus::Failed;
        result.error = checked.error().message();
    }
    {
        const std::lock_guard guard(mutex_);
        result_ = result;
    }
    done_(result);
}

Result<void> Checker::check(CheckResult& result, Connect& connect, std::int64_t measure_ns)
{
    const io::Patience patience{.cancel = cancel_, .deadline = io::deadline_in(kCheckPatience)};
    const io::ChannelPtr channel = GW_TRY(connect(patience));
    channel->set_patience(patience);
    CheckSession session = GW_TRY(CheckSession::open(*channel));
    const Json there = GW_TRY(session.facts());
    const Json here = machine_facts(vm_, service_);
    result.peer = program_of(there);
    result.differences = compare_facts(here, there);
    result.touched = touched_bytes(here);
    result.round_trip_ns = GW_TRY(session.round_trip_ns(clock_));
    result.bandwidth = GW_TRY(session.bandwidth(clock_, measure_ns));
    GW_TRY(session.finish());
    (void)channel->close();
    sample_dirty_rate(result, measure_ns);
    return ok();
}

void Checker::sample_dirty_rate(CheckResult& result, std::int64_t measure_ns)
{
    Parameters limits;
    bool running = false;
    {
        const system::MachineGuard guard(vm_.lock());
        limits = service_.parameters();
        running = vm_.run_state().running();
    }
    std::vector<DirtySample> samples;
    DirtyProbe probe(vm_.memory(), vm_.ram());
    if (running && !probe.start())
        return;  // a migration has begun, and measures for itself
    if (running) {
        std::mutex mutex;
        std::condition_variable nobody;
        std::unique_lock lock(mutex);
        const std::int64_t since = clock_.now_ns();
        while (clock_.now_ns() - since < measure_ns && !cancel_.requested()) {
            clock_.wait(lock, nobody, clock_.now_ns() + kStepNs);
            const std::int64_t now = clock_.now_ns();
            samples.push_back({now - since, probe.read() * system::kPageSize});
        }
        probe.stop();
    }
    const DirtyCurve curve = DirtyCurve::fit(samples, result.touched);
    result.dirty_rate = static_cast<std::uint64_t>(curve.rate);
    if (result.bandwidth == 0)
        return;
    result.forecast = foretell(result, curve, limits);
    if (result.forecast->verdict != Verdict::Converges)
        result.differences.push_back({.kind = DifferenceKind::Pace,
                                      .name = std::string(to_string(result.forecast->verdict)),
                                      .fatal = false,
                                      .desc = result.forecast->reason});
}

}  // namespace godwit::migration
