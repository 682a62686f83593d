// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/chaos/belongings.h"

#include "tests/qtest/libqtest/deadline.h"

#include <cstdint>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <thread>

namespace godwit::chaos {
namespace {

std::size_t entries(const std::string& directory)
{
    std::error_code gone;
    std::size_t count = 0;
    for (std::filesystem::directory_iterator at(directory, gone), end; !gone && at != end;
         at.increment(gone))
        ++count;
    return count;
}

}  // namespace

std::string to_string(const Belongings& b)
{
    return fmt::format("{} descriptors, {} threads, {} mappings of {} KiB", b.descriptors,
                       b.threads, b.mappings, b.mapped_bytes >> 10);
}

Belongings belongings_of(pid_t pid)
{
    Belongings b{.descriptors = entries(fmt::format("/proc/{}/fd", pid)),
                 .threads = entries(fmt::format("/proc/{}/task", pid))};
    std::ifstream maps(fmt::format("/proc/{}/maps", pid));
    for (std::string line; std::getline(maps, line);) {
        const std::size_t dash = line.find('-');
        b.mapped_bytes += std::stoull(line.substr(dash + 1), nullptr, 16) -
                          std::stoull(line.substr(0, dash), nullptr, 16);
        ++b.mappings;
    }
    return b;
}

Belongings idle_source(pid_t pid)
{
    Belongings before = belongings_of(pid);
    before.descriptors += 2;
    return before;
}

Belongings settled(pid_t pid, const Belongings& before)
{
    const qtest::Deadline deadline;
    for (;;) {
        const Belongings now = belongings_of(pid);
        if ((now.descriptors <= before.descriptors && now.threads <= before.threads) ||
            deadline.passed())
            return now;
        // /proc gives no event.
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

}  // namespace godwit::chaos
