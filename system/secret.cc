// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/secret.h"

#include "system/property.h"
#include "system/vm.h"
#include "util/hex.h"
#include "util/read_file.h"

#include <algorithm>
#include <string.h>

namespace godwit::system {

namespace {

constexpr std::string_view kFormats[] = {"raw", "base64"};

}  // namespace

Secret::~Secret()
{
    for (std::string* text : {&data_, &value_})
        ::explicit_bzero(text->data(), text->size());
}

Result<void> Secret::complete(Vm&)
{
    if (!keyid_.empty() || !iv_.empty())
        return Error(Errc::Unsupported, "encrypted secrets ('keyid', 'iv') are not supported");
    if (!data_.empty() && !file_.empty())
        return Error(Errc::InvalidArgument, "'file' and 'data' are mutually exclusive");
    if (data_.empty() && file_.empty())
        return Error(Errc::InvalidArgument, "Either 'file' or 'data' must be provided");
    std::string raw = data_;
    if (!file_.empty()) {
        auto content = read_small_file(file_);
        if (!content)
            return Error(content.error().code(), "Unable to read " + content.error().message());
        raw = std::move(*content);
    }
    if (format_ == Format::Raw) {
        value_ = std::move(raw);
        return {};
    }
    const auto decoded = from_base64(raw);
    if (!decoded)
        return Error(Errc::InvalidArgument, "Base64 data contains invalid characters");
    value_.assign(reinterpret_cast<const char*>(decoded->data()), decoded->size());
    return {};
}

TypeInfo Secret::type_info()
{
    return {.name = "secret",
            .parent = "object",
            .description = "A password or key",
            .properties =
                {
                    property<&Secret::data_>("data", "", "The secret itself"),
                    property<&Secret::file_>("file", "", "A file that holds it"),
                    enum_property<&Secret::format_>("format", "QCryptoSecretFormat", kFormats,
                                                    "raw", "How it is written down"),
                    property<&Secret::keyid_>("keyid", "", "Not supported"),
                    property<&Secret::iv_>("iv", "", "Not supported"),
                },
            .create = [] { return std::make_unique<Secret>(); }};
}

Result<std::string> secret_value(const Vm& vm, std::string_view id)
{
    const auto* secret = dynamic_cast<const Secret*>(vm.find_object(id));
    if (!secret)
        return Error(Errc::NotFound, "No secret with id '" + std::string(id) + "'");
    return secret->value();
}

}  // namespace godwit::system
