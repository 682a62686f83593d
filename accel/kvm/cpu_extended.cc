// SPDX-License-Identifier: LGPL-2.1-or-later
//
// FPU, SSE and everything else that XSAVE holds. Layout: Intel SDM volume 1, "XSAVE Area"; where
// the later components lie, CPUID leaf 0xd of the host says.
#include "accel/kvm/cpu_registers.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <span>

namespace godwit::accel::kvm {
namespace {

/// The bytes of an XSAVE area, with its components by number.
class Area {
public:
    Area(std::size_t bytes, const HostCpu& host) : words_(bytes / 8), host_(host) {}

    void* kernel() { return words_.data(); }
    template <class T>
    void read(std::size_t offset, T& into) const
    {
        std::memcpy(&into, base() + offset, sizeof into);
    }
    template <class T>
    void write(std::size_t offset, const T& from)
    {
        std::memcpy(base() + offset, &from, sizeof from);
    }
    /// Empty when the host has no such component.
    std::span<std::byte> component(unsigned number)
    {
        for (const kvm_cpuid_entry2& e : host_.entries)
            if (e.function == 0xd && e.index == number && e.eax != 0 &&
                std::size_t{e.ebx} + e.eax <= words_.size() * 8)
                return {base() + e.ebx, e.eax};
        return {};
    }

private:
    std::byte* base() const { return reinterpret_cast<std::byte*>(words_.data()); }
    mutable std::vector<std::uint64_t> words_;
    const HostCpu& host_;
};

constexpr std::size_t kFcw = 0, kFsw = 2, kFtw = 4, kFop = 6, kFip = 8, kFdp = 16, kMxcsr = 24,
                      kSt = 32, kXmm = 160, kXstateBv = 512;
constexpr unsigned kYmmHigh = 2, kBndRegs = 3, kBndCsr = 4, kOpmask = 5, kZmmHigh = 6,
                   kZmmUpper = 7, kPkru = 9, kTileConfig = 17, kTileData = 18;

/// Moves `bytes` between a component and a member, whichever way `copy` goes.
template <class Copy>
void for_components(Area& area, CpuState& s, Copy copy)
{
    const auto each = [&](unsigned number, auto move) {
        if (auto part = area.component(number); !part.empty())
            move(part);
    };
    const auto at = [&](std::span<std::byte> part, std::size_t offset, void* member,
                        std::size_t bytes) {
        if (offset + bytes <= part.size())
            copy(part.data() + offset, member, bytes);
    };
    each(kYmmHigh, [&](auto part) {
        for (unsigned i = 0; i < 16; ++i)
            at(part, 16 * i, &s.zmm[i].q[2], 16);
    });
    each(kBndRegs, [&](auto part) {
        for (unsigned i = 0; i < 4; ++i) {
            at(part, 16 * i, &s.bnd_regs[i].lower, 8);
            at(part, 16 * i + 8, &s.bnd_regs[i].upper, 8);
        }
    });
    each(kBndCsr, [&](auto part) {
        at(part, 0, &s.bnd_cfgu, 8);
        at(part, 8, &s.bnd_sts, 8);
    });
    each(kOpmask, [&](auto part) { at(part, 0, s.opmask.data(), 64); });
    each(kZmmHigh, [&](auto part) {
        for (unsigned i = 0; i < 16; ++i)
            at(part, 32 * i, &s.zmm[i].q[4], 32);
    });
    each(kZmmUpper, [&](auto part) {
        for (unsigned i = 0; i < 16; ++i)
            at(part, 64 * i, s.zmm[16 + i].q.data(), 64);
    });
    each(kPkru, [&](auto part) { at(part, 0, &s.pkru, 4); });
    each(kTileConfig, [&](auto part) { at(part, 0, s.xtile_config.data(), 64); });
    each(kTileData, [&](auto part) { at(part, 0, s.xtile_data.data(), 8192); });
}

/// Hands each field of the first 576 bytes to `move`, but for the tags, which have another form.
template <class State, class Move>
void each_legacy(State& s, Move move)
{
    move(kFcw, s.fpuc);
    move(kFsw, s.fpus);
    move(kFop, s.fpop);
    move(kFip, s.fpip);
    move(kFdp, s.fpdp);
    move(kMxcsr, s.mxcsr);
    for (unsigned i = 0; i < 8; ++i) {
        move(kSt + 16 * i, s.fpregs[i].mantissa);
        move(kSt + 16 * i + 8, s.fpregs[i].exponent);
    }
    for (unsigned i = 0; i < 16; ++i) {
        move(kXmm + 16 * i, s.zmm[i].q[0]);
        move(kXmm + 16 * i + 8, s.zmm[i].q[1]);
    }
    move(kXstateBv, s.xstate_bv);
}

void read_legacy(const Area& area, CpuState& s)
{
    each_legacy(s, [&](std::size_t offset, auto& field) { area.read(offset, field); });
    std::uint8_t tags = 0;
    area.read(kFtw, tags);
    s.fptag = tags;
}

void write_legacy(Area& area, const CpuState& s)
{
    each_legacy(s, [&](std::size_t offset, const auto& field) { area.write(offset, field); });
    area.write(kFtw, static_cast<std::uint8_t>(s.fptag));
}

}  // namespace

Result<void> CpuRegisters::fetch_extended(CpuState& state) const
{
    const std::size_t bytes = std::max<std::size_t>(machine_->xsave2_bytes(), sizeof(XsaveRegion));
    Area area(bytes, machine_->host());
    if (machine_->xsave2_bytes() > 0)
        GW_TRY(GW_KVM(*vcpu_, KVM_GET_XSAVE2, area.kernel()));
    else
        GW_TRY(GW_KVM(*vcpu_, KVM_GET_XSAVE, area.kernel()));
    read_legacy(area, state);
    for_components(area, state, [](std::byte* in_area, void* member, std::size_t size) {
        std::memcpy(member, in_area, size);
    });
    kvm_xcrs xcrs{};
    GW_TRY(GW_KVM(*vcpu_, KVM_GET_XCRS, &xcrs));
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(xcrs.nr_xcrs, KVM_MAX_XCRS); ++i)
        if (xcrs.xcrs[i].xcr == 0)
            state.xcr0 = xcrs.xcrs[i].value;
    return {};
}

Result<void> CpuRegisters::store_extended(const CpuState& state) const
{
    const std::size_t bytes = std::max<std::size_t>(machine_->xsave2_bytes(), sizeof(XsaveRegion));
    Area area(bytes, machine_->host());
    CpuState copy = state;
    for_components(area, copy, [](std::byte* in_area, const void* member, std::size_t size) {
        std::memcpy(in_area, member, size);
    });
    write_legacy(area, state);
    GW_TRY(with_context(
        GW_KVM(*vcpu_, KVM_SET_XSAVE, area.kernel()),
        fmt::format("FPU state (xstate_bv {:#x}, mxcsr {:#x})", state.xstate_bv, state.mxcsr)));
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = state.xcr0;
    return checked(GW_KVM(*vcpu_, KVM_SET_XCRS, &xcrs), fmt::format("xcr0 {:#x}", state.xcr0));
}

}  // namespace godwit::accel::kvm
