// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The elements of an incoming stream, one after the other.
#include "migration/handshake.h"
#include "migration/incoming.h"
#include "migration/insight/peer_timeline.h"
#include "migration/printable.h"
#include "migration/stream/sections.h"
#include "migration/trace.h"
#include "system/main_loop.h"

#include <fmt/format.h>

namespace godwit::migration {

using stream::Command;
using stream::ReturnMessage;
using stream::SectionHeader;
using stream::SectionType;
using stream::StateEntry;
using stream::StreamReader;

/// False at the end mark.
Result<bool> Incoming::load_element(StreamReader& in)
{
    const std::uint8_t byte = GW_TRY(in.get_u8());
    switch (const auto type = static_cast<SectionType>(byte)) {
    case SectionType::Eof:
        return false;
    case SectionType::Start:
    case SectionType::Full:
        GW_TRY(load_header_section(in, type));
        return !rest_loaded_;
    case SectionType::Part:
    case SectionType::End:
        GW_TRY(load_part(in, type));
        return true;
    case SectionType::Command:
        GW_TRY(command(in));
        return true;
    default:
        return in.error_here(Errc::BadFormat, fmt::format("Unknown savevm section type {}", byte));
    }
}

namespace {

std::string section_name(const StateEntry& entry)
{
    return fmt::format("section '{}' instance {}", entry.idstr, entry.instance_id);
}

}  // namespace

Result<void> Incoming::load_header_section(StreamReader& in, SectionType type)
{
    const SectionHeader header = GW_TRY(stream::read_section_header(in, type));
    StateEntry* const entry = p_.env.registry.find(header.idstr, header.instance_id);
    if (entry == nullptr && config_.ignore_unknown_sections && type == SectionType::Full)
        return sizes_ ? skip_unknown(in, header) : load_rest(in, header);
    if (entry == nullptr)
        return in.error_here(
            Errc::BadFormat,
            fmt::format(
                "Unknown savevm section or instance '{}' {}. Make sure that your current VM "
                "setup matches your saved VM setup, including any hotplugged devices",
                header.idstr, header.instance_id));
    if (header.version > entry->version)
        return in.error_here(Errc::BadFormat,
                             fmt::format("savevm: unsupported version {} for '{}' v{}",
                                         header.version, header.idstr, entry->version));
    sections_[header.section_id] = {entry, header.version};
    GW_TRY(with_context(load_body(in, *entry, type, header.version), section_name(*entry)));
    return stream::read_section_footer(in, header.section_id, header.idstr);
}

Result<void> Incoming::skip_unknown(StreamReader& in, const SectionHeader& header)
{
    const std::uint64_t size = GW_TRY(sizes_->body(header.idstr, header.instance_id));
    p_.env.log.warn(
        fmt::format("ignoring section '{}' instance {} of {} bytes: no such device here",
                    printable(header.idstr), header.instance_id, size));
    GW_TRY(with_context(in.skip(size), header.idstr));
    return stream::read_section_footer(in, header.section_id, header.idstr);
}

namespace {

// All device sections together; far beyond any machine.
constexpr std::size_t kMaxRest = std::size_t{256} << 20;

// What follows up to the end of the description, which says how long things are.
Result<std::vector<std::byte>> gather(StreamReader& in, FoundDescription& found)
{
    std::vector<std::byte> rest;
    std::size_t looked = 0;
    for (;;) {
        if (GW_TRY(in.at_end()))
            return in.error_here(Errc::Truncated,
                                 "no self-description, which an unknown section needs");
        const auto ready = in.ready();
        rest.insert(rest.end(), ready.begin(), ready.end());
        GW_TRY(in.skip(ready.size()));
        if (rest.size() > kMaxRest)
            return in.error_here(Errc::BadFormat, "no self-description within 256 MiB");
        // Again and again over a growing buffer only when it has grown a lot.
        if (rest.size() - looked < looked / 8 && rest.size() > 1'000'000)
            continue;
        looked = rest.size();
        if (find_description(rest, found))
            return rest;
    }
}

}  // namespace

// The first unknown section: the rest of the stream is read ahead, for the lengths at its end, and
// loaded from memory.
Result<void> Incoming::load_rest(StreamReader& in, const SectionHeader& header)
{
    const std::uint64_t position = in.position();
    FoundDescription found;
    const std::vector<std::byte> rest = GW_TRY(gather(in, found));
    sizes_ = std::make_unique<SectionSizes>(GW_TRY(SectionSizes::from_description(found.json)));
    StreamReader tail(std::span<const std::byte>(rest).first(found.at), position);
    GW_TRY(skip_unknown(tail, header));
    while (GW_TRY(load_element(tail))) {
    }
    rest_loaded_ = true;
    return ok();
}

Result<void> Incoming::load_part(StreamReader& in, SectionType type)
{
    const SectionHeader header = GW_TRY(stream::read_section_header(in, type));
    const auto known = sections_.find(header.section_id);
    if (known == sections_.end() || known->second.entry->live == nullptr)
        return in.error_here(Errc::BadFormat, fmt::format("Unknown section {}", header.section_id));
    StateEntry& entry = *known->second.entry;
    GW_TRY(with_context(load_body(in, entry, type, known->second.version), section_name(entry)));
    return stream::read_section_footer(in, header.section_id, entry.idstr);
}

Result<void> Incoming::load_body(StreamReader& in, StateEntry& entry, SectionType type,
                                 Version version)
{
    const std::int64_t since = p_.env.clock.now_ns();
    const std::uint64_t from = in.position();
    if (entry.live != nullptr) {
        GW_TRY(dynamic_cast<LiveStateHandler&>(*entry.live).load(in, type, version));
        if (type == SectionType::End || type == SectionType::Full)
            p_.timeline->lasted(TimelineKind::DeviceLoad, entry.idstr, since, in.position() - from,
                                entry.instance_id);
        return ok();
    }
    const system::MachineGuard guard(p_.env.lock);
    GW_TRY(stream::load_entry(in, entry, version));
    p_.timeline->lasted(TimelineKind::DeviceLoad, entry.idstr, since, in.position() - from,
                        entry.instance_id);
    if (entry.described && entry.described->state == &p_.global_state)
        global_state_seen_ = true;
    if (p_.env.recorder != nullptr)
        p_.env.recorder->record(kTraceSectionLoaded, entry.idstr, entry.instance_id, in.position());
    return ok();
}

Result<void> Incoming::command(StreamReader& in)
{
    const stream::CommandFrame frame = GW_TRY(stream::read_command(in));
    switch (frame.command) {
    case Command::OpenReturnPath: {
        if (return_path_)
            return ok();
        unsigned missing = 0;
        {
            const std::lock_guard guard(reply_mutex_);
            return_path_ = true;
            missing = approvals_missing_;
        }
        if (config_.capabilities.has(Capability::SwitchoverAck) && missing == 0)
            (void)reply(ReturnMessage::SwitchoverAck, std::span<const std::byte>());
        return ok();
    }
    case Command::Ping:
        return answer_ping(in, stream::payload_be32(frame.payload));
    case Command::SwitchoverStart:
        p_.timeline->note(TimelineKind::Switchover, "switchover-start");
        return ok();
    default:
        return in.error_here(Errc::Unsupported, fmt::format("{}: not supported by this version",
                                                            stream::to_string(frame.command)));
    }
}

// A stream that was recorded from a socket asks too, and nobody hears the answer.
Result<void> Incoming::answer_ping(StreamReader& in, std::uint32_t value)
{
    if (!return_path_)
        return in.error_here(Errc::BadFormat,
                             fmt::format("CMD_PING (0x{:x}) received with no return path", value));
    if (value == kGodwitStay && peer_godwit_) {
        peer_stays_ = true;
        return ok();
    }
    if ((value & kGodwitClockMask) == kGodwitClock && peer_godwit_) {
        timeline_wanted_ = true;
        (void)reply(ReturnMessage::GodwitClock, encode_clock(value, p_.env.clock.now_ns()));
        return ok();
    }
    if (value == kGodwitPing) {
        peer_godwit_ = true;
        (void)reply_be32(ReturnMessage::Pong, kGodwitPong);
    }
    (void)reply_be32(ReturnMessage::Pong, value);
    return ok();
}

Result<void> Incoming::load_description(StreamReader& in)
{
    if (!config_.expect_description || rest_loaded_)
        return ok();
    auto next = in.get_u8();
    if (!next) {
        // As in QEMU: without it everything is loaded all the same.
        p_.env.log.warn("Expected vmdescription section, but got 0");
        return ok();
    }
    if (*next != static_cast<std::uint8_t>(SectionType::Description)) {
        p_.env.log.warn(fmt::format("Expected vmdescription section, but got {}", *next));
        return ok();
    }
    if (auto text = stream::read_description(in); !text)
        p_.env.log.warn(text.error().message());
    return ok();
}

}  // namespace godwit::migration
