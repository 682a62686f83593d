// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/patient_kernel.h"

#include "hw/vfio/abi.h"

#include <algorithm>
#include <cstring>

namespace godwit::hw::vfio {

namespace {

Result<std::size_t> as_bytes(Result<int> answer)
{
    return static_cast<std::size_t>(GW_TRY(std::move(answer)));
}

}  // namespace

/// One call and its bytes. Whoever lets go of it last frees it: the caller, or a driver that came
/// back late.
struct PatientKernel::Call {
    Call(Work the_work, std::vector<std::byte> the_memory, std::size_t size, bool may_open)
        : work(std::move(the_work)), memory(std::move(the_memory)), opens(may_open)
    {
        if (memory.size() < size)
            memory.resize(size);
        bytes = std::span(memory).first(size);
    }
    ~Call()
    {
        AbiMigDeviceState state;
        if (taken || !opens || !result)
            return;
        std::memcpy(&state, bytes.data() + sizeof(AbiFeature), sizeof state);
        UniqueFd(state.data_fd).reset();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    Work work;
    std::vector<std::byte> memory;
    std::span<std::byte> bytes;
    Result<std::size_t> result = 0;
    bool opens;          // its answer may hold a data_fd
    bool taken = false;  // by the caller
};

Result<std::size_t> PatientKernel::make(std::string what, std::span<const std::byte> from,
                                        std::span<std::byte> into, Work work, bool opens)
{
    const std::lock_guard guard(turn_);
    const auto now = std::chrono::steady_clock::now();
    const auto deadline = now + patience_;
    const auto call = std::make_shared<Call>(std::move(work), std::exchange(spare_, {}),
                                             std::max(from.size(), into.size()), opens);
    std::ranges::copy(from, call->bytes.begin());
    GW_TRY(calls_.submit(
        std::move(what),
        [call] {
            call->result = call->work(call->bytes);
            return ok();
        },
        hangs() ? now : deadline));
    if (auto done = calls_.await(deadline); !done) {
        gave_up_ = true;
        return std::unexpected(std::move(done).error());
    }
    gave_up_ = false;
    call->taken = true;
    const bool reads = from.empty();  // and says how much
    const std::size_t came = reads && call->result ? *call->result : into.size();
    std::copy_n(call->bytes.begin(), std::min(came, into.size()), into.begin());
    spare_ = std::move(call->memory);
    return std::move(call->result);
}

Result<int> PatientKernel::ioctl(int fd, unsigned long request, std::span<std::byte> argument)
{
    AbiFeature head;
    bool opens = false;
    if (request == request::kDeviceFeature &&
        argument.size() == sizeof head + sizeof(AbiMigDeviceState)) {
        std::memcpy(&head, argument.data(), sizeof head);
        opens = head.flags == (kFeatureSet | kFeatureMigDeviceState);
    }
    const Work work = [kernel = kernel_, fd, request](std::span<std::byte> bytes) {
        return as_bytes(kernel->ioctl(fd, request, bytes));
    };
    const std::string what(request_name(request));
    return static_cast<int>(GW_TRY(make(what, argument, argument, work, opens)));
}

Result<int> PatientKernel::ioctl_number(int fd, unsigned long request, unsigned long number)
{
    const Work work = [kernel = kernel_, fd, request, number](std::span<std::byte>) {
        return as_bytes(kernel->ioctl_number(fd, request, number));
    };
    const std::string what(request_name(request));
    return static_cast<int>(GW_TRY(make(what, {}, {}, work)));
}

Result<std::size_t> PatientKernel::pread(int fd, std::span<std::byte> into, std::uint64_t offset)
{
    return make("reading a region", {}, into,
                [kernel = kernel_, fd, offset](std::span<std::byte> bytes) {
                    return kernel->pread(fd, bytes, offset);
                });
}

Result<std::size_t> PatientKernel::pwrite(int fd, std::span<const std::byte> from,
                                          std::uint64_t offset)
{
    return make("writing a region", from, {},
                [kernel = kernel_, fd, offset](std::span<std::byte> bytes) {
                    return kernel->pwrite(fd, bytes, offset);
                });
}

Result<std::size_t> PatientKernel::read(int fd, std::span<std::byte> into)
{
    return make(
        "reading migration data", {}, into,
        [kernel = kernel_, fd](std::span<std::byte> bytes) { return kernel->read(fd, bytes); });
}

Result<std::size_t> PatientKernel::write(int fd, std::span<const std::byte> from)
{
    return make(
        "writing migration data", from, {},
        [kernel = kernel_, fd](std::span<std::byte> bytes) { return kernel->write(fd, bytes); });
}

}  // namespace godwit::hw::vfio
