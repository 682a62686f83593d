// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/populated_pages.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

namespace godwit::system {

namespace {

// PAGEMAP_SCAN as in Linux, Documentation/admin-guide/mm/pagemap.rst; older headers lack it.
struct PageRegion {
    std::uint64_t start;
    std::uint64_t end;
    std::uint64_t categories;
};
struct ScanArgument {
    std::uint64_t size;
    std::uint64_t flags;
    std::uint64_t start;
    std::uint64_t end;
    std::uint64_t walk_end;
    std::uint64_t regions;
    std::uint64_t region_count;
    std::uint64_t max_pages;
    std::uint64_t category_inverted;
    std::uint64_t category_mask;
    std::uint64_t category_any;
    std::uint64_t return_mask;
};
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArgument);
constexpr std::uint64_t kPresent = 1 << 3;
constexpr std::uint64_t kSwapped = 1 << 4;
constexpr std::uint64_t kZeroPage = 1 << 5;

constexpr std::uint64_t kEntryPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kEntrySwapped = std::uint64_t{1} << 62;

void append(std::vector<PageRun>& out, PageRun run)
{
    if (!out.empty() && out.back().first + out.back().count == run.first)
        out.back().count += run.count;
    else
        out.push_back(run);
}

ScanArgument scan_argument(std::uint64_t start, std::uint64_t end, std::span<PageRegion> regions)
{
    return {.size = sizeof(ScanArgument),
            .flags = 0,
            .start = start,
            .end = end,
            .walk_end = 0,
            .regions = reinterpret_cast<std::uint64_t>(regions.data()),
            .region_count = regions.size(),
            .max_pages = 0,
            .category_inverted = kZeroPage,
            .category_mask = kZeroPage,
            .category_any = kPresent | kSwapped,
            .return_mask = kPresent | kSwapped};
}

/// Data of the backing file, in pages of the block; false when the file system cannot tell.
bool data_in_file(const RamBlock& block, PageRun within, std::vector<PageRun>& out)
{
    const auto begin = static_cast<off_t>(block.fd_offset());
    const auto from = begin + static_cast<off_t>(within.first << kPageBits);
    const auto end = from + static_cast<off_t>(within.count << kPageBits);
    for (off_t at = from; at < end;) {
        const off_t data = ::lseek(block.fd(), at, SEEK_DATA);
        if (data < 0)
            return errno == ENXIO;  // nothing behind `at`
        if (data >= end)
            return true;
        const off_t hole = std::min(::lseek(block.fd(), data, SEEK_HOLE), end);
        if (hole <= data)
            return false;
        const auto first = static_cast<std::uint64_t>(data - begin) >> kPageBits;
        const auto last = (static_cast<std::uint64_t>(hole - begin) + kPageSize - 1) >> kPageBits;
        append(out, {first, last - first});
        at = hole;
    }
    return true;
}

}  // namespace

PopulatedPages PopulatedPages::open()
{
    PopulatedPages pages;
    pages.pagemap_ = UniqueFd(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    if (pages.pagemap_) {
        std::array<PageRegion, 1> regions{};
        ScanArgument probe = scan_argument(0, 0, regions);
        pages.can_scan_ = ::ioctl(pages.pagemap_.get(), kPagemapScan, &probe) >= 0;
    }
    return pages;
}

std::vector<PageRun> PopulatedPages::runs(const RamBlock& block, PageRun within) const
{
    const std::vector<PageRun> all{within};
    std::vector<PageRun> found;
    if (!add_present(block, within, found))
        return all;
    if (block.fd() >= 0) {
        std::vector<PageRun> in_file;
        if (!data_in_file(block, within, in_file))
            return all;
        found = merge_runs(std::move(found), in_file);
    }
    return found;
}

bool PopulatedPages::add_present(const RamBlock& block, PageRun within, Runs& out) const
{
    if (!pagemap_)
        return false;
    return can_scan_ ? scan(block, within, out) : read_pagemap(block, within, out);
}

bool PopulatedPages::scan(const RamBlock& block, PageRun within, Runs& out) const
{
    std::array<PageRegion, 512> regions;
    const auto base = reinterpret_cast<std::uint64_t>(block.host());
    const std::uint64_t from = base + (within.first << kPageBits);
    const std::uint64_t end = from + (within.count << kPageBits);
    for (std::uint64_t at = from; at < end;) {
        ScanArgument argument = scan_argument(at, end, regions);
        const int count = ::ioctl(pagemap_.get(), kPagemapScan, &argument);
        if (count < 0 || argument.walk_end <= at)
            return false;
        for (int i = 0; i < count; ++i) {
            const std::uint64_t first = (regions[i].start - base) >> kPageBits;
            const std::uint64_t last = (std::min(regions[i].end, end) - base) >> kPageBits;
            append(out, {first, last - first});
        }
        at = argument.walk_end;
    }
    return true;
}

bool PopulatedPages::read_pagemap(const RamBlock& block, PageRun within, Runs& out) const
{
    std::vector<std::uint64_t> entries(64 * 1024);
    const std::uint64_t first_entry = reinterpret_cast<std::uint64_t>(block.host()) >> kPageBits;
    const std::uint64_t end = within.first + within.count;
    for (std::uint64_t page = within.first; page < end;) {
        const std::uint64_t want = std::min<std::uint64_t>(entries.size(), end - page);
        const ssize_t got = ::pread(pagemap_.get(), entries.data(), want * 8,
                                    static_cast<off_t>((first_entry + page) * 8));
        if (got <= 0 || got % 8 != 0)
            return false;
        for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(got) / 8; ++i)
            if (entries[i] & (kEntryPresent | kEntrySwapped))
                append(out, {page + i, 1});
        page += static_cast<std::uint64_t>(got) / 8;
    }
    return true;
}

std::vector<PageRun> merge_runs(std::vector<PageRun> a, const std::vector<PageRun>& b)
{
    a.insert(a.end(), b.begin(), b.end());
    std::ranges::sort(a, {}, &PageRun::first);
    std::vector<PageRun> joined;
    for (const PageRun& run : a) {
        if (!joined.empty() && run.first <= joined.back().first + joined.back().count) {
            PageRun& last = joined.back();
            last.count = std::max(last.first + last.count, run.first + run.count) - last.first;
        } else {
            joined.push_back(run);
        }
    }
    return joined;
}

}  // namespace godwit::system
