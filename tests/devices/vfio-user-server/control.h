// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The control socket: one JSON object a line, each answered by one line. For tests and for people
// who look at the device while it moves.
#pragma once

#include "util/json.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::vfio_user_server {

/// One connection. A command may be answered later ("wait"); the ones behind it then wait, too.
///
/// Threads  one.
class ControlClient {
public:
    /// The answer, or nothing while it has to wait.
    using Execute = std::function<std::optional<Json>(const Json& request)>;

    explicit ControlClient(UniqueFd fd) : fd_(std::move(fd)) {}
    int fd() const noexcept { return fd_.get(); }
    bool waits() const noexcept { return waiting_.has_value(); }
    /// Reads what there is. Errors: the connection is over.
    Result<void> receive();
    /// Executes what was read, as far as it goes.
    Result<void> run(const Execute& execute);

private:
    static constexpr std::size_t kMaxLine = 64 << 10;
    Result<void> answer(const Json& json);
    UniqueFd fd_;
    std::string input_;
    std::optional<Json> waiting_;
};

/// {"return": value} and {"error": text}.
Json returned(Json value);
Json refused(std::string_view why);

}  // namespace godwit::vfio_user_server
