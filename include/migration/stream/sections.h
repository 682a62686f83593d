// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What lies between the bodies: file header, configuration, section headers and footers, commands,
// return-path messages, the self-description. Field tables: docs/migration/stream.md.
#pragma once

#include "migration/stream/field.h"
#include "util/result.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::migration::stream {

class DescriptionWriter;

inline constexpr std::uint32_t kFileMagic = 0x5145564d;  // "QEVM"
inline constexpr std::uint32_t kFileVersion = 3;

/// The byte an element begins with.
enum class SectionType : std::uint8_t {
    Eof = 0x00,
    Start = 0x01,
    Part = 0x02,
    End = 0x03,
    Full = 0x04,
    Subsection = 0x05,
    Description = 0x06,
    Configuration = 0x07,
    Command = 0x08,
    Footer = 0x7e,
};

/// Commands, source to destination.
enum class Command : std::uint16_t {
    OpenReturnPath = 1,
    Ping = 2,
    PostcopyAdvise = 3,
    PostcopyListen = 4,
    PostcopyRun = 5,
    PostcopyRamDiscard = 6,
    Packaged = 7,
    EnableColo = 8,
    PostcopyResume = 9,
    RecvBitmap = 10,
    SwitchoverStart = 11,
};

/// Messages of the return path, destination to source.
enum class ReturnMessage : std::uint16_t {
    Shut = 1,
    Pong = 2,
    RequestPagesId = 3,
    RequestPages = 4,
    RecvBitmap = 5,
    ResumeAck = 6,
    SwitchoverAck = 7,
    /// Between Godwits only, once they know each other: the destination's error as text.
    GodwitError = 0x4757,
    /// Its clock: the value of the PING that asked, and nanoseconds.
    GodwitClock = 0x4758,
    /// A piece of its timeline: docs/migration/timeline.md.
    GodwitTimeline = 0x4759,
    /// The ticket by which it can be asked again: docs/migration/handshake.md.
    GodwitTicket = 0x475a,
};

/// What stands in front of a body. Part and End carry only the section id.
struct SectionHeader {
    SectionType type = SectionType::Full;
    std::uint32_t section_id = 0;
    std::string idstr;
    std::uint32_t instance_id = 0;
    Version version = 0;
};

void write_file_header(StreamWriter& out);
/// Errors   "Not a migration stream", "SaveVM v2 format is obsolete...", "Unsupported migration
///          stream version N".
Result<void> read_file_header(StreamReader& in);

void write_section_header(StreamWriter& out, const SectionHeader& header);
/// Behind the type byte, which the caller has read and found to be Start, Part, End or Full.
Result<SectionHeader> read_section_header(StreamReader& in, SectionType type);
void write_section_footer(StreamWriter& out, std::uint32_t section_id);
/// Errors   "Missing section footer for NAME", "Mismatched section id in footer for NAME ...".
Result<void> read_section_footer(StreamReader& in, std::uint32_t section_id, std::string_view name);

void write_command(StreamWriter& out, Command command, std::span<const std::byte> payload = {});
void write_command_be32(StreamWriter& out, Command command, std::uint32_t value);
/// A command behind its type byte. Payloads are at most 65535 bytes by their length field.
struct CommandFrame {
    Command command{};
    std::vector<std::byte> payload;
};
/// Errors   "MIG_CMD 0xN unknown (len 0xN)", "NAME received with bad length - expecting N, got N".
Result<CommandFrame> read_command(StreamReader& in);
std::string_view to_string(Command command) noexcept;

inline constexpr std::size_t kMaxReturnPayload = 512;
struct ReturnFrame {
    ReturnMessage type{};
    std::vector<std::byte> payload;
};
void write_return_message(StreamWriter& out, ReturnMessage type,
                          std::span<const std::byte> payload = {});
void write_return_be32(StreamWriter& out, ReturnMessage type, std::uint32_t value);
Result<ReturnFrame> read_return_message(StreamReader& in);

/// A 32-bit payload of a command or message; the frame's length has been checked.
std::uint32_t payload_be32(std::span<const std::byte> payload);

using Uuid = std::array<std::byte, 16>;

/// What both sides must agree on before anything is loaded.
struct Configuration {
    std::string machine;
    bool x_ignore_shared = false;
    bool mapped_ram = false;
    std::optional<Uuid> uuid;  ///< sent only when validate-uuid is on
    unsigned page_bits = 12;
};

void write_configuration(StreamWriter& out, const Configuration& local,
                         DescriptionWriter* description = nullptr);
/// Reads the section, type byte included, and compares it with `local`.
/// Returns warnings that do not stop the load.
/// Errors   BadState: all of it was read, but it is of another machine; what follows can be read.
Result<std::vector<std::string>> read_configuration(StreamReader& in, const Configuration& local);

/// Type byte, length and the JSON text.
void write_description(StreamWriter& out, std::string_view json);
/// Behind the type byte; skips the text in bounded pieces and keeps at most `keep` bytes of it.
Result<std::string> read_description(StreamReader& in, std::size_t keep = 0);

}  // namespace godwit::migration::stream
