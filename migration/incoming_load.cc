// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The elements of an incoming stream, one after the other.
#include "migration/handshake.h"
#include "migration/incoming.h"
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
        return true;
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
    if (entry.live != nullptr)
        return dynamic_cast<LiveStateHandler&>(*entry.live).load(in, type, version);
    const system::MachineGuard guard(p_.env.lock);
    GW_TRY(stream::load_entry(in, entry, version));
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
            return reply(ReturnMessage::SwitchoverAck, {});
        return ok();
    }
    case Command::Ping: {
        const std::uint32_t value = stream::payload_be32(frame.payload);
        if (!return_path_)
            return in.error_here(
                Errc::BadFormat,
                fmt::format("CMD_PING (0x{:x}) received with no return path", value));
        if (value == kGodwitPing) {
            peer_godwit_ = true;
            GW_TRY(reply(ReturnMessage::Pong, kGodwitPong));
        }
        return reply(ReturnMessage::Pong, value);
    }
    case Command::SwitchoverStart:
        return ok();
    default:
        return in.error_here(Errc::Unsupported, fmt::format("{}: not supported by this version",
                                                            stream::to_string(frame.command)));
    }
}

Result<void> Incoming::load_description(StreamReader& in)
{
    if (!config_.expect_description)
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
