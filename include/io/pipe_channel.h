// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Channels over pipes, terminals and other character devices.
#pragma once

#include "io/channel.h"
#include "util/event_fd.h"

#include <memory>
#include <string>
#include <utility>

namespace godwit::io {

/// One or two descriptors that can be polled: a pipe's end, a pair of FIFOs, a terminal.
///
/// The descriptors are made non-blocking; what they were is restored on close, because somebody
/// else may share them (a shell shares its terminal with us).
/// shutdown() closes nothing: it makes the own side see the end. The peer sees it on close().
class PipeChannel : public Channel {
public:
    /// Either may be empty; both may be duplicates of one terminal.
    static Result<std::unique_ptr<PipeChannel>> adopt(UniqueFd read_end, UniqueFd write_end,
                                                      std::string name);
    ~PipeChannel() override;

    PollTarget poll_target(Direction direction) const noexcept override;
    Result<void> shutdown(Shutdown how) override;
    Result<void> close() override;
    std::string describe() const override { return name_; }
    bool has(Feature feature) const noexcept override;
    int fd() const noexcept override;

protected:
    PipeChannel(UniqueFd read_end, UniqueFd write_end, std::string name);
    Result<void> make_ready();
    Result<std::optional<std::size_t>> do_readv(std::span<const iovec> to) override;
    Result<std::optional<std::size_t>> do_writev(std::span<const iovec> from) override;
    int wake_fd(Direction direction) const noexcept override;
    void close_ends() noexcept;

private:
    UniqueFd read_end_;
    UniqueFd write_end_;
    int read_flags_ = -1;  // as they were before us
    int write_flags_ = -1;
    std::string name_;
    std::optional<EventFd> read_shut_;  // wakes whoever waits in that direction
    std::optional<EventFd> write_shut_;
};

/// A pipe: what is written to `second` is read from `first`.
Result<std::pair<std::unique_ptr<PipeChannel>, std::unique_ptr<PipeChannel>>> make_pipe();

}  // namespace godwit::io
