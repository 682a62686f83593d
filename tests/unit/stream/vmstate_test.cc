// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every kind of field: its bytes, its description, its way back, and what it refuses.
#include "migration/stream/vmstate.h"

#include "tests/unit/stream/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <list>
#include <optional>

namespace godwit::migration::stream {
namespace {

using testing::HasSubstr;

enum class Mode : std::uint16_t { Off = 0, On = 0x1234 };

struct Inner {
    std::uint32_t selector = 0;
    std::uint64_t base = 0;
    bool operator==(const Inner&) const = default;
};
constexpr auto kInner =
    vmstate<Inner>("segment", {}, field<&Inner::selector>("selector"), field<&Inner::base>("base"));

// --- Integers --------------------------------------------------------------------------------

struct Scalars {
    bool flag = true;
    std::int8_t i8 = -1;
    std::uint8_t u8 = 0xfe;
    std::int16_t i16 = -2;
    std::uint16_t u16 = 0xfedc;
    std::int32_t i32 = -3;
    std::uint32_t u32 = 0xfedcba98;
    std::int64_t i64 = -4;
    std::uint64_t u64 = 0x0123456789abcdef;
    double number = 1.0;
    TimerState timer;
    Mode mode = Mode::On;
    bool operator==(const Scalars&) const = default;
};
constexpr auto kScalars = vmstate<Scalars>(
    "scalars", {}, field<&Scalars::flag>("flag"), field<&Scalars::i8>("i8"),
    field<&Scalars::u8>("u8"), field<&Scalars::i16>("i16"), field<&Scalars::u16>("u16"),
    field<&Scalars::i32>("i32"), field<&Scalars::u32>("u32"), field<&Scalars::i64>("i64"),
    field<&Scalars::u64>("u64"), field<&Scalars::number>("number"), field<&Scalars::timer>("timer"),
    field<&Scalars::mode>("mode"));
static_assert(kScalars.well_formed());

TEST(VMStateIntegers, AreBigEndianAndComeBack)
{
    Scalars s;
    const Bytes bytes = saved(kScalars, &s);
    EXPECT_EQ(hex(bytes), "01"
                          "ff"
                          "fe"
                          "fffe"
                          "fedc"
                          "fffffffd"
                          "fedcba98"
                          "fffffffffffffffc"
                          "0123456789abcdef"
                          "3ff0000000000000"
                          "ffffffffffffffff"
                          "1234");
    Scalars back{.flag = false,
                 .i8 = 0,
                 .u8 = 0,
                 .i16 = 0,
                 .u16 = 0,
                 .i32 = 0,
                 .u32 = 0,
                 .i64 = 0,
                 .u64 = 0,
                 .number = 0,
                 .timer = {5},
                 .mode = Mode::Off};
    EXPECT_EQ(load_error(kScalars, &back, bytes, 1), "");
    EXPECT_EQ(back, s);
}

TEST(VMStateIntegers, AreDescribedByQemusNames)
{
    Scalars s;
    EXPECT_EQ(described(kScalars, &s), R"({"vmsd_name": "scalars", "version": 1, "fields": [)"
                                       R"({"name": "flag", "type": "bool", "size": 1}, )"
                                       R"({"name": "i8", "type": "int8", "size": 1}, )"
                                       R"({"name": "u8", "type": "uint8", "size": 1}, )"
                                       R"({"name": "i16", "type": "int16", "size": 2}, )"
                                       R"({"name": "u16", "type": "uint16", "size": 2}, )"
                                       R"({"name": "i32", "type": "int32", "size": 4}, )"
                                       R"({"name": "u32", "type": "uint32", "size": 4}, )"
                                       R"({"name": "i64", "type": "int64", "size": 8}, )"
                                       R"({"name": "u64", "type": "uint64", "size": 8}, )"
                                       R"({"name": "number", "type": "CPU_Double_U", "size": 8}, )"
                                       R"({"name": "timer", "type": "timer", "size": 8}, )"
                                       R"({"name": "mode", "type": "uint16", "size": 2}]})");
}

TEST(VMStateIntegers, AnyNonZeroByteIsTrue)
{
    struct Flag {
        bool set = false;
    };
    static constexpr auto how = vmstate<Flag>("flag", {}, field<&Flag::set>("set"));
    Flag flag;
    EXPECT_EQ(load_error(how, &flag, from_hex("80"), 1), "");
    EXPECT_EQ(hex(saved(how, &flag)), "01");
}

TEST(VMStateIntegers, TruncatedAnywhereIsAnErrorWithItsPlace)
{
    Scalars s;
    const Bytes bytes = saved(kScalars, &s);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        Scalars back;
        const std::string error = load_error(
            kScalars, &back, Bytes(bytes.begin(), bytes.begin() + static_cast<long>(length)), 1);
        EXPECT_THAT(error, HasSubstr("the stream ends at byte " + std::to_string(length)));
    }
}

// --- Ranges and comparisons ------------------------------------------------------------------

struct Bounded {
    std::uint8_t level = 5;
    std::int16_t offset = 0;
    std::uint64_t big = 1;
    std::array<std::uint8_t, 2> pair{};
};
constexpr auto kBounded =
    vmstate<Bounded>("bounded", {}, field<&Bounded::level>("level").in_range(3, 16),
                     field<&Bounded::offset>("offset").in_range(-5, 5),
                     field<&Bounded::big>("big").in_range(1u, ~std::uint64_t{0} - 1),
                     field<&Bounded::pair>("pair").in_range(0, 1));
static_assert(kBounded.well_formed());

TEST(VMStateRange, BothEdgesAreInAndTheirNeighboursOut)
{
    struct Case {
        const char* bytes;
        const char* error;
    };
    for (const Case& c : {
             Case{"03 fffb 0000000000000001 00 01", ""},
             Case{"10 0005 fffffffffffffffe 01 01", ""},
             Case{"02 0000 0000000000000001 00 00", "level: 2 is outside 3..16, at byte 1"},
             Case{"11 0000 0000000000000001 00 00", "level: 17 is outside 3..16, at byte 1"},
             Case{"03 fffa 0000000000000001 00 00", "offset: -6 is outside -5..5, at byte 3"},
             Case{"03 0006 0000000000000001 00 00", "offset: 6 is outside -5..5, at byte 3"},
             Case{"03 0000 0000000000000000 00 00",
                  "big: 0 is outside 1..18446744073709551614, at byte 11"},
             Case{"03 0000 ffffffffffffffff 00 00",
                  "big: 18446744073709551615 is outside 1..18446744073709551614, at byte 11"},
             Case{"03 0000 0000000000000001 00 02", "pair: [1]: 2 is outside 0..1, at byte 13"},
         }) {
        Bounded b;
        EXPECT_EQ(load_error(kBounded, &b, from_hex(c.bytes), 1), c.error) << c.bytes;
    }
}

struct Compared {
    std::uint32_t ports = 6;
    std::int32_t version = 2;
    std::uint64_t wide = 9;
};
constexpr auto kCompared =
    vmstate<Compared>("compared", {}, field<&Compared::ports>("ports").equal(),
                      field<&Compared::version>("version_id").at_most_local(),
                      field<&Compared::wide>("wide").equal());

TEST(VMStateComparison, EqualAndAtMostLocalLookAtTheLocalValue)
{
    Compared c;
    EXPECT_EQ(load_error(kCompared, &c, from_hex("00000006 00000000 0000000000000009"), 1), "");
    EXPECT_EQ(c.version, 0);
    c.version = 2;
    EXPECT_EQ(load_error(kCompared, &c, from_hex("00000006 00000002 0000000000000009"), 1), "");
    EXPECT_EQ(load_error(kCompared, &c, from_hex("00000005 00000002 0000000000000009"), 1),
              "ports: received 5, must be equal to the local 6, at byte 4");
    EXPECT_EQ(load_error(kCompared, &c, from_hex("00000006 00000003 0000000000000009"), 1),
              "version_id: received 3, must be between 0 and the local 2, at byte 8");
    EXPECT_EQ(load_error(kCompared, &c, from_hex("00000006 ffffffff 0000000000000009"), 1),
              "version_id: received -1, must be between 0 and the local 2, at byte 8");
    EXPECT_THAT(described(kCompared, &c), HasSubstr(R"("type": "uint32 equal")"));
    EXPECT_THAT(described(kCompared, &c), HasSubstr(R"("type": "int32 le")"));
    EXPECT_THAT(described(kCompared, &c), HasSubstr(R"("type": "int64 equal")"));
}

// --- Arrays, buffers, bitmaps ----------------------------------------------------------------

struct Arrays {
    std::array<std::uint64_t, 5> cr{0, 1, 2, 3, 4};
    std::array<std::array<std::uint16_t, 2>, 2> grid{{{1, 2}, {3, 4}}};
    std::array<std::uint8_t, 4> data{9, 8, 7, 6};
    std::array<std::uint64_t, 2> bits{0x1, 0x8000000000000000};
    std::array<std::uint32_t, 1> single{7};
};
constexpr auto kArrays =
    vmstate<Arrays>("arrays", {}, field<&Arrays::cr>("cr[0]").element(0),
                    field<&Arrays::cr>("cr[2]").elements(2, 2), field<&Arrays::grid>("grid"),
                    buffer<&Arrays::data>("data").elements(1, 2), unused(3),
                    bitmap<&Arrays::bits>("bits", 65), field<&Arrays::single>("single"));
static_assert(kArrays.well_formed());

TEST(VMStateArrays, PartsGridsBuffersAndBitmapsHaveTheirLayout)
{
    Arrays a;
    const Bytes bytes = saved(kArrays, &a);
    EXPECT_EQ(hex(bytes), "0000000000000000"
                          "0000000000000002"
                          "0000000000000003"
                          "0001000200030004"
                          "0807"
                          "000000"
                          "0000000000000001"
                          "8000000000000000"
                          "00000007");
    EXPECT_EQ(described(kArrays, &a),
              R"({"vmsd_name": "arrays", "version": 1, "fields": [)"
              R"({"name": "cr[0]", "type": "uint64", "size": 8}, )"
              R"({"name": "cr[2]", "array_len": 2, "type": "uint64", "size": 8}, )"
              R"({"name": "grid", "array_len": 4, "type": "uint16", "size": 2}, )"
              R"({"name": "data", "type": "buffer", "size": 2}, )"
              R"({"name": "unused", "type": "unused_buffer", "size": 3}, )"
              R"({"name": "bits", "type": "bitmap", "size": 16}, )"
              R"({"name": "single", "type": "uint32", "size": 4}]})");
    Arrays back{.cr = {}, .grid = {}, .data = {}, .bits = {}, .single = {}};
    EXPECT_EQ(load_error(kArrays, &back, bytes, 1), "");
    EXPECT_EQ(back.cr, (std::array<std::uint64_t, 5>{0, 0, 2, 3, 0}));
    EXPECT_EQ(back.grid, a.grid);
    EXPECT_EQ(back.data, (std::array<std::uint8_t, 4>{0, 8, 7, 0}));
    EXPECT_EQ(back.bits, a.bits);
}

struct Counted {
    std::uint8_t used = 0;
    std::array<std::uint16_t, 4> items{};
    std::uint32_t length = 0;
    std::vector<std::uint8_t> blob;
    std::vector<Inner> parts;
};
constexpr auto kCounted = vmstate<Counted>(
    "counted", {}, field<&Counted::used>("used"),
    field<&Counted::items>("items").counted_by<&Counted::used>(), field<&Counted::length>("length"),
    buffer<&Counted::blob>("blob").counted_by<&Counted::length>().at_most(8),
    structure<&Counted::parts>("parts", kInner)
        .counted([](const Counted& c) { return c.used / 2; })
        .at_most(4));
static_assert(kCounted.well_formed());

TEST(VMStateCounted, SendsExactlyWhatIsCounted)
{
    Counted c;
    c.used = 3;
    c.items = {1, 2, 3, 4};
    c.length = 2;
    c.blob = {5, 6};
    c.parts = {{1, 2}};
    const Bytes bytes = saved(kCounted, &c);
    EXPECT_EQ(bytes, from_hex("03 0001 0002 0003 00000002 0506 00000001 0000000000000002"));
    Counted back;
    EXPECT_EQ(load_error(kCounted, &back, bytes, 1), "");
    EXPECT_EQ(back.items, (std::array<std::uint16_t, 4>{1, 2, 3, 0}));
    EXPECT_EQ(back.blob, c.blob);
    EXPECT_EQ(back.parts, c.parts);
}

TEST(VMStateCounted, NothingIsWrittenForZeroElements)
{
    Counted c;
    EXPECT_EQ(saved(kCounted, &c), from_hex("00 00000000"));
    EXPECT_THAT(described(kCounted, &c), Not(HasSubstr("items")));
    EXPECT_THAT(described(kCounted, &c),
                HasSubstr(R"({"name": "blob", "type": "buffer", "size": 0})"));
}

TEST(VMStateCounted, MoreThanThereIsRoomForIsRefusedBeforeAnythingIsAllocated)
{
    Counted c;
    EXPECT_EQ(load_error(kCounted, &c, from_hex("05"), 1),
              "items: 5 elements, there is room for 4, at byte 1");
    EXPECT_EQ(load_error(kCounted, &c, from_hex("00 ffffffff"), 1),
              "blob: 4294967295 elements, there is room for 8, at byte 5");
    c.used = 5;
    StreamWriter out;
    EXPECT_FALSE(save_state(out, kCounted, &c));
}

// --- Structures ------------------------------------------------------------------------------

struct Outer {
    Inner ldt;
    std::array<Inner, 2> segs{};
    std::uint8_t behind = 0xaa;
};
constexpr auto kOuter =
    vmstate<Outer>("outer", {.current = 7}, structure<&Outer::ldt>("ldt", kInner),
                   structure<&Outer::segs>("segs", kInner), field<&Outer::behind>("behind"),
                   field<&Outer::ldt, &Inner::base>("ldt.base"));

TEST(VMStateStruct, NestedFieldsAreInlineAndAlikeElementsDescribedOnce)
{
    Outer o{{1, 2}, {{{3, 4}, {5, 6}}}};
    const Bytes bytes = saved(kOuter, &o);
    EXPECT_EQ(bytes, from_hex("00000001 0000000000000002 00000003 0000000000000004"
                              "00000005 0000000000000006 aa 0000000000000002"));
    const std::string inner = R"({"vmsd_name": "segment", "version": 1, "fields": [)"
                              R"({"name": "selector", "type": "uint32", "size": 4}, )"
                              R"({"name": "base", "type": "uint64", "size": 8}]})";
    EXPECT_EQ(
        described(kOuter, &o),
        R"({"vmsd_name": "outer", "version": 7, "fields": [{"name": "ldt", "type": "struct", "struct": )" +
            inner +
            R"(, "size": 12}, {"name": "segs", "array_len": 2, "type": "struct", "struct": )" +
            inner +
            R"(, "size": 12}, {"name": "behind", "type": "uint8", "size": 1}, )"
            R"({"name": "ldt.base", "type": "uint64", "size": 8}]})");
    Outer back;
    EXPECT_EQ(load_error(kOuter, &back, bytes, 1 + 6), "");
    EXPECT_EQ(back.segs, o.segs);
}

struct Port {
    std::uint8_t cmd = 0;
    bool extra = false;
};
constexpr auto kPortExtra = vmstate<Port>(
    "port/extra", {.needed = [](const Port& p) { return p.extra; }}, field<&Port::extra>("extra"));
constexpr auto kPort = vmstate<Port>("port", {}, field<&Port::cmd>("cmd"), subsection(kPortExtra));
struct Ports {
    std::array<Port, 3> dev{{{1, false}, {2, true}, {3, false}}};
};
constexpr auto kPorts = vmstate<Ports>("ports", {}, structure<&Ports::dev>("dev", kPort));

TEST(VMStateStruct, ElementsThatMayDifferAreDescribedOneByOneTheLastWithoutIndex)
{
    Ports p;
    EXPECT_EQ(saved(kPorts, &p), from_hex("01 02 05 0a 706f72742f6578747261 00000001 01 03"));
    const std::string text = described(kPorts, &p);
    EXPECT_THAT(text, HasSubstr(R"([{"name": "dev", "index": 0, "type": "struct")"));
    EXPECT_THAT(text, HasSubstr(R"({"name": "dev", "index": 1, "type": "struct")"));
    EXPECT_THAT(
        text,
        HasSubstr(
            R"(, {"name": "dev", "type": "struct", "struct": {"vmsd_name": "port", "version": 1, "fields": [{"name": "cmd", "type": "uint8", "size": 1}]}, "size": 1}]})"));
    EXPECT_THAT(
        text,
        HasSubstr(
            R"("subsections": [{"vmsd_name": "port/extra", "version": 1, "fields": [{"name": "extra", "type": "bool", "size": 1}]}]}, "size": 18})"));
    Ports back{.dev = {}};
    EXPECT_EQ(load_error(kPorts, &back, saved(kPorts, &p), 1), "");
    EXPECT_TRUE(back.dev[1].extra);
    EXPECT_EQ(back.dev[2].cmd, 3);
}

struct Layered {
    std::uint8_t a = 1;
    std::uint8_t b = 2;
};
constexpr auto kLayer = vmstate<Layered>("layer", {.current = 3}, field<&Layered::a>("a"),
                                         field<&Layered::b>("b").since(3));
struct Holder {
    Layered inner;
};
constexpr auto kHolder =
    vmstate<Holder>("holder", {}, versioned_structure<&Holder::inner>("inner", kLayer, 2));

TEST(VMStateVStruct, IsWrittenAndReadAtTheStatedVersion)
{
    Holder h;
    EXPECT_EQ(saved(kHolder, &h), from_hex("01"));
    EXPECT_EQ(
        described(kHolder, &h),
        R"({"vmsd_name": "holder", "version": 1, "fields": [{"name": "inner", "type": "vstruct", )"
        R"("vmsd_name": "layer", "version": 2, "fields": [{"name": "a", "type": "uint8", "size": 1}], "size": 1}]})");
    EXPECT_EQ(load_error(kHolder, &h, from_hex("09"), 1), "");
    EXPECT_EQ(h.inner.a, 9);
}

// --- Lists, gaps, temporaries, own code ------------------------------------------------------

struct Listed {
    std::list<Layered> queue;
    std::vector<Inner> pile;
};
constexpr auto kListed =
    vmstate<Listed>("listed", {}, list<&Listed::queue>("queue", kLayer).at_most(3),
                    list<&Listed::pile>("pile", kInner, "qlist"));
static_assert(kListed.well_formed());

TEST(VMStateList, EveryElementHasAMarkAndTheEndToo)
{
    Listed l{{{1, 2}, {3, 4}}, {}};
    const Bytes bytes = saved(kListed, &l);
    EXPECT_EQ(bytes, from_hex("01 0102 01 0304 00 00"));
    EXPECT_THAT(
        described(kListed, &l),
        HasSubstr(R"({"name": "queue", "type": "qtailq", "vmsd_name": "layer", "version": 3, )"));
    Listed back;
    back.queue.push_back({9, 9});
    EXPECT_EQ(load_error(kListed, &back, bytes, 1), "");
    ASSERT_EQ(back.queue.size(), 2u);
    EXPECT_EQ(back.queue.back().b, 4);
}

TEST(VMStateList, WrongMarksAndTooManyElementsAreRefused)
{
    Listed l;
    EXPECT_EQ(load_error(kListed, &l, from_hex("02"), 1),
              "queue: 0x02 where a list goes on (1) or ends (0), at byte 1");
    EXPECT_EQ(load_error(kListed, &l, from_hex("01 0102 01 0102 01 0102 01 0102"), 1),
              "queue: more than 3 elements, at byte 10");
}

struct Gaps {
    std::array<std::optional<Inner>, 4> slots{};
};
constexpr auto kGaps = vmstate<Gaps>("gaps", {}, nullable<&Gaps::slots>("slots", kInner));

TEST(VMStateNullable, AnAbsentElementIsOneByteAndRunsAreDescribedOnce)
{
    Gaps g;
    g.slots[0] = Inner{1, 2};
    g.slots[3] = Inner{3, 4};
    const Bytes bytes = saved(kGaps, &g);
    EXPECT_EQ(bytes, from_hex("00000001 0000000000000002 30 30 00000003 0000000000000004"));
    const std::string text = described(kGaps, &g);
    EXPECT_THAT(text, HasSubstr(R"({"name": "slots", "array_len": 4, "type": "struct")"));
    EXPECT_THAT(
        text,
        HasSubstr(
            R"({"name": "slots", "array_len": 2, "type": "nullptr", "size": 1}, {"name": "slots", "type": "struct")"));
    Gaps same;
    same.slots[0] = Inner{};
    same.slots[3] = Inner{};
    EXPECT_EQ(load_error(kGaps, &same, bytes, 1), "");
    EXPECT_EQ(*same.slots[3], (Inner{3, 4}));
    Gaps empty;
    EXPECT_EQ(load_error(kGaps, &empty, bytes, 1),
              "slots: [0]: 0x00 for an element that is absent here, 0x30 expected, at byte 1");
}

struct Float80 {
    double value = 0;
};
struct Float80Wire {
    std::uint64_t mantissa = 0;
    std::uint16_t exponent = 0;
};
constexpr auto kFloat80Wire = vmstate<Float80Wire>("fpreg_tmp", {.current = 0, .oldest = 0},
                                                   field<&Float80Wire::mantissa>("tmp_mant"),
                                                   field<&Float80Wire::exponent>("tmp_exp"));
constexpr auto kFloat80 = vmstate<Float80>(
    "fpreg", {.current = 0, .oldest = 0},
    temporary<Float80>(
        "tmp", kFloat80Wire,
        [](const Float80& f) { return Float80Wire{static_cast<std::uint64_t>(f.value), 3}; },
        [](Float80& f, const Float80Wire& w) -> Result<void> {
            if (w.exponent != 3)
                return Error(Errc::BadFormat, "odd exponent");
            f.value = static_cast<double>(w.mantissa);
            return ok();
        }));

TEST(VMStateTmp, IsComputedForTheStreamAndHandedBack)
{
    Float80 f{42};
    const Bytes bytes = saved(kFloat80, &f);
    EXPECT_EQ(bytes, from_hex("000000000000002a 0003"));
    EXPECT_EQ(
        described(kFloat80, &f),
        R"({"vmsd_name": "fpreg", "version": 0, "fields": [{"name": "tmp", "type": "tmp", "vmsd_name": "fpreg_tmp", "version": 0, "fields": [{"name": "tmp_mant", "type": "uint64", "size": 8}, {"name": "tmp_exp", "type": "uint16", "size": 2}], "size": 10}]})");
    Float80 back;
    EXPECT_EQ(load_error(kFloat80, &back, bytes, 0), "");
    EXPECT_EQ(back.value, 42);
    EXPECT_EQ(load_error(kFloat80, &back, from_hex("000000000000002a 0004"), 0),
              "tmp: odd exponent");
}

struct Checked {
    std::uint8_t head = 0;
    std::uint8_t tail = 0;
};
constexpr auto kChecked = vmstate<Checked>(
    "checked", {}, field<&Checked::head>("head"), field<&Checked::tail>("tail"),
    validated<Checked>("head is not behind tail",
                       [](const Checked& c) { return c.head <= c.tail; }),
    custom<Checked>(
        "blob", "pci config", [](StreamWriter& out, Checked& c) { out.put_be16(c.head); },
        [](StreamReader& in, Checked& c, Version) -> Result<void> {
            c.head = static_cast<std::uint8_t>(GW_TRY(in.get_be16()));
            return ok();
        }));

TEST(VMStateValidated, MustHoldOnBothSides)
{
    Checked good{1, 2};
    EXPECT_EQ(saved(kChecked, &good), from_hex("0102 0001"));
    EXPECT_THAT(described(kChecked, &good), Not(HasSubstr("behind")));
    EXPECT_THAT(described(kChecked, &good),
                HasSubstr(R"({"name": "blob", "type": "pci config", "size": 2})"));
    EXPECT_EQ(load_error(kChecked, &good, from_hex("0302 0001"), 1),
              "head is not behind tail: does not hold, at byte 2");
    Checked bad{3, 2};
    StreamWriter out;
    EXPECT_FALSE(save_state(out, kChecked, &bad));
}

// --- Existence, versions, names --------------------------------------------------------------

struct Versions {
    std::uint8_t always = 1;
    std::uint8_t later = 2;
    std::uint32_t offset = 3;
    bool wide = false;
};
constexpr auto kVersions = vmstate<Versions>(
    "versions", {.current = 3, .oldest = 2}, field<&Versions::always>("always"),
    field<&Versions::later>("later").since(3),
    field<&Versions::offset>("offset").when([](const Versions& v) { return v.wide; }),
    field<&Versions::offset>("offset").when(
        [](const Versions& v, Version version) { return !v.wide && version == 3; }));

TEST(VMStateVersions, FieldsComeWithTheirVersion)
{
    Versions v;
    EXPECT_EQ(saved(kVersions, &v), from_hex("01 02 00000003"));
    EXPECT_EQ(load_error(kVersions, &v, from_hex("07"), 2), "");
    EXPECT_EQ(v.always, 7);
    EXPECT_EQ(v.later, 2) << "left as it was";
}

TEST(VMStateVersions, TooNewAndTooOldAreRefusedInQemusWords)
{
    Versions v;
    EXPECT_EQ(load_error(kVersions, &v, from_hex("07"), 4),
              "versions: incoming version_id 4 is too new for local version_id 3, at byte 0");
    EXPECT_EQ(
        load_error(kVersions, &v, from_hex("07"), 1),
        "versions: incoming version_id 1 is too old for local minimum version_id 2, at byte 0");
}

TEST(VMStateNames, SharedOnesAreNumberedAmongAllDeclared)
{
    Versions v;
    EXPECT_THAT(described(kVersions, &v),
                HasSubstr(R"({"name": "offset[1]", "type": "uint32", "size": 4})"));
}

}  // namespace
}  // namespace godwit::migration::stream
