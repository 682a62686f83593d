// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/insight/check_session.h"

#include "migration/stream/channel_stream.h"
#include "migration/stream/writer.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace godwit::migration {
namespace {

// A frame is its type, the length of its payload (be32), and that.
enum class Frame : std::uint8_t { Facts = 1, Echo = 2, Filler = 3, Count = 4, Bye = 5, Error = 6 };

constexpr std::size_t kMaxFacts = std::size_t{4} << 20;
constexpr std::size_t kMaxFiller = std::size_t{64} << 10;
constexpr std::size_t kEchoes = 15;

Result<void> send(io::Channel& channel, Frame type, std::span<const std::byte> payload = {})
{
    stream::StreamWriter out;
    out.put_u8(static_cast<std::uint8_t>(type));
    out.put_be32(static_cast<std::uint32_t>(payload.size()));
    out.put_bytes(payload);
    return channel.write_all(out.take());
}

Result<std::vector<std::byte>> receive(io::Channel& channel, Frame expected, std::size_t most)
{
    std::array<std::byte, 5> head{};
    GW_TRY(with_context(channel.read_exact(head), "the destination ended the check"));
    stream::StreamReader in(head);
    const std::uint8_t type = GW_TRY(in.get_u8());
    const std::uint32_t length = GW_TRY(in.get_be32());
    if (length > most)
        return Error(Errc::BadFormat,
                     fmt::format("an answer of {} bytes, expected at most {}", length, most));
    std::vector<std::byte> payload(length);
    GW_TRY(channel.read_exact(payload));
    if (type == static_cast<std::uint8_t>(Frame::Error))
        return Error(Errc::Unsupported,
                     "destination: " + std::string(reinterpret_cast<const char*>(payload.data()),
                                                   std::min<std::size_t>(payload.size(), 500)));
    if (type != static_cast<std::uint8_t>(expected))
        return Error(Errc::BadFormat, fmt::format("answer {} to question {}", type,
                                                  static_cast<unsigned>(expected)));
    return payload;
}

std::span<const std::byte> bytes_of(const std::string& text)
{
    return std::as_bytes(std::span(text));
}

}  // namespace

Result<void> serve_check(io::Channel& channel, stream::StreamReader& in,
                         const std::function<Json()>& facts)
{
    const std::uint32_t version = GW_TRY(in.get_be32());
    if (version != kCheckVersion) {
        const std::string text =
            fmt::format("checks have version {} here, not {}", kCheckVersion, version);
        return send(channel, Frame::Error, bytes_of(text));
    }
    std::uint64_t filler = 0;
    std::vector<std::byte> payload;
    for (;;) {
        const std::uint8_t type = GW_TRY(in.get_u8());
        const std::uint32_t length = GW_TRY(in.get_be32());
        if (length > kMaxFiller)
            return in.error_here(Errc::BadFormat, fmt::format("a question of {} bytes", length));
        payload.resize(length);
        GW_TRY(in.get_bytes(payload));
        switch (static_cast<Frame>(type)) {
        case Frame::Facts:
            GW_TRY(send(channel, Frame::Facts, bytes_of(dump_json(facts()))));
            break;
        case Frame::Echo:
            GW_TRY(send(channel, Frame::Echo, payload));
            break;
        case Frame::Filler:
            filler += length;
            break;
        case Frame::Count: {
            stream::StreamWriter count;
            count.put_be64(filler);
            GW_TRY(send(channel, Frame::Count, count.take()));
            break;
        }
        case Frame::Bye:
            return send(channel, Frame::Bye);
        default:
            return in.error_here(Errc::BadFormat, fmt::format("no such question: {}", type));
        }
    }
}

Result<CheckSession> CheckSession::open(io::Channel& channel)
{
    stream::StreamWriter out;
    out.put_be32(kCheckMagic);
    out.put_be32(kCheckVersion);
    GW_TRY(channel.write_all(out.take()));
    return CheckSession(channel);
}

Result<Json> CheckSession::facts()
{
    GW_TRY(send(*channel_, Frame::Facts));
    const auto payload = GW_TRY(receive(*channel_, Frame::Facts, kMaxFacts));
    const std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
    Json facts = GW_TRY(with_context(parse_json(text), "the destination's description"));
    if (!facts.is_object())
        return Error(Errc::BadFormat, "the destination's description makes no sense");
    return facts;
}

Result<std::int64_t> CheckSession::round_trip_ns(const Clock& clock)
{
    std::array<std::int64_t, kEchoes> took{};
    for (std::int64_t& one : took) {
        const std::int64_t since = clock.now_ns();
        GW_TRY(send(*channel_, Frame::Echo));
        GW_TRY(receive(*channel_, Frame::Echo, 0));
        one = clock.now_ns() - since;
    }
    std::ranges::nth_element(took, took.begin() + kEchoes / 2);
    return took[kEchoes / 2];
}

// From the first byte until the destination says that it has all.
Result<std::uint64_t> CheckSession::bandwidth(const Clock& clock, std::int64_t for_ns)
{
    const std::vector<std::byte> filler(kMaxFiller);
    const std::int64_t since = clock.now_ns();
    while (clock.now_ns() - since < for_ns)
        GW_TRY(send(*channel_, Frame::Filler, filler));
    GW_TRY(send(*channel_, Frame::Count));
    const auto payload = GW_TRY(receive(*channel_, Frame::Count, 8));
    const double seconds = static_cast<double>(clock.now_ns() - since) / 1e9;
    stream::StreamReader in(payload);
    const std::uint64_t bytes = GW_TRY(in.get_be64());
    return static_cast<std::uint64_t>(std::min(static_cast<double>(bytes) / seconds, 1e18));
}

Result<void> CheckSession::finish()
{
    GW_TRY(send(*channel_, Frame::Bye));
    GW_TRY(receive(*channel_, Frame::Bye, 0));
    return ok();
}

}  // namespace godwit::migration
