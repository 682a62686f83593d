// SPDX-License-Identifier: LGPL-2.1-or-later
//
// -object secret: a password or key that does not stand on the command line.
#pragma once

#include "system/object.h"
#include "util/result.h"

#include <string>
#include <string_view>

namespace godwit::system {

/// The type "secret": `data` or `file`, as they are (`format=raw`) or in base64.
///
/// Errors   complete(): "Either 'file' or 'data' must be provided", "'file' and 'data' are mutually
///          exclusive", "Unable to read FILE: ...", "Base64 data contains invalid characters".
class Secret : public UserObject {
public:
    enum class Format { Raw, Base64 };
    ~Secret() override;

    /// The bytes, once complete() succeeded.
    const std::string& value() const noexcept { return value_; }
    Result<void> complete(Vm& vm) override;

    static TypeInfo type_info();

private:
    std::string data_, file_, keyid_, iv_;
    Format format_ = Format::Raw;
    std::string value_;
};

/// The value of the secret `id` under /objects.
/// Errors   NotFound: "No secret with id 'x'".
Result<std::string> secret_value(const Vm& vm, std::string_view id);

}  // namespace godwit::system
