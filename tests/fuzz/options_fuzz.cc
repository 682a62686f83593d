// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Option lists, dotted keys, sizes and addresses: the words of the command line.
#include "io/address.h"
#include "tests/fuzz/fuzz.h"
#include "util/json.h"
#include "util/option_list.h"
#include "util/size.h"

using namespace godwit;

namespace {

template <class T>
void check(const Result<T>& result)
{
    if (!result)
        fuzz::require_one_line(result.error());
}

void check_list(std::string_view text)
{
    const auto list = OptionList::parse(text, "driver");
    check(list);
    if (!list)
        return;
    for (const Option& option : list->all()) {
        check(list->get_bool(option.key, false));
        check(list->get_u64(option.key, 0));
        check(list->get_size(option.key, 0));
    }
    check(list->to_json());
    const auto again = OptionList::parse(list->to_string(), "driver");
    fuzz::require(again && again->to_string() == list->to_string(),
                  "an option list is read again as it is written");
}

void check_address(std::string_view text)
{
    const auto address = io::parse_uri(text);
    check(address);
    check(io::parse_socket_address(text));
    check(io::parse_endpoint(text));
    if (!address)
        return;
    const auto again = io::parse_uri(io::to_string(*address));
    fuzz::require(again && *again == *address, "an address is read again as it is written");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string_view text = fuzz::as_text(data, size);
    check_list(text);
    check(parse_keyval(text, "driver"));
    check(parse_keyval(text));
    check(parse_size(text));
    check(parse_i64(text));
    check(parse_double(text));
    check_address(text);
    return 0;
}
