// SPDX-License-Identifier: LGPL-2.1-or-later
//
// SIGTERM, SIGINT and SIGHUP as requests to the main loop.
#pragma once

#include "util/registration.h"
#include "util/result.h"

namespace godwit::system {

class Vm;

/// Holds back SIGTERM, SIGINT and SIGHUP in this thread and those it starts, and ignores SIGPIPE.
/// Call it before the first thread: what arrives until watch_signals() is not lost.
void hold_signals() noexcept;

/// From now on each of them asks the Vm for an orderly shutdown (exit status 0), and the log says
/// who sent it.
Result<Registration> watch_signals(Vm& vm);

}  // namespace godwit::system
