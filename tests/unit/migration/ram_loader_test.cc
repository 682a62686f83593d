// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/ram/ram_loader.h"

#include "migration/ram/populator.h"
#include "migration/ram/ram_format.h"
#include "system/populated_pages.h"
#include "tests/unit/migration/test_machine.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <random>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace godwit::migration {
namespace {

using system::kPageBits;
using system::kPageSize;

constexpr std::uint64_t kPages = 1024;

// Hands the bytes out in portions, into as many pieces as there are.
class PortionSource final : public stream::ByteSource {
public:
    PortionSource(std::span<const std::byte> bytes, std::vector<std::size_t> portions)
        : bytes_(bytes), portions_(std::move(portions))
    {}
    Result<std::size_t> read_some(std::span<std::byte> into) override
    {
        const iovec piece{into.data(), into.size()};
        return readv_some({&piece, 1});
    }
    Result<std::size_t> readv_some(std::span<const iovec> into) override
    {
        std::size_t left = std::min(portions_[turn_++ % portions_.size()], bytes_.size());
        std::size_t done = 0;
        for (const iovec& piece : into) {
            const std::size_t count = std::min(left, piece.iov_len);
            std::memcpy(piece.iov_base, bytes_.data(), count);
            bytes_ = bytes_.subspan(count);
            left -= count;
            done += count;
            pieces += count != 0;
        }
        return done;
    }
    unsigned pieces = 0;

private:
    std::span<const std::byte> bytes_;
    std::vector<std::size_t> portions_;
    std::size_t turn_ = 0;
};

// A stream of RAM records, and the memory that it makes.
class Recording {
public:
    void page(std::uint64_t index)
    {
        header(index << kPageBits | kRamPage);
        std::vector<std::byte> content(kPageSize);
        for (std::byte& byte : content)
            byte = std::byte(random_());
        out_.put_bytes(content);
        std::ranges::copy(content, memory.begin() + static_cast<std::ptrdiff_t>(index * kPageSize));
    }
    void zero(std::uint64_t index)
    {
        header(index << kPageBits | kRamZero);
        out_.put_u8(0);
        std::fill_n(memory.begin() + static_cast<std::ptrdiff_t>(index * kPageSize), kPageSize,
                    std::byte{0});
    }
    // Two bytes between zeros.
    void mostly_zero(std::uint64_t index)
    {
        zero(index);
        const std::array<std::uint8_t, 2> content = {static_cast<std::uint8_t>(random_()),
                                                     static_cast<std::uint8_t>(index)};
        header(index << kPageBits | kRamXbzrle);
        out_.put_u8(kXbzrleEncoding);
        out_.put_be16(4);
        for (const std::uint8_t byte : {std::uint8_t{100}, std::uint8_t{2}, content[0], content[1]})
            out_.put_u8(byte);
        memory[index * kPageSize + 100] = std::byte{content[0]};
        memory[index * kPageSize + 101] = std::byte{content[1]};
    }
    void word(std::uint64_t value) { out_.put_be64(value); }
    std::vector<std::byte> take() { return out_.take(); }
    std::uint64_t random(std::uint64_t below) { return random_() % below; }

    std::vector<std::byte> memory = std::vector<std::byte>(kPages * kPageSize);

private:
    void header(std::uint64_t word)
    {
        out_.put_be64(word | (named_ ? kRamContinue : 0));
        if (!std::exchange(named_, true))
            out_.put_str8("ram");
    }
    stream::StreamWriter out_;
    std::mt19937 random_{1};
    bool named_ = false;
};

struct Loading {
    TestMachine machine{kPages * kPageSize};
    Environment env{.lock = machine.lock,
                    .run_state = machine.run_state,
                    .memory = machine.memory,
                    .registry = machine.registry,
                    .dirty = machine.dirty,
                    .clock = machine.steady,
                    .log = {}};
    RamLoader loader{env};

    Result<void> load(stream::StreamReader& in)
    {
        GW_TRY(loader.setup());
        return loader.load(in);
    }
    bool holds(const std::vector<std::byte>& expected) const
    {
        return std::memcmp(machine.ram->host(), expected.data(), expected.size()) == 0;
    }
};

const std::vector<std::vector<std::size_t>> kPortions{
    {1 << 20}, {4104}, {4096}, {8}, {4103, 1}, {7, 5000}, {65536, 3, 100000, 4105}, {300000, 12}};

void fill(Recording& r)
{
    for (std::uint64_t i = 0; i < 300; ++i)
        r.page(i);
    for (std::uint64_t i = 300; i < 600; ++i)
        i % 17 == 0 ? r.zero(i) : r.page(i);
    for (unsigned i = 0; i < 200; ++i)
        r.page(r.random(kPages));
    for (std::uint64_t i = 500; i < kPages; ++i)
        r.page(i);
}

TEST(RamLoader, LoadsTheSameHoweverTheBytesArrive)
{
    Recording recording;
    fill(recording);
    recording.word(kRamEos);
    recording.word(0x1234567890abcdef);
    const auto bytes = recording.take();
    for (const auto& portions : kPortions) {
        Loading to;
        PortionSource source(bytes, portions);
        stream::StreamReader in(source, 512 * 1024);
        const auto loaded = to.load(in);
        ASSERT_TRUE(loaded) << loaded.error().message();
        EXPECT_TRUE(to.holds(recording.memory)) << portions[0];
        EXPECT_EQ(to.loader.pages_loaded(), 300 + 300 + 200 + kPages - 500);
        EXPECT_EQ(in.position(), bytes.size() - 8);
        EXPECT_EQ(in.get_be64().value_or(0), 0x1234567890abcdef);
    }
}

TEST(RamLoader, MostlyZeroPagesArriveWhateverWasThereBefore)
{
    Recording recording;
    for (std::uint64_t i = 0; i < 300; ++i)
        recording.mostly_zero(i);
    for (std::uint64_t i = 300; i < 600; ++i)
        i % 5 == 0 ? recording.mostly_zero(i) : i % 7 == 0 ? recording.zero(i) : recording.page(i);
    for (std::uint64_t i = 0; i < 900; i += 3)
        recording.mostly_zero(i);
    for (std::uint64_t i = 100; i < 400; i += 7)
        recording.page(i);
    recording.word(kRamEos);
    const auto bytes = recording.take();
    for (const auto& portions : kPortions) {
        Loading to;
        PortionSource source(bytes, portions);
        stream::StreamReader in(source, 512 * 1024);
        const auto loaded = to.load(in);
        ASSERT_TRUE(loaded) << loaded.error().message();
        EXPECT_TRUE(to.holds(recording.memory)) << portions[0];
    }
}

TEST(RamLoader, ADifferenceThatLeavesItsPageOrTheStreamIsRefused)
{
    for (const std::vector<int>& difference :
         {std::vector<int>{0xff, 0x1f, 2, 1, 1}, {1, 0}, {0x80}, {5, 3, 1}, {1, 1, 9, 0, 1, 9}}) {
        Recording recording;
        recording.mostly_zero(0);
        recording.zero(1);
        recording.word(1 << kPageBits | kRamXbzrle | kRamContinue);
        auto bytes = recording.take();
        const std::vector<std::byte> expected = recording.memory;
        bytes.insert(bytes.end(), {std::byte{1}, std::byte{0}, std::byte(difference.size())});
        for (const int byte : difference)
            bytes.push_back(std::byte(byte));
        Loading to;
        stream::StreamReader in(bytes);
        const auto loaded = to.load(in);
        ASSERT_FALSE(loaded);
        EXPECT_THAT(loaded.error().message(),
                    testing::HasSubstr("Failed to load XBZRLE page at 0x1000 in block ram"));
        EXPECT_EQ(std::memcmp(to.machine.ram->host() + 2 * kPageSize,
                              expected.data() + 2 * kPageSize, (kPages - 2) * kPageSize),
                  0);
    }
}

TEST(RamLoader, ReadsPagesThatFollowEachOtherStraightIntoTheGuest)
{
    Recording recording;
    for (std::uint64_t i = 0; i < kPages; ++i)
        recording.page(i);
    recording.word(kRamEos);
    const auto bytes = recording.take();
    Loading to;
    PortionSource source(bytes, {512 * 1024});
    stream::StreamReader in(source, 512 * 1024);
    ASSERT_TRUE(to.load(in));
    EXPECT_TRUE(to.holds(recording.memory));
    EXPECT_GT(source.pieces, kPages);  // a header and a page in turn
}

TEST(RamLoader, WhatWasForetoldWronglyTouchesNothing)
{
    Recording good;
    for (std::uint64_t i = 0; i < 200; ++i)
        good.page(i);
    auto bytes = good.take();
    const std::vector<std::byte> expected = good.memory;
    // A record that is none, and behind it what would be pages.
    stream::StreamWriter bad;
    bad.put_be64((std::uint64_t{200} << kPageBits) | 0x800);
    bad.put_bytes(std::vector<std::byte>(100 * kPageSize, std::byte{0xee}));
    const auto tail = bad.take();
    bytes.insert(bytes.end(), tail.begin(), tail.end());
    for (const auto& portions : kPortions) {
        Loading to;
        PortionSource source(bytes, portions);
        stream::StreamReader in(source, 512 * 1024);
        const auto loaded = to.load(in);
        ASSERT_FALSE(loaded);
        EXPECT_THAT(loaded.error().message(),
                    testing::HasSubstr("Unknown combination of migration flags: 0x800"));
        EXPECT_TRUE(to.holds(expected)) << portions[0];
    }
}

TEST(RamLoader, AStreamThatEndsAnywhereIsAnErrorAndStaysInsideItsPage)
{
    Recording recording;
    for (std::uint64_t i = 0; i < 40; ++i)
        recording.page(i);
    const auto bytes = recording.take();
    for (std::size_t length = 1; length < bytes.size(); length += 1021) {
        Loading to;
        const std::span<const std::byte> part(bytes.data(), length);
        PortionSource source(part, {100000});
        stream::StreamReader in(source, 512 * 1024);
        ASSERT_FALSE(to.load(in));
        const std::uint64_t begun = length / (kPageSize + 8) + 1;
        const std::vector<std::byte> zeros((kPages - begun) * kPageSize);
        EXPECT_EQ(
            std::memcmp(to.machine.ram->host() + begun * kPageSize, zeros.data(), zeros.size()), 0)
            << length;
    }
}

// --- Memory that is there already ---------------------------------------------------------------

struct LoadingIntoFile : Loading {
    explicit LoadingIntoFile(bool shared) : file(::memfd_create("old", MFD_CLOEXEC))
    {
        machine.memory.remove(*machine.ram);
        const std::vector<std::byte> old(kFilePages * kPageSize, std::byte{0x5a});
        EXPECT_EQ(::pwrite(file.get(), old.data(), old.size(), 0),
                  static_cast<ssize_t>(old.size()));
        // Old contents, then a hole.
        EXPECT_EQ(::ftruncate(file.get(), kPages * kPageSize), 0);
        machine.ram = machine.memory
                          .create({.id = "ram",
                                   .used_length = kPages * kPageSize,
                                   .source = system::RamSource::File,
                                   .fd = UniqueFd(::dup(file.get())),
                                   .shared = shared})
                          .value();
    }
    std::byte in_file(std::uint64_t offset) const
    {
        std::byte byte{};
        EXPECT_EQ(::pread(file.get(), &byte, 1, static_cast<off_t>(offset)), 1);
        return byte;
    }
    static constexpr std::uint64_t kFilePages = 20;
    UniqueFd file;
};

TEST(RamLoader, OldContentsOfAFileAreGoneWhereNoRecordComes)
{
    Recording recording;
    recording.page(3);
    recording.zero(4);
    recording.mostly_zero(5);
    recording.mostly_zero(6);
    recording.page(700);
    recording.word(kRamEos);
    const auto bytes = recording.take();
    for (const bool shared : {false, true}) {
        LoadingIntoFile to(shared);
        ASSERT_EQ(to.machine.ram->host()[7 * kPageSize], std::byte{0x5a});
        stream::StreamReader in(bytes);
        const auto loaded = to.load(in);
        ASSERT_TRUE(loaded) << loaded.error().message();
        EXPECT_TRUE(to.holds(recording.memory)) << shared;
        // What a private mapping hides stays in the file.
        EXPECT_EQ(to.in_file(7 * kPageSize), shared ? std::byte{0} : std::byte{0x5a});
    }
}

TEST(RamLoader, WhatAProgramWroteOverAFileIsGoneToo)
{
    Recording recording;
    recording.page(3);
    recording.word(kRamEos);
    const auto bytes = recording.take();
    for (const bool shared : {false, true}) {
        LoadingIntoFile to(shared);
        to.machine.ram->host()[6 * kPageSize + 1] = std::byte{1};    // over old contents
        to.machine.ram->host()[900 * kPageSize + 1] = std::byte{1};  // in the hole
        stream::StreamReader in(bytes);
        ASSERT_TRUE(to.load(in));
        EXPECT_TRUE(to.holds(recording.memory)) << shared;
    }
}

// --- Populating ahead ---------------------------------------------------------------------------

constexpr std::uint64_t kChunkPages = Populator::kChunk / kPageSize;

std::uint64_t present(const system::RamBlock& block, system::PageRun within)
{
    std::uint64_t pages = 0;
    for (const system::PageRun& run : system::PopulatedPages::open().runs(block, within))
        pages += run.count;
    return pages;
}

TEST(RamLoader, ExchangesNoPageThatADeviceHoldsOnTo)
{
    for (const bool held : {false, true}) {
        Loading to;
        std::memset(to.machine.ram->host() + 5 * kPageSize, 0x5a, 3 * kPageSize);
        Registration keeps;
        if (held)
            keeps = to.machine.memory.forbid_discard();
        ASSERT_TRUE(to.loader.setup());
        EXPECT_EQ(present(*to.machine.ram, {5, 3}), held ? 3U : 0U);
        EXPECT_TRUE(to.holds(std::vector<std::byte>(kPages * kPageSize)));
    }
}

TEST(Populator, PopulatesWhatIsWantedAndNothingElse)
{
    TestMachine machine(8 * Populator::kChunk);
    if (::madvise(machine.ram->host(), kPageSize, MADV_POPULATE_WRITE) < 0)
        GTEST_SKIP() << "the kernel has no MADV_POPULATE_WRITE";
    ASSERT_TRUE(machine.ram->discard(0, kPageSize));
    Populator populator;
    const std::byte* const host = machine.ram->host();
    populator.settle(host);  // nobody works at it
    populator.want(machine.ram->host() + 2 * Populator::kChunk);
    populator.want(machine.ram->host() + 3 * Populator::kChunk);
    while (populator.populated() < 2)
        std::this_thread::yield();
    EXPECT_EQ(present(*machine.ram, {2 * kChunkPages, 2 * kChunkPages}), 2 * kChunkPages);
    EXPECT_EQ(present(*machine.ram, {0, 2 * kChunkPages}), 0);
    EXPECT_EQ(present(*machine.ram, {4 * kChunkPages, 4 * kChunkPages}), 0);
}

TEST(Populator, WhatIsSettledIsNotPopulatedAnyMore)
{
    TestMachine machine(64 * Populator::kChunk);
    Populator populator;
    for (std::uint64_t i = 0; i < 64; ++i)
        populator.want(machine.ram->host() + i * Populator::kChunk);
    for (std::uint64_t i = 0; i < 64; ++i)
        populator.settle(machine.ram->host() + i * Populator::kChunk);
    const std::uint64_t before = present(*machine.ram, {0, 64 * kChunkPages});
    EXPECT_EQ(populator.populated() * kChunkPages, before);
}

/// Beside the others, a block of its own size.
struct LoadingBig : Loading {
    system::RamBlock* big;

    explicit LoadingBig(std::uint64_t length)
        : big(machine.memory.create({.id = "big", .used_length = length}).value())
    {}
    void take(const std::vector<std::byte>& bytes)
    {
        PortionSource source(bytes, {512 * 1024});
        stream::StreamReader in(source, 512 * 1024);
        const auto loaded = load(in);
        ASSERT_TRUE(loaded) << loaded.error().message();
    }
};

TEST(RamLoader, PopulatesAheadOfMostlyZeroPagesWithinTheSameBounds)
{
    constexpr std::uint64_t kComes = 24 * Populator::kChunk;
    constexpr std::array kDifference = {std::byte{1}, std::byte{0}, std::byte{3},
                                        std::byte{9}, std::byte{1}, std::byte{7}};
    stream::StreamWriter out;
    out.put_be64(kRamZero);
    out.put_str8("big");
    out.put_u8(0);
    for (std::uint64_t at = 0; at < kComes; at += kPageSize) {
        if (at != 0) {
            out.put_be64(at | kRamZero | kRamContinue);
            out.put_u8(0);
        }
        out.put_be64(at | kRamXbzrle | kRamContinue);
        out.put_bytes(kDifference);
    }
    out.put_be64(kRamEos);
    LoadingBig to(4 * kComes);
    ASSERT_NO_FATAL_FAILURE(to.take(out.take()));
    const system::RamBlock* const big = to.big;
    for (std::uint64_t at = 0; at < kComes; at += kPageSize)
        ASSERT_EQ(big->host()[at + 9], std::byte{7}) << at;
    EXPECT_LE(present(*big, {0, big->page_count()}), (kComes + 4 * Populator::kChunk) / kPageSize);
}

TEST(RamLoader, TakesLittleMoreMemoryThanComes)
{
    constexpr std::uint64_t kComes = 16 * Populator::kChunk;
    stream::StreamWriter out;
    out.put_be64(kRamPage);
    out.put_str8("big");
    std::vector<std::byte> page(kPageSize, std::byte{7});
    out.put_bytes(page);
    for (std::uint64_t at = kPageSize; at < kComes; at += kPageSize) {
        out.put_be64(at | kRamPage | kRamContinue);
        out.put_bytes(page);
    }
    out.put_be64(kRamEos);
    LoadingBig to(8 * kComes);
    ASSERT_NO_FATAL_FAILURE(to.take(out.take()));
    const system::RamBlock* const big = to.big;
    EXPECT_EQ(to.loader.pages_loaded(), kComes / kPageSize);
    for (std::uint64_t at = 0; at < kComes; at += kPageSize)
        ASSERT_EQ(std::memcmp(big->host() + at, page.data(), kPageSize), 0);
    EXPECT_LE(present(*big, {0, big->page_count()}), (kComes + 4 * Populator::kChunk) / kPageSize);
}

}  // namespace
}  // namespace godwit::migration
