// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/block.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

namespace godwit::hw {
namespace {

constexpr std::uint64_t kNullBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;

Error cannot_open(const std::string& filename, int os_errno)
{
    return Error::from_errno("Could not open '" + filename + "'", os_errno);
}

Result<std::uint64_t> file_size(int fd, const std::string& filename)
{
    struct stat status{};
    if (::fstat(fd, &status) < 0)
        return cannot_open(filename, errno);
    if (S_ISREG(status.st_mode))
        return static_cast<std::uint64_t>(status.st_size);
    std::uint64_t bytes = 0;
    if (S_ISBLK(status.st_mode) && ::ioctl(fd, BLKGETSIZE64, &bytes) == 0)
        return bytes;
    return Error(Errc::InvalidArgument,
                 "Could not open '" + filename + "': not a regular file or block device");
}

}  // namespace

Result<std::unique_ptr<BlockNode>> BlockNode::open(system::FdStore& fds, Options options)
{
    auto node = std::unique_ptr<BlockNode>(new BlockNode(std::move(options)));
    Options& o = node->options_;
    if (o.driver == "null-co") {
        node->size_ = o.size.value_or(kNullBytes) / kSectorBytes * kSectorBytes;
        return node;
    }
    const auto open_as = [&](bool read_only) {
        const int flags = (read_only ? O_RDONLY : O_RDWR) | (o.direct ? O_DIRECT : 0) | O_CLOEXEC;
        return fds.open(o.filename, flags);
    };
    auto opened = open_as(o.read_only);
    if (!opened && !o.read_only && o.auto_read_only) {
        o.read_only = true;
        opened = open_as(true);
    }
    if (!opened)
        return opened.error().os_errno() != 0 ? Result<std::unique_ptr<BlockNode>>(cannot_open(
                                                    o.filename, opened.error().os_errno()))
                                              : Result<std::unique_ptr<BlockNode>>(opened.error());
    node->file_ = std::move(*opened);
    const std::uint64_t bytes = GW_TRY(file_size(node->file_.fd.get(), o.filename));
    if (o.offset > bytes || o.size.value_or(0) > bytes - o.offset)
        return Error(Errc::InvalidArgument, "The sum of offset and size has to be smaller or equal "
                                            "to the actual size of the containing file");
    node->file_bytes_ = std::min(o.size.value_or(bytes - o.offset), kMaxBytes);
    node->size_ = (node->file_bytes_ + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
    return node;
}

std::uint64_t BlockNode::allocated_bytes() const noexcept
{
    struct stat status{};
    if (!file_.fd || ::fstat(file_.fd.get(), &status) < 0)
        return 0;
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

Result<void> BlockNode::read(std::uint64_t offset, std::span<std::byte> into)
{
    if (offset > size_ || into.size() > size_ - offset)
        return Error(Errc::InvalidArgument, "read past the end of the image");
    while (file_.fd && !into.empty()) {
        const ssize_t got = ::pread(file_.fd.get(), into.data(), into.size(),
                                    static_cast<off_t>(options_.offset + offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return Error::from_errno(options_.filename);
        if (got == 0)
            break;  // behind the last byte of an odd file
        offset += static_cast<std::uint64_t>(got);
        into = into.subspan(static_cast<std::size_t>(got));
    }
    std::ranges::fill(into, std::byte{0});
    return {};
}

Result<void> BlockNode::check_writable() const
{
    if (options_.read_only)
        return Error(Errc::PermissionDenied, "the image is read-only");
    if (!active_)
        return Error(Errc::PermissionDenied, "the image belongs to the other end of a migration");
    return {};
}

Result<void> BlockNode::write(std::uint64_t offset, std::span<const std::byte> from)
{
    GW_TRY(check_writable());
    written_ = true;
    if (offset > size_ || from.size() > size_ - offset)
        return Error(Errc::InvalidArgument, "write past the end of the image");
    while (file_.fd && !from.empty()) {
        const ssize_t done = ::pwrite(file_.fd.get(), from.data(), from.size(),
                                      static_cast<off_t>(options_.offset + offset));
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return Error::from_errno(options_.filename);
        offset += static_cast<std::uint64_t>(done);
        from = from.subspan(static_cast<std::size_t>(done));
    }
    return {};
}

Result<void> BlockNode::write_zeroes(std::uint64_t offset, std::uint64_t length, bool unmap)
{
    GW_TRY(check_writable());
    if (offset > size_ || length > size_ - offset)
        return Error(Errc::InvalidArgument, "write past the end of the image");
    written_ = true;
    const int mode = unmap ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                           : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    if (!file_.fd || length == 0 ||
        ::fallocate(file_.fd.get(), mode, static_cast<off_t>(options_.offset + offset),
                    static_cast<off_t>(length)) == 0)
        return {};
    if (errno != EOPNOTSUPP && errno != ENODEV)
        return Error::from_errno(options_.filename);
    const std::vector<std::byte> zeros(std::min<std::uint64_t>(length, 1 << 20));
    while (length > 0) {
        const auto piece = std::span(zeros).first(std::min<std::uint64_t>(length, zeros.size()));
        GW_TRY(write(offset, piece));
        offset += piece.size();
        length -= piece.size();
    }
    return {};
}

Result<void> BlockNode::flush()
{
    if (file_.fd && !options_.read_only && !options_.no_flush && ::fdatasync(file_.fd.get()) < 0 &&
        errno != EINVAL)
        return Error::from_errno(options_.filename);
    written_ = false;
    return {};
}

}  // namespace godwit::hw
