// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a check compares, and the talk between the two ends.
#include "io/memory_channel.h"
#include "migration/insight/check_session.h"
#include "migration/insight/facts.h"
#include "migration/stream/channel_stream.h"
#include "migration/stream/writer.h"

#include <gmock/gmock.h>
#include <random>
#include <thread>

namespace godwit::migration {
namespace {

Json facts()
{
    return {
        {"program", "Godwit 9"},
        {"machine", "pc-q35-10.0"},
        {"accelerator", "kvm"},
        {"cpu",
         {{"count", 2},
          {"type", "max-x86_64-cpu"},
          {"features", {{"avx2", "true"}, {"level", "13"}}}}},
        {"ram", {{"pc.ram", {{"bytes", 1 << 20}, {"page-size", 4096}, {"touched", 4096}}}}},
        {"sections", {{"timer 0", 2}, {"serial 0", 3}}},
        {"devices",
         {{"/machine/peripheral/uart", {{"type", "isa-serial"}, {"properties", {{"irq", "4"}}}}}}},
        {"capabilities", {{"multifd", false}, {"postcopy-ram", false}, {"validate-uuid", false}}},
        {"multifd-channels", 2},
        {"limits", {{"free-memory", 1 << 30}, {"locked-memory", 8192}, {"userfaultfd", "ok"}}},
        {"blockers", Json::array()}};
}

Difference only(const Json& source, const Json& destination)
{
    const auto all = compare_facts(source, destination);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? Difference{} : all.front();
}

TEST(CompareFacts, TheSameMachinesDifferInNothing)
{
    EXPECT_TRUE(compare_facts(facts(), facts()).empty());
}

TEST(CompareFacts, NamesEveryKindOfDifference)
{
    struct Case {
        const char* where;
        Json value;
        DifferenceKind kind;
        const char* name;
        bool fatal;
    };
    for (const Case& c : std::vector<Case>{
             {"/machine", "microvm", DifferenceKind::Machine, "machine", true},
             {"/uuid", "00", DifferenceKind::Machine, "uuid", false},
             {"/accelerator", "synth", DifferenceKind::Accelerator, "accelerator", false},
             {"/cpu/count", 4, DifferenceKind::Cpu, "count", true},
             {"/cpu/type", "qemu64", DifferenceKind::Cpu, "type", false},
             {"/cpu/features/avx2", "false", DifferenceKind::Cpu, "avx2", true},
             {"/cpu/features/sse9", "true", DifferenceKind::Cpu, "sse9", false},
             {"/cpu/features/level", "7", DifferenceKind::Cpu, "level", false},
             {"/ram/pc.ram/bytes", 2 << 20, DifferenceKind::Ram, "pc.ram", true},
             {"/ram/pc.ram/page-size", 2 << 20, DifferenceKind::Ram, "pc.ram", false},
             {"/sections/serial 0", 2, DifferenceKind::Section, "serial 0", true},
             {"/sections/serial 0", 4, DifferenceKind::Section, "serial 0", false},
             {"/sections/serial 1", 3, DifferenceKind::Section, "serial 1", false},
             {"/devices/~1machine~1peripheral~1uart/type", "pci-serial", DifferenceKind::Device,
              "/machine/peripheral/uart", false},
             {"/devices/~1machine~1peripheral~1uart/properties/irq", "3", DifferenceKind::Device,
              "/machine/peripheral/uart.irq", false},
             {"/capabilities/multifd", true, DifferenceKind::Capability, "multifd", true},
             {"/limits/free-memory", 4095, DifferenceKind::Limit, "free-memory", false}}) {
        Json there = facts();
        there[Json::json_pointer(c.where)] = c.value;
        const Difference d = only(facts(), there);
        EXPECT_EQ(d.kind, c.kind) << c.where;
        EXPECT_EQ(d.name, c.name) << c.where;
        EXPECT_EQ(d.fatal, c.fatal) << c.where;
        EXPECT_FALSE(d.desc.empty()) << c.where;
    }
}

TEST(CompareFacts, WhatTheDestinationLacksIsFatalWhereStateWouldBeLost)
{
    Json there = facts();
    there["sections"].erase("serial 0");
    EXPECT_TRUE(only(facts(), there).fatal);
    there = facts();
    there["ram"].erase("pc.ram");
    EXPECT_TRUE(only(facts(), there).fatal);
    there = facts();
    there["devices"] = Json::object();
    const Difference d = only(facts(), there);
    EXPECT_EQ(d.name, "/machine/peripheral/uart");
    EXPECT_EQ(d.source, "isa-serial");
    EXPECT_FALSE(d.destination);
}

TEST(CompareFacts, LimitsCountWhereTheyAreNeeded)
{
    Json here = facts();
    Json there = facts();
    there["limits"]["userfaultfd"] = "userfaultfd: Operation not permitted";
    EXPECT_TRUE(compare_facts(here, there).empty());
    here["capabilities"]["postcopy-ram"] = there["capabilities"]["postcopy-ram"] = true;
    EXPECT_EQ(only(here, there).name, "userfaultfd");
    here = facts();  // 8 KiB may be locked
    here["capabilities"]["zero-copy-send"] = there["capabilities"]["zero-copy-send"] = true;
    there["capabilities"]["postcopy-ram"] = false;
    const Difference locked = only(here, there);
    EXPECT_EQ(locked.kind, DifferenceKind::Limit);
    EXPECT_EQ(locked.name, "locked-memory");
    EXPECT_EQ(locked.source, "8192");
    EXPECT_FALSE(locked.fatal);
    for (const Json& plenty : {Json("unlimited"), Json(64 << 20)}) {
        here["limits"]["locked-memory"] = plenty;
        EXPECT_TRUE(compare_facts(here, there).empty()) << plenty;
    }
    here = facts();
    here["blockers"].push_back("a disk");
    EXPECT_EQ(only(here, facts()).kind, DifferenceKind::Blocker);
}

TEST(CompareFacts, TheFatalOnesComeFirst)
{
    Json there = facts();
    there["accelerator"] = "synth";
    there["multifd-channels"] = 7;
    there["capabilities"]["multifd"] = true;
    const auto all = compare_facts(facts(), there);
    ASSERT_EQ(all.size(), 2u);
    EXPECT_TRUE(all[0].fatal);
    EXPECT_FALSE(all[1].fatal);
}

TEST(CompareFacts, AnyDescriptionIsBorne)
{
    std::mt19937 random(3);
    const std::string good = facts().dump();
    unsigned parsed = 0;
    for (int i = 0; i < 800; ++i) {
        std::string bad = good;
        for (int n = 0; n < 3; ++n)
            bad[random() % bad.size()] = "{}[]:,\"0x"[random() % 9];
        if (const auto json = parse_json(bad)) {
            (void)compare_facts(facts(), *json);
            (void)compare_facts(*json, facts());
            ++parsed;
        }
    }
    EXPECT_GT(parsed, 10u);
    Json many = facts();
    for (int i = 0; i < 5000; ++i)
        many["devices"]["/x/" + std::to_string(i)] = {{"type", std::string(5000, '\x1b')}};
    const auto all = compare_facts(facts(), many);
    EXPECT_LE(all.size(), 500u);
    EXPECT_EQ(all[0].destination->size(), 200u);
    EXPECT_EQ(all[0].destination->front(), '?');
    for (const Json& odd : {Json(), Json(3), Json::array({1, 2})})
        EXPECT_FALSE(compare_facts(facts(), odd).empty());
}

// A destination in a thread of its own.
class Served {
public:
    Served()
    {
        auto [left, right] = io::make_memory_channels().value();
        source = std::move(left);
        thread_ = std::thread([this, channel = std::move(right)]() mutable {
            stream::ChannelSource bytes(*channel);
            stream::StreamReader in(bytes);
            if (!in.skip(4))
                return;
            result = serve_check(*channel, in, facts);
            (void)channel->close();
        });
    }
    ~Served() { join(); }
    void join()
    {
        (void)source->shutdown(io::Shutdown::Write);
        if (thread_.joinable())
            thread_.join();
    }
    io::ChannelPtr source;
    Result<void> result = ok();

private:
    std::thread thread_;
};

TEST(CheckSession, AsksAndMeasures)
{
    Served served;
    const SteadyClock clock;
    auto session = CheckSession::open(*served.source);
    ASSERT_TRUE(session);
    EXPECT_EQ(session->facts().value(), facts());
    EXPECT_GT(session->round_trip_ns(clock).value(), 0);
    EXPECT_GT(session->bandwidth(clock, 5'000'000).value(), 1000u);
    EXPECT_TRUE(session->finish());
    served.join();
    EXPECT_TRUE(served.result);
}

TEST(CheckSession, TheDestinationRefusesWhatMakesNoSense)
{
    const auto answer_to = [](std::vector<std::uint8_t> bytes) {
        Served served;
        stream::StreamWriter out;
        out.put_be32(kCheckMagic);
        for (const std::uint8_t byte : bytes)
            out.put_u8(byte);
        EXPECT_TRUE(served.source->write_all(out.take()));
        served.join();
        return served.result ? std::string() : served.result.error().message();
    };
    EXPECT_NE(answer_to({0, 0, 0, 1, 99, 0, 0, 0, 0}).find("no such question: 99"),
              std::string::npos);
    EXPECT_NE(answer_to({0, 0, 0, 1, 2, 0xff, 0, 0, 0}).find("a question of 4278190080 bytes"),
              std::string::npos);
    EXPECT_NE(answer_to({0, 0, 0, 1, 3, 0, 0, 0, 9, 1}), "");
    EXPECT_NE(answer_to({0, 0}), "");
}

TEST(CheckSession, AnOtherVersionIsNamed)
{
    Served served;
    stream::StreamWriter out;
    out.put_be32(kCheckMagic);
    out.put_be32(7);
    ASSERT_TRUE(served.source->write_all(out.take()));
    std::vector<std::byte> head(5);
    ASSERT_TRUE(served.source->read_exact(head));
    EXPECT_EQ(std::to_integer<int>(head[0]), 6);
}

TEST(CheckSession, TheSourceRefusesAHugeAnswer)
{
    auto [left, right] = io::make_memory_channels().value();
    auto session = CheckSession::open(*left);
    ASSERT_TRUE(session);
    stream::StreamWriter out;
    out.put_u8(1);
    out.put_be32(0xffffffff);
    ASSERT_TRUE(right->write_all(out.take()));
    EXPECT_NE(session->facts().error().message().find("4294967295 bytes"), std::string::npos);
}

}  // namespace
}  // namespace godwit::migration
