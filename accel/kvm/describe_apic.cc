// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Bits of the registers: Intel SDM volume 3, "Advanced Programmable Interrupt Controller".
#include "accel/kvm/describe_apic.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

bool bit(std::uint32_t value, unsigned n)
{
    return (value >> n & 1) != 0;
}

/// One entry of the local vector table; `timer`: it has a mode of its own.
std::string lvt_line(std::string_view name, std::uint32_t lvt, bool timer = false)
{
    static constexpr std::array<std::string_view, 8> kDelivery = {"Fixed", "...",  "SMI", "...",
                                                                  "NMI",   "INIT", "...", "ExtINT"};
    static constexpr std::array<std::string_view, 4> kTimer = {"one-shot", "periodic",
                                                               "tsc-deadline", "..."};
    const std::string_view delivery = kDelivery[lvt >> 8 & 7];
    return fmt::format("{}\t 0x{:08x} {} {:<5} {:<6} {:<7} {:<12} {:<6}{}\n", name, lvt,
                       bit(lvt, 13) ? "active-lo" : "active-hi", bit(lvt, 15) ? "level" : "edge",
                       bit(lvt, 16) ? "masked" : "", bit(lvt, 12) ? "pending" : "",
                       timer ? kTimer[lvt >> 17 & 3] : "", delivery,
                       delivery == "NMI" ? "" : fmt::format(" (vec {})", lvt & 0xff));
}

/// The vectors whose bits are set; with " (level)" where `levels` has them too.
std::string vectors(std::string_view name, const std::array<std::uint32_t, 8>& bits,
                    const std::array<std::uint32_t, 8>& levels)
{
    std::string text;
    for (unsigned vector = 0; vector < 256; ++vector)
        if (bit(bits[vector / 32], vector % 32))
            text += fmt::format(" {}{}", vector,
                                bit(levels[vector / 32], vector % 32) ? " (level)" : "");
    return fmt::format("{}\t{}\n", name, text.empty() ? " (none)" : text);
}

std::string command_lines(const ApicState& s)
{
    static constexpr std::array<std::string_view, 4> kShorthands = {"no-shorthand", "self",
                                                                    "all-self", "all"};
    const std::uint32_t low = s.icr[0];
    const bool logical = bit(low, 11);
    return fmt::format("ICR\t 0x{:08x} {} {} {} {}\n", low, logical ? "logical" : "physical",
                       bit(low, 15) ? "level" : "edge", bit(low, 14) ? "assert" : "de-assert",
                       kShorthands[low >> 18 & 3]) +
           fmt::format("ICR2\t 0x{:08x} {} {}{}\n", s.icr[1], logical ? "mask" : "cpu",
                       s.icr[1] >> 24, logical ? "" : " (X2APIC ID)");
}

unsigned highest(const std::array<std::uint32_t, 8>& bits)
{
    for (unsigned vector = 256; vector-- > 0;)
        if (bit(bits[vector / 32], vector % 32))
            return vector;
    return 0;
}

}  // namespace

std::string format_apic(unsigned index, const ApicState& s, std::uint32_t current_count)
{
    std::string text = fmt::format("dumping local APIC state for CPU {:<2}\n\n", index);
    // Order of the entries in the registers: timer, thermal, counters, LINT0, LINT1, error.
    text += lvt_line("LVT0", s.lvt[3]) + lvt_line("LVT1", s.lvt[4]) + lvt_line("LVTPC", s.lvt[2]) +
            lvt_line("LVTERR", s.lvt[5]) + lvt_line("LVTTHMR", s.lvt[1]) +
            lvt_line("LVTT", s.lvt[0], true);
    text += fmt::format("Timer\t DCR=0x{:x} (divide by {}) initial_count = {} current_count = {}\n",
                        s.divide_conf, 1u << std::clamp(s.count_shift, 0, 7), s.initial_count,
                        current_count);
    text += fmt::format("SPIV\t 0x{:08x} APIC {}, focus={}, spurious vec {}\n", s.spurious_vec,
                        bit(s.spurious_vec, 8) ? "enabled" : "disabled",
                        bit(s.spurious_vec, 9) ? "on" : "off", s.spurious_vec & 0xff);
    text += command_lines(s);
    text += fmt::format("ESR\t 0x{:08x}\n", s.esr);
    text += vectors("ISR", s.isr, s.tmr) + vectors("IRR", s.irr, s.tmr);
    // The processor's priority is the higher of the task's and the interrupt's in service.
    const unsigned service = highest(s.isr) & 0xf0;
    const unsigned priority = (s.tpr & 0xf0u) >= service ? s.tpr : service;
    return text +
           fmt::format("\nAPR 0x{:02x} TPR 0x{:02x} DFR 0x{:02x} LDR 0x{:02x} PPR 0x{:02x}\n",
                       s.arb_id, s.tpr, s.dest_mode, s.log_dest, priority);
}

}  // namespace godwit::accel::kvm
