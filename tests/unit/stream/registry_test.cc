// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/stream/registry.h"

#include "tests/unit/stream/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace godwit::migration::stream {
namespace {

using testing::ElementsAre;

struct Small {
    std::uint8_t value = 0;
};
constexpr auto kSmall = vmstate<Small>("small", {}, field<&Small::value>("value"));
constexpr auto kBridge =
    vmstate<Small>("bridge", {.priority = Priority::PciBus}, field<&Small::value>("value"));
constexpr auto kIommu =
    vmstate<Small>("iommu", {.priority = Priority::Iommu}, field<&Small::value>("value"));
constexpr auto kStuck =
    vmstate<Small>("stuck", {.unmigratable = true}, field<&Small::value>("value"));

std::vector<std::string> names(const StateRegistry& registry)
{
    std::vector<std::string> all;
    for (const auto& e : registry.entries())
        all.push_back(e->idstr + " " + std::to_string(e->instance_id) + " #" +
                      std::to_string(e->section_id));
    return all;
}

TEST(StateRegistry, OrdersByPriorityThenRegistrationAndNumbersBySection)
{
    StateRegistry registry;
    Small s;
    auto a = registry.add(kSmall, s).value();
    registry.skip_section_id();
    auto b = registry.add(kIommu, s).value();
    auto c = registry.add(kBridge, s, {.device_path = "0000:00:1c.0"}).value();
    auto d = registry.add(kSmall, s).value();
    auto e = registry.add(kBridge, s, {.device_path = "0000:00:1d.0"}).value();
    EXPECT_THAT(names(registry), ElementsAre("0000:00:1c.0/bridge 0 #3", "0000:00:1d.0/bridge 0 #5",
                                             "iommu 0 #2", "small 0 #0", "small 1 #4"));
}

TEST(StateRegistry, FindsByInstanceAliasAndBareName)
{
    StateRegistry registry;
    Small s;
    auto a = registry.add(kSmall, s, {.instance_id = 3, .alias_id = 0x3f8}).value();
    auto b = registry.add(kBridge, s, {.device_path = "0000:00:1c.0"}).value();
    auto c = registry.add(kBridge, s, {.device_path = "0000:00:1d.0"}).value();
    ASSERT_NE(registry.find("small", 3), nullptr);
    EXPECT_EQ(registry.find("small", 0x3f8), registry.find("small", 3));
    EXPECT_EQ(registry.find("small", 0), nullptr);
    EXPECT_EQ(registry.find("bridge", 1), registry.find("0000:00:1d.0/bridge", 0));
    EXPECT_EQ(registry.find("bridge", 2), nullptr);
    EXPECT_EQ(registry.find("bridg", 0), nullptr);
}

TEST(StateRegistry, ATakenInstanceIsRefusedAndAFreedOneIsFree)
{
    StateRegistry registry;
    Small s;
    auto a = registry.add(kSmall, s, {.instance_id = 1}).value();
    EXPECT_EQ(registry.add(kSmall, s, {.instance_id = 1}).error().code(), Errc::Exists);
    {
        const auto passing = registry.add(kSmall, s).value();
        EXPECT_EQ(registry.entries().size(), 2u);
    }
    EXPECT_EQ(registry.entries().size(), 1u) << "gone with its Registration";
    a.reset();
    EXPECT_TRUE(registry.entries().empty());
    EXPECT_TRUE(registry.add(kSmall, s, {.instance_id = 1}));
}

TEST(StateRegistry, NamesOver255BytesAreRefused)
{
    StateRegistry registry;
    Small s;
    EXPECT_TRUE(registry.add(kSmall, s, {.device_path = std::string(255 - 6, 'x')}));
    EXPECT_EQ(registry.add(kSmall, s, {.device_path = std::string(255 - 5, 'x')}).error().code(),
              Errc::InvalidArgument);
}

TEST(StateRegistry, NamesADeviceThatCannotMove)
{
    StateRegistry registry;
    Small s;
    EXPECT_EQ(registry.unmigratable(), nullptr);
    auto a = registry.add(kStuck, s).value();
    EXPECT_EQ(registry.unmigratable()->idstr, "stuck");
}

TEST(StateRegistry, TheHookOutranksTheDescriptionsNeeded)
{
    static constexpr auto never =
        vmstate<Small>("never", {.needed = [](const Small& s) { return s.value != 0; }},
                       field<&Small::value>("value"));
    StateRegistry registry;
    Small s;
    auto a = registry.add(never, s).value();
    EXPECT_FALSE(registry.entries()[0]->needed());
    s.value = 1;
    EXPECT_TRUE(registry.entries()[0]->needed());
    auto b = registry.add(never, s, {}, {.needed = [] { return false; }}).value();
    EXPECT_FALSE(registry.entries()[1]->needed());
}

class Opaque final : public SectionCallbacks {
public:
    Result<void> save(StreamWriter& out) override
    {
        out.put_be32(7);
        return ok();
    }
    Result<void> load(StreamReader& in, Version version) override
    {
        loaded = GW_TRY(in.get_be32())
        +version;
        return ok();
    }
    std::uint32_t loaded = 0;
};

TEST(Callbacks, AreDescribedAsOneBuffer)
{
    StateRegistry registry;
    Opaque opaque;
    auto a = registry.add_callbacks("slirp", 4, opaque).value();
    StreamWriter out;
    DescriptionWriter text;
    text.begin_object();
    ASSERT_TRUE(save_entry(out, *registry.entries()[0], &text));
    text.end_object();
    EXPECT_EQ(text.str(),
              R"({"size": 4, "fields": [{"name": "data", "size": 4, "type": "buffer"}]})");
    const Bytes bytes = out.take();
    StreamReader in{std::span<const std::byte>(bytes)};
    ASSERT_TRUE(load_entry(in, *registry.entries()[0], 4));
    EXPECT_EQ(opaque.loaded, 11u);
}

}  // namespace
}  // namespace godwit::migration::stream
