// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A vCPU that runs the memory workload natively in a thread of this process.
#pragma once

#include "accel/synth/check.h"
#include "accel/synth/pacer.h"
#include "accel/synth/synth_state.h"
#include "system/accelerator.h"
#include "system/guest_memory.h"
#include "util/event_fd.h"
#include "util/thread.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

namespace godwit::accel::synth {

/// One vCPU.
///
/// Threads  "CPU n/synth" makes one access after the other: it writes a page, then marks it dirty,
///          then counts it. A pause takes effect between two accesses, so that the counters and
///          memory always agree. It never takes the machine lock.
/// Reset    keeps memory and counters, as RAM keeps its contents over a reset.
/// State    `synth-cpu`.
class SynthVcpu : public system::Vcpu {
public:
    SynthVcpu(system::RamBlock& block, const WorkloadSpec& spec, unsigned index, unsigned vcpus,
              EventFd wake);
    ~SynthVcpu() override;

    unsigned index() const noexcept override { return index_; }
    int thread_id() const noexcept override { return tid_.load(std::memory_order_relaxed); }
    bool halted() const noexcept override { return false; }
    void request_pause() noexcept override;
    void wait_paused() override;
    void resume() noexcept override;
    void kick() noexcept override { wake_.signal(); }
    std::string describe_registers() const override;
    void set_throttle(unsigned percent) noexcept override;

    /// Accesses so far, of which so many wrote. Any thread.
    std::uint64_t accesses() const noexcept { return accesses_.load(std::memory_order_relaxed); }
    std::uint64_t writes() const noexcept { return writes_of(accesses()); }
    std::uint64_t writes_of(std::uint64_t accesses) const noexcept
    {
        return work_->writes(accesses);
    }
    /// Pages the workload read and found wrong.
    std::uint64_t wrong_reads() const noexcept
    {
        return wrong_reads_.load(std::memory_order_relaxed);
    }
    bool started() const noexcept { return state_.started; }
    WorkloadSpec spec() const { return state_.spec(); }

    /// All pages of this vCPU. While paused; nothing is checked before the workload first ran.
    CheckResult check() const;

protected:
    Result<void> realize() override;
    void unrealize() noexcept override;
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

private:
    void run(const std::stop_token& stop);
    void wait_until_resumed(const std::stop_token& stop);
    void work_slice();
    void do_access(const Access& access);
    void sleep_ns(std::uint64_t ns) const noexcept;
    void claim_working_set() noexcept;
    void save_counters();
    Result<void> validate(const SynthCpuState& loaded) const;
    void adopt_state();

    system::RamBlock& block_;
    const unsigned index_;
    const unsigned vcpus_;
    SynthCpuState state_;  ///< while paused the truth, else that of the last pause
    std::unique_ptr<VcpuWorkload> work_;
    std::optional<Pacer> pacer_;
    EventFd wake_;

    std::mutex mutex_;  // guards paused_
    std::condition_variable_any changed_;
    bool paused_ = false;
    std::atomic<bool> pause_wanted_{true};
    std::atomic<unsigned> throttle_percent_{0};
    std::atomic<std::uint64_t> accesses_{0};
    std::atomic<std::uint64_t> wrong_reads_{0};
    std::atomic<std::uint64_t> first_wrong_page_{0};
    std::atomic<int> tid_{0};
    std::uint64_t last_ns_ = 0;     ///< when guest time was last counted; own thread
    std::uint64_t unslept_ns_ = 0;  ///< guest time since the last throttle sleep; own thread
    NamedThread thread_;            // last, so that it joins first
};

}  // namespace godwit::accel::synth
