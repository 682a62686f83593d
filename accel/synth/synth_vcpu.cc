// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/synth_vcpu.h"

#include "accel/synth/page_content.h"
#include "migration/stream/registry.h"
#include "system/vm.h"
#include "util/log.h"

#include <cstring>
#include <ctime>
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace godwit::accel::synth {
namespace {

/// Accesses between two looks at the clock.
constexpr unsigned kBatch = 64;
constexpr std::uint64_t kThrottleSliceNs = 1'000'000;
/// A thread that was kept from the processor for longer has not worked all that time.
constexpr std::uint64_t kLongestSliceNs = 10'000'000;

std::uint64_t now_ns() noexcept
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

SynthVcpu::SynthVcpu(system::RamBlock& block, const WorkloadSpec& spec, unsigned index,
                     unsigned vcpus, EventFd wake)
    : block_(block), index_(index), vcpus_(vcpus), wake_(std::move(wake))
{
    state_.vcpus = vcpus;
    state_.block_bytes = block.used_length();
    state_.set_spec(spec);
    adopt_state();
}

SynthVcpu::~SynthVcpu()
{
    SynthVcpu::unrealize();
}

/// Takes state_ as what the thread goes on with. While paused.
void SynthVcpu::adopt_state()
{
    const WorkloadSpec spec = state_.spec();
    work_ = std::make_unique<VcpuWorkload>(spec, index_, vcpus_);
    pacer_.emplace(spec, vcpus_, state_.phase_ns);
    accesses_.store(state_.accesses);
    wrong_reads_.store(state_.wrong_reads);
    first_wrong_page_.store(state_.first_wrong_page);
}

Result<void> SynthVcpu::realize()
{
    thread_ = NamedThread(fmt::format("CPU {}/synth", index_),
                          [this](const std::stop_token& stop) { run(stop); });
    return {};
}

void SynthVcpu::unrealize() noexcept
{
    if (!thread_.joinable())
        return;
    pause_wanted_.store(true);
    thread_.request_stop();
    wake_.signal();
    thread_.join();
    tid_.store(0);
}

void SynthVcpu::request_pause() noexcept
{
    pause_wanted_.store(true);
    wake_.signal();
}

void SynthVcpu::wait_paused()
{
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return paused_; });
    save_counters();
}

void SynthVcpu::resume() noexcept
{
    std::lock_guard guard(mutex_);
    claim_working_set();
    pause_wanted_.store(false);
    changed_.notify_all();
}

void SynthVcpu::set_throttle(unsigned percent) noexcept
{
    throttle_percent_.store(std::min(percent, 99u));
    wake_.signal();
}

/// Before the first access of all: pages that were never written are zero from now on, whatever a
/// loader put there. A workload that came in a stream has claimed its pages on the other side.
void SynthVcpu::claim_working_set() noexcept
{
    if (std::exchange(state_.started, true))
        return;
    const std::uint64_t offset = work_->first_page() * kPageBytes;
    const std::uint64_t length = work_->pages() * kPageBytes;
    const bool whole_pages = offset % block_.page_size() == 0 && length % block_.page_size() == 0;
    if (whole_pages && block_.discard(offset, length))
        return block_.mark_dirty(offset, length);
    std::memset(block_.host() + offset, 0, length);
    block_.mark_dirty(offset, length);
}

/// What the thread counted goes into state_. While paused.
void SynthVcpu::save_counters()
{
    state_.accesses = accesses_.load();
    state_.wrong_reads = wrong_reads_.load();
    state_.first_wrong_page = first_wrong_page_.load();
    state_.phase_ns = pacer_->phase_ns();
}

void SynthVcpu::run(const std::stop_token& stop)
{
    tid_.store(static_cast<int>(::syscall(SYS_gettid)));
    last_ns_ = now_ns();
    while (!stop.stop_requested()) {
        if (pause_wanted_.load())
            wait_until_resumed(stop);
        else
            work_slice();
    }
    std::lock_guard guard(mutex_);
    paused_ = true;
    changed_.notify_all();
}

void SynthVcpu::wait_until_resumed(const std::stop_token& stop)
{
    std::unique_lock lock(mutex_);
    if (!pause_wanted_.load())
        return;  // it was only a short wish
    paused_ = true;
    changed_.notify_all();
    changed_.wait(lock, stop, [this] { return !pause_wanted_.load(); });
    paused_ = false;
    wake_.drain();
    last_ns_ = now_ns();
}

/// Waits, but for no longer than until somebody wants something.
void SynthVcpu::sleep_ns(std::uint64_t ns) const noexcept
{
    pollfd wake{.fd = wake_.poll_fd(), .events = POLLIN, .revents = 0};
    const timespec wait{.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
                        .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
    if (::ppoll(&wake, 1, &wait, nullptr) > 0)
        wake_.drain();
}

/// Time passes, then what may be done is done. Guest time stands while the vCPU is throttled, so
/// that a rate is throttled as well.
void SynthVcpu::work_slice()
{
    const std::uint64_t now = now_ns();
    pacer_->advance(now - last_ns_);
    unslept_ns_ += now - last_ns_;
    last_ns_ = now;
    if (const unsigned percent = throttle_percent_.load(std::memory_order_relaxed); percent == 0) {
        unslept_ns_ = 0;
    } else if (unslept_ns_ >= kThrottleSliceNs) {
        sleep_ns(std::min(unslept_ns_, kLongestSliceNs) * percent / (100 - percent));
        unslept_ns_ = 0;
        last_ns_ = now_ns();
        return;
    }
    if (const std::uint64_t wait = pacer_->wait_ns(); wait != 0)
        return sleep_ns(wait);
    std::uint64_t index = accesses_.load(std::memory_order_relaxed);
    for (unsigned i = 0; i < kBatch && pacer_->may_write(); ++i) {
        if (pause_wanted_.load(std::memory_order_relaxed))
            return;
        const Access access = work_->access(index);
        do_access(access);
        if (access.write)
            pacer_->wrote();
        accesses_.store(++index, std::memory_order_relaxed);
    }
}

void SynthVcpu::do_access(const Access& access)
{
    std::byte* page = block_.host() + access.page * kPageBytes;
    if (access.write) {
        fill_page(page, page_base(work_->seed(), access.page, access.generation));
        block_.dirty().mark({access.page, 1});
        return;
    }
    const bool wrong =
        access.generation == 0
            ? first_nonzero_word(page).has_value()
            : first_wrong_word(page, page_base(work_->seed(), access.page, access.generation))
                  .has_value();
    if (wrong && wrong_reads_.fetch_add(1) == 0) {
        first_wrong_page_.store(access.page);
        vm().log().error(fmt::format("synth: vCPU {} read a wrong page at {:#x} of '{}'", index_,
                                     access.page * kPageBytes, block_.id()));
    }
}

CheckResult SynthVcpu::check() const
{
    if (!state_.started)
        return {};
    return check_pages(block_.host(), *work_, index_, accesses());
}

std::string SynthVcpu::describe_registers() const
{
    const WorkloadSpec spec = state_.spec();
    return fmt::format("pattern={} start={:#x} working-set={:#x} rate={} reads={}% seed={}\n"
                       "pages={:#x}+{:#x} accesses={} writes={} wrong-reads={}\n",
                       to_string(spec.pattern), spec.start, spec.working_set, spec.rate, spec.reads,
                       spec.seed, work_->first_page(), work_->pages(), accesses(), writes(),
                       wrong_reads());
}

Result<void> SynthVcpu::validate(const SynthCpuState& loaded) const
{
    if (loaded.vcpus != vcpus_)
        return Error(Errc::InvalidArgument,
                     fmt::format("the workload runs on {} vCPUs, this machine has {}", loaded.vcpus,
                                 vcpus_));
    return synth::check(loaded.spec(), block_.used_length(), vcpus_);
}

Result<void> SynthVcpu::register_state(migration::stream::StateRegistry& registry)
{
    keep(GW_TRY(
        registry.add(synth_cpu_vmstate(), state_, {.instance_id = index_},
                     {.pre_save =
                          [this] {
                              if (pause_wanted_.load())
                                  save_counters();
                              return ok();
                          },
                      .validate = [this](const SynthCpuState& loaded) { return validate(loaded); },
                      .post_load =
                          [this](migration::stream::Version) {
                              adopt_state();
                              return ok();
                          }})));
    return {};
}

}  // namespace godwit::accel::synth
