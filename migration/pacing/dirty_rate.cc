// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/pacing/dirty_rate.h"

#include "system/main_loop.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <random>
#include <string_view>
#include <utility>

namespace godwit::migration {
namespace {

using system::kPageBits;
using system::kPageSize;

constexpr std::uint64_t kGibPages = (std::uint64_t{1} << 30) >> kPageBits;
constexpr std::size_t kPagesPerLock = 64;

std::size_t hash_of(const system::RamBlock& block, system::PageIndex page)
{
    const std::byte* bytes = block.host() + (page << kPageBits);
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes), kPageSize});
}

std::uint64_t per_second(std::uint64_t bytes, std::int64_t ns)
{
    return static_cast<std::uint64_t>(static_cast<double>(bytes) * 1e9 /
                                      static_cast<double>(std::max<std::int64_t>(ns, 1)));
}

}  // namespace

PageSamples::PageSamples(system::MachineLock& lock, system::GuestMemory& ram,
                         std::uint64_t pages_per_gib)
    : lock_(lock)
{
    {
        const system::MachineGuardIfNeeded guard(lock_);
        for (system::RamBlock* block : ram.blocks())
            if (block->migratable() && block->page_count() != 0)
                blocks_.push_back({block->shared_from_this(), block->page_count(), {}});
    }
    std::mt19937_64 random(std::random_device{}());
    for (Block& block : blocks_) {
        const std::uint64_t wanted = (block.pages * pages_per_gib + kGibPages - 1) / kGibPages;
        const std::uint64_t samples = std::clamp<std::uint64_t>(wanted, 1, block.pages);
        for (std::uint64_t i = 0; i < samples; ++i) {
            const std::uint64_t first = i * block.pages / samples;
            const std::uint64_t end = (i + 1) * block.pages / samples;
            block.samples.push_back({first + random() % (end - first), 0});
        }
        for (std::size_t i = 0; i < block.samples.size(); i += kPagesPerLock) {
            const system::MachineGuardIfNeeded guard(lock_);
            const std::size_t end = std::min(i + kPagesPerLock, block.samples.size());
            for (std::size_t j = i; j < end; ++j)
                if (Sample& s = block.samples[j]; s.page < block.ram->page_count())
                    s.hash = hash_of(*block.ram, s.page);
        }
    }
}

std::uint64_t PageSamples::changed_bytes() const
{
    double pages = 0;
    for (const Block& block : blocks_) {
        std::uint64_t changed = 0;
        for (std::size_t i = 0; i < block.samples.size(); i += kPagesPerLock) {
            const system::MachineGuardIfNeeded guard(lock_);
            const std::size_t end = std::min(i + kPagesPerLock, block.samples.size());
            for (std::size_t j = i; j < end; ++j)
                if (const Sample& s = block.samples[j]; s.page < block.ram->page_count())
                    changed += s.hash != hash_of(*block.ram, s.page);
        }
        pages += static_cast<double>(changed) * static_cast<double>(block.pages) /
                 static_cast<double>(block.samples.size());
    }
    return static_cast<std::uint64_t>(pages * kPageSize);
}

DirtyRate::DirtyRate(system::AddressSpace& memory, system::GuestMemory& ram, Clock& clock)
    : memory_(memory), ram_(ram), clock_(clock)
{}

DirtyRate::~DirtyRate()
{
    join();
}

void DirtyRate::join() noexcept
{
    if (!thread_.joinable())
        return;
    {
        const std::lock_guard guard(mutex_);
        thread_.request_stop();
    }
    stopping_.notify_all();
    if (memory_.lock().held()) {
        const system::MachineUnlock unlocked(memory_.lock());
        thread_.join();
    } else {
        thread_.join();
    }
}

Result<std::unique_ptr<DirtyProbe>> DirtyRate::open_log()
{
    // The probe re-arms write protection: under a migration, which reads pages in its own thread,
    // a write between its read and our re-arming would be lost.
    for (system::RamBlock* block : ram_.blocks())
        if (block->dirty().enabled(system::DirtyClient::Migration))
            return Error(Errc::Busy, "a migration reads the dirty log, use page-sampling instead.");
    auto probe = std::make_unique<DirtyProbe>(memory_, ram_);
    GW_TRY(probe->start());
    return probe;
}

Result<void> DirtyRate::start(const DirtyRateRequest& request)
{
    if (result().status == DirtyRateStatus::Measuring)
        return Error(Errc::BadState, "the dirty rate is already being measured.");
    if (thread_.joinable())
        thread_.join();  // it told its result, which is the last thing it does
    const system::MachineGuardIfNeeded lock(memory_.lock());
    std::unique_ptr<DirtyProbe> probe;
    if (request.mode != DirtyRateMode::PageSampling)
        probe = GW_TRY(open_log());
    {
        const std::lock_guard guard(mutex_);
        const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
        result_ = {.status = DirtyRateStatus::Measuring,
                   .request = request,
                   .start_s = since_1970 / std::chrono::seconds(1)};
    }
    thread_ =
        NamedThread("dirty-rate",
                    [this, request, probe = std::move(probe)](const std::stop_token& stop) mutable {
                        run(stop, request, std::move(probe));
                    });
    return ok();
}

DirtyRateResult DirtyRate::result() const
{
    const std::lock_guard guard(mutex_);
    return result_;
}

void DirtyRate::run(const std::stop_token& stop, const DirtyRateRequest& request,
                    std::unique_ptr<DirtyProbe> probe)
{
    const auto rate = probe ? logged(stop, request, *probe) : sampled(stop, request);
    probe.reset();
    const std::lock_guard guard(mutex_);
    result_.status = rate ? DirtyRateStatus::Measured : DirtyRateStatus::Unstarted;
    if (rate)
        result_.rate = *rate >> 20;
}

Result<std::uint64_t> DirtyRate::sampled(const std::stop_token& stop,
                                         const DirtyRateRequest& request)
{
    const PageSamples samples(memory_.lock(), ram_, request.sample_pages);
    const std::int64_t ns = GW_TRY(pause(stop, request.time_ms * 1'000'000));
    return per_second(samples.changed_bytes(), ns);
}

Result<std::uint64_t> DirtyRate::logged(const std::stop_token& stop,
                                        const DirtyRateRequest& request, DirtyProbe& probe)
{
    const std::int64_t ns = GW_TRY(pause(stop, request.time_ms * 1'000'000));
    return per_second(probe.read() * kPageSize, ns);
}

Result<std::int64_t> DirtyRate::pause(const std::stop_token& stop, std::int64_t ns)
{
    const std::int64_t from = clock_.now_ns();
    std::unique_lock guard(mutex_);
    while (!stop.stop_requested() && clock_.now_ns() < from + ns)
        clock_.wait(guard, stopping_, from + ns);
    if (stop.stop_requested())
        return Error(Errc::Cancelled, "stopped");
    return clock_.now_ns() - from;
}

}  // namespace godwit::migration
