// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Command line values of the form "a=b,c.d=e".
#pragma once

#include "util/json_fwd.h"
#include "util/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godwit {

/// Options and values a text may have; more is refused.
inline constexpr std::size_t kMaxOptions = 4096;
/// Levels that dotted keys may nest.
inline constexpr std::size_t kMaxOptionDepth = 32;

/// One "key=value". Where no value stood, value is "on", or "off" for "nokey".
struct Option {
    std::string key;
    std::string value;
    bool bare = false;  ///< no '=' stood there
};

/// A flat list in order, as `-drive`, `-chardev` and `-device` in QEMU take it.
///
/// Shape    comma-separated; ",," is a comma; a comma at the end is allowed; the first item may be
///          a bare value if there is an implied key; other bare words are booleans. Where a key
///          occurs twice the last one counts.
/// Errors   InvalidArgument, one line, naming the key.
/// Threads  a value.
class OptionList {
public:
    /// `implied_key` names the first item if it has no '='; empty: there is none.
    static Result<OptionList> parse(std::string_view text, std::string_view implied_key = {});

    const std::vector<Option>& all() const noexcept { return options_; }
    bool empty() const noexcept { return options_.empty(); }
    bool has(std::string_view key) const noexcept { return find(key) != nullptr; }
    /// The last value of `key`; null if there is none.
    const std::string* find(std::string_view key) const noexcept;
    /// All values of `key`, in order.
    std::vector<std::string> find_all(std::string_view key) const;
    /// One line for each bare word: "short-form boolean option 'mux' deprecated, please use mux=on
    /// instead".
    std::vector<std::string> deprecations() const;
    /// "help" or "?" stood alone somewhere.
    bool wants_help() const noexcept;

    /// The value or `otherwise`.
    std::string get_string(std::string_view key, std::string_view otherwise = {}) const;
    /// "Parameter 'key' is missing" if it is.
    Result<std::string> require_string(std::string_view key) const;
    /// Errors as QEMU prints them: "Parameter 'key' expects 'on' or 'off'", ... "a number", ...
    /// "a size".
    Result<bool> get_bool(std::string_view key, bool otherwise) const;
    Result<std::uint64_t> get_u64(std::string_view key, std::uint64_t otherwise) const;
    Result<std::uint64_t> get_size(std::string_view key, std::uint64_t otherwise,
                                   std::uint64_t default_unit = 1) const;

    void set(std::string_view key, std::string_view value);
    /// Removes all of `key`; the last value, if there was one.
    std::optional<std::string> take(std::string_view key);
    /// "Invalid parameter 'x'" for the first key that is not in `known`.
    Result<void> only(std::initializer_list<std::string_view> known) const;

    /// Nested as by parse_keyval(), strings as leaves. A later key replaces an earlier one.
    Result<Json> to_json() const;
    /// The text that parse() would read as this list, commas doubled.
    std::string to_string() const;

private:
    std::vector<Option> options_;
};

/// "driver=x,addr.host=h,list.0=a" as nested JSON, as `-blockdev`, `-object` and `-audiodev` take
/// it.
///
/// Dots nest; an object whose keys are the numbers 0..n-1 is a list. All leaves are strings: the
/// reader that knows the schema converts them. Text that begins with '{' is JSON instead.
/// Unlike in an OptionList there are no bare booleans, and no value may also be an object.
/// Errors   InvalidArgument, with QEMU's words: "Expected '=' after parameter 'x'", "Invalid
///          parameter 'x..y'", "Parameters 'a.*' used inconsistently".
Result<Json> parse_keyval(std::string_view text, std::string_view implied_key = {});

/// As parse_keyval(), but a bare "help" or "?" is taken out and reported in `help`.
Result<Json> parse_keyval(std::string_view text, std::string_view implied_key, bool& help);

/// Doubles the commas, so that `value` can stand in an option list.
std::string escape_option_value(std::string_view value);

}  // namespace godwit
