// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A q35 in this process that loads one stream after the other, whatever is in them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace godwit::test {

/// Shape    the machine's own devices and blocks, besides a device with every kind of field and
/// blocks
///          that show when somebody writes where he must not.
/// Threads  one.
class IncomingBench {
public:
    IncomingBench();
    ~IncomingBench();

    /// What this machine sends: a whole stream that load() takes. With words between Godwits in it,
    /// pages of every kind, and the self-description.
    const std::string& stream() const;

    struct Outcome {
        bool loaded = false;
        std::string error;  ///< one line when it was not
    };
    Outcome load(std::string_view stream, bool ignore_unknown_sections);

    /// What was written outside of what a stream may write; nothing if all is well.
    std::optional<std::string> damage() const;

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace godwit::test
