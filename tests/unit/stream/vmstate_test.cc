// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/stream/vmstate.h"

#include "migration/stream/description.h"
#include "migration/stream/reader.h"
#include "migration/stream/registry.h"
#include "migration/stream/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::migration::stream {
namespace {

using testing::HasSubstr;

struct UartCore {
    std::uint16_t divider = 12;
    std::uint8_t ier = 0;
    std::uint8_t lsr = 0x60;
    std::uint8_t fcr = 0;
    std::uint8_t thr = 0;
};

constexpr auto kTsr = vmstate<UartCore>(
    "serial/tsr", {.needed = [](const UartCore& s) { return (s.lsr & 0x40) == 0; }},
    field<&UartCore::thr>("thr"));
constexpr auto kCore =
    vmstate<UartCore>("serial",
                      {.current = 3,
                       .oldest = 2,
                       .post_load = [](UartCore& s, Version) -> Result<void> {
                           if ((s.lsr & 0x20) == 0)
                               return Error(Errc::BadFormat, "inconsistent lsr");
                           return ok();
                       }},
                      field<&UartCore::divider>("divider").in_range(1, 0xffff),
                      field<&UartCore::ier>("ier").in_range(0, 15), field<&UartCore::lsr>("lsr"),
                      field<&UartCore::fcr>("fcr_vmstate").since(3), subsection(kTsr));
static_assert(kCore.well_formed());

TEST(VMState, WritesFieldsInOrderAndDescribesThem)
{
    UartCore uart;
    StreamWriter out;
    DescriptionWriter text;
    text.begin_object();
    ASSERT_TRUE(save_state(out, kCore, &uart, &text));
    text.end_object();
    const auto bytes = out.take();
    EXPECT_EQ(bytes, (std::vector<std::byte>{std::byte{0}, std::byte{12}, std::byte{0},
                                             std::byte{0x60}, std::byte{0}}));
    EXPECT_EQ(
        text.str(),
        R"({"vmsd_name": "serial", "version": 3, "fields": [{"name": "divider", "type": "uint16", "size": 2}, {"name": "ier", "type": "uint8", "size": 1}, {"name": "lsr", "type": "uint8", "size": 1}, {"name": "fcr_vmstate", "type": "uint8", "size": 1}]})");
}

}  // namespace
}  // namespace godwit::migration::stream
