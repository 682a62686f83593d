// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The accelerators this build has: kvm, synth, qtest, and tcg, which is known but never available.
#pragma once

#include "util/result.h"

namespace godwit::system {
class TypeRegistry;
}

namespace godwit::accel {

/// Adds "kvm-accel", "synth-accel", "qtest-accel" and "tcg-accel".
///
/// Errors   those of TypeRegistry::add().
Result<void> register_types(system::TypeRegistry& types);

}  // namespace godwit::accel
