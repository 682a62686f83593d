// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/device_backend.h"

namespace godwit::hw::vfio {

namespace {

/// For back ends that can only do it all at once.
class LateRead final : public DataTransfer {
public:
    LateRead(DeviceBackend& device, std::span<std::byte> into) : device_(device), into_(into) {}
    Result<DataRead> await() override { return device_.data_read(into_); }

private:
    DeviceBackend& device_;
    std::span<std::byte> into_;
};

class DoneWrite final : public DataTransfer {
public:
    explicit DoneWrite(std::size_t bytes) : bytes_(bytes) {}
    Result<DataRead> await() override { return DataRead{.bytes = bytes_}; }

private:
    std::size_t bytes_;
};

}  // namespace

Result<std::unique_ptr<DataTransfer>> DeviceBackend::begin_read(std::span<std::byte> into)
{
    return std::make_unique<LateRead>(*this, into);
}

Result<std::unique_ptr<DataTransfer>> DeviceBackend::begin_write(std::span<const std::byte> from)
{
    GW_TRY(data_write(from));
    return std::make_unique<DoneWrite>(from.size());
}

}  // namespace godwit::hw::vfio
