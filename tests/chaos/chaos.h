// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the suites that break things share.
#pragma once

#include "tests/qtest/libqtest/migration.h"

#include <string>
#include <string_view>
#include <vector>

namespace godwit::chaos {

inline constexpr qtest::Vmm::Options kOwnAccel{.qtest = false, .accel = ""};

/// GODWIT_CHAOS=long: every byte, every status, not a sample.
bool long_form();

std::vector<std::string> incoming(std::vector<std::string> arguments);

std::string error_desc(qtest::Vmm& vmm);
/// Starts `migrate-incoming` that leaves the program alive when it fails.
void expect_at(qtest::Vmm& target, const std::string& uri);

}  // namespace godwit::chaos
