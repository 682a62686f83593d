// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Command lines, one word a line. Only parsing and the settings: back ends would open what the
// fuzzer names.
#include "system/command_line.h"
#include "system/startup.h"
#include "system/vm.h"
#include "tests/fuzz/fuzz.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"
#include "util/option_list.h"
#include "util/size.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace godwit;
    std::vector<std::string> words(1);
    for (std::size_t i = 0; i < size; ++i) {
        if (data[i] == '\n')
            words.emplace_back();
        else if (data[i] != 0)
            words.back() += static_cast<char>(data[i]);
    }
    // The texts behind options are option lists of one kind or another.
    for (const std::string& word : words) {
        if (const auto options = OptionList::parse(word, "first"))
            (void)options->to_json();
        (void)parse_keyval(word, "first");
        (void)parse_size(word);
    }
    Log log;
    FlightRecorder recorder(16);
    StreamLogSink sink(-1, {});
    auto vm = system::Vm::create(log, recorder);
    if (!vm)
        std::abort();
    const system::MachineGuard guard((*vm)->lock());
    system::CommandLine line;
    system::Startup startup(**vm, line, sink, "fuzz");
    startup.add_options();
    std::vector<const char*> pointers;
    for (const std::string& word : words) {
        // Help goes to standard output; there would be a lot of it.
        if (word.find("help") != std::string::npos || word.find('?') != std::string::npos)
            return 0;
        pointers.push_back(word.c_str());
    }
    if (line.parse(pointers))
        (void)startup.settings();
    return 0;
}
