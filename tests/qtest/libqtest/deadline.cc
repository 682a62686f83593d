// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/libqtest/deadline.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <poll.h>

namespace godwit::qtest {

std::chrono::milliseconds patience()
{
    const char* factor = std::getenv("GODWIT_TEST_PATIENCE");
    const int times = factor ? std::max(1, std::atoi(factor)) : 1;
    return std::chrono::seconds(60) * times;
}

int Deadline::left_ms() const
{
    using namespace std::chrono;
    const auto left = duration_cast<milliseconds>(end_ - steady_clock::now()).count();
    return static_cast<int>(std::max<long long>(left, 0));
}

bool wait_readable(int fd, const Deadline& deadline)
{
    while (true) {
        pollfd waiting{fd, POLLIN, 0};
        const int ready = ::poll(&waiting, 1, deadline.left_ms());
        if (ready > 0)
            return true;
        if (ready == 0 || errno != EINTR)
            return false;
    }
}

}  // namespace godwit::qtest
