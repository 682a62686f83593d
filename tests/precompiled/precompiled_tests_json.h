// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The same for tests most of whose files handle JSON. For others it would cost more than it saves,
// because nlohmann's literals instantiate a parser in each file that sees them.
#include "util/precompiled/precompiled_program.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
