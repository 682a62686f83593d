// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/fate.h"

#include "migration/stream/writer.h"

#include <fmt/format.h>
#include <sys/random.h>

namespace godwit::migration {

Result<Ticket> make_ticket()
{
    Ticket ticket{};
    if (::getrandom(ticket.data(), ticket.size(), 0) != static_cast<ssize_t>(ticket.size()))
        return Error::from_errno("getrandom");
    return ticket;
}

// The question is the magic and the ticket; the answer is the magic and one byte.
Result<Fate> ask_fate(io::Channel& channel, const Ticket& ticket)
{
    stream::StreamWriter out;
    out.put_be32(kQuestionMagic);
    out.put_bytes(ticket);
    GW_TRY(channel.write_all(out.take()));
    std::array<std::byte, 5> answer{};
    GW_TRY(channel.read_exact(answer));
    stream::StreamReader in(answer);
    const std::uint32_t magic = GW_TRY(in.get_be32());
    const std::uint8_t fate = GW_TRY(in.get_u8());
    if (magic != kQuestionMagic || fate > static_cast<std::uint8_t>(Fate::Unknown))
        return Error(Errc::BadFormat,
                     fmt::format("an answer that makes no sense: 0x{:x} {}", magic, fate));
    return static_cast<Fate>(fate);
}

Result<bool> answer_question(io::Channel& channel, stream::StreamReader& in,
                             const std::optional<Ticket>& ours, Fate fate)
{
    Ticket asked{};
    GW_TRY(in.get_bytes(asked));
    const bool known = ours == asked;
    stream::StreamWriter out;
    out.put_be32(kQuestionMagic);
    out.put_u8(static_cast<std::uint8_t>(known ? fate : Fate::Unknown));
    GW_TRY(channel.write_all(out.take()));
    return known;
}

}  // namespace godwit::migration
