// SPDX-License-Identifier: LGPL-2.1-or-later
//
// -sandbox: a seccomp filter over the whole process.
#pragma once

#include "util/result.h"

#include <string_view>

namespace godwit::system {

/// What `-sandbox on,...` permits. The defaults are QEMU's.
struct SandboxOptions {
    enum class Elevate { Allow, Deny, Children };
    bool enabled = false;
    bool obsolete = false;  ///< system calls nobody should need any more
    Elevate elevate =
        Elevate::Allow;            ///< changing user and group; Children: not for programs we start
    bool spawn = true;             ///< starting other programs (exec: addresses need it)
    bool resource_control = true;  ///< priorities, affinity, scheduling
};

/// Errors   InvalidArgument in QEMU's words: "invalid argument for spawn", "Invalid parameter 'x'".
Result<SandboxOptions> parse_sandbox(std::string_view text);

/// Enters the sandbox, for good. Denied calls end the process, except where a library has a
/// fallback.
///
/// Threads  before any other thread is started.
/// Errors   Unsupported in a build without libseccomp; Io when the kernel refuses the filter.
/// Source   seccomp(2); the groups are those of QEMU's manual, section "-sandbox".
Result<void> enter_sandbox(const SandboxOptions& options);

}  // namespace godwit::system
