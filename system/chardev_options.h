// SPDX-License-Identifier: LGPL-2.1-or-later
//
// From the words of -chardev and -serial to a back end.
#pragma once

#include "system/chardev_backends.h"
#include "util/option_list.h"

namespace godwit::system {

/// The short forms of -serial, -qmp, -monitor and -qtest as -chardev would say them: key "backend"
/// and the rest. Not "none", "chardev:ID" and "mon:".
/// Errors   "'foo' is not a valid char driver".
Result<OptionList> parse_short_chardev(std::string_view text);

/// `options` as above, with "backend"; other keys that belong to no chardev are refused.
/// Errors   those of QEMU: "chardev: file: no filename given", "Failed to connect to ...".
Result<std::unique_ptr<Chardev>> make_chardev(const ChardevHost& host, const std::string& label,
                                              const OptionList& options);

}  // namespace godwit::system
