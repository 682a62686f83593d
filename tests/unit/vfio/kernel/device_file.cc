// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/vfio/kernel/device_file.h"

#include "hw/vfio/abi.h"
#include "tests/unit/vfio/kernel/dma_space.h"
#include "tests/unit/vfio/kernel/migration_engine.h"
#include "tests/unit/vfio/kernel/test_kernel.h"

#include <algorithm>
#include <bit>
#include <sys/mman.h>
#include <unistd.h>

namespace godwit::hw::vfio::test {

namespace {

constexpr std::uint32_t kRegions = 9;
constexpr std::uint32_t kIrqs = 5;
constexpr std::uint64_t kPage = 4096;

void append(std::vector<std::byte>& to, const void* data, std::size_t size)
{
    const auto* bytes = static_cast<const std::byte*>(data);
    to.insert(to.end(), bytes, bytes + size);
}

/// {header, payload} appended to the chain of an answer that began as AbiRegionInfo.
void append_capability(std::vector<std::byte>& answer, std::uint32_t& last, std::uint16_t id,
                       const std::vector<std::byte>& payload)
{
    const auto at = static_cast<std::uint32_t>(answer.size());
    std::memcpy(answer.data() + last, &at, sizeof at);
    const AbiCapHeader header{.id = id, .version = 1};
    append(answer, &header, sizeof header);
    append(answer, payload.data(), payload.size());
    last = at + 4;  // AbiCapHeader::next
}

std::vector<std::byte> sparse(const std::vector<RegionArea>& areas)
{
    std::vector<std::byte> payload;
    const std::uint32_t head[2] = {static_cast<std::uint32_t>(areas.size()), 0};
    append(payload, head, sizeof head);
    for (const RegionArea& area : areas)
        append(payload, &area, sizeof area);
    return payload;
}

}  // namespace

DeviceFile::DeviceFile(TestKernel& kernel, std::shared_ptr<TestDevice> device, bool cdev)
    : File(kernel), device_(std::move(device)), cdev_(cdev)
{
    if (auto copy = device_->memory.dup())
        fd = std::move(*copy);
}

DeviceFile::~DeviceFile() = default;

int DeviceFile::ioctl(unsigned long request, std::span<std::byte> argument)
{
    if (device_->faults.gone)
        return -ENODEV;
    if (cdev_ && request == request::kDeviceBindIommufd)
        return bind(argument);
    if (cdev_ && !iommufd_)
        return -EINVAL;
    switch (request) {
    case request::kDeviceGetInfo:
        return info(argument);
    case request::kDeviceGetRegionInfo:
        return region_info(argument);
    case request::kDeviceGetIrqInfo:
        return irq_info(argument);
    case request::kDeviceSetIrqs:
        return set_irqs(argument);
    case request::kDeviceFeature:
        return feature(argument);
    case request::kDeviceAttachPt:
        return cdev_ ? attach(argument) : -ENOTTY;
    case request::kDeviceDetachPt:
        return cdev_ ? detach() : -ENOTTY;
    default:
        return -ENOTTY;
    }
}

int DeviceFile::ioctl_number(unsigned long request, unsigned long)
{
    if (request != request::kDeviceReset || !device_->spec().can_reset)
        return -ENOTTY;
    if (device_->faults.gone)
        return -ENODEV;
    if (device_->faults.reset != 0)
        return -device_->faults.reset;
    ++device_->reset_count;
    device_->engine->reset();
    const std::uint16_t command = 0;
    (void)!::pwrite(fd.get(), &command, sizeof command,
                    static_cast<off_t>(region_offset(kConfigRegion) + 4));
    return 0;
}

// --- information -------------------------------------------------------------------------------

int DeviceFile::info(std::span<std::byte> argument)
{
    AbiDeviceInfo info;
    if (!get_argument(argument, info, 16))
        return -EINVAL;
    const bool v1 = device_->spec().dialect == Dialect::V1;
    info = {.flags = kDeviceIsPci | (device_->spec().can_reset ? kDeviceCanReset : 0),
            .num_regions = kRegions + (v1 ? 1 : 0),
            .num_irqs = kIrqs};
    put_argument(argument, info);
    return 0;
}

std::uint64_t DeviceFile::region_size(std::uint32_t index) const
{
    const DeviceSpec& spec = device_->spec();
    if (index < 6)
        return spec.bars[index].size;
    if (index == kConfigRegion)
        return spec.config_size;
    if (index == kFirstSpecialRegion && spec.dialect == Dialect::V1)
        return MigrationEngine::kV1Data + spec.v1_window;
    return 0;
}

int DeviceFile::region_info(std::span<std::byte> argument)
{
    AbiRegionInfo asked;
    if (!get_argument(argument, asked))
        return -EINVAL;
    const DeviceSpec& spec = device_->spec();
    const bool migration = asked.index == kFirstSpecialRegion && spec.dialect == Dialect::V1;
    if (asked.index >= kRegions && !migration)
        return -EINVAL;
    AbiRegionInfo region{.flags = 0,
                         .index = asked.index,
                         .size = region_size(asked.index),
                         .offset = region_offset(asked.index)};
    if (region.size != 0)
        region.flags = kRegionRead | kRegionWrite;
    std::vector<std::byte> answer;
    append(answer, &region, sizeof region);
    std::uint32_t last = offsetof(AbiRegionInfo, cap_offset);
    std::vector<RegionArea> areas;
    if (asked.index < 6) {
        areas = spec.bars[asked.index].areas;
        if (spec.bars[asked.index].whole_mmap)
            region.flags |= kRegionMmap;
    }
    if (migration) {
        const std::uint32_t type[2] = {kMigrationRegionType, kMigrationRegionSubtype};
        std::vector<std::byte> payload;
        append(payload, type, sizeof type);
        append_capability(answer, last, kRegionCapType, payload);
        if (spec.v1_mapped)
            areas = {{MigrationEngine::kV1Data, spec.v1_window}};
    }
    if (!areas.empty()) {
        region.flags |= kRegionMmap;
        append_capability(answer, last, kRegionCapSparse, sparse(areas));
    }
    if (answer.size() > sizeof region)
        region.flags |= kRegionCaps;
    std::memcpy(&region.cap_offset, answer.data() + offsetof(AbiRegionInfo, cap_offset), 4);
    region.argsz = static_cast<std::uint32_t>(answer.size());
    const bool fits = asked.argsz >= answer.size();
    if (!fits)
        region.cap_offset = 0;
    std::memcpy(answer.data(), &region, sizeof region);
    std::memcpy(argument.data(), answer.data(), fits ? answer.size() : sizeof region);
    return 0;
}

int DeviceFile::irq_info(std::span<std::byte> argument)
{
    AbiIrqInfo info;
    if (!get_argument(argument, info) || info.index >= kIrqs)
        return -EINVAL;
    info.count = static_cast<std::uint32_t>(device_->irqs[info.index].fds.size());
    info.flags =
        kIrqEventfd | (info.index == kIntxIrq ? kIrqMaskable | kIrqAutomasked : kIrqNoResize);
    put_argument(argument, info);
    return 0;
}

// --- interrupts --------------------------------------------------------------------------------

int DeviceFile::set_irqs(std::span<std::byte> argument)
{
    AbiIrqSet set;
    if (!get_argument(argument, set) || set.index >= kIrqs)
        return -EINVAL;
    const std::uint32_t data = set.flags & (kIrqSetNone | kIrqSetBool | kIrqSetEventfd);
    const std::uint32_t action = set.flags & (kIrqSetMask | kIrqSetUnmask | kIrqSetTrigger);
    TestDevice::Irq& irq = device_->irqs[set.index];
    if (!std::has_single_bit(data) || !std::has_single_bit(action) || set.start > irq.fds.size() ||
        set.count > irq.fds.size() - set.start)
        return -EINVAL;
    const std::size_t width = data == kIrqSetEventfd ? 4 : data == kIrqSetBool ? 1 : 0;
    if (set.argsz < sizeof set + width * set.count)
        return -EINVAL;
    for (std::uint32_t other = 0; other < 3; ++other)  // one kind of interrupt at a time
        if (set.index < 3 && other != set.index && device_->irqs_armed(other) != 0)
            return -EINVAL;
    if (action != kIrqSetTrigger) {
        if (set.index != kIntxIrq)
            return -ENOTTY;
        if (data == kIrqSetEventfd) {
            int eventfd = -1;
            std::memcpy(&eventfd, argument.data() + sizeof set, sizeof eventfd);
            if (!device_->takes_unmask_eventfd || action != kIrqSetUnmask || set.count != 1 ||
                device_->irqs_armed(kIntxIrq) == 0)
                return -EINVAL;
            auto copy = eventfd >= 0 ? UniqueFd::dup_of(eventfd) : UniqueFd();
            if (!copy)
                return -EBADF;
            device_->unmask = std::move(*copy);
            return 0;
        }
        irq.masked = action == kIrqSetMask;
        if (!irq.masked && irq.high)
            device_->trigger(kIntxIrq, 0);
        return 0;
    }
    if (data == kIrqSetNone && set.count == 0) {
        for (UniqueFd& armed : irq.fds)
            armed.reset();
        irq.masked = false;
        if (set.index == kIntxIrq)
            device_->unmask.reset();
        return 0;
    }
    if (data != kIrqSetEventfd)
        return -EINVAL;
    for (std::uint32_t n = 0; n < set.count; ++n) {
        int eventfd = -1;
        std::memcpy(&eventfd, argument.data() + sizeof set + std::size_t{4} * n, sizeof eventfd);
        UniqueFd held;
        if (eventfd >= 0) {
            auto copy = UniqueFd::dup_of(eventfd);
            if (!copy)
                return -EBADF;
            held = std::move(*copy);
        }
        irq.fds[set.start + n] = std::move(held);
    }
    return 0;
}

// --- features ----------------------------------------------------------------------------------

int DeviceFile::feature(std::span<std::byte> argument)
{
    AbiFeature header;
    if (!get_argument(argument, header))
        return -EINVAL;
    constexpr std::uint32_t kVerbs = kFeatureGet | kFeatureSet;
    const std::uint32_t verbs = header.flags & kVerbs;
    if ((header.flags & ~(kFeatureMask | kVerbs | kFeatureProbe)) != 0 ||
        (verbs == kVerbs && (header.flags & kFeatureProbe) == 0))
        return -EINVAL;
    const auto number = static_cast<std::uint16_t>(header.flags & kFeatureMask);
    const DeviceSpec& spec = device_->spec();
    const bool v2 = spec.dialect == Dialect::V2;
    struct Known {
        bool there;
        std::uint32_t verbs;
        std::size_t payload;
    };
    Known known{};
    switch (number) {
    case kFeatureMigration:
        known = {v2, kFeatureGet, 8};
        break;
    case kFeatureMigDeviceState:
        known = {v2, kVerbs, sizeof(AbiMigDeviceState)};
        break;
    case kFeatureMigDataSize:
        known = {v2 && spec.data_size, kFeatureGet, 8};
        break;
    case kFeatureDmaLoggingStart:
        known = {spec.logging, kFeatureSet, sizeof(AbiLoggingStart)};
        break;
    case kFeatureDmaLoggingStop:
        known = {spec.logging, kFeatureSet, 0};
        break;
    case kFeatureDmaLoggingReport:
        known = {spec.logging, kFeatureGet, sizeof(AbiLoggingReport)};
        break;
    default:
        break;
    }
    if (!known.there)
        return -ENOTTY;
    if ((verbs & ~known.verbs) != 0)
        return -EINVAL;
    if ((header.flags & kFeatureProbe) != 0)
        return 0;
    if (verbs == 0 || header.argsz < sizeof header + known.payload)
        return -EINVAL;
    const std::span payload = argument.subspan(sizeof header);
    switch (number) {
    case kFeatureDmaLoggingStart:
        return log_start(payload);
    case kFeatureDmaLoggingStop:
        device_->logged.clear();
        return std::exchange(device_->logging, false) ? 0 : -EINVAL;
    case kFeatureDmaLoggingReport:
        return log_report(payload);
    default:
        return migration_feature(header.flags, payload);
    }
}

int DeviceFile::migration_feature(std::uint32_t flags, std::span<std::byte> payload)
{
    const DeviceSpec& spec = device_->spec();
    const std::uint32_t number = flags & kFeatureMask;
    if (number == kFeatureMigration || number == kFeatureMigDataSize) {
        const std::uint64_t answer = number == kFeatureMigDataSize
                                         ? device_->engine->stop_copy_size()
                                         : kMigrationStopCopy | (spec.p2p ? kMigrationP2p : 0) |
                                               (spec.precopy ? kMigrationPreCopy : 0);
        std::memcpy(payload.data(), &answer, sizeof answer);
        return 0;
    }
    AbiMigDeviceState state;
    std::memcpy(&state, payload.data(), sizeof state);
    int result = 0;
    bool opened = false;
    if ((flags & kFeatureSet) != 0)
        result = device_->engine->set_state(state.device_state, opened);
    else
        state.device_state = static_cast<std::uint32_t>(device_->engine->state());
    if (result == 0 && device_->faults.second_data_fd && (flags & kFeatureSet) != 0)
        opened = true;
    state.data_fd = result == 0 && opened ? open_data() : -1;
    std::memcpy(payload.data(), &state, sizeof state);
    return result;
}

int DeviceFile::open_data()
{
    return kernel_.install(std::make_shared<DataFile>(kernel_, device_));
}

// --- device DMA logging ------------------------------------------------------------------------

int DeviceFile::log_start(std::span<std::byte> payload)
{
    AbiLoggingStart start;
    std::memcpy(&start, payload.data(), sizeof start);
    if (start.num_ranges == 0)
        return -EINVAL;
    if (start.num_ranges > kPage / sizeof(AbiLoggingRange))
        return -E2BIG;
    if (start.page_size < kPage || !std::has_single_bit(start.page_size))
        return -EINVAL;
    std::vector<AbiLoggingRange> ranges(start.num_ranges);
    std::memcpy(ranges.data(), reinterpret_cast<const void*>(start.ranges),
                ranges.size() * sizeof(AbiLoggingRange));
    std::ranges::sort(ranges, {}, &AbiLoggingRange::iova);
    std::uint64_t end = 0;
    for (const AbiLoggingRange& range : ranges) {
        if (range.iova % start.page_size != 0 || range.length % start.page_size != 0 ||
            range.length == 0)
            return -EINVAL;
        if (range.iova + range.length < range.iova)
            return -EOVERFLOW;
        if (range.iova < end)
            return -EINVAL;
        end = range.iova + range.length;
    }
    if (device_->logging)
        return -EINVAL;
    device_->logging = true;
    device_->log_page = std::max(start.page_size, device_->spec().log_page);
    device_->log_ranges.clear();
    for (const AbiLoggingRange& range : ranges)
        device_->log_ranges.push_back({range.iova, range.length});
    start.page_size = device_->log_page;
    std::memcpy(payload.data(), &start, sizeof start);
    return 0;
}

int DeviceFile::log_report(std::span<std::byte> payload)
{
    AbiLoggingReport report;
    std::memcpy(&report, payload.data(), sizeof report);
    if (report.page_size < kPage || !std::has_single_bit(report.page_size))
        return -EINVAL;
    if (report.iova + report.length < report.iova)
        return -EOVERFLOW;
    if (!device_->logging)
        return -EINVAL;
    if (device_->faults.log_report != 0)
        return -device_->faults.log_report;
    auto* const words = reinterpret_cast<std::uint64_t*>(report.bitmap);
    for (const DmaRange& range : device_->log_ranges) {
        const std::uint64_t from = std::max(range.iova, report.iova);
        const std::uint64_t to = std::min(range.iova + range.size, report.iova + report.length);
        if (from >= to)
            continue;
        std::set<std::uint64_t> inside;  // of the report's range alone, in device pages
        for (const std::uint64_t page : device_->logged) {
            const std::uint64_t at = page * device_->log_page;
            if (at < to && at + device_->log_page > from)
                inside.insert(page);
        }
        put_bits(inside, device_->log_page, report.iova, report.length, report.page_size, words);
    }
    drop_pages(device_->logged, device_->log_page, report.iova, report.length);
    return 0;
}

// --- regions -----------------------------------------------------------------------------------

std::int64_t DeviceFile::checked(std::uint64_t offset, std::size_t length, std::uint32_t& region,
                                 std::uint64_t& at)
{
    if (device_->faults.gone)
        return -ENODEV;
    region = static_cast<std::uint32_t>(offset >> 40);
    at = offset & (region_offset(1) - 1);
    const std::uint64_t size = region_size(region);
    if (at >= size || length > size - at || (cdev_ && !iommufd_))
        return -EINVAL;
    const MigrationState state = device_->engine->state();
    if (region < 6 && (state == MigrationState::StopCopy || state == MigrationState::Resuming)) {
        ++device_->forbidden;
        return -EIO;
    }
    return 0;
}

std::int64_t DeviceFile::pread(std::span<std::byte> into, std::uint64_t offset)
{
    std::uint32_t region = 0;
    std::uint64_t at = 0;
    if (const std::int64_t refused = checked(offset, into.size(), region, at); refused != 0)
        return refused;
    if (region == kFirstSpecialRegion && at < MigrationEngine::kV1Data)
        return device_->engine->v1_read(into, at);
    return ::pread(fd.get(), into.data(), into.size(), static_cast<off_t>(offset));
}

std::int64_t DeviceFile::pwrite(std::span<const std::byte> from, std::uint64_t offset)
{
    std::uint32_t region = 0;
    std::uint64_t at = 0;
    if (const std::int64_t refused = checked(offset, from.size(), region, at); refused != 0)
        return refused;
    if (region == kFirstSpecialRegion && at < MigrationEngine::kV1Data)
        return device_->engine->v1_write(from, at);
    if (region == kConfigRegion) {
        write_config(at, from);
        return static_cast<std::int64_t>(from.size());
    }
    return ::pwrite(fd.get(), from.data(), from.size(), static_cast<off_t>(offset));
}

/// Command, cache line, BARs and interrupt line take writes, and the power state of its capability.
void DeviceFile::write_config(std::uint64_t at, std::span<const std::byte> from)
{
    std::vector<std::uint8_t> config(device_->spec().config_size);
    const auto base = static_cast<off_t>(region_offset(kConfigRegion));
    (void)!::pread(fd.get(), config.data(), config.size(), base);
    for (std::size_t n = 0; n < from.size(); ++n) {
        const std::uint64_t byte = at + n;
        std::uint8_t mask = 0;
        if (byte == 4)
            mask = 0x47;
        else if (byte == 5)
            mask = 0x05;
        else if (byte == 0x0c || byte == 0x3c)
            mask = 0xff;
        else if (byte == 0x44)
            mask = 0x03;  // D-state
        config[byte] = static_cast<std::uint8_t>((config[byte] & ~mask) |
                                                 (static_cast<std::uint8_t>(from[n]) & mask));
    }
    (void)!::pwrite(fd.get(), config.data(), config.size(), base);
}

// --- cdev --------------------------------------------------------------------------------------

int DeviceFile::bind(std::span<std::byte> argument)
{
    AbiBindIommufd bind;
    if (!get_argument(argument, bind) || bind.flags != 0 || iommufd_)
        return -EINVAL;
    iommufd_ = std::dynamic_pointer_cast<IommufdFile>(kernel_.file(bind.iommufd));
    if (!iommufd_)
        return -EBADF;
    devid_ = iommufd_->bind(*device_);
    bind.out_devid = devid_;
    put_argument(argument, bind);
    return 0;
}

int DeviceFile::attach(std::span<std::byte> argument)
{
    AbiAttachPt attach;
    if (!get_argument(argument, attach) || attach.flags != 0)
        return -EINVAL;
    return iommufd_->attach(*device_, attach.pt_id);
}

int DeviceFile::detach()
{
    iommufd_->detach(*device_);
    return 0;
}

// --- migration data ----------------------------------------------------------------------------

DataFile::DataFile(TestKernel& kernel, std::shared_ptr<TestDevice> device)
    : File(kernel), device_(std::move(device)), transfer_(device_->engine->transfer())
{}

bool DataFile::alive() const
{
    return transfer_ == device_->engine->transfer();
}

int DataFile::ioctl(unsigned long request, std::span<std::byte> argument)
{
    AbiPrecopyInfo info;
    if (request != request::kMigGetPrecopyInfo || !device_->spec().precopy)
        return -ENOTTY;
    if (!get_argument(argument, info) || info.flags != 0)
        return -EINVAL;
    if (!alive())
        return -ENODEV;
    if (const int refused = device_->engine->precopy_info(info); refused != 0)
        return refused;
    put_argument(argument, info);
    return 0;
}

std::int64_t DataFile::read(std::span<std::byte> into)
{
    return alive() && !device_->faults.gone ? device_->engine->read(into) : -ENODEV;
}

std::int64_t DataFile::write(std::span<const std::byte> from)
{
    return alive() && !device_->faults.gone ? device_->engine->write(from) : -ENODEV;
}

}  // namespace godwit::hw::vfio::test
