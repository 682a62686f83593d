// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Channels to the standard streams of a command.
#pragma once

#include "io/pipe_channel.h"

#include <memory>
#include <string>
#include <vector>

namespace godwit::io {

/// The standard input and output of a child process.
///
/// The child runs in the same session, with stderr as ours, default signal dispositions and no
/// other descriptor of ours. close() ends its input, waits for it within patience(), and makes an
/// exit status other than 0 or a signal an error: "exec 'CMD': exited with status 3". A child that
/// does not leave in time is killed, as it is when the channel is destroyed unclosed. It is reaped
/// in any case.
class ExecChannel : public PipeChannel {
public:
    enum class Mode { Read, Write, Both };

    /// `args[0]` is looked up in PATH.
    /// Errors   "exec 'CMD': No such file or directory" and the like, at once.
    static Result<std::unique_ptr<ExecChannel>> start(const std::vector<std::string>& args,
                                                      Mode mode);
    ~ExecChannel() override;

    Result<void> close() override;
    int pid() const noexcept { return pid_; }

private:
    ExecChannel(UniqueFd read_end, UniqueFd write_end, std::string name, int pid, UniqueFd pidfd);
    void kill_and_reap() noexcept;
    int pid_;
    UniqueFd pidfd_;
};

}  // namespace godwit::io
