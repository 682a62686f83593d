// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a PS/2 keyboard and mouse answer. Source: IBM PS/2 technical reference, keyboard and
// auxiliary device.
#include "hw/input/i8042.h"

#include <utility>

namespace godwit::hw {
namespace {

constexpr std::uint8_t kAck = 0xfa;
constexpr std::uint8_t kResend = 0xfe;
constexpr std::uint8_t kSelfTestGood = 0xaa;

constexpr std::uint8_t kMouseScale21 = 0x10;
constexpr std::uint8_t kMouseEnabled = 0x20;
constexpr std::uint8_t kMouseRemote = 0x40;

}  // namespace

void Ps2Common::push(std::uint8_t byte)
{
    if (count >= kRoom)
        return;
    data[static_cast<std::size_t>(wptr)] = byte;
    wptr = (wptr + 1) % 256;
    ++count;
}

std::uint8_t Ps2Common::pop()
{
    if (count == 0)
        return data[static_cast<std::size_t>((rptr + 255) % 256)];  // the last byte again
    const std::uint8_t byte = data[static_cast<std::size_t>(rptr)];
    rptr = (rptr + 1) % 256;
    --count;
    return byte;
}

void Ps2Keyboard::reset()
{
    common.clear();
    common.write_cmd = -1;
    scan_enabled = 1;
    scancode_set = 2;
    ledstate = 0;
}

void Ps2Keyboard::write(std::uint8_t byte)
{
    const std::int32_t waiting = std::exchange(common.write_cmd, -1);
    if (waiting == 0xf0) {
        common.push(byte <= 3 ? kAck : kResend);
        if (byte == 0)
            common.push(static_cast<std::uint8_t>(scancode_set));
        else if (byte <= 3)
            scancode_set = byte;
        return;
    }
    if (waiting == 0xed || waiting == 0xf3) {
        if (waiting == 0xed)
            ledstate = byte;
        common.push(kAck);
        return;
    }
    switch (byte) {
    case 0x00:
        common.push(kAck);
        break;
    case 0xed:  // LEDs
    case 0xf0:  // scan code set
    case 0xf3:  // repeat rate
        common.write_cmd = byte;
        common.push(kAck);
        break;
    case 0xee:
        common.push(0xee);
        break;
    case 0xf2:
        common.push(kAck);
        common.push(0xab);
        common.push(translate != 0 ? 0x41 : 0x83);
        break;
    case 0xf4:
        scan_enabled = 1;
        common.push(kAck);
        break;
    case 0xf5:
    case 0xf6:
        reset();
        scan_enabled = byte == 0xf6 ? 1 : 0;
        common.push(kAck);
        break;
    case 0xff:
        reset();
        common.push(kAck);
        common.push(kSelfTestGood);
        break;
    default:
        common.push(kResend);
        break;
    }
}

void Ps2Mouse::reset()
{
    *this = {};
}

void Ps2Mouse::write(std::uint8_t byte)
{
    const std::int32_t waiting = std::exchange(common.write_cmd, -1);
    if (waiting == 0xe8 || waiting == 0xf3) {
        (waiting == 0xe8 ? resolution : sample_rate) = byte;
        common.push(kAck);
        return;
    }
    if (wrap != 0 && byte != 0xec && byte != 0xff) {
        common.push(byte);
        return;
    }
    switch (byte) {
    case 0xe6:
    case 0xe7:
        status = static_cast<std::uint8_t>(byte == 0xe7 ? status | kMouseScale21
                                                        : status & ~kMouseScale21);
        common.push(kAck);
        break;
    case 0xe8:
    case 0xf3:
        common.write_cmd = byte;
        common.push(kAck);
        break;
    case 0xe9:
        for (const std::uint8_t answer : {kAck, status, resolution, sample_rate})
            common.push(answer);
        break;
    case 0xea:
    case 0xf0:
        status = static_cast<std::uint8_t>(byte == 0xf0 ? status | kMouseRemote
                                                        : status & ~kMouseRemote);
        common.push(kAck);
        break;
    case 0xeb:  // a packet: nothing moved
        for (const int answer : {int{kAck}, 0x08, 0, 0})
            common.push(static_cast<std::uint8_t>(answer));
        break;
    case 0xec:
    case 0xee:
        wrap = byte == 0xee ? 1 : 0;
        common.push(kAck);
        break;
    case 0xf2:
        common.push(kAck);
        common.push(type);
        break;
    case 0xf4:
    case 0xf5:
        status = static_cast<std::uint8_t>(byte == 0xf4 ? status | kMouseEnabled
                                                        : status & ~kMouseEnabled);
        common.push(kAck);
        break;
    case 0xf6:
        sample_rate = 100;
        resolution = 2;
        status = 0;
        common.push(kAck);
        break;
    case 0xff:
        reset();
        for (const int answer : {int{kAck}, int{kSelfTestGood}, 0})
            common.push(static_cast<std::uint8_t>(answer));
        break;
    default:
        common.push(kResend);
        break;
    }
}

}  // namespace godwit::hw
