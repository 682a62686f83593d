// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/stream/sections.h"

#include "migration/stream/reader.h"
#include "migration/stream/writer.h"

#include <algorithm>
#include <cassert>
#include <fmt/format.h>

namespace godwit::migration::stream {

void write_file_header(StreamWriter& out)
{
    out.put_be32(kFileMagic);
    out.put_be32(kFileVersion);
}

Result<void> read_file_header(StreamReader& in)
{
    const std::uint32_t magic = GW_TRY(in.get_be32());
    if (magic != kFileMagic)
        return Error(Errc::BadFormat, "Not a migration stream");
    const std::uint32_t version = GW_TRY(in.get_be32());
    if (version == 2)
        return Error(Errc::Unsupported, "SaveVM v2 format is obsolete and no longer supported");
    if (version != kFileVersion)
        return Error(Errc::Unsupported,
                     fmt::format("Unsupported migration stream version {}", version));
    return ok();
}

void write_section_header(StreamWriter& out, const SectionHeader& header)
{
    out.put_u8(static_cast<std::uint8_t>(header.type));
    out.put_be32(header.section_id);
    if (header.type != SectionType::Start && header.type != SectionType::Full)
        return;
    out.put_str8(header.idstr);
    out.put_be32(header.instance_id);
    out.put_be32(header.version);
}

Result<SectionHeader> read_section_header(StreamReader& in, SectionType type)
{
    SectionHeader header;
    header.type = type;
    header.section_id = GW_TRY(in.get_be32());
    if (type != SectionType::Start && type != SectionType::Full)
        return header;
    header.idstr = GW_TRY(in.get_str8());
    header.instance_id = GW_TRY(in.get_be32());
    header.version = GW_TRY(in.get_be32());
    return header;
}

void write_section_footer(StreamWriter& out, std::uint32_t section_id)
{
    out.put_u8(static_cast<std::uint8_t>(SectionType::Footer));
    out.put_be32(section_id);
}

Result<void> read_section_footer(StreamReader& in, std::uint32_t section_id, std::string_view name)
{
    const std::uint8_t mark = GW_TRY(in.get_u8());
    if (mark == static_cast<std::uint8_t>(SectionType::Subsection)) {
        // The first bytes of a subsection that was cut off are nobody's.
        const auto length = GW_TRY(in.peek(1));
        const std::size_t head = 1 + (length.empty() ? 0 : std::to_integer<std::size_t>(length[0]));
        if (const auto seen = GW_TRY(in.peek(head)); seen.size() < head)
            GW_TRY(with_context(in.skip(head), fmt::format("a subsection of {}", name)));
    }
    if (mark != static_cast<std::uint8_t>(SectionType::Footer))
        return in.error_here(Errc::BadFormat, fmt::format("Missing section footer for {}", name));
    const std::uint32_t id = GW_TRY(in.get_be32());
    if (id != section_id)
        return in.error_here(Errc::BadFormat,
                             fmt::format("Mismatched section id in footer for {} - read 0x{:x} "
                                         "expected 0x{:x}",
                                         name, id, section_id));
    return ok();
}

void write_command(StreamWriter& out, Command command, std::span<const std::byte> payload)
{
    assert(payload.size() <= 0xffff);
    out.put_u8(static_cast<std::uint8_t>(SectionType::Command));
    out.put_be16(static_cast<std::uint16_t>(command));
    out.put_be16(static_cast<std::uint16_t>(payload.size()));
    out.put_bytes(payload);
}

void write_command_be32(StreamWriter& out, Command command, std::uint32_t value)
{
    out.put_u8(static_cast<std::uint8_t>(SectionType::Command));
    out.put_be16(static_cast<std::uint16_t>(command));
    out.put_be16(4);
    out.put_be32(value);
}

namespace {

struct CommandShape {
    std::string_view name;
    int length;  // -1: variable
};

// Indexed by the command; 0 is none.
constexpr auto kCommands = std::to_array<CommandShape>({
    {"INVALID", -1},
    {"OPEN_RETURN_PATH", 0},
    {"PING", 4},
    {"POSTCOPY_ADVISE", -1},
    {"POSTCOPY_LISTEN", 0},
    {"POSTCOPY_RUN", 0},
    {"POSTCOPY_RAM_DISCARD", -1},
    {"PACKAGED", 4},
    {"ENABLE_COLO", 0},
    {"POSTCOPY_RESUME", 0},
    {"MIG_CMD_RECV_BITMAP", -1},
    {"SWITCHOVER_START", 0},
});

}  // namespace

std::string_view to_string(Command command) noexcept
{
    const auto index = static_cast<std::size_t>(command);
    return index < kCommands.size() ? kCommands[index].name : "unknown";
}

Result<CommandFrame> read_command(StreamReader& in)
{
    const std::uint16_t code = GW_TRY(in.get_be16());
    const std::uint16_t length = GW_TRY(in.get_be16());
    if (code == 0 || code >= kCommands.size())
        return in.error_here(Errc::BadFormat,
                             fmt::format("MIG_CMD 0x{:x} unknown (len 0x{:x})", code, length));
    const CommandShape& shape = kCommands[code];
    if (shape.length >= 0 && shape.length != length)
        return in.error_here(Errc::BadFormat,
                             fmt::format("{} received with bad length - expecting {}, got {}",
                                         shape.name, shape.length, length));
    CommandFrame frame{static_cast<Command>(code), std::vector<std::byte>(length)};
    GW_TRY(in.get_bytes(frame.payload));
    return frame;
}

void write_return_message(StreamWriter& out, ReturnMessage type, std::span<const std::byte> payload)
{
    assert(payload.size() <= kMaxReturnPayload);
    out.put_be16(static_cast<std::uint16_t>(type));
    out.put_be16(static_cast<std::uint16_t>(payload.size()));
    out.put_bytes(payload);
}

void write_return_be32(StreamWriter& out, ReturnMessage type, std::uint32_t value)
{
    out.put_be16(static_cast<std::uint16_t>(type));
    out.put_be16(4);
    out.put_be32(value);
}

namespace {

struct ReturnShape {
    std::size_t least;
    std::size_t most;
};

constexpr auto kReturnMessages = std::to_array<ReturnShape>({
    {1, 0},  // none
    {4, 4},
    {4, 4},
    {13, 13 + 255},
    {12, 12},
    {1, 1 + 255},
    {4, 4},
    {0, 0},
});

// What only Godwits say.
std::optional<ReturnShape> shape_of_ours(ReturnMessage type)
{
    switch (type) {
    case ReturnMessage::GodwitError:
    case ReturnMessage::GodwitTimeline:
        return ReturnShape{0, kMaxReturnPayload};
    case ReturnMessage::GodwitClock:
        return ReturnShape{12, 12};
    case ReturnMessage::GodwitTicket:
        return ReturnShape{16, 16};
    default:
        return std::nullopt;
    }
}

}  // namespace

Result<ReturnFrame> read_return_message(StreamReader& in)
{
    const std::uint16_t type = GW_TRY(in.get_be16());
    const std::uint16_t length = GW_TRY(in.get_be16());
    const std::optional<ReturnShape> ours = shape_of_ours(static_cast<ReturnMessage>(type));
    if (!ours && (type == 0 || type >= kReturnMessages.size()))
        return in.error_here(
            Errc::BadFormat,
            fmt::format("unknown return-path message {} of {} bytes", type, length));
    const ReturnShape shape = ours.value_or(kReturnMessages[ours ? 0 : type]);
    if (length < shape.least || length > shape.most)
        return in.error_here(Errc::BadFormat,
                             fmt::format("return-path message {} has {} bytes, expected {} to {}",
                                         type, length, shape.least, shape.most));
    ReturnFrame frame{static_cast<ReturnMessage>(type), std::vector<std::byte>(length)};
    GW_TRY(in.get_bytes(frame.payload));
    return frame;
}

std::uint32_t payload_be32(std::span<const std::byte> payload)
{
    assert(payload.size() >= 4);
    std::uint32_t value = 0;
    for (std::byte byte : payload.first(4))
        value = value << 8 | std::to_integer<std::uint32_t>(byte);
    return value;
}

void write_description(StreamWriter& out, std::string_view json)
{
    out.put_u8(static_cast<std::uint8_t>(SectionType::Description));
    out.put_be32(static_cast<std::uint32_t>(json.size()));
    out.put_text(json);
}

Result<std::string> read_description(StreamReader& in, std::size_t keep)
{
    const std::uint32_t length = GW_TRY(in.get_be32());
    const std::size_t kept = std::min<std::size_t>(keep, length);
    std::string text;
    while (text.size() < kept) {
        const std::size_t step = std::min<std::size_t>(kept - text.size(), 64 * 1024);
        text += GW_TRY(in.get_text(step));
    }
    GW_TRY(in.skip(length - kept));
    return text;
}

}  // namespace godwit::migration::stream
