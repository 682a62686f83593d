// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Calls into a driver that may not come back.
#pragma once

#include "hw/vfio/kernel.h"
#include "hw/vfio/state_worker.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>

namespace godwit::hw::vfio {

/// A Kernel whose ioctl(), read(), write(), pread() and pwrite() are waited for no longer than
/// `patience`: a thread of its own makes them, on copies of what the caller handed over. Nobody can
/// make a driver come back; a descriptor that it opens too late is closed.
///
/// Threads  any; one call at a time, the others wait.
/// Errors   TimedOut, naming the call; and from all calls at once until that one has come back.
class PatientKernel final : public Kernel {
public:
    PatientKernel(std::shared_ptr<Kernel> kernel, std::chrono::milliseconds patience)
        : kernel_(std::move(kernel)), patience_(patience)
    {}
    /// A call was given up and has not come back.
    bool hangs() const { return gave_up_ && calls_.busy(); }

    Result<UniqueFd> open(const std::string& path) override { return kernel_->open(path); }
    Result<std::string> read_link(const std::string& path) override
    {
        return kernel_->read_link(path);
    }
    Result<std::vector<std::string>> list_dir(const std::string& path) override
    {
        return kernel_->list_dir(path);
    }
    Result<int> ioctl(int fd, unsigned long request, std::span<std::byte> argument) override;
    Result<int> ioctl_number(int fd, unsigned long request, unsigned long number) override;
    Result<std::size_t> pread(int fd, std::span<std::byte> into, std::uint64_t offset) override;
    Result<std::size_t> pwrite(int fd, std::span<const std::byte> from,
                               std::uint64_t offset) override;
    Result<std::size_t> read(int fd, std::span<std::byte> into) override;
    Result<std::size_t> write(int fd, std::span<const std::byte> from) override;

private:
    struct Call;
    using Work = std::function<Result<std::size_t>(std::span<std::byte>)>;
    /// `work` gets a copy of `from`, and room for `into`, which gets what is there afterwards.
    Result<std::size_t> make(std::string what, std::span<const std::byte> from,
                             std::span<std::byte> into, Work work, bool opens = false);

    std::shared_ptr<Kernel> kernel_;
    std::chrono::milliseconds patience_;
    std::atomic<bool> gave_up_{false};
    std::mutex turn_;                 // held over a whole call
    std::vector<std::byte> spare_;    // turn_: memory that the last call used
    StateWorker calls_{"vfio/call"};  // last: its task uses the rest
};

}  // namespace godwit::hw::vfio
