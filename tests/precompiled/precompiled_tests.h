// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Precompiled for the tests, as util/precompiled/precompiled_program.h is for the rooms.
#include "util/precompiled/precompiled_program.h"

#include <gtest/gtest.h>
