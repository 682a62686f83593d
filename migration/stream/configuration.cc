// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The configuration section: machine name, the capabilities both sides must share, the UUID.
#include "migration/stream/description.h"
#include "migration/stream/reader.h"
#include "migration/stream/sections.h"
#include "migration/stream/writer.h"

#include <fmt/format.h>

namespace godwit::migration::stream {
namespace {

constexpr std::string_view kPageBits = "configuration/target-page-bits";
constexpr std::string_view kCapabilities = "configuration/capabilities";
constexpr std::string_view kUuid = "configuration/uuid";

// Longer names are nobody's machine.
constexpr std::uint32_t kMaxMachineName = 4096;
constexpr std::uint32_t kMaxCapabilities = 256;

struct Field {
    std::string_view name;
    std::string_view type;
    std::size_t size;
    std::size_t array_len = 0;
};

void describe(DescriptionWriter& d, const Field& f)
{
    d.begin_object();
    d.text("name", f.name);
    if (f.array_len > 1)
        d.number("array_len", f.array_len);
    d.text("type", f.type);
    d.number("size", f.size);
    d.end_object();
}

void begin_part(StreamWriter& out, DescriptionWriter* d, std::string_view name)
{
    out.put_u8(static_cast<std::uint8_t>(SectionType::Subsection));
    out.put_str8(name);
    out.put_be32(1);
    if (d == nullptr)
        return;
    d->begin_object();
    d->text("vmsd_name", name);
    d->number("version", 1);
    d->begin_array("fields");
}

void end_part(DescriptionWriter* d)
{
    if (d == nullptr)
        return;
    d->end_array();
    d->end_object();
}

std::vector<std::string_view> shared_capabilities(const Configuration& c)
{
    std::vector<std::string_view> names;
    if (c.x_ignore_shared)
        names.emplace_back("x-ignore-shared");
    if (c.mapped_ram)
        names.emplace_back("mapped-ram");
    return names;
}

void write_capabilities(StreamWriter& out, const std::vector<std::string_view>& names,
                        DescriptionWriter* d)
{
    begin_part(out, d, kCapabilities);
    out.put_be32(static_cast<std::uint32_t>(names.size()));
    for (std::string_view name : names)
        out.put_str8(name);
    if (d != nullptr) {
        describe(*d, {"caps_count", "uint32", 4});
        describe(*d, {"capabilities", "capability", 1 + names.front().size(), names.size()});
    }
    end_part(d);
}

std::string uuid_text(const Uuid& uuid)
{
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        text += fmt::format("{:02x}", std::to_integer<unsigned>(uuid[i]));
    }
    return text;
}

struct Received {
    bool x_ignore_shared = false;
    bool mapped_ram = false;
    std::vector<std::string> warnings;
    std::optional<Error> mismatch;  // the first; the rest of the section is read all the same

    void differs(Error error)
    {
        if (!mismatch)
            mismatch = std::move(error);
    }
};

Result<void> read_capabilities(StreamReader& in, Received& received)
{
    const std::uint32_t count = GW_TRY(in.get_be32());
    if (count > kMaxCapabilities)
        return in.error_here(Errc::BadFormat, fmt::format("{} capabilities", count));
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::string name = GW_TRY(in.get_str8());
        if (name == "x-ignore-shared")
            received.x_ignore_shared = true;
        else if (name == "mapped-ram")
            received.mapped_ram = true;
        else
            return in.error_here(Errc::BadFormat,
                                 fmt::format("Received unknown capability {}", name));
    }
    return ok();
}

Result<void> read_uuid(StreamReader& in, const Configuration& local, Received& received)
{
    Uuid uuid{};
    GW_TRY(in.get_bytes(uuid));
    if (!local.uuid) {
        received.warnings.push_back(
            fmt::format("UUID is received {} but local UUID isn't set", uuid_text(uuid)));
        return ok();
    }
    if (uuid != *local.uuid)
        received.differs(
            in.error_here(Errc::BadState, fmt::format("UUID received is {} and local is {}",
                                                      uuid_text(uuid), uuid_text(*local.uuid))));
    return ok();
}

Result<void> read_part(StreamReader& in, std::string_view name, const Configuration& local,
                       Received& received)
{
    const std::uint32_t version = GW_TRY(in.get_be32());
    if ((version & 0xff) != 1)
        return in.error_here(Errc::BadFormat,
                             fmt::format("{}: incoming version_id {} is not 1", name, version));
    if (name == kCapabilities)
        return read_capabilities(in, received);
    if (name == kUuid)
        return read_uuid(in, local, received);
    if (name == kPageBits) {
        const std::uint32_t bits = GW_TRY(in.get_be32());
        if (bits != local.page_bits)
            received.differs(in.error_here(
                Errc::BadState, fmt::format("Received TARGET_PAGE_BITS is {} but local is {}", bits,
                                            local.page_bits)));
        return ok();
    }
    return in.error_here(Errc::BadFormat, fmt::format("unknown subsection '{}'", name));
}

// The name of the next subsection, or "" when something else follows.
Result<std::string> next_part(StreamReader& in)
{
    constexpr std::string_view prefix = "configuration/";
    auto seen = GW_TRY(in.peek(2));
    if (seen.empty() || seen[0] != std::byte{5})
        return std::string();
    if (seen.size() < 2)
        GW_TRY(in.skip(2));  // cut off: says where
    if (std::to_integer<std::size_t>(seen[1]) <= prefix.size())
        return std::string();
    const std::size_t length = std::to_integer<std::size_t>(seen[1]);
    seen = GW_TRY(in.peek(2 + length));
    if (seen.size() < 2 + length)
        GW_TRY(in.skip(2 + length));
    const std::string name(reinterpret_cast<const char*>(seen.data()) + 2, seen.size() - 2);
    if (!name.starts_with(prefix))
        return std::string();
    GW_TRY(in.skip(2 + length));
    return name;
}

void check_capability(Received& received, std::string_view name, bool there, bool here)
{
    if (there != here)
        received.differs(
            Error(Errc::BadState, fmt::format("Capability {} is {}, but received capability is {}",
                                              name, here ? "on" : "off", there ? "on" : "off")));
}

Result<std::vector<std::string>> read_checked(StreamReader& in, const Configuration& local)
{
    const std::uint32_t length = GW_TRY(in.get_be32());
    if (length > kMaxMachineName)
        return in.error_here(Errc::BadFormat, fmt::format("machine name of {} bytes", length));
    const std::string machine = GW_TRY(in.get_text(length));
    Received received;
    // As in QEMU only the received length is compared.
    if (!local.machine.starts_with(machine))
        received.differs(in.error_here(
            Errc::BadState, fmt::format("Machine type received is '{}' and local is '{}'", machine,
                                        local.machine)));
    for (;;) {
        const std::string name = GW_TRY(next_part(in));
        if (name.empty())
            break;
        GW_TRY(read_part(in, name, local, received));
    }
    check_capability(received, "x-ignore-shared", received.x_ignore_shared, local.x_ignore_shared);
    check_capability(received, "mapped-ram", received.mapped_ram, local.mapped_ram);
    if (received.mismatch)
        return std::move(*received.mismatch);
    return std::move(received.warnings);
}

}  // namespace

void write_configuration(StreamWriter& out, const Configuration& local, DescriptionWriter* d)
{
    out.put_u8(static_cast<std::uint8_t>(SectionType::Configuration));
    out.put_be32(static_cast<std::uint32_t>(local.machine.size()));
    out.put_text(local.machine);
    if (d != nullptr) {
        d->begin_object("configuration");
        d->text("vmsd_name", "configuration");
        d->number("version", 1);
        d->begin_array("fields");
        describe(*d, {"len", "uint32", 4});
        describe(*d, {"name", "buffer", local.machine.size()});
        d->end_array();
    }
    const auto capabilities = shared_capabilities(local);
    const bool parts = !capabilities.empty() || local.uuid;
    if (d != nullptr && parts)
        d->begin_array("subsections");
    if (!capabilities.empty())
        write_capabilities(out, capabilities, d);
    if (local.uuid) {
        begin_part(out, d, kUuid);
        out.put_bytes(*local.uuid);
        if (d != nullptr)
            describe(*d, {"uuid.data", "uint8", 1, 16});
        end_part(d);
    }
    if (d != nullptr && parts)
        d->end_array();
    if (d != nullptr)
        d->end_object();
}

Result<std::vector<std::string>> read_configuration(StreamReader& in, const Configuration& local)
{
    const std::uint8_t type = GW_TRY(in.get_u8());
    if (type != static_cast<std::uint8_t>(SectionType::Configuration))
        return in.error_here(Errc::BadFormat, "Configuration section missing");
    return with_context(read_checked(in, local), "configuration");
}

}  // namespace godwit::migration::stream
