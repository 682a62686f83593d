// SPDX-License-Identifier: LGPL-2.1-or-later
//
// calc-dirty-rate and query-dirty-rate.
#include "migration/qmp.h"
#include "system/accelerator.h"
#include "system/vm.h"

#include <fmt/format.h>

namespace godwit::migration {
namespace {

using MeasureMode = qapi::DirtyRateMeasureMode;

constexpr std::int64_t kDefaultSamplePages = 512;
constexpr std::int64_t kMinSamplePages = 128;
constexpr std::int64_t kMaxSamplePages = 16384;

DirtyRateMode from_qapi(MeasureMode mode)
{
    switch (mode) {
    case MeasureMode::PageSampling:
        return DirtyRateMode::PageSampling;
    case MeasureMode::DirtyRing:
        return DirtyRateMode::DirtyRing;
    default:
        return DirtyRateMode::DirtyBitmap;
    }
}

MeasureMode to_qapi(DirtyRateMode mode)
{
    switch (mode) {
    case DirtyRateMode::PageSampling:
        return MeasureMode::PageSampling;
    case DirtyRateMode::DirtyRing:
        return MeasureMode::DirtyRing;
    default:
        return MeasureMode::DirtyBitmap;
    }
}

qapi::DirtyRateStatus to_qapi(DirtyRateStatus status)
{
    switch (status) {
    case DirtyRateStatus::Unstarted:
        return qapi::DirtyRateStatus::Unstarted;
    case DirtyRateStatus::Measuring:
        return qapi::DirtyRateStatus::Measuring;
    default:
        return qapi::DirtyRateStatus::Measured;
    }
}

Result<std::int64_t> milliseconds(const qapi::CalcDirtyRateArgs& args)
{
    const bool whole =
        args.calc_time_unit.value_or(qapi::TimeUnit::Second) == qapi::TimeUnit::Second;
    const std::int64_t scale = whole ? 1000 : 1;
    if (args.calc_time < 0 || args.calc_time > kMaxDirtyRateMs / scale ||
        args.calc_time * scale < kMinDirtyRateMs)
        return Error(Errc::InvalidArgument,
                     fmt::format("Calculation time is out of range [{}ms, {}ms].", kMinDirtyRateMs,
                                 kMaxDirtyRateMs));
    return args.calc_time * scale;
}

Result<std::uint64_t> sample_pages(const qapi::CalcDirtyRateArgs& args, MeasureMode mode)
{
    if (args.sample_pages && mode != MeasureMode::PageSampling)
        return Error(Errc::InvalidArgument, "sample-pages is used only in page-sampling mode");
    const std::int64_t pages = args.sample_pages.value_or(kDefaultSamplePages);
    if (pages < kMinSamplePages || pages > kMaxSamplePages)
        return Error(Errc::InvalidArgument, fmt::format("sample-pages is out of range[{}, {}].",
                                                        kMinSamplePages, kMaxSamplePages));
    return mode == MeasureMode::PageSampling ? static_cast<std::uint64_t>(pages) : 0;
}

}  // namespace

// As in QEMU, a machine with a dirty ring has no dirty-bitmap mode, and one without has only that.
Result<void> MigrationQmp::calc_dirty_rate(const qapi::CalcDirtyRateArgs& args)
{
    if (dirty_rate_.result().status == DirtyRateStatus::Measuring)
        return Error(Errc::BadState, "the dirty rate is already being measured.");
    const MeasureMode mode = args.mode.value_or(MeasureMode::PageSampling);
    DirtyRateRequest request;
    request.mode = from_qapi(mode);
    request.time_ms = GW_TRY(milliseconds(args));
    request.sample_pages = GW_TRY(sample_pages(args, mode));
    const bool ring = vm_.accelerator() != nullptr && vm_.accelerator()->dirty_ring_size() != 0;
    if (mode == (ring ? MeasureMode::DirtyBitmap : MeasureMode::DirtyRing))
        return Error(Errc::Unsupported,
                     fmt::format("mode {} is not enabled, use other method instead.",
                                 qapi::to_string(mode)));
    return dirty_rate_.start(request);
}

Result<qapi::DirtyRateInfo> MigrationQmp::query_dirty_rate(const qapi::QueryDirtyRateArgs& args)
{
    const DirtyRateResult result = dirty_rate_.result();
    const qapi::TimeUnit unit = args.calc_time_unit.value_or(qapi::TimeUnit::Second);
    qapi::DirtyRateInfo info{};
    info.status = to_qapi(result.status);
    info.mode = to_qapi(result.request.mode);
    info.sample_pages = result.request.sample_pages;
    info.start_time = result.start_s;
    info.calc_time_unit = unit;
    info.calc_time = result.request.time_ms / (unit == qapi::TimeUnit::Second ? 1000 : 1);
    if (result.rate)
        info.dirty_rate = static_cast<std::int64_t>(*result.rate);
    return info;
}

}  // namespace godwit::migration
