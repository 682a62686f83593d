// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/address_space.h"

#include "system/dirty_tracking.h"
#include "system/flat_view.h"
#include "system/main_loop.h"
#include "system/memory_listener.h"
#include "util/units.h"

#include <atomic>
#include <cstring>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>

namespace godwit::system {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Registers that remember what was done to them.
class Registers : public IoHandler {
public:
    explicit Registers(unsigned narrowest = 1, unsigned widest = 8)
        : narrowest_(narrowest), widest_(widest)
    {}
    std::uint64_t read(GuestAddr offset, unsigned size) override
    {
        log.push_back(fmt::format("r{}@{}", size, offset));
        std::uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i)
            value |= std::uint64_t{(offset + i) & 0xff} << (8 * i);
        return value;
    }
    void write(GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        log.push_back(fmt::format("w{}@{}={:x}", size, offset, value));
    }
    unsigned max_access() const override { return widest_; }
    unsigned min_access() const override { return narrowest_; }
    std::vector<std::string> log;

private:
    unsigned narrowest_;
    unsigned widest_;
};

/// Writes down what it hears; refuses on demand.
class Recorder : public MemoryListener {
public:
    Recorder(std::string name, int priority, std::vector<std::string>& log)
        : log_(log), name_(std::move(name)), priority_(priority)
    {}
    std::string_view name() const noexcept override { return name_; }
    int priority() const noexcept override { return priority_; }
    void begin() override { say("begin"); }
    void commit() override { say("commit"); }
    Result<void> region_add(const MemorySection& section) override
    {
        say("add", section);
        if (section.name == refuse)
            return Error(Errc::OutOfMemory, "no slot");
        return {};
    }
    void region_del(const MemorySection& section) override { say("del", section); }
    void log_start(const MemorySection& section) override { say("log_start", section); }
    void log_stop(const MemorySection& section) override { say("log_stop", section); }
    void log_sync(const MemorySection& section) override { say("sync", section); }
    bool has_global_sync() const override { return global; }
    void log_sync_global(bool last) override { say(last ? "sync_last" : "sync_all"); }
    void log_clear(const MemorySection& section) override
    {
        log_.push_back(fmt::format("{}:clear {:x}+{:x}", name_, section.start, section.size));
    }
    Result<void> log_global_start() override
    {
        say("start");
        if (refuse_log)
            return Error(Errc::Unsupported, "cannot log");
        return {};
    }
    void log_global_stop() override { say("stop"); }
    void log_global_after_sync() override { say("after"); }

    std::string refuse;
    bool refuse_log = false;
    bool global = false;

private:
    void say(std::string_view what) { log_.push_back(fmt::format("{}:{}", name_, what)); }
    void say(std::string_view what, const MemorySection& section)
    {
        log_.push_back(fmt::format("{}:{} {}", name_, what, section.name));
    }
    std::vector<std::string>& log_;
    std::string name_;
    int priority_;
};

class AddressSpaceTest : public ::testing::Test {
protected:
    AddressSpaceTest() { lock_.lock(); }
    ~AddressSpaceTest() override { lock_.unlock(); }

    RamBlock* block(const char* id, std::uint64_t bytes)
    {
        auto made = ram_.create({.id = id, .used_length = bytes});
        EXPECT_TRUE(made);
        return *made;
    }
    std::string flat() const
    {
        std::string text;
        for (const MemorySection& section : *space_.view())
            text += fmt::format("{:x}-{:x} {}\n", section.start, section.start + section.size - 1,
                                section.name);
        return text;
    }

    MachineLock lock_;
    GuestMemory ram_;
    AddressSpace space_{"memory", lock_, std::uint64_t{1} << 52};
    std::vector<std::string> log_;
};

TEST_F(AddressSpaceTest, HigherPriorityHidesLowerAndTheLaterOfEquals)
{
    Registers a, b, c;
    space_.add({.name = "low", .start = 0, .size = 0x1000, .priority = -1, .io = &a});
    space_.add({.name = "mid", .start = 0x400, .size = 0x400, .io = &b});
    space_.add({.name = "late", .start = 0x600, .size = 0x100, .io = &c});
    EXPECT_EQ(flat(), "0-3ff low\n400-5ff mid\n600-6ff late\n700-7ff mid\n800-fff low\n");
    EXPECT_EQ(space_.find(0x700)->io_offset, 0x300u);
    EXPECT_EQ(space_.find(0x1000), std::nullopt);
}

TEST_F(AddressSpaceTest, RegionsMoveResizeAndComeAndGo)
{
    Registers io;
    const RegionId id = space_.add({.name = "bar", .start = 0x1000, .size = 0x100, .io = &io});
    space_.move(id, 0x2000);
    space_.resize(id, 0x80);
    EXPECT_EQ(flat(), "2000-207f bar\n");
    space_.set_enabled(id, false);
    EXPECT_EQ(flat(), "");
    EXPECT_EQ(space_.regions().size(), 1u);
    space_.set_enabled(id, true);
    space_.remove(id);
    EXPECT_EQ(flat(), "");
    EXPECT_THAT(space_.regions(), IsEmpty());
}

TEST_F(AddressSpaceTest, RegionsAreCutAtTheEndOfTheSpace)
{
    Registers io;
    AddressSpace ports("io", lock_, 0x10000);
    ports.add({.name = "all", .start = 0xff00, .size = ~std::uint64_t{0}, .io = &io});
    ports.add({.name = "beyond", .start = 0x10000, .size = 1, .io = &io});
    ASSERT_EQ(ports.view()->size(), 1u);
    EXPECT_EQ(ports.view()->front().size, 0x100u);
}

TEST_F(AddressSpaceTest, RamThatContinuesIsOneSection)
{
    RamBlock* ram = block("ram", 4 * kMiB);
    space_.add({.name = "low", .start = 0, .size = kMiB, .kind = RegionKind::Ram, .block = ram});
    space_.add({.name = "high",
                .start = kMiB,
                .size = 3 * kMiB,
                .kind = RegionKind::Ram,
                .block = ram,
                .block_offset = kMiB});
    EXPECT_EQ(flat(), "0-3fffff low\n");
}

TEST_F(AddressSpaceTest, ReadsAndWritesCrossRamRomRegistersAndHoles)
{
    RamBlock* ram = block("ram", 0x1000);
    RamBlock* rom = block("rom", 0x1000);
    Registers io;
    space_.add({.name = "ram", .size = 0x1000, .kind = RegionKind::Ram, .block = ram});
    space_.add(
        {.name = "rom", .start = 0x1000, .size = 0x1000, .kind = RegionKind::Rom, .block = rom});
    space_.add({.name = "io", .start = 0x2000, .size = 0x10, .io = &io});
    std::memset(rom->host(), 0x77, 0x1000);
    ram->dirty().enable(DirtyClient::Migration);

    std::vector<std::byte> bytes(0x1030);
    ASSERT_TRUE(space_.write(0xffe, std::span(bytes).first(4)));
    EXPECT_EQ(rom->host()[0], std::byte{0x77}) << "ROM ignores writes";
    EXPECT_TRUE(ram->dirty().bitmap(DirtyClient::Migration).test(0));

    std::memset(ram->host(), 0x33, 0x1000);
    const auto result = space_.read(0xff0, bytes);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Errc::NotFound);
    EXPECT_THAT(result.error().message(), HasSubstr("0x2010"));
    EXPECT_EQ(bytes[0], std::byte{0x33});
    EXPECT_EQ(bytes[0x10], std::byte{0x77});
    EXPECT_EQ(bytes[0x1010], std::byte{0});
    EXPECT_EQ(bytes[0x1011], std::byte{1});
    EXPECT_EQ(bytes[0x1020], std::byte{0xff});
    EXPECT_EQ(bytes[0x102f], std::byte{0xff});
    EXPECT_THAT(io.log, ElementsAre("r8@0", "r8@8"));

    ASSERT_TRUE(space_.write_rom(0x1001, std::span(bytes).first(1)));
    EXPECT_EQ(rom->host()[1], std::byte{0x33});
    EXPECT_FALSE(space_.write_rom(0x2000, std::span(bytes).first(1)));
    ASSERT_TRUE(space_.fill(0x10, 0x20, 0xab));
    EXPECT_EQ(space_.load(0x2f, 2), 0x33abu);
}

TEST_F(AddressSpaceTest, OneAccessReachesRamOrOneHandlerWhole)
{
    RamBlock* ram = block("ram", 0x1000);
    Registers io;
    space_.add({.name = "ram", .size = 0x1000, .kind = RegionKind::Ram, .block = ram});
    space_.add({.name = "io", .start = 0x1000, .size = 0x10, .io = &io});
    space_.store(0x10, 0x1122334455667788, 8);
    EXPECT_EQ(space_.load(0x10, 8), 0x1122334455667788u);
    EXPECT_EQ(space_.load(0x13, 2), 0x4455u);
    EXPECT_EQ(space_.load(0x1004, 4), 0x07060504u);
    space_.store(0x1002, 0xffff1234, 2);
    EXPECT_THAT(io.log, ElementsAre("r4@4", "w2@2=1234"));
    EXPECT_EQ(space_.load(0x9000, 4), 0xffffffffu) << "a hole reads as ones";
    space_.store(0x9000, 1, 4);
    io.log.clear();
    EXPECT_EQ(space_.load(0x100e, 4), 0xffff0f0eu) << "an access over the end is split";
    EXPECT_THAT(io.log, ElementsAre("r1@14", "r1@15"));
}

TEST_F(AddressSpaceTest, AccessesAreFittedToTheHandler)
{
    Registers narrow(1, 2), wide(4, 4);
    space_.add({.name = "narrow", .size = 0x10, .io = &narrow});
    space_.add({.name = "wide", .start = 0x10, .size = 0x10, .io = &wide});
    EXPECT_EQ(space_.load(4, 4), 0x07060504u);
    space_.store(4, 0x11223344, 4);
    EXPECT_THAT(narrow.log, ElementsAre("r2@4", "r2@6", "w2@4=3344", "w2@6=1122"));
    EXPECT_EQ(space_.load(0x16, 1), 6u);
    EXPECT_EQ(space_.load(0x13, 2), 0x0403u);
    space_.store(0x10, 1, 1);
    EXPECT_THAT(wide.log, ElementsAre("r4@4", "r4@0", "r4@4"));
}

TEST_F(AddressSpaceTest, RomDevicesReadFromMemoryAndWriteToTheHandler)
{
    RamBlock* flash = block("flash", 0x1000);
    Registers io;
    flash->host()[2] = std::byte{0x42};
    space_.add({.name = "flash",
                .size = 0x1000,
                .kind = RegionKind::RomDevice,
                .block = flash,
                .io = &io});
    EXPECT_EQ(space_.load(2, 1), 0x42u);
    space_.store(2, 0x55, 1);
    EXPECT_EQ(space_.load(2, 1), 0x42u);
    EXPECT_THAT(io.log, ElementsAre("w1@2=55"));
    EXPECT_EQ(space_.ram_pointer(0, 16), nullptr);
}

TEST_F(AddressSpaceTest, RamPointersStayInsideOneSection)
{
    RamBlock* ram = block("ram", 0x2000);
    space_.add(
        {.name = "ram", .start = 0x1000, .size = 0x2000, .kind = RegionKind::Ram, .block = ram});
    EXPECT_EQ(space_.ram_pointer(0x1800, 0x1000), ram->host() + 0x800);
    EXPECT_EQ(space_.ram_pointer(0x2800, 0x1000), nullptr);
    EXPECT_EQ(space_.ram_pointer(0, 1), nullptr);
}

TEST_F(AddressSpaceTest, ListenersHearOneCommitPerOutermostTransaction)
{
    Registers io;
    Recorder listener("l", 10, log_);
    auto registration = space_.add_listener(listener);
    log_.clear();
    {
        AddressSpace::Transaction outer(space_);
        const RegionId a = space_.add({.name = "a", .size = 16, .io = &io});
        {
            AddressSpace::Transaction inner(space_);
            space_.add({.name = "b", .start = 16, .size = 16, .io = &io});
        }
        EXPECT_THAT(log_, IsEmpty());
        EXPECT_EQ(flat(), "") << "readers see the old view";
        space_.remove(a);
    }
    EXPECT_THAT(log_, ElementsAre("l:begin", "l:add b", "l:commit"));
    log_.clear();
    {
        AddressSpace::Transaction empty(space_);
        space_.add({.name = "hidden", .start = 16, .size = 16, .priority = -1, .io = &io});
    }
    EXPECT_THAT(log_, IsEmpty()) << "nothing changed in the flat view";
}

TEST_F(AddressSpaceTest, LowPrioritiesAreFirstOnAddAndLastOnRemoval)
{
    Registers io;
    Recorder high("h", 20, log_), low("l", 5, log_), low2("m", 5, log_);
    auto r1 = space_.add_listener(high);
    auto r2 = space_.add_listener(low);
    auto r3 = space_.add_listener(low2);
    EXPECT_THAT(space_.listeners(), ElementsAre(&low, &low2, &high));
    log_.clear();
    const RegionId id = space_.add({.name = "a", .size = 16, .io = &io});
    EXPECT_THAT(log_, ElementsAre("l:begin", "m:begin", "h:begin", "l:add a", "m:add a", "h:add a",
                                  "l:commit", "m:commit", "h:commit"));
    log_.clear();
    space_.remove(id);
    EXPECT_THAT(log_, ElementsAre("l:begin", "m:begin", "h:begin", "h:del a", "m:del a", "l:del a",
                                  "l:commit", "m:commit", "h:commit"));
}

TEST_F(AddressSpaceTest, ALateListenerHearsThePresentViewAndALeavingOneItsEnd)
{
    Registers io;
    space_.add({.name = "a", .size = 16, .io = &io});
    space_.add({.name = "b", .start = 32, .size = 16, .io = &io});
    Recorder listener("l", 10, log_);
    auto registration = space_.add_listener(listener);
    EXPECT_THAT(log_, ElementsAre("l:begin", "l:add a", "l:add b", "l:commit"));
    log_.clear();
    registration.reset();
    EXPECT_THAT(log_, ElementsAre("l:begin", "l:del b", "l:del a", "l:commit"));
    EXPECT_THAT(space_.listeners(), IsEmpty());
}

TEST_F(AddressSpaceTest, ARefusedCommitIsUndoneEverywhere)
{
    Registers io;
    Recorder first("f", 1, log_), second("s", 2, log_);
    auto r1 = space_.add_listener(first);
    auto r2 = space_.add_listener(second);
    const RegionId old = space_.add({.name = "old", .size = 16, .io = &io});
    second.refuse = "new";
    log_.clear();
    AddressSpace::Transaction transaction(space_);
    space_.remove(old);
    space_.add({.name = "fine", .start = 0x100, .size = 16, .io = &io});
    space_.add({.name = "new", .start = 0x200, .size = 16, .io = &io});
    const auto result = transaction.commit();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().message(), "s: no slot");
    EXPECT_THAT(log_, ElementsAre("f:begin", "s:begin", "s:del old", "f:del old", "f:add fine",
                                  "s:add fine", "f:add new", "s:add new", "f:del new", "s:del fine",
                                  "f:del fine", "f:add old", "s:add old", "f:commit", "s:commit"));
    EXPECT_EQ(flat(), "0-f old\n");
    EXPECT_EQ(space_.regions().size(), 1u);
    space_.remove(old);
    EXPECT_EQ(flat(), "") << "ids are good after an undo";
}

TEST_F(AddressSpaceTest, ARefusalNobodyAskedForIsReported)
{
    Registers io;
    Recorder listener("l", 1, log_);
    listener.refuse = "a";
    std::string heard;
    space_.on_error([&](const Error& error) { heard = error.message(); });
    auto registration = space_.add_listener(listener);
    space_.add({.name = "a", .size = 16, .io = &io});
    EXPECT_EQ(heard, "l: no slot");
    EXPECT_EQ(flat(), "");
    heard.clear();
    registration.reset();
    space_.add({.name = "a", .size = 16, .io = &io});
    EXPECT_FALSE(space_.try_add_listener(listener));
    EXPECT_FALSE(space_.add_listener(listener));
    EXPECT_EQ(heard, "l: no slot");
    EXPECT_THAT(space_.listeners(), IsEmpty());
}

TEST_F(AddressSpaceTest, GlobalLoggingStartsByPriorityAndARefusalStopsTheOthersAgain)
{
    Recorder a("a", 1, log_), b("b", 2, log_), c("c", 3, log_);
    RamBlock* ram = block("ram", 0x10000);
    auto r1 = space_.add_listener(a);
    auto r2 = space_.add_listener(b);
    auto r3 = space_.add_listener(c);
    DirtyTracking tracking(space_, ram_);
    c.refuse_log = true;
    log_.clear();
    const auto refused = tracking.start(DirtyClient::Migration);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message(), "c: cannot log");
    EXPECT_THAT(log_, ElementsAre("a:start", "b:start", "c:start", "b:stop", "a:stop"));
    EXPECT_FALSE(ram->dirty().any_enabled());

    c.refuse_log = false;
    log_.clear();
    auto on = tracking.start(DirtyClient::Migration);
    ASSERT_TRUE(on);
    EXPECT_EQ(tracking.start(DirtyClient::Migration).error().code(), Errc::Busy);
    auto rate = tracking.start(DirtyClient::Rate);
    ASSERT_TRUE(rate);
    EXPECT_TRUE(ram->dirty().enabled(DirtyClient::Migration));
    EXPECT_TRUE(block("later", 4096)->dirty().enabled(DirtyClient::Migration));
    rate->reset();
    EXPECT_THAT(log_, ElementsAre("a:start", "b:start", "c:start")) << "counted, not repeated";
    on->reset();
    EXPECT_THAT(log_, ElementsAre("a:start", "b:start", "c:start", "c:stop", "b:stop", "a:stop"));
    EXPECT_FALSE(ram->dirty().any_enabled());
}

TEST_F(AddressSpaceTest, AListenerThatJoinsWhileLoggingIsToldToLog)
{
    DirtyTracking tracking(space_, ram_);
    auto on = tracking.start(DirtyClient::Migration);
    Recorder late("l", 1, log_);
    late.refuse_log = true;
    EXPECT_FALSE(space_.try_add_listener(late));
    late.refuse_log = false;
    log_.clear();
    auto registration = space_.add_listener(late);
    EXPECT_THAT(log_, ElementsAre("l:start", "l:begin", "l:commit"));
    log_.clear();
    registration.reset();
    EXPECT_THAT(log_, ElementsAre("l:stop", "l:begin", "l:commit"));
}

TEST_F(AddressSpaceTest, SyncAsksListenersByPriorityForRamOnly)
{
    Registers io;
    Recorder kvm("kvm", 10, log_), vfio("vfio", 5, log_);
    kvm.global = true;
    space_.add(
        {.name = "ram", .size = 0x10000, .kind = RegionKind::Ram, .block = block("ram", 0x10000)});
    space_.add({.name = "io", .start = 0x20000, .size = 16, .io = &io});
    auto r1 = space_.add_listener(kvm);
    auto r2 = space_.add_listener(vfio);
    DirtyTracking tracking(space_, ram_);
    log_.clear();
    tracking.sync(false);
    tracking.sync(true);
    EXPECT_THAT(log_, ElementsAre("vfio:sync ram", "kvm:sync_all", "vfio:after", "kvm:after",
                                  "vfio:sync ram", "kvm:sync_last", "vfio:after", "kvm:after"));
}

TEST_F(AddressSpaceTest, ClearReachesListenersOncePerChunkAndSync)
{
    constexpr std::uint64_t kChunk = kDirtyChunkPages << kPageBits;
    constexpr std::uint64_t kLow = kChunk + kChunk / 2;
    constexpr std::uint64_t kHigh = 1024 * kMiB;
    RamBlock* ram = block("ram", 4 * kChunk);
    space_.add({.name = "low", .start = 0, .size = kLow, .kind = RegionKind::Ram, .block = ram});
    space_.add({.name = "high",
                .start = kHigh,
                .size = 4 * kChunk - kLow,
                .kind = RegionKind::Ram,
                .block = ram,
                .block_offset = kLow});
    Recorder listener("l", 1, log_);
    auto registration = space_.add_listener(listener);
    DirtyTracking tracking(space_, ram_);
    const auto cleared = [](std::uint64_t start, std::uint64_t size) {
        return fmt::format("l:clear {:x}+{:x}", start, size);
    };
    log_.clear();
    tracking.clear(*ram, {0, 1});
    EXPECT_THAT(log_, IsEmpty()) << "nothing is unprotected before the first sync";
    tracking.sync();
    log_.clear();
    tracking.clear(*ram, {100, kDirtyChunkPages});
    tracking.clear(*ram, {0, 2 * kDirtyChunkPages});
    EXPECT_THAT(log_, ElementsAre(cleared(0, kChunk), cleared(kChunk, kChunk / 2),
                                  cleared(kHigh, kChunk / 2)));
    tracking.sync();
    log_.clear();
    tracking.clear(*ram, {4 * kDirtyChunkPages - 1, 1});
    EXPECT_THAT(log_, ElementsAre(cleared(kHigh + 3 * kChunk - kLow, kChunk)));
}

TEST_F(AddressSpaceTest, SectionWiseLoggingIsForOneRegion)
{
    RamBlock* vram = block("vram", 0x10000);
    const RegionId id = space_.add({.name = "vram",
                                    .start = 0xe0000000,
                                    .size = 0x10000,
                                    .kind = RegionKind::Ram,
                                    .block = vram});
    Recorder a("a", 1, log_), b("b", 2, log_);
    auto r1 = space_.add_listener(a);
    auto r2 = space_.add_listener(b);
    DirtyTracking tracking(space_, ram_);
    log_.clear();
    auto on = tracking.start_region(id, DirtyClient::Display);
    ASSERT_TRUE(on);
    EXPECT_FALSE(tracking.start_region(id, DirtyClient::Display));
    EXPECT_FALSE(tracking.start_region(id + 1, DirtyClient::Display));
    EXPECT_TRUE(vram->dirty().enabled(DirtyClient::Display));
    log_.clear();
    tracking.sync_region(id);
    space_.move(id, 0xd0000000);
    on->reset();
    EXPECT_THAT(log_, ElementsAre("a:sync vram", "b:sync vram", "a:begin", "b:begin", "a:sync vram",
                                  "b:sync vram", "b:log_stop vram", "b:del vram", "a:log_stop vram",
                                  "a:del vram", "a:add vram", "a:log_start vram", "b:add vram",
                                  "b:log_start vram", "a:commit", "b:commit", "a:begin", "b:begin",
                                  "b:log_stop vram", "a:log_stop vram", "a:commit", "b:commit"));
    EXPECT_FALSE(vram->dirty().any_enabled());
}

TEST_F(AddressSpaceTest, RamThatGoesWhileLoggingIsSyncedFirst)
{
    RamBlock* ram = block("ram", 0x10000);
    const RegionId id =
        space_.add({.name = "ram", .size = 0x10000, .kind = RegionKind::Ram, .block = ram});
    Recorder listener("l", 1, log_);
    auto registration = space_.add_listener(listener);
    DirtyTracking tracking(space_, ram_);
    auto on = tracking.start(DirtyClient::Migration);
    log_.clear();
    space_.remove(id);
    EXPECT_THAT(log_, ElementsAre("l:begin", "l:sync ram", "l:del ram", "l:commit"));
}

TEST_F(AddressSpaceTest, AHeldViewKeepsItsBlocksAlive)
{
    RamBlock* ram = block("ram", 0x1000);
    const RegionId id =
        space_.add({.name = "ram", .size = 0x1000, .kind = RegionKind::Ram, .block = ram});
    const auto view = space_.view();
    space_.remove(id);
    ram_.remove(*ram);
    EXPECT_EQ(view->front().block->host()[0], std::byte{0});
}

TEST(ViewPublisher, FreesAReplacedViewWhenItsReadersAreGone)
{
    ViewPublisher publisher(FlatView::render({}, 16));
    std::weak_ptr<const FlatView> first = publisher.current();
    {
        const ViewPublisher::Reader reader(publisher);
        publisher.publish(FlatView::render({}, 16));
        EXPECT_FALSE(first.expired());
        EXPECT_EQ(publisher.retired(), 1u);
        EXPECT_TRUE(reader->sections().empty());
    }
    publisher.publish(FlatView::render({}, 16));
    EXPECT_TRUE(first.expired());
    EXPECT_EQ(publisher.retired(), 0u);
}

// Readers without a lock against a map that changes all the time: each access finds the old or
// the new state, never a freed one. Run it under ASan and TSan.
TEST(AddressSpace, ReadersOnOtherThreadsNeverSeeAHalfChange)
{
    MachineLock lock;
    GuestMemory ram;
    AddressSpace space("memory", lock, std::uint64_t{1} << 40);
    Registers io;
    std::atomic<bool> stop{false};
    std::atomic<unsigned> reads{0};
    {
        const MachineGuard guard(lock);
        auto base = ram.create({.id = "base", .used_length = 0x1000});
        ASSERT_TRUE(base);
        (*base)->host()[0] = std::byte{1};
        space.add({.name = "base", .size = 0x1000, .kind = RegionKind::Ram, .block = *base});
    }
    std::vector<std::jthread> readers;
    for (int i = 0; i < 3; ++i)
        readers.emplace_back([&] {
            while (!stop.load()) {
                const std::uint64_t value = space.load(0, 1);
                ASSERT_TRUE(value == 1 || value == 2) << value;
                reads.fetch_add(1);
            }
        });
    for (int round = 0; round < 300 || reads.load() < 1000; ++round) {
        const MachineGuard guard(lock);
        auto over = ram.create({.id = "over", .used_length = 0x1000});
        ASSERT_TRUE(over);
        (*over)->host()[0] = std::byte{2};
        const RegionId id = space.add({.name = "over",
                                       .size = 0x1000,
                                       .priority = 1,
                                       .kind = RegionKind::Ram,
                                       .block = *over});
        space.remove(id);
        ram.remove(**over);
    }
    stop.store(true);
}

}  // namespace
}  // namespace godwit::system
