// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/chaos/chaos.h"

#include <cstdlib>
#include <gtest/gtest.h>

namespace godwit::chaos {

bool long_form()
{
    const char* wanted = std::getenv("GODWIT_CHAOS");
    return wanted != nullptr && std::string_view(wanted) == "long";
}

std::vector<std::string> incoming(std::vector<std::string> arguments)
{
    arguments.insert(arguments.end(), {"-incoming", "defer"});
    return arguments;
}

std::string error_desc(qtest::Vmm& vmm)
{
    return vmm.qmp().execute("query-migrate").value("error-desc", "");
}

void expect_at(qtest::Vmm& target, const std::string& uri)
{
    target.qmp().execute("migrate-incoming", {{"uri", uri}, {"exit-on-error", false}});
}

}  // namespace godwit::chaos
