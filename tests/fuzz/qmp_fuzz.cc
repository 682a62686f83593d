// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The QMP framer and envelope: however a stream is cut into reads, the same messages come out.
#include "monitor/qmp_request.h"
#include "tests/fuzz/fuzz.h"
#include "util/json_stream.h"

#include <vector>

using namespace godwit;

namespace {

std::vector<std::string> messages(std::string_view bytes, std::size_t chunk)
{
    std::vector<std::string> seen;
    JsonStream stream({.token_bytes = 1 << 16, .tokens = 1 << 12, .depth = 64});
    const auto take = [&](Result<Json> message) {
        const monitor::QmpRequest request = monitor::read_request(std::move(message), true);
        if (!request.error) {
            seen.push_back(request.command + dump_json(request.arguments));
            return;
        }
        seen.push_back(monitor::error_text(*request.error, request.id, false));
        // QEMU repeats a stray newline in its text; on the wire it is escaped.
        fuzz::require(seen.back().find('\n') == seen.back().size() - 1, "an answer is one line");
    };
    for (std::size_t at = 0; at < bytes.size(); at += chunk)
        stream.feed(bytes.substr(at, chunk), take);
    return seen;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string_view bytes = fuzz::as_text(data, size);
    if (bytes.empty())
        return 0;
    fuzz::require(messages(bytes, bytes.size()) == messages(bytes, 1 + data[0] % 7),
                  "messages do not depend on how they were cut");
    return 0;
}
