// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/ram_backing.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace godwit::system {

namespace {

constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;
constexpr unsigned kMaxHostNodes = 1024;

/// "; the pool has 0 free of 0 (/proc/sys/vm/nr_hugepages)": what the operator needs to know.
std::string pool_hint(std::uint64_t page_size)
{
    const auto read_number = [&](const char* what) -> long {
        const std::string path =
            fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/{}", page_size >> 10, what);
        std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                             std::fclose);
        long value = -1;
        if (!file || std::fscanf(file.get(), "%ld", &value) != 1)
            return -1;
        return value;
    };
    const long total = read_number("nr_hugepages");
    if (total < 0)
        return fmt::format("this host has no huge pages of {} KiB", page_size >> 10);
    return fmt::format("the pool of {} KiB pages has {} free of {}; see "
                       "/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
                       page_size >> 10, read_number("free_hugepages"), total, page_size >> 10);
}

std::uint64_t default_huge_page_size()
{
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/meminfo", "re"),
                                                         std::fclose);
    std::array<char, 256> line{};
    unsigned long kib = 0;
    while (file && std::fgets(line.data(), line.size(), file.get()))
        if (std::sscanf(line.data(), "Hugepagesize: %lu kB", &kib) == 1)
            return std::uint64_t{kib} << 10;
    return kHugePage;
}

Result<std::uint64_t> page_size_of(int fd)
{
    struct statfs fs{};
    if (::fstatfs(fd, &fs) < 0)
        return Error::from_errno("fstatfs");
    if (fs.f_type == HUGETLBFS_MAGIC)
        return static_cast<std::uint64_t>(fs.f_bsize);
    return host_page_size();
}

Result<UniqueFd> make_memfd(const RamBlockOptions& options)
{
    unsigned flags = MFD_CLOEXEC | (options.seal ? MFD_ALLOW_SEALING : 0);
    std::uint64_t page = host_page_size();
    if (options.hugetlb) {
        page = options.hugetlb_size != 0 ? options.hugetlb_size : default_huge_page_size();
        if (!std::has_single_bit(page))
            return Error(Errc::InvalidArgument, "Hugepage size must be a power of 2");
        flags |= MFD_HUGETLB | (static_cast<unsigned>(std::countr_zero(page)) << MFD_HUGE_SHIFT);
        if (options.max_length % page != 0)
            return Error(Errc::InvalidArgument,
                         fmt::format("size {} of '{}' is not a multiple of its page size {}",
                                     options.max_length, options.id, page));
    }
    UniqueFd fd(::memfd_create(fmt::format("ram-{}", options.id).substr(0, 200).c_str(), flags));
    if (!fd) {
        Error error = Error::from_errno(fmt::format("memfd for '{}'", options.id));
        return options.hugetlb ? std::move(error).with_hint(pool_hint(page)) : std::move(error);
    }
    if (::ftruncate(fd.get(), static_cast<off_t>(options.max_length)) < 0)
        return Error::from_errno(fmt::format("failed to resize memfd to {}", options.max_length));
    if (options.seal &&
        ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return Error::from_errno(fmt::format("memfd for '{}': seal", options.id));
    return fd;
}

/// A file of our own in directory `path`, without a name: a hugetlbfs mount, usually.
Result<UniqueFd> open_in_directory(const std::string& path, const RamBlockOptions& options)
{
    std::string id = options.id;
    std::ranges::replace(id, '/', '_');
    std::string name = fmt::format("{}/godwit_back_mem.{}.XXXXXX", path, id);
    UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
    if (!fd)
        return Error::from_errno(
            fmt::format("can't create backing store for guest RAM in {}", path));
    ::unlink(name.c_str());
    return fd;
}

struct OpenedFile {
    UniqueFd fd;
    bool created = false;
};

Result<OpenedFile> open_file(const RamBlockOptions& options)
{
    const int mode = options.readonly ? O_RDONLY : O_RDWR;
    struct stat info{};
    OpenedFile file{.fd = UniqueFd(::open(options.path.c_str(), mode | O_CLOEXEC))};
    if (!file.fd && errno == EISDIR)
        return OpenedFile
        {
            .fd = GW_TRY(open_in_directory(options.path, options))
            , .created = true
        };
    if (!file.fd && errno == ENOENT && !options.readonly) {
        file.fd.reset(::open(options.path.c_str(), mode | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
        file.created = static_cast<bool>(file.fd);
    }
    if (!file.fd)
        return Error::from_errno(
            fmt::format("can't open backing store {} for guest RAM", options.path));
    if (::fstat(file.fd.get(), &info) == 0 && S_ISDIR(info.st_mode))
        return Error::from_errno(
            fmt::format("can't open backing store {} for guest RAM", options.path), EISDIR);
    return file;
}

/// Makes the file long enough when it is ours to size, and refuses a short one that is not.
Result<void> size_file(int fd, bool created, const RamBlockOptions& options)
{
    struct stat info{};
    if (::fstat(fd, &info) < 0)
        return Error::from_errno(fmt::format("backing store of '{}'", options.id));
    if (!S_ISREG(info.st_mode))
        return {};  // a device (/dev/dax): the mmap says whether it is large enough
    const auto size = static_cast<std::uint64_t>(info.st_size);
    if (options.max_length > ~std::uint64_t{0} - options.file_offset)
        return Error(Errc::InvalidArgument, fmt::format("size of '{}' is too large", options.id));
    const std::uint64_t needed = options.file_offset + options.max_length;
    if (size >= needed)
        return {};
    if (options.readonly || (!created && size != 0))
        return Error(Errc::InvalidArgument,
                     fmt::format("a backing store size {:#x} is too small for 'size' option {:#x} "
                                 "plus 'offset' option {:#x}",
                                 size, options.max_length, options.file_offset));
    if (::ftruncate(fd, static_cast<off_t>(needed)) < 0)
        return Error::from_errno(
            fmt::format("cannot resize backing store of '{}' to {:#x}", options.id, needed));
    return {};
}

Result<RamBacking> open_backing(RamBlockOptions& options)
{
    RamBacking backing{.page_size = host_page_size(), .source = options.source};
    if (options.fd) {
        backing.fd = std::move(options.fd);
        GW_TRY(size_file(backing.fd.get(), false, options));
    } else if (options.source == RamSource::File) {
        OpenedFile file = GW_TRY(open_file(options));
        if (auto sized = size_file(file.fd.get(), file.created, options); !sized) {
            if (file.created)
                ::unlink(options.path.c_str());
            return std::unexpected(std::move(sized).error());
        }
        backing.fd = std::move(file.fd);
    } else if (options.source == RamSource::Memfd || options.hugetlb || options.shared) {
        backing.fd = GW_TRY(make_memfd(options));
        backing.source = RamSource::Memfd;
    }
    if (backing.fd)
        backing.page_size = GW_TRY(page_size_of(backing.fd.get()));
    return backing;
}

Result<void> check_alignment(const RamBlockOptions& options, std::uint64_t page_size)
{
    if (options.max_length % page_size != 0)
        return Error(Errc::InvalidArgument,
                     fmt::format("size {} of '{}' is not a multiple of its page size {}",
                                 options.max_length, options.id, page_size));
    if (options.file_offset % page_size != 0)
        return Error(Errc::InvalidArgument,
                     fmt::format("offset {:#x} of '{}' is not a multiple of its page size {}",
                                 options.file_offset, options.id, page_size));
    if (options.alignment != 0 &&
        (options.alignment % page_size != 0 || !std::has_single_bit(options.alignment)))
        return Error(Errc::InvalidArgument,
                     fmt::format("alignment {:#x} must be multiples of page size {:#x}",
                                 options.alignment, page_size));
    return {};
}

Result<Mapping> map_backing(const RamBacking& backing, const RamBlockOptions& options)
{
    Mapping::Options how{
        .sharing = options.shared ? Mapping::Sharing::Shared : Mapping::Sharing::Private,
        .writable = !options.rom,
        .no_reserve = !options.reserve,
    };
    how.alignment = std::max(options.alignment, backing.page_size);
    if (options.max_length >= kHugePage)
        how.alignment = std::max<std::size_t>(how.alignment, kHugePage);
    if (!backing.fd)
        return with_context(Mapping::anonymous(options.max_length, how),
                            fmt::format("cannot set up guest memory '{}'", options.id));
    auto mapping = Mapping::of_fd(backing.fd.get(), options.max_length, options.file_offset, how);
    if (mapping)
        return mapping;
    const int os_errno = mapping.error().os_errno();
    Error error =
        Error::from_errno(fmt::format("unable to map backing store for guest RAM '{}'", options.id),
                          os_errno != 0 ? os_errno : ENOMEM);
    if (backing.page_size > host_page_size())
        return std::move(error).context(pool_hint(backing.page_size));
    return error;
}

/// Advice is advice: a kernel without the feature behind it says EINVAL, and nothing is lost.
void give_advice(const Mapping& mapping, const RamBacking& backing, const RamBlockOptions& options)
{
    const auto advise = [&](int advice) { (void)mapping.advise(advice); };
    if (options.merge && !options.shared)
        advise(MADV_MERGEABLE);
    if (!options.dump)
        advise(MADV_DONTDUMP);
    // Not for the start: boot code and tables lie there, which should not cost a huge page.
    if (options.huge_page_advice && backing.page_size == host_page_size() &&
        mapping.size() >= 2 * kHugePage)
        (void)mapping.advise(kHugePage, mapping.size() - kHugePage, MADV_HUGEPAGE);
    advise(MADV_DONTFORK);
}

Result<void> bind_nodes(const Mapping& mapping, const RamBlockOptions& options)
{
    if (options.numa_policy == NumaPolicy::Default)
        return {};
    std::array<unsigned long, kMaxHostNodes / (8 * sizeof(unsigned long))> mask{};
    for (const unsigned node : options.host_nodes) {
        if (node >= kMaxHostNodes)
            return Error(Errc::InvalidArgument, fmt::format("host node {} is too large", node));
        mask[node / (8 * sizeof(unsigned long))] |= 1ul << (node % (8 * sizeof(unsigned long)));
    }
    constexpr std::array kModes{MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE};
    if (::syscall(SYS_mbind, mapping.data(), mapping.size(),
                  kModes[static_cast<unsigned>(options.numa_policy)], mask.data(), kMaxHostNodes,
                  MPOL_MF_STRICT | MPOL_MF_MOVE) < 0)
        return Error::from_errno("cannot bind memory to host NUMA nodes");
    return {};
}

}  // namespace

Result<RamBacking> make_ram_backing(RamBlockOptions& options)
{
    RamBacking backing = GW_TRY(open_backing(options));
    GW_TRY(check_alignment(options, backing.page_size));
    backing.mapping = GW_TRY(map_backing(backing, options));
    give_advice(backing.mapping, backing, options);
    GW_TRY(bind_nodes(backing.mapping, options));
    if (options.prealloc && !options.rom)
        GW_TRY(with_context(preallocate(backing.mapping, backing.fd.get(), options.file_offset,
                                        backing.page_size, options.prealloc_threads),
                            fmt::format("cannot preallocate '{}'", options.id)));
    return backing;
}

}  // namespace godwit::system
