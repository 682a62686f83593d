// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Runs lines of the human monitor, and knows how to complete them.
#pragma once

#include "system/hmp.h"

#include <string>
#include <string_view>
#include <vector>

namespace godwit::monitor {

/// Executes one line in `context`.
///
/// @return  what it printed, errors included ("Error: ..."); lines end in CR LF
/// Threads  main loop with the machine lock.
std::string run_hmp_line(const system::HmpTable& table, system::HmpContext& context,
                         std::string_view line);

/// Lines that end in LF, as a terminal wants them: in CR LF.
std::string with_cr(std::string_view text);

/// The words that `line`, whose end is the cursor, may continue with: full words, sorted.
std::vector<std::string> complete_hmp_line(const system::HmpTable& table,
                                           system::HmpContext& context, std::string_view line);

/// What `help NAME` prints ("" lists everything), lines end in LF.
std::string hmp_help(const system::HmpTable& table, std::string_view name);

/// The commands this room brings, by subject; each in a file of its own.
void add_control_commands(system::HmpTable& table);
void add_memory_commands(system::HmpTable& table);
void add_object_commands(system::HmpTable& table);
void add_info_commands(system::HmpTable& table);
void add_tree_commands(system::HmpTable& table);

/// A register of the CPU as its description shows it: "rip", "eax", "pc". For expressions.
std::optional<std::uint64_t> cpu_register(const system::HmpContext& context, std::string_view name);

}  // namespace godwit::monitor
