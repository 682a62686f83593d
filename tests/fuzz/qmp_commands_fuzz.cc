// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Bytes into the QMP stream of a machine; every message that is a request is carried out.
#include "monitor/qmp_request.h"
#include "qapi/command_context.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/test_house.h"
#include "util/json_stream.h"

#include <array>
#include <cstdint>
#include <cstdlib>

namespace {

/// Not to be tried with paths that a fuzzer makes up.
constexpr auto kWritesFiles = std::to_array<std::string_view>(
    {"memsave", "pmemsave", "dumpdtb", "chardev-add", "object-add", "migrate", "migrate-incoming",
     "human-monitor-command", "blockdev-add", "device_add", "quit"});

godwit::test::TestHouse& house()
{
    // For the life of the process; the machine is the same for every input but for what they did.
    static auto* made = [] {
        auto* out = new godwit::test::TestHouse;
        if (!out->build({"-machine", "none", "-accel", "qtest", "-S"}))
            std::abort();
        return out;
    }();
    return *made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace godwit;
    JsonStream stream({.token_bytes = 1 << 16, .tokens = 4096, .depth = 256});
    const system::MachineGuard guard(house().vm().lock());
    qapi::CommandContext nobody;
    stream.feed({reinterpret_cast<const char*>(data), size}, [&](Result<Json> message) {
        const monitor::QmpRequest request = monitor::read_request(std::move(message), true);
        if (request.error) {
            (void)monitor::error_text(*request.error, request.id, size % 2);
            return;
        }
        for (const std::string_view name : kWritesFiles)
            if (request.command == name)
                return;
        const auto done = house().commands().dispatch(request.command, request.arguments, nobody);
        (void)(done ? monitor::success_text(*done, request.id, size % 2)
                    : monitor::error_text(done.error(), request.id, size % 2));
    });
    return 0;
}
