// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qapi/kinds_codec.h"
#include "qapi/migration_codec.h"
#include "util/json.h"

#include <gtest/gtest.h>
#include <string>

namespace godwit::qapi {
namespace {

Json parse(const char* text)
{
    auto value = parse_json(text);
    EXPECT_TRUE(value) << text;
    return value ? *value : Json();
}

/// The error of reading `text` as a T; empty if there is none.
template <class T>
std::string error_of(const char* text)
{
    auto value = from_json<T>(parse(text));
    return value ? "" : value.error().message();
}

template <class T>
void expect_round_trip(const char* text)
{
    const auto value = from_json<T>(parse(text));
    ASSERT_TRUE(value) << text << ": " << value.error().message();
    EXPECT_EQ(encode(*value).dump(), parse(text).dump());
}

TEST(Codec, EveryKindOfTypeReadsWhatItWrote)
{
    expect_round_trip<Numbers>(
        R"({"i8":-128,"i16":-32768,"i32":-2147483648,"i64":-9223372036854775808,
            "int":9223372036854775807,"u8":255,"u16":65535,"u32":4294967295,
            "u64":18446744073709551615,"size":4096,"real":0.5})");
    expect_round_trip<Numbers>("{}");
    expect_round_trip<Derived>(
        R"({"name":"a","class":true,"colour":"8bit","none":null,"anything":{"x":[1,{}]}})");
    expect_round_trip<Derived>(R"({"name":"","colour":"dark-green"})");
    expect_round_trip<Tree>(R"({"value":1,"children":[{"value":2,"children":[]},{"value":3}]})");
    for (const char* either :
         {R"("text")", "17", "false", "null", R"(["a","b"])", R"({"name":"x"})"})
        expect_round_trip<Either>(either);
}

TEST(Codec, AUnionBringsTheMembersOfItsBranch)
{
    expect_round_trip<Shape>(R"({"kind":"red","area":2.5,"value":1})");
    expect_round_trip<Shape>(R"({"kind":"x86_64","value":1})");
    expect_round_trip<Shape>(R"({"kind":"8bit"})");
    expect_round_trip<Shape>(R"({"kind":"dark-green","size":"small","name":"n"})");
    expect_round_trip<Shape>(R"({"kind":"dark-green","size":"large"})");

    const auto shape = from_json<Shape>(parse(R"({"kind":"8bit"})"));
    EXPECT_TRUE(std::holds_alternative<std::monostate>(shape->u));
    EXPECT_EQ(error_of<Shape>(R"({"kind":"8bit","value":1})"), "Parameter 'value' is unexpected");
    EXPECT_EQ(error_of<Shape>(R"({"kind":"red"})"), "Parameter 'value' is missing");
    EXPECT_EQ(error_of<Shape>(R"({"kind":"dark-green"})"), "Parameter 'size' is missing");
    EXPECT_EQ(error_of<Shape>(R"({"value":1})"), "Parameter 'kind' is missing");
}

TEST(Codec, ReadingAgainForgetsWhatWasThere)
{
    Derived out;
    ASSERT_TRUE(decode(parse(R"({"name":"a","class":true,"colour":"red"})"), Path(), out));
    ASSERT_TRUE(decode(parse(R"({"name":"b","colour":"red"})"), Path(), out));
    EXPECT_EQ(out.class_, std::nullopt);
    Shape shape;
    ASSERT_TRUE(decode(parse(R"({"kind":"red","value":1})"), Path(), shape));
    ASSERT_TRUE(decode(parse(R"({"kind":"8bit"})"), Path(), shape));
    EXPECT_TRUE(std::holds_alternative<std::monostate>(shape.u));
}

TEST(Codec, MembersThatAreMissingOrUnknownAreNamedWithTheirPath)
{
    EXPECT_EQ(error_of<MigrateSetCapabilitiesArgs>("{}"), "Parameter 'capabilities' is missing");
    EXPECT_EQ(error_of<MigrateSetCapabilitiesArgs>(R"({"capabilities":[{"capability":"events"}]})"),
              "Parameter 'capabilities[0].state' is missing");
    EXPECT_EQ(error_of<MigrateSetCapabilitiesArgs>(
                  R"({"capabilities":[{"capability":"events","state":true,"x":1}]})"),
              "Parameter 'capabilities[0].x' is unexpected");
    EXPECT_EQ(error_of<MigrateSetCapabilitiesArgs>(R"({"capabilities":[],"foo":1})"),
              "Parameter 'foo' is unexpected");
    EXPECT_EQ(error_of<MigrateArgs>(R"({"channels":[{"channel-type":"main",
                  "addr":{"transport":"socket","type":"inet","host":"a"}}]})"),
              "Parameter 'channels[0].addr.port' is missing");
    EXPECT_EQ(error_of<MigrateArgs>(R"({"channels":[{"channel-type":"main",
                  "addr":{"transport":"socket","type":"unix","path":"x","bla":{}}}]})"),
              "Parameter 'channels[0].addr.bla' is unexpected");
}

TEST(Codec, WrongTypesAreNamedWithWhatIsExpected)
{
    EXPECT_EQ(error_of<Simple>(R"({"name":5})"),
              "Invalid parameter type for 'name', expected: string");
    EXPECT_EQ(error_of<Simple>(R"({"name":null})"),
              "Invalid parameter type for 'name', expected: string");
    EXPECT_EQ(error_of<Simple>(R"({"name":"a","class":1})"),
              "Invalid parameter type for 'class', expected: boolean");
    EXPECT_EQ(error_of<Numbers>(R"({"int":"1"})"),
              "Invalid parameter type for 'int', expected: integer");
    EXPECT_EQ(error_of<Numbers>(R"({"int":1.5})"),
              "Invalid parameter type for 'int', expected: integer");
    EXPECT_EQ(error_of<Numbers>(R"({"int":true})"),
              "Invalid parameter type for 'int', expected: integer");
    EXPECT_EQ(error_of<Numbers>(R"({"i8":"1"})"),
              "Invalid parameter type for 'i8', expected: integer");
    EXPECT_EQ(error_of<Numbers>(R"({"real":"1"})"),
              "Invalid parameter type for 'real', expected: number");
    EXPECT_EQ(error_of<Derived>(R"({"name":"a","colour":"red","none":0})"),
              "Invalid parameter type for 'none', expected: null");
    EXPECT_EQ(error_of<Tree>(R"({"value":1,"children":{}})"),
              "Invalid parameter type for 'children', expected: array");
    EXPECT_EQ(error_of<Tree>(R"({"value":1,"children":[{"value":1},5]})"),
              "Invalid parameter type for 'children[1]', expected: object");
    EXPECT_EQ(error_of<MigrateSetParameters>(R"({"tls-creds":5})"),
              "Invalid parameter type for 'tls-creds', expected: StrOrNull");
    EXPECT_EQ(error_of<MigrateArgs>(R"({"channels":[{"channel-type":"main",
                  "addr":{"transport":"exec","args":[1]}}]})"),
              "Invalid parameter type for 'channels[0].addr.args[0]', expected: string");
}

TEST(Codec, UnsignedNumbersSayTheirCType)
{
    EXPECT_EQ(error_of<Numbers>(R"({"u64":"1"})"), "Parameter 'u64' expects uint64");
    EXPECT_EQ(error_of<Numbers>(R"({"u64":1.5})"), "Parameter 'u64' expects uint64");
    EXPECT_EQ(error_of<Numbers>(R"({"u64":18446744073709551616})"),
              "Parameter 'u64' expects uint64");
    EXPECT_EQ(error_of<Numbers>(R"({"size":[]})"), "Parameter 'size' expects uint64");
    EXPECT_EQ(error_of<Numbers>(R"({"u8":"1"})"), "Parameter 'u8' expects uint64");
    EXPECT_EQ(error_of<Numbers>(R"({"u8":256})"), "Parameter 'u8' expects uint8_t");
    EXPECT_EQ(error_of<Numbers>(R"({"u8":-1})"), "Parameter 'u8' expects uint8_t");
    EXPECT_EQ(error_of<Numbers>(R"({"u16":65536})"), "Parameter 'u16' expects uint16_t");
    EXPECT_EQ(error_of<Numbers>(R"({"u32":4294967296})"), "Parameter 'u32' expects uint32_t");
}

TEST(Codec, SignedNumbersHaveTheRangeOfTheirBits)
{
    EXPECT_EQ(error_of<Numbers>(R"({"i8":128})"), "Parameter 'i8' expects int8_t");
    EXPECT_EQ(error_of<Numbers>(R"({"i8":-129})"), "Parameter 'i8' expects int8_t");
    EXPECT_EQ(error_of<Numbers>(R"({"i16":32768})"), "Parameter 'i16' expects int16_t");
    EXPECT_EQ(error_of<Numbers>(R"({"i32":2147483648})"), "Parameter 'i32' expects int32_t");
    EXPECT_EQ(error_of<Numbers>(R"({"i64":9223372036854775808})"),
              "Invalid parameter type for 'i64', expected: integer");
}

TEST(Codec, UnsignedNumbersOf64BitsTakeNegativeOnesAsQemuDoes)
{
    const auto numbers = from_json<Numbers>(parse(R"({"u64":-1,"size":-4096})"));
    ASSERT_TRUE(numbers);
    EXPECT_EQ(numbers->u64, 0xffff'ffff'ffff'ffffu);
    EXPECT_EQ(numbers->size, 0xffff'ffff'ffff'f000u);
}

TEST(Codec, ARealNumberMayBeWrittenWithoutAPoint)
{
    EXPECT_EQ(from_json<Numbers>(parse(R"({"real":-3})"))->real, -3.0);
    EXPECT_EQ(from_json<Numbers>(parse(R"({"real":18446744073709551615})"))->real, 0x1p64);
}

TEST(Codec, ABadEnumValueIsNamedByTheLastPartOfThePath)
{
    EXPECT_EQ(error_of<MigrateSetCapabilitiesArgs>(
                  R"({"capabilities":[{"capability":"evnts","state":true}]})"),
              "Parameter 'capability' does not accept value 'evnts'");
    EXPECT_EQ(error_of<Derived>(R"({"name":"a","colour":5})"),
              "Invalid parameter type for 'colour', expected: string");
}

TEST(Codec, WhatIsNoObjectIsNamedByTheNameItWasGiven)
{
    const auto value = from_json<Simple>(Json(5), "options");
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error().message(), "Invalid parameter type for 'options', expected: object");
    EXPECT_EQ(value.error().code(), Errc::InvalidArgument);
}

TEST(Enums, NamesAndValuesBelongTogether)
{
    EXPECT_EQ(to_string(Colour::DarkGreen), "dark-green");
    EXPECT_EQ(to_string(Colour::X86_64), "x86_64");
    EXPECT_EQ(from_string<Colour>("8bit"), Colour::_8bit);
    EXPECT_EQ(from_string<Colour>("Red"), std::nullopt);
    EXPECT_EQ(kEnumCount<Colour>, 4u);
    for (const std::string_view name : enum_names<MigrationCapability>())
        EXPECT_EQ(to_string(*from_string<MigrationCapability>(name)), name);
}

TEST(Any, CopiesShareOneValue)
{
    const Any any(Json{{"a", 1}});
    const Any copy = any;
    EXPECT_EQ(&copy.json(), &any.json());
    EXPECT_TRUE(Any().json().is_null());
}

}  // namespace
}  // namespace godwit::qapi
