// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/describe_registers.h"

#include "accel/kvm/cpu_registers.h"

#include <fmt/format.h>

namespace godwit::accel::kvm {
namespace {

std::string flag_letters(std::uint64_t flags)
{
    static constexpr std::pair<unsigned, char> kLetters[] = {
        {10, 'D'}, {11, 'O'}, {7, 'S'}, {6, 'Z'}, {4, 'A'}, {2, 'P'}, {0, 'C'}};
    std::string text;
    for (const auto& [bit, letter] : kLetters)
        text += (flags >> bit & 1) != 0 ? letter : '-';
    return text;
}

std::string general_registers(const CpuState& s, bool wide, std::uint32_t mode)
{
    const auto& r = s.regs;
    const std::string tail =
        fmt::format("[{}] CPL={} II={} A20=1 SMM={} HLT={}\n", flag_letters(s.eflags), mode & 3,
                    mode >> 3 & 1, mode >> 19 & 1, s.mp_state == 3 ? 1 : 0);
    if (!wide)
        return fmt::format("EAX={:08x} EBX={:08x} ECX={:08x} EDX={:08x}\n"
                           "ESI={:08x} EDI={:08x} EBP={:08x} ESP={:08x}\n"
                           "EIP={:08x} EFL={:08x} ",
                           static_cast<std::uint32_t>(r[0]), static_cast<std::uint32_t>(r[3]),
                           static_cast<std::uint32_t>(r[1]), static_cast<std::uint32_t>(r[2]),
                           static_cast<std::uint32_t>(r[6]), static_cast<std::uint32_t>(r[7]),
                           static_cast<std::uint32_t>(r[5]), static_cast<std::uint32_t>(r[4]),
                           static_cast<std::uint32_t>(s.eip),
                           static_cast<std::uint32_t>(s.eflags)) +
               tail;
    std::string text = fmt::format("RAX={:016x} RBX={:016x} RCX={:016x} RDX={:016x}\n"
                                   "RSI={:016x} RDI={:016x} RBP={:016x} RSP={:016x}\n",
                                   r[0], r[3], r[1], r[2], r[6], r[7], r[5], r[4]);
    for (unsigned i = 8; i < 16; ++i)
        text += fmt::format("R{:<2}={:016x}{}", i, r[i], i % 4 == 3 ? '\n' : ' ');
    return text +
           fmt::format("RIP={:016x} RFL={:08x} ", s.eip, static_cast<std::uint32_t>(s.eflags)) +
           tail;
}

std::string segment_line(std::string_view name, const Segment& segment, bool wide)
{
    if (wide)
        return fmt::format("{:<3}={:04x} {:016x} {:08x} {:08x}\n", name, segment.selector,
                           segment.base, segment.limit, segment.flags);
    return fmt::format("{:<3}={:04x} {:08x} {:08x} {:08x}\n", name, segment.selector,
                       static_cast<std::uint32_t>(segment.base), segment.limit, segment.flags);
}

}  // namespace

std::string format_registers(const CpuState& s)
{
    const std::uint32_t mode = mode_flags(s);
    const bool wide = (mode >> 14 & 1) != 0;
    std::string text = general_registers(s, wide, mode);
    static constexpr std::string_view kNames[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
    for (unsigned i = 0; i < 6; ++i)
        text += segment_line(kNames[i], s.segs[i], wide);
    text += segment_line("LDT", s.ldt, wide) + segment_line("TR", s.tr, wide);
    if (!wide)
        return text + fmt::format("GDT=     {:08x} {:08x}\nIDT=     {:08x} {:08x}\n"
                                  "CR0={:08x} CR2={:08x} CR3={:08x} CR4={:08x}\nEFER={:016x}\n",
                                  static_cast<std::uint32_t>(s.gdt.base), s.gdt.limit,
                                  static_cast<std::uint32_t>(s.idt.base), s.idt.limit,
                                  static_cast<std::uint32_t>(s.cr0),
                                  static_cast<std::uint32_t>(s.cr2),
                                  static_cast<std::uint32_t>(s.cr3),
                                  static_cast<std::uint32_t>(s.cr4), s.efer);
    return text + fmt::format("GDT=     {:016x} {:08x}\nIDT=     {:016x} {:08x}\n"
                              "CR0={:08x} CR2={:016x} CR3={:016x} CR4={:08x}\nEFER={:016x}\n",
                              s.gdt.base, s.gdt.limit, s.idt.base, s.idt.limit,
                              static_cast<std::uint32_t>(s.cr0), s.cr2, s.cr3,
                              static_cast<std::uint32_t>(s.cr4), s.efer);
}

}  // namespace godwit::accel::kvm
