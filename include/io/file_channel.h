// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Channels over plain files, and over pipes and character devices.
#pragma once

#include "io/address.h"
#include "io/channel.h"

#include <memory>
#include <string>

namespace godwit::io {

/// A plain file or block device.
///
/// Features Seekable. Never waits but for the disk, so patience is only looked at between pieces.
class FileChannel : public Channel {
public:
    /// `flags` as for open(2); O_CLOEXEC is added.
    static Result<std::unique_ptr<FileChannel>> open(const std::string& path, int flags,
                                                     unsigned mode = 0600);
    /// To save to `file:`: creates it if need be, cuts it to `offset` and goes there.
    static Result<std::unique_ptr<FileChannel>> create_for(const FileAddress& address);
    /// To load from `file:`: goes to `offset`.
    static Result<std::unique_ptr<FileChannel>> open_for(const FileAddress& address);
    static Result<std::unique_ptr<FileChannel>> adopt(UniqueFd fd, std::string name);

    PollTarget poll_target(Direction direction) const noexcept override;
    Result<void> shutdown(Shutdown how) override;
    Result<void> close() override;
    std::string describe() const override { return name_; }
    bool has(Feature feature) const noexcept override;
    int fd() const noexcept override { return fd_.get(); }
    Result<std::uint64_t> seek(std::uint64_t offset) override;
    Result<std::uint64_t> tell() const override;
    /// Until the disk has it.
    Result<void> sync();
    Result<std::uint64_t> size() const;
    Result<void> truncate(std::uint64_t size);

protected:
    Result<std::optional<std::size_t>> do_readv(std::span<const iovec> to) override;
    Result<std::optional<std::size_t>> do_writev(std::span<const iovec> from) override;
    Result<std::size_t> do_preadv(std::span<const iovec> to, std::uint64_t offset) override;
    Result<std::size_t> do_pwritev(std::span<const iovec> from, std::uint64_t offset) override;

private:
    FileChannel(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
    UniqueFd fd_;
    std::string name_;
    std::atomic<bool> read_shut_{false};
    std::atomic<bool> write_shut_{false};
};

}  // namespace godwit::io
