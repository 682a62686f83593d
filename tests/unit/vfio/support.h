// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Shorthand of this folder's tests.
#pragma once

#include "hw/vfio/kernel_device.h"
#include "tests/unit/vfio/kernel/state_stream.h"
#include "tests/unit/vfio/kernel/test_kernel.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace godwit::hw::vfio::test {

/// Fails the test with the error's text.
#define VFIO_OK(expression)                                  \
    do {                                                     \
        const auto vfio_ok_ = (expression);                  \
        ASSERT_TRUE(vfio_ok_) << vfio_ok_.error().message(); \
    } while (false)

template <class T>
T must(Result<T> result)
{
    if (!result) {
        ADD_FAILURE() << result.error().message();
        std::abort();
    }
    return std::move(*result);
}

template <class T>
std::string message_of(const Result<T>& result)
{
    return result ? "no error" : result.error().message();
}

inline std::vector<std::byte> bytes_of(std::string_view text)
{
    const auto raw = std::as_bytes(std::span(text));
    return {raw.begin(), raw.end()};
}

/// A kernel with one group opened through a type1 container, down to the device.
struct OpenDevice {
    explicit OpenDevice(DeviceSpec spec, std::shared_ptr<TestKernel> on = nullptr)
        : kernel(on ? std::move(on) : std::make_shared<TestKernel>()), device(kernel->add(spec))
    {
        container = must(kernel->open("/dev/vfio/vfio"));
        group = must(kernel->open("/dev/vfio/" + std::to_string(spec.group)));
        int number = container.get();
        must(kernel->call(group.get(), request::kGroupSetContainer, number));
        must(kernel->ioctl_number(container.get(), request::kSetIommu, kType1v2Iommu));
        std::array<char, 32> name{};
        spec.address.copy(name.data(), name.size() - 1);
        const int fd = must(kernel->ioctl(group.get(), request::kGroupGetDeviceFd,
                                          std::as_writable_bytes(std::span(name))));
        backend = std::make_unique<KernelDevice>(kernel, spec.address, UniqueFd(fd));
    }
    std::shared_ptr<TestKernel> kernel;
    TestDevice& device;
    UniqueFd container;
    UniqueFd group;
    std::unique_ptr<KernelDevice> backend;
};

}  // namespace godwit::hw::vfio::test
