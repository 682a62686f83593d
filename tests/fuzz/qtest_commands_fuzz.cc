// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Lines of the qtest protocol against a q35 with 16 MiB.
#include "monitor/qtest_commands.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/test_house.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace godwit;
    static auto* const house = [] {
        auto* out = new test::TestHouse;
        if (!out->build({"-machine", "q35", "-accel", "qtest", "-m", "16", "-S"}))
            std::abort();
        return out;
    }();
    const system::MachineGuard guard(house->vm().lock());
    monitor::QtestCommands commands(house->vm(), [](std::string_view) {}, {});
    std::string_view text(reinterpret_cast<const char*>(data), size);
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        const std::string answer = commands.run(text.substr(0, end));
        fuzz::require(answer.ends_with('\n') && answer.find('\n') + 1 == answer.size(),
                      "an answer is one line");
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return 0;
}
