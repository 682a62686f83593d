// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How a UART migrates.
#include "hw/char/serial.h"

namespace godwit::hw {
namespace {

using namespace migration::stream;
constexpr std::uint8_t kIerThri = 0x02;
constexpr std::uint8_t kIirIdMask = 0x0f;
constexpr std::uint8_t kIirThri = 0x02;
constexpr std::uint8_t kLsrTemt = 0x40;
constexpr std::int32_t kNotInStream = -1;

constexpr bool thri_by_iir(const UartState& s)
{
    return (s.iir & kIirIdMask) == kIirThri;
}

constexpr auto kThrIpending = vmstate<UartState>(
    "serial/thr_ipending",
    {.needed =
         [](const UartState& s) {
             return (s.ier & kIerThri) != 0 && (s.thr_ipending != 0) != thri_by_iir(s);
         }},
    field<&UartState::thr_ipending>("thr_ipending").in_range(0, 1));

constexpr auto kTsr = vmstate<UartState>(
    "serial/tsr", {.needed = [](const UartState& s) { return s.tsr_retry != 0; }},
    field<&UartState::tsr_retry>("tsr_retry"), field<&UartState::thr>("thr"),
    field<&UartState::tsr>("tsr"));

constexpr auto kRecvFifo = vmstate<UartState>(
    "serial/recv_fifo", {.needed = [](const UartState& s) { return !s.recv.empty(); }},
    structure<&UartState::recv>("recv_fifo", detail::kFifo8<16>));

constexpr auto kXmitFifo = vmstate<UartState>(
    "serial/xmit_fifo", {.needed = [](const UartState& s) { return !s.xmit.empty(); }},
    structure<&UartState::xmit>("xmit_fifo", detail::kFifo8<16>));

constexpr auto kTimeoutTimer =
    vmstate<UartState>("serial/fifo_timeout_timer",
                       {.needed = [](const UartState& s) { return s.fifo_timeout.armed(); }},
                       field<&UartState::fifo_timeout>("fifo_timeout_timer"));

constexpr auto kTimeoutIpending =
    vmstate<UartState>("serial/timeout_ipending",
                       {.needed = [](const UartState& s) { return s.timeout_ipending != 0; }},
                       field<&UartState::timeout_ipending>("timeout_ipending").in_range(0, 1));

constexpr auto kPoll = vmstate<UartState>(
    "serial/poll", {.needed = [](const UartState& s) { return s.poll_msl >= 0; }},
    field<&UartState::poll_msl>("poll_msl"), field<&UartState::poll>("modem_status_poll"));

// A stream leaves out what is as after reset, so a load starts from there.
Result<void> forget(UartState& s)
{
    s.thr_ipending = kNotInStream;
    s.tsr_retry = 0;
    s.recv.clear();
    s.xmit.clear();
    s.fifo_timeout = {};
    s.timeout_ipending = 0;
    s.poll_msl = -1;
    s.poll = {};
    return {};
}

Result<void> check(UartState& s, Version version)
{
    if (version < 3)
        s.fcr = 0;
    if (s.thr_ipending == kNotInStream)
        s.thr_ipending = thri_by_iir(s) ? 1 : 0;
    if (s.tsr_retry == 0 && (s.lsr & kLsrTemt) == 0)
        return Error(Errc::BadFormat, "inconsistent state in serial device "
                                      "(tsr not empty, tsr_retry=0)");
    return {};
}

constexpr auto kUart = vmstate<UartState>(
    "serial", {.current = 3, .oldest = 2, .pre_load = forget, .post_load = check},
    field<&UartState::divider>("divider"), field<&UartState::rbr>("rbr"),
    field<&UartState::ier>("ier"), field<&UartState::iir>("iir"), field<&UartState::lcr>("lcr"),
    field<&UartState::mcr>("mcr"), field<&UartState::lsr>("lsr"), field<&UartState::msr>("msr"),
    field<&UartState::scr>("scr"), field<&UartState::fcr>("fcr_vmstate").since(3),
    subsection(kThrIpending), subsection(kTsr), subsection(kRecvFifo), subsection(kXmitFifo),
    subsection(kTimeoutTimer), subsection(kTimeoutIpending), subsection(kPoll));
static_assert(kUart.well_formed());

constexpr auto kSection = vmstate<SerialSection>("serial", {.current = 3, .oldest = 2},
                                                 structure<&SerialSection::state>("state", kUart));
static_assert(kSection.well_formed());

}  // namespace

const VMStateOf<SerialSection>& kSerialSection = kSection;

}  // namespace godwit::hw
