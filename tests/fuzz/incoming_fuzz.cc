// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Migration streams that are almost right, against all devices of a q35: every length, count, name,
// flag and value is changed where it stands.
#include "tests/fuzz/fuzz.h"
#include "tests/support/incoming_bench.h"
#include "tests/support/stream_map.h"

#include <algorithm>
#include <cstring>

using namespace godwit;

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed);

namespace {

test::IncomingBench& bench()
{
    static auto* const made = new test::IncomingBench;
    return *made;
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed)
{
    std::string stream(fuzz::as_text(data, size));
    auto marks = test::map_stream(stream);
    if (marks.size() < 100) {
        // Too little of it makes sense: begin again with a whole one.
        stream = bench().stream();
        marks = test::map_stream(stream);
    } else if (seed % 8 == 0) {
        return LLVMFuzzerMutate(data, size, most);
    }
    test::StreamMutator mutator(seed);
    stream = mutator.damage(std::move(stream), marks);
    const std::size_t length = std::min(stream.size(), most);
    std::memcpy(data, stream.data(), length);
    return length;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const bool ignore_unknown = size % 2 == 0;
    const auto outcome = bench().load(fuzz::as_text(data, size), ignore_unknown);
    if (!outcome.loaded) {
        fuzz::require(!outcome.error.empty(), "a refusal has a reason");
        fuzz::require(outcome.error.find('\n') == std::string::npos, "an error is one line");
    }
    const auto damage = bench().damage();
    fuzz::require(!damage, damage ? damage->c_str() : "");
    return 0;
}
