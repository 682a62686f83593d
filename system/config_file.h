// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Options in a file, for -readconfig.
#pragma once

#include "util/option_list.h"
#include "util/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace godwit::system {

/// One section of a configuration file and what it says.
struct ConfigSection {
    std::size_t line = 0;  ///< where it begins, from 1
    std::string group;     ///< "device"
    OptionList options;    ///< with "id" if the section has one
};

/// Reads QEMU's form of INI files:
///
///     # a comment
///     [device "net0"]
///       driver = "virtio-rng-device"
///
/// Shape    one section or `key = "value"` a line; a value has no quotes and no line ends inside;
///          what stands behind its second quote is a comment.
/// Errors   InvalidArgument, "LINE: what is wrong".
Result<std::vector<ConfigSection>> parse_config(std::string_view text);

}  // namespace godwit::system
