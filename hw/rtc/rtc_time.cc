// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Dates: what -rtc says, what the registers show, when the alarm rings.
#include "hw/rtc.h"

#include <ctime>
#include <string>

namespace godwit::hw {
namespace {

constexpr std::uint8_t kSeconds = 0;
constexpr std::uint8_t kSecondsAlarm = 1;
constexpr std::uint8_t kMinutes = 2;
constexpr std::uint8_t kMinutesAlarm = 3;
constexpr std::uint8_t kHours = 4;
constexpr std::uint8_t kHoursAlarm = 5;
constexpr std::uint8_t kDayOfWeek = 6;
constexpr std::uint8_t kDayOfMonth = 7;
constexpr std::uint8_t kMonth = 8;
constexpr std::uint8_t kYear = 9;
constexpr std::uint8_t kRegB = 11;
constexpr std::uint8_t kCentury = 0x32;
constexpr std::uint8_t kBinary = 0x04;
constexpr std::uint8_t k24Hours = 0x02;
constexpr std::uint8_t kAnyValue = 0xc0;  // both upper bits set: an alarm field that always matches

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

}  // namespace

Result<std::int64_t> rtc_base_seconds(std::string_view base, std::int64_t host_seconds)
{
    if (base == "utc" || base.empty())
        return host_seconds;
    std::tm broken{};
    if (base == "localtime") {
        const std::time_t host = host_seconds;
        if (::localtime_r(&host, &broken) == nullptr)
            return Error(Errc::Internal, "the host's local time is unknown");
        return host_seconds + broken.tm_gmtoff;
    }
    const std::string text(base);
    for (const char* format : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"}) {
        broken = {};
        const char* end = ::strptime(text.c_str(), format, &broken);
        if (end != nullptr && *end == '\0')
            return ::timegm(&broken);
    }
    return Error(Errc::InvalidArgument, "invalid datetime format")
        .with_hint("valid formats: '2006-06-17T16:01:21' or '2006-06-17'");
}

int Rtc::decode(std::uint8_t value) const
{
    return (state_.cmos[kRegB] & kBinary) != 0 ? value : (value >> 4) * 10 + (value & 0x0f);
}

std::uint8_t Rtc::encode(int value) const
{
    if ((state_.cmos[kRegB] & kBinary) != 0)
        return static_cast<std::uint8_t>(value);
    return static_cast<std::uint8_t>((value / 10 % 10) << 4 | value % 10);
}

std::uint8_t Rtc::encode_hour(int hour) const
{
    if ((state_.cmos[kRegB] & k24Hours) != 0)
        return encode(hour);
    const int of_twelve = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(of_twelve) | (hour >= 12 ? 0x80 : 0));
}

int Rtc::decode_hour(std::uint8_t value) const
{
    if ((state_.cmos[kRegB] & k24Hours) != 0)
        return decode(value);
    const int hour = decode(value & 0x7f) % 12;
    return (value & 0x80) != 0 ? hour + 12 : hour;
}

// The clock runs in our head; its registers are filled when somebody looks.
void Rtc::show_time()
{
    const std::time_t seconds = guest_ns() / kNsPerSecond;
    std::tm date{};
    if (::gmtime_r(&seconds, &date) == nullptr)
        return;
    auto& cmos = state_.cmos;
    cmos[kSeconds] = encode(date.tm_sec);
    cmos[kMinutes] = encode(date.tm_min);
    cmos[kHours] = encode_hour(date.tm_hour);
    cmos[kDayOfWeek] = encode(date.tm_wday + 1);
    cmos[kDayOfMonth] = encode(date.tm_mday);
    cmos[kMonth] = encode(date.tm_mon + 1);
    const int year = date.tm_year + 1900 - base_year_;
    cmos[kYear] = encode((year % 100 + 100) % 100);
    cmos[kCentury] = encode((year / 100 % 100 + 100) % 100);
}

// The guest has set the registers: time goes on from there.
void Rtc::take_time()
{
    const auto& cmos = state_.cmos;
    std::tm date{};
    date.tm_sec = decode(cmos[kSeconds]);
    date.tm_min = decode(cmos[kMinutes]);
    date.tm_hour = decode_hour(cmos[kHours]);
    date.tm_mday = decode(cmos[kDayOfMonth]);
    date.tm_mon = decode(cmos[kMonth]) - 1;
    date.tm_year = decode(cmos[kYear]) + base_year_ + decode(cmos[kCentury]) * 100 - 1900;
    state_.base_rtc = static_cast<std::uint64_t>(::timegm(&date));
    state_.last_update = static_cast<std::uint64_t>(now());
}

// The first second after `seconds` at which every alarm field matches.
std::optional<std::int64_t> Rtc::next_alarm(std::int64_t seconds) const
{
    const auto& cmos = state_.cmos;
    const auto any = [&](std::uint8_t reg) { return (cmos[reg] & kAnyValue) == kAnyValue; };
    const int hour = any(kHoursAlarm) ? -1 : decode_hour(cmos[kHoursAlarm]);
    const int minute = any(kMinutesAlarm) ? -1 : decode(cmos[kMinutesAlarm]);
    const int second = any(kSecondsAlarm) ? -1 : decode(cmos[kSecondsAlarm]);
    if (hour > 23 || minute > 59 || second > 59)
        return std::nullopt;  // such a time never comes
    std::int64_t t = seconds + 1;
    for (int steps = 0; steps < 400; ++steps) {
        const std::int64_t of_day = (t % 86400 + 86400) % 86400;
        if (hour >= 0 && of_day / 3600 != hour)
            t += 3600 - of_day % 3600;
        else if (minute >= 0 && of_day / 60 % 60 != minute)
            t += 60 - of_day % 60;
        else if (second >= 0 && of_day % 60 != second)
            t += 1;
        else
            return t;
    }
    return std::nullopt;
}

}  // namespace godwit::hw
