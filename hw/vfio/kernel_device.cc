// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/kernel_device.h"

#include "hw/vfio/region_info.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <vector>

namespace godwit::hw::vfio {

namespace {

/// "The device does not know this" has a code of its own.
template <class T>
Result<T> unsupported_if_unknown(Result<T> result)
{
    if (!result && (result.error().os_errno() == ENOTTY || result.error().os_errno() == EOPNOTSUPP))
        return std::unexpected(std::move(result).error().with_code(Errc::Unsupported));
    return result;
}

}  // namespace

KernelDevice::KernelDevice(std::shared_ptr<Kernel> kernel, std::string name, UniqueFd fd,
                           std::chrono::milliseconds patience)
    : kernel_(std::move(kernel)), name_(std::move(name)), fd_(std::move(fd)),
      patient_(kernel_, patience)
{}

KernelDevice::~KernelDevice() = default;

Result<DeviceInfo> KernelDevice::device_info()
{
    AbiDeviceInfo info;
    GW_TRY(kernel_->call(fd_.get(), request::kDeviceGetInfo, info));
    if (info.num_regions > kMaxRegions || info.num_irqs > kMaxIrqIndexes)
        return Error(Errc::BadFormat,
                     fmt::format("{} regions and {} interrupt indexes are too many",
                                 info.num_regions, info.num_irqs));
    return DeviceInfo{.can_reset = (info.flags & kDeviceCanReset) != 0,
                      .is_pci = (info.flags & kDeviceIsPci) != 0,
                      .regions = info.num_regions,
                      .irqs = info.num_irqs};
}

// --- regions -----------------------------------------------------------------------------------

Result<RegionInfo> KernelDevice::region_info(std::uint32_t index)
{
    std::vector<std::byte> answer(sizeof(AbiRegionInfo));
    AbiRegionInfo fixed;
    for (int round = 0;; ++round) {
        fixed = {.argsz = static_cast<std::uint32_t>(answer.size()), .index = index};
        std::memcpy(answer.data(), &fixed, sizeof fixed);
        GW_TRY(with_context(kernel_->ioctl(fd_.get(), request::kDeviceGetRegionInfo, answer),
                            fmt::format("region {}", index)));
        std::memcpy(&fixed, answer.data(), sizeof fixed);
        if (fixed.argsz <= answer.size())
            break;
        if (fixed.argsz > kMaxRegionInfo || round == 2)
            return Error(Errc::BadFormat,
                         fmt::format("region {}: an answer of {} bytes", index, fixed.argsz));
        answer.resize(fixed.argsz);
    }
    RegionInfo region = GW_TRY(parse_region_info(answer, index));
    if (fixed.size > UINT64_MAX - fixed.offset)
        return Error(Errc::BadFormat, fmt::format("region {} wraps around", index));
    const std::lock_guard guard(places_lock_);
    places_[index] = {.offset = fixed.offset, .size = fixed.size};
    return region;
}

Result<KernelDevice::Place> KernelDevice::place(std::uint32_t index, std::uint64_t offset,
                                                std::uint64_t length)
{
    const auto known = [&]() -> std::optional<Place> {
        const std::lock_guard guard(places_lock_);
        const auto found = places_.find(index);
        return found != places_.end() ? std::optional(found->second) : std::nullopt;
    };
    std::optional<Place> found = known();
    if (!found) {
        GW_TRY(region_info(index));
        found = known();
    }
    if (offset > found->size || length > found->size - offset)
        return Error(
            Errc::InvalidArgument,
            fmt::format("{:#x} bytes at {:#x} are outside region {}", length, offset, index));
    return *found;
}

/// Regions behind those of PCI are the driver's own, and may make their user wait.
Kernel& KernelDevice::kernel_for(std::uint32_t region) noexcept
{
    return region < kFirstSpecialRegion ? *kernel_ : patient_;
}

Result<void> KernelDevice::region_read(std::uint32_t index, std::uint64_t offset,
                                       std::span<std::byte> into)
{
    const Place at = GW_TRY(place(index, offset, into.size()));
    while (!into.empty()) {
        const std::size_t got =
            GW_TRY(with_context(kernel_for(index).pread(fd_.get(), into, at.offset + offset),
                                fmt::format("region {} offset {:#x}", index, offset)));
        if (got == 0 || got > into.size())
            return Error(Errc::Truncated,
                         fmt::format("region {} gives {} bytes at {:#x}", index, got, offset));
        into = into.subspan(got);
        offset += got;
    }
    return {};
}

Result<void> KernelDevice::region_write(std::uint32_t index, std::uint64_t offset,
                                        std::span<const std::byte> from)
{
    const Place at = GW_TRY(place(index, offset, from.size()));
    while (!from.empty()) {
        const std::size_t put =
            GW_TRY(with_context(kernel_for(index).pwrite(fd_.get(), from, at.offset + offset),
                                fmt::format("region {} offset {:#x}", index, offset)));
        if (put == 0 || put > from.size())
            return Error(Errc::Truncated,
                         fmt::format("region {} takes {} bytes at {:#x}", index, put, offset));
        from = from.subspan(put);
        offset += put;
    }
    return {};
}

Result<RegionWindow> KernelDevice::region_window(std::uint32_t index, const RegionArea& area)
{
    const Place at = GW_TRY(place(index, area.offset, area.size));
    return RegionWindow
    {
        .fd = GW_TRY(fd_.dup())
        , .offset = at.offset + area.offset, .size = area.size
    };
}

// --- interrupts and reset ----------------------------------------------------------------------

Result<IrqInfo> KernelDevice::irq_info(std::uint32_t index)
{
    AbiIrqInfo info{.index = index};
    GW_TRY(with_context(kernel_->call(fd_.get(), request::kDeviceGetIrqInfo, info),
                        fmt::format("interrupt index {}", index)));
    if (info.count > kMaxVectors)
        return Error(Errc::BadFormat,
                     fmt::format("interrupt index {}: {} vectors", index, info.count));
    return IrqInfo{.index = index,
                   .count = info.count,
                   .eventfd = (info.flags & kIrqEventfd) != 0,
                   .maskable = (info.flags & kIrqMaskable) != 0,
                   .automasked = (info.flags & kIrqAutomasked) != 0,
                   .noresize = (info.flags & kIrqNoResize) != 0};
}

Result<void> KernelDevice::set_irqs(const IrqRequest& request)
{
    AbiIrqSet header{.index = request.index, .start = request.start, .count = request.count};
    header.flags = request.action == IrqAction::Mask     ? kIrqSetMask
                   : request.action == IrqAction::Unmask ? kIrqSetUnmask
                                                         : kIrqSetTrigger;
    std::span<const std::byte> data;
    if (!request.eventfds.empty()) {
        header.flags |= kIrqSetEventfd;
        header.count = static_cast<std::uint32_t>(request.eventfds.size());
        data = std::as_bytes(request.eventfds);
    } else if (!request.fire.empty()) {
        header.flags |= kIrqSetBool;
        header.count = static_cast<std::uint32_t>(request.fire.size());
        data = std::as_bytes(request.fire);
    } else {
        header.flags |= kIrqSetNone;
    }
    std::vector<std::byte> argument(sizeof header + data.size());
    header.argsz = static_cast<std::uint32_t>(argument.size());
    std::memcpy(argument.data(), &header, sizeof header);
    if (!data.empty())
        std::memcpy(argument.data() + sizeof header, data.data(), data.size());
    GW_TRY(with_context(kernel_->ioctl(fd_.get(), request::kDeviceSetIrqs, argument),
                        fmt::format("interrupt index {}", request.index)));
    return {};
}

Result<void> KernelDevice::reset()
{
    if (patient_.hangs())  // this would hang as well
        return Error(Errc::TimedOut, "VFIO_DEVICE_RESET: the driver has not come back from an "
                                     "earlier call");
    GW_TRY(kernel_->ioctl_number(fd_.get(), request::kDeviceReset, 0));
    const std::lock_guard guard(data_lock_);
    data_fd_.reset();
    state_ = MigrationState::Running;
    return {};
}

// --- features ----------------------------------------------------------------------------------

Result<void> KernelDevice::feature(std::uint16_t number, std::uint32_t verb,
                                   std::span<std::byte> payload)
{
    std::vector<std::byte> argument(sizeof(AbiFeature) + payload.size());
    const AbiFeature header{.argsz = static_cast<std::uint32_t>(argument.size()),
                            .flags = number | verb};
    std::memcpy(argument.data(), &header, sizeof header);
    if (!payload.empty())
        std::memcpy(argument.data() + sizeof header, payload.data(), payload.size());
    const bool migration = number == kFeatureMigDeviceState || number == kFeatureMigDataSize;
    Kernel& kernel = migration ? patient_ : *kernel_;
    GW_TRY(unsupported_if_unknown(
        with_context(kernel.ioctl(fd_.get(), request::kDeviceFeature, argument),
                     fmt::format("device feature {}", number))));
    if (!payload.empty())
        std::memcpy(payload.data(), argument.data() + sizeof header, payload.size());
    return {};
}

Result<bool> KernelDevice::feature_probe(std::uint16_t number, std::uint32_t verbs)
{
    const Result<void> answer = feature(number, kFeatureProbe | verbs, {});
    if (answer)
        return true;
    if (answer.error().code() == Errc::Unsupported || answer.error().os_errno() == EINVAL)
        return false;
    return std::unexpected(answer.error());
}

Result<void> KernelDevice::feature_get(std::uint16_t number, std::span<std::byte> into)
{
    return feature(number, kFeatureGet, into);
}

Result<void> KernelDevice::feature_set(std::uint16_t number, std::span<const std::byte> from)
{
    std::vector<std::byte> payload(from.begin(), from.end());
    return feature(number, kFeatureSet, payload);
}

// --- device DMA logging ------------------------------------------------------------------------

Result<DeviceBackend::LogRules> KernelDevice::log_rules()
{
    LogRules rules;
    rules.available = GW_TRY(feature_probe(kFeatureDmaLoggingStart, kFeatureSet))
    &&GW_TRY(feature_probe(kFeatureDmaLoggingStop, kFeatureSet))
    &&GW_TRY(feature_probe(kFeatureDmaLoggingReport, kFeatureGet));
    return rules;
}

Result<std::uint64_t> KernelDevice::log_start(std::uint64_t page_size,
                                              std::span<const DmaRange> ranges)
{
    std::vector<AbiLoggingRange> list;
    list.reserve(ranges.size());
    for (const DmaRange& range : ranges)
        list.push_back({.iova = range.iova, .length = range.size});
    AbiLoggingStart start{.page_size = page_size,
                          .num_ranges = static_cast<std::uint32_t>(list.size()),
                          .ranges = reinterpret_cast<std::uintptr_t>(list.data())};
    GW_TRY(feature(kFeatureDmaLoggingStart, kFeatureSet,
                   std::as_writable_bytes(std::span(&start, 1))));
    return start.page_size;
}

Result<void> KernelDevice::log_stop()
{
    return feature(kFeatureDmaLoggingStop, kFeatureSet, {});
}

Result<void> KernelDevice::log_report(std::uint64_t iova, PageBits& into)
{
    AbiLoggingReport report{.iova = iova,
                            .length = into.length(),
                            .page_size = into.page_size(),
                            .bitmap = reinterpret_cast<std::uintptr_t>(into.words())};
    return feature(kFeatureDmaLoggingReport, kFeatureGet,
                   std::as_writable_bytes(std::span(&report, 1)));
}

}  // namespace godwit::hw::vfio
