// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What lies between the bodies, compared with streams that QEMU 10.0.2 wrote.
#include "migration/stream/sections.h"

#include "migration/stream/common_sections.h"
#include "migration/stream/registry.h"
#include "tests/unit/stream/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::migration::stream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

StreamReader reading(const Bytes& bytes)
{
    return StreamReader(std::span<const std::byte>(bytes));
}

struct Serial {
    std::uint16_t divider = 12;
    std::uint8_t rbr = 0, ier = 0, iir = 1, lcr = 0, mcr = 8, lsr = 0x60, msr = 0xb0, scr = 0,
                 fcr = 0;
};
constexpr auto kSerialCore = vmstate<Serial>(
    "serial", {.current = 3, .oldest = 2}, field<&Serial::divider>("divider"),
    field<&Serial::rbr>("rbr"), field<&Serial::ier>("ier"), field<&Serial::iir>("iir"),
    field<&Serial::lcr>("lcr"), field<&Serial::mcr>("mcr"), field<&Serial::lsr>("lsr"),
    field<&Serial::msr>("msr"), field<&Serial::scr>("scr"),
    field<&Serial::fcr>("fcr_vmstate").since(3));
struct IsaSerial {
    Serial state;
};
constexpr auto kIsaSerial = vmstate<IsaSerial>("serial", {.current = 3, .oldest = 2},
                                               structure<&IsaSerial::state>("state", kSerialCore));

struct FwCfg {
    std::uint16_t cur_entry = 0x16;
    std::uint32_t cur_offset = 0;
    std::uint64_t dma_addr = 0;
};
constexpr auto kFwCfgDma =
    vmstate<FwCfg>("fw_cfg/dma", {.current = 0, .oldest = 0}, field<&FwCfg::dma_addr>("dma_addr"));
constexpr auto kFwCfg = vmstate<FwCfg>(
    "fw_cfg", {.current = 2}, field<&FwCfg::cur_entry>("cur_entry"),
    field<&FwCfg::cur_offset>("cur_offset").when([](const FwCfg&, Version v) { return v == 1; }),
    field<&FwCfg::cur_offset>("cur_offset").since(2), subsection(kFwCfgDma));

Bytes full_section(std::uint32_t id, const VMState& how, void* state)
{
    StreamWriter out;
    write_section_header(out, {SectionType::Full, id, std::string(how.name), 0, how.current});
    EXPECT_TRUE(save_state(out, how, state));
    write_section_footer(out, id);
    return out.take();
}

TEST(RecordedSections, TimerFwCfgAndSerialAreByteForByteQemus)
{
    TimerSection timer{0x9d137958, 0x3c80fbff};
    EXPECT_EQ(
        full_section(0, kTimerSection, &timer),
        from_hex("04 00000000 05 74696d6572 00000000 00000002 000000009d137958 0000000000000000 "
                 "000000003c80fbff 7e 00000000"));
    FwCfg fw_cfg;
    EXPECT_EQ(full_section(3, kFwCfg, &fw_cfg),
              from_hex("04 00000003 06 66775f636667 00000000 00000002 0016 00000000 "
                       "05 0a 66775f6366672f646d61 00000000 0000000000000000 7e 00000003"));
    EXPECT_EQ(
        described(kFwCfg, &fw_cfg),
        R"({"vmsd_name": "fw_cfg", "version": 2, "fields": [{"name": "cur_entry", "type": "uint16", "size": 2}, {"name": "cur_offset[1]", "type": "uint32", "size": 4}], "subsections": [{"vmsd_name": "fw_cfg/dma", "version": 0, "fields": [{"name": "dma_addr", "type": "uint64", "size": 8}]}]})");
    IsaSerial serial;
    EXPECT_EQ(full_section(10, kIsaSerial, &serial),
              from_hex("04 0000000a 06 73657269616c 00000000 00000003 000c 00 00 01 00 08 60 b0 00 "
                       "00 7e 0000000a"));
}

const char* const kNoneDescription =
    R"({"configuration": {"vmsd_name": "configuration", "version": 1, "fields": [{"name": "len", "type": "uint32", "size": 4}, {"name": "name", "type": "buffer", "size": 4}]}, "page_size": 4096, "devices": [{"name": "timer", "instance_id": 0, "vmsd_name": "timer", "version": 2, "fields": [{"name": "cpu_ticks_offset", "type": "int64", "size": 8}, {"name": "unused", "type": "unused_buffer", "size": 8}, {"name": "cpu_clock_offset", "type": "int64", "size": 8}]}, {"name": "globalstate", "instance_id": 0, "vmsd_name": "globalstate", "version": 1, "fields": [{"name": "size", "type": "uint32", "size": 4}, {"name": "runstate", "type": "buffer", "size": 32}, {"name": "has_vm_was_suspended", "type": "uint8", "size": 1}, {"name": "vm_was_suspended", "type": "uint8", "size": 1}, {"name": "unused", "type": "buffer", "size": 66}]}]})";

TEST(RecordedStream, AMachineWithoutRamIsWrittenAsQemuWritesIt)
{
    StateRegistry registry;
    TimerSection timer{0x062e90a0, 0x026194fc};
    GlobalStateSection global;
    global.set("running");
    auto a = registry.add(kTimerSection, timer).value();
    registry.skip_section_id();
    registry.skip_section_id();
    auto b = registry.add(kGlobalStateSection, global).value();

    StreamWriter out;
    DescriptionWriter d;
    d.begin_object();
    write_file_header(out);
    write_configuration(out, {.machine = "none"}, &d);
    d.number("page_size", 4096);
    d.begin_array("devices");
    write_section_header(out, {SectionType::Start, 1, "ram", 0, 4});
    out.put_be64(4);
    out.put_be64(0x10);
    write_section_footer(out, 1);
    write_command(out, Command::SwitchoverStart);
    write_section_header(out, {.type = SectionType::End, .section_id = 1});
    out.put_be64(0x10);
    write_section_footer(out, 1);
    for (const auto& entry : registry.entries()) {
        d.begin_object();
        d.text("name", entry->idstr);
        d.number("instance_id", entry->instance_id);
        write_section_header(out, {SectionType::Full, entry->section_id, entry->idstr,
                                   entry->instance_id, entry->version});
        ASSERT_TRUE(save_entry(out, *entry, &d));
        write_section_footer(out, entry->section_id);
        d.end_object();
    }
    d.end_array();
    d.end_object();
    out.put_u8(0);
    EXPECT_EQ(d.str(), kNoneDescription);
    write_description(out, d.str());

    const Bytes bytes = out.take();
    const Bytes expected = from_hex(
        "5145564d00000003 07 00000004 6e6f6e65"
        "01 00000001 03 72616d 00000000 00000004 0000000000000004 0000000000000010 7e 00000001"
        "08 000b 0000 03 00000001 0000000000000010 7e 00000001"
        "04 00000000 05 74696d6572 00000000 00000002 00000000062e90a0 0000000000000000 "
        "00000000026194fc 7e 00000000"
        "04 00000003 0b 676c6f62616c7374617465 00000000 00000001 00000008 72756e6e696e6700"
        "000000000000000000000000000000000000000000000000 01 00" +
        std::string(132, '0') + "7e 00000003 00 06 00000337");
    ASSERT_EQ(expected.size(), 0x10au);
    EXPECT_EQ(hex(std::span(bytes).first(expected.size())), hex(expected));
    EXPECT_EQ(bytes.size(), 0x10au + 823);
}

TEST(GlobalState, NamesWithoutAnEndAreNone)
{
    GlobalStateSection g;
    g.set("paused");
    EXPECT_EQ(g.size, 7u);
    EXPECT_EQ(g.name(), "paused");
    g.runstate.fill('x');
    EXPECT_EQ(g.name(), "");
}

TEST(FileHeader, SaysWhatIsWrong)
{
    for (auto [text, error] :
         {std::pair{"5145564d00000002", "SaveVM v2 format is obsolete"},
          std::pair{"5145564d00000004", "Unsupported migration stream version 4"},
          std::pair{"5145564e00000003", "Not a migration stream"},
          std::pair{"514556", "the stream ends at byte 3"}}) {
        const Bytes bytes = from_hex(text);
        auto in = reading(bytes);
        EXPECT_THAT(read_file_header(in).error().message(), HasSubstr(error));
    }
}

TEST(Footer, MustBeThereAndMatch)
{
    const Bytes missing = from_hex("04 00000001");
    auto in = reading(missing);
    EXPECT_THAT(read_section_footer(in, 1, "serial").error().message(),
                HasSubstr("Missing section footer for serial"));
    const Bytes wrong = from_hex("7e 00000055");
    auto in2 = reading(wrong);
    EXPECT_THAT(read_section_footer(in2, 10, "serial").error().message(),
                HasSubstr("Mismatched section id in footer for serial - read 0x55 expected 0xa"));
}

TEST(Commands, UnknownOnesAndWrongLengthsAreRefusedInQemusWords)
{
    for (auto [text, error] :
         {std::pair{"000c 0000", "MIG_CMD 0xc unknown (len 0x0)"},
          std::pair{"0000 0000", "MIG_CMD 0x0 unknown"},
          std::pair{"000b 0001 00",
                    "SWITCHOVER_START received with bad length - expecting 0, got 1"},
          std::pair{"0002 0003 000000", "PING received with bad length - expecting 4, got 3"},
          std::pair{"0003 0010 00", "the stream ends at byte 5"}}) {
        const Bytes bytes = from_hex(text);
        auto in = reading(bytes);
        EXPECT_THAT(read_command(in).error().message(), HasSubstr(error)) << text;
    }
    const Bytes ping = from_hex("0002 0004 00000007");
    auto in = reading(ping);
    const auto frame = read_command(in).value();
    EXPECT_EQ(frame.command, Command::Ping);
    EXPECT_EQ(payload_be32(frame.payload), 7u);
}

TEST(ReturnPath, MessagesComeBackAndBadOnesAreRefused)
{
    StreamWriter out;
    write_return_be32(out, ReturnMessage::Shut, 1);
    write_return_message(out, ReturnMessage::SwitchoverAck);
    const Bytes bytes = out.take();
    EXPECT_EQ(bytes, from_hex("0001 0004 00000001 0007 0000"));
    auto in = reading(bytes);
    EXPECT_EQ(payload_be32(read_return_message(in).value().payload), 1u);
    EXPECT_EQ(read_return_message(in).value().type, ReturnMessage::SwitchoverAck);
    for (const char* bad :
         {"0000 0000", "0008 0000", "0001 0003 000000", "0003 000c", "0005 0101", "0007 0001 00"}) {
        const Bytes wrong = from_hex(bad);
        auto again = reading(wrong);
        EXPECT_EQ(read_return_message(again).error().code(), Errc::BadFormat) << bad;
    }
}

// --- Configuration ---------------------------------------------------------------------------

const Uuid kUuid = [] {
    Uuid uuid{};
    std::ranges::copy(from_hex("11112222333344445555666677778888"), uuid.begin());
    return uuid;
}();

Bytes configuration(const Configuration& c, std::string* text = nullptr)
{
    StreamWriter out;
    DescriptionWriter d;
    d.begin_object();
    write_configuration(out, c, &d);
    d.end_object();
    if (text != nullptr)
        *text = d.take();
    return out.take();
}

std::string configuration_error(const Bytes& bytes, const Configuration& local)
{
    auto in = reading(bytes);
    const auto result = read_configuration(in, local);
    return result ? "" : result.error().message();
}

TEST(Configuration, CapabilitiesAndUuidAreWrittenAsQemuWritesThem)
{
    std::string text;
    const Bytes bytes = configuration(
        {.machine = "none", .x_ignore_shared = true, .mapped_ram = true, .uuid = kUuid}, &text);
    EXPECT_EQ(
        bytes,
        from_hex("07 00000004 6e6f6e65 05 1a 636f6e66696775726174696f6e2f6361706162696c6974696573 "
                 "00000001 00000002 0f 782d69676e6f72652d736861726564 0a 6d61707065642d72616d "
                 "05 12 636f6e66696775726174696f6e2f75756964 00000001 "
                 "11112222333344445555666677778888"));
    EXPECT_EQ(
        text,
        R"({"configuration": {"vmsd_name": "configuration", "version": 1, "fields": [{"name": "len", "type": "uint32", "size": 4}, {"name": "name", "type": "buffer", "size": 4}], "subsections": [{"vmsd_name": "configuration/capabilities", "version": 1, "fields": [{"name": "caps_count", "type": "uint32", "size": 4}, {"name": "capabilities", "array_len": 2, "type": "capability", "size": 16}]}, {"vmsd_name": "configuration/uuid", "version": 1, "fields": [{"name": "uuid.data", "array_len": 16, "type": "uint8", "size": 1}]}]}})");
}

TEST(Configuration, MachineNamesMustAgreeAsFarAsReceived)
{
    const Bytes q35 = configuration({.machine = "pc-q35-10.0"});
    EXPECT_EQ(configuration_error(q35, {.machine = "pc-q35-10.0"}), "");
    EXPECT_EQ(configuration_error(configuration({.machine = "pc"}), {.machine = "pc-q35-10.0"}),
              "");
    EXPECT_THAT(configuration_error(q35, {.machine = "microvm"}),
                HasSubstr("Machine type received is 'pc-q35-10.0' and local is 'microvm'"));
    EXPECT_THAT(configuration_error(from_hex("01"), {.machine = "none"}),
                HasSubstr("Configuration section missing"));
    EXPECT_THAT(configuration_error(from_hex("07 7fffffff"), {.machine = "none"}),
                HasSubstr("machine name of"));
}

TEST(Configuration, CheckedCapabilitiesMustBeEqual)
{
    const Bytes shared = configuration({.machine = "none", .x_ignore_shared = true});
    EXPECT_EQ(configuration_error(shared, {.machine = "none", .x_ignore_shared = true}), "");
    EXPECT_THAT(configuration_error(shared, {.machine = "none"}),
                HasSubstr("Capability x-ignore-shared is off, but received capability is on"));
    EXPECT_THAT(configuration_error(configuration({.machine = "none"}),
                                    {.machine = "none", .mapped_ram = true}),
                HasSubstr("Capability mapped-ram is on, but received capability is off"));
}

TEST(Configuration, AnotherUuidIsRefusedAndAnUnexpectedOneWarnedOf)
{
    const Bytes bytes = configuration({.machine = "none", .uuid = kUuid});
    auto in = reading(bytes);
    EXPECT_THAT(read_configuration(in, {.machine = "none"}).value(), SizeIs(1));
    auto same = reading(bytes);
    EXPECT_THAT(read_configuration(same, {.machine = "none", .uuid = kUuid}).value(), IsEmpty());
    EXPECT_THAT(configuration_error(bytes, {.machine = "none", .uuid = Uuid{}}),
                HasSubstr("UUID received is 11112222-3333-4444-5555-666677778888 and local is "
                          "00000000-0000-0000-0000-000000000000"));
}

TEST(Configuration, TruncatedAnywhereNeverReadsOn)
{
    const Configuration local{
        .machine = "none", .x_ignore_shared = true, .mapped_ram = true, .uuid = kUuid};
    const Bytes bytes = configuration(local);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        StreamReader in{std::span(bytes).first(length)};
        const auto result = read_configuration(in, local);
        EXPECT_LE(in.position(), length);
        // Behind the capabilities only the UUID may be missing.
        if (length < 72) {
            EXPECT_FALSE(result) << length;
        }
    }
}

TEST(Description, IsSkippedWithoutBeingKept)
{
    StreamWriter out;
    write_description(out, R"({"a": 1})");
    const Bytes bytes = out.take();
    auto in = reading(bytes);
    EXPECT_EQ(in.get_u8().value(), 6);
    EXPECT_EQ(read_description(in, 4).value(), R"({"a")");
    EXPECT_TRUE(in.at_end().value());
    const Bytes endless = from_hex("ffffffff 7b");
    auto huge = reading(endless);
    EXPECT_EQ(read_description(huge, 16).error().code(), Errc::Truncated);
}

TEST(DescriptionWriter, EscapesAsQemuDoes)
{
    DescriptionWriter d;
    d.begin_object();
    d.text("a\"b", "\\\n\x01\xc3\xa9\xf0\x9f\x98\x80\xff");
    d.end_object();
    EXPECT_EQ(d.str(), R"({"a\"b": "\\\n\u0001\u00E9\uD83D\uDE00\uFFFD"})");
}

}  // namespace
}  // namespace godwit::migration::stream
