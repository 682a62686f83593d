// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/guest_memory.h"
#include "util/units.h"

#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godwit::system {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TempDir {
public:
    TempDir()
    {
        std::string name = (std::filesystem::temp_directory_path() / "gw-ram-XXXXXX").string();
        path_ = ::mkdtemp(name.data());
    }
    ~TempDir() { std::filesystem::remove_all(path_); }
    std::string operator/(const char* name) const { return path_ / name; }
    std::string path() const { return path_; }

private:
    std::filesystem::path path_;
};

RamBlock* must_create(GuestMemory& ram, RamBlockOptions options)
{
    auto block = ram.create(std::move(options));
    EXPECT_TRUE(block) << block.error().message();
    return block.value_or(nullptr);
}

std::uint64_t resident_bytes(const RamBlock& block)
{
    std::vector<unsigned char> pages(block.max_length() / 4096);
    EXPECT_EQ(::mincore(block.host(), block.max_length(), pages.data()), 0);
    std::uint64_t resident = 0;
    for (const unsigned char page : pages)
        resident += (page & 1) * 4096;
    return resident;
}

TEST(GuestMemory, AnonymousRamIsZeroAlignedAndUntouched)
{
    GuestMemory ram;
    RamBlock* block = must_create(ram, {.id = "pc.ram", .used_length = 128 * kMiB});
    ASSERT_TRUE(block);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block->host()) % (2 * kMiB), 0u);
    EXPECT_EQ(resident_bytes(*block), 0u);
    EXPECT_EQ(block->host()[12345], std::byte{0});
    EXPECT_EQ(block->fd(), -1);
    EXPECT_EQ(block->page_count(), 128 * kMiB / 4096);
    EXPECT_EQ(block->page_size(), 4096u);
}

TEST(GuestMemory, BlocksAreOrderedByMaximumLengthThenCreation)
{
    GuestMemory ram;
    must_create(ram, {.id = "small", .used_length = 4096});
    must_create(ram, {.id = "big", .used_length = kMiB});
    must_create(ram, {.id = "small2", .used_length = 4096});
    must_create(ram, {.id = "grows", .used_length = 4096, .max_length = 64 * 4096});
    std::vector<std::string> ids;
    for (const RamBlock* block : ram.blocks())
        ids.push_back(block->id());
    EXPECT_THAT(ids, ElementsAre("big", "grows", "small", "small2"));
    EXPECT_EQ(ram.total_bytes(), kMiB + 3 * 4096);
}

TEST(GuestMemory, RefusesDoubleIdsAndImpossibleSizes)
{
    GuestMemory ram;
    must_create(ram, {.id = "a", .used_length = 4096});
    EXPECT_EQ(ram.create({.id = "a", .used_length = 4096}).error().code(), Errc::Exists);
    EXPECT_EQ(ram.create({.id = "", .used_length = 4096}).error().code(), Errc::InvalidArgument);
    EXPECT_EQ(ram.create({.id = std::string(256, 'x'), .used_length = 4096}).error().code(),
              Errc::InvalidArgument);
    EXPECT_EQ(ram.create({.id = "b", .used_length = 0}).error().code(), Errc::InvalidArgument);
    EXPECT_EQ(ram.create({.id = "b", .used_length = 5000}).error().code(), Errc::InvalidArgument);
    EXPECT_EQ(ram.create({.id = "b", .used_length = 8192, .max_length = 4096}).error().code(),
              Errc::InvalidArgument);
    const auto huge = ram.create({.id = "b", .used_length = std::uint64_t{1} << 60});
    EXPECT_EQ(huge.error().code(), Errc::OutOfMemory);
    EXPECT_THAT(huge.error().message(), HasSubstr("'b'"));
    EXPECT_EQ(ram.blocks().size(), 1u);
}

TEST(GuestMemory, HostPointersLeadBackToTheirBlock)
{
    GuestMemory ram;
    RamBlock* block = must_create(ram, {.id = "a", .used_length = 8192});
    EXPECT_EQ(ram.block_of(block->host() + 5000), std::make_pair(block, std::uint64_t{5000}));
    EXPECT_EQ(ram.block_of(&ram).first, nullptr);
    EXPECT_EQ(ram.find("a"), block);
    ram.remove(*block);
    EXPECT_EQ(ram.find("a"), nullptr);
}

TEST(GuestMemory, ObserversHearOfComingGrowingAndGoing)
{
    GuestMemory ram;
    std::vector<std::string> heard;
    auto registration = ram.on_change([&](GuestMemory::Change change, RamBlock& block) {
        heard.push_back(std::to_string(static_cast<int>(change)) + block.id());
    });
    RamBlock* block = must_create(ram, {.id = "a", .used_length = 4096, .max_length = 8192});
    const std::uint64_t before = ram.generation();
    ASSERT_TRUE(block->resize(8192));
    EXPECT_GT(ram.generation(), before);
    ram.remove(*block);
    registration.reset();
    must_create(ram, {.id = "b", .used_length = 4096});
    EXPECT_THAT(heard, ElementsAre("0a", "2a", "1a"));
}

TEST(RamBlock, GrowsWithZerosAndNeverPastItsMaximum)
{
    GuestMemory ram;
    RamBlock* block = must_create(ram, {.id = "a", .used_length = 8192, .max_length = 16384});
    std::memset(block->host(), 0x5a, 8192);
    ASSERT_TRUE(block->resize(4096));
    ASSERT_TRUE(block->resize(16384));
    EXPECT_EQ(block->host()[4095], std::byte{0x5a});
    EXPECT_EQ(block->host()[4096], std::byte{0});
    EXPECT_EQ(block->resize(16385).error().code(), Errc::InvalidArgument);
    EXPECT_EQ(block->used_length(), 16384u);
}

TEST(RamBlock, MarksThePagesAWriteTouches)
{
    GuestMemory ram;
    RamBlock* block = must_create(ram, {.id = "a", .used_length = 65536});
    block->dirty().enable(DirtyClient::Migration);
    block->mark_dirty(4095, 2);
    block->mark_dirty(8192, 0);
    block->mark_dirty(16384, 4096);
    std::vector<PageRun> runs;
    block->dirty().bitmap(DirtyClient::Migration).take({0, 16}, runs);
    EXPECT_EQ(runs, (std::vector<PageRun>{{0, 2}, {4, 1}}));
}

class RamBlockSources : public ::testing::TestWithParam<int> {
protected:
    RamBlockOptions options(const TempDir& dir) const
    {
        RamBlockOptions result{.id = "a", .used_length = 4 * kMiB};
        switch (GetParam()) {
        case 0:
            break;
        case 1:
            result.shared = true;
            break;
        case 2:
            result.source = RamSource::Memfd;
            break;
        case 3:
            result.source = RamSource::Memfd;
            result.shared = true;
            break;
        case 4:
            result.source = RamSource::File;
            result.path = dir / "ram";
            result.shared = true;
            break;
        default:
            result.source = RamSource::File;
            result.path = dir.path();
            result.shared = true;
        }
        return result;
    }
};

TEST_P(RamBlockSources, KeepItsPagesWhileSomebodyHoldsOnToThem)
{
    const TempDir dir;
    GuestMemory ram;
    RamBlock* block = must_create(ram, options(dir));
    ASSERT_TRUE(block);
    std::memset(block->host(), 0x11, block->used_length());
    Registration one = ram.forbid_discard();
    {
        const Registration another = ram.forbid_discard();
        EXPECT_FALSE(ram.may_discard());
    }
    const auto refused = block->discard(kMiB, kMiB);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Errc::Unsupported);
    EXPECT_EQ(block->host()[kMiB], std::byte{0x11});
    one.reset();
    EXPECT_TRUE(ram.may_discard());
    EXPECT_TRUE(block->discard(kMiB, kMiB));
    EXPECT_EQ(block->host()[kMiB], std::byte{0});
}

TEST_P(RamBlockSources, HoldsBytesAndDiscardsThemToZeros)
{
    const TempDir dir;
    GuestMemory ram;
    RamBlock* block = must_create(ram, options(dir));
    ASSERT_TRUE(block);
    std::memset(block->host(), 0x11, block->used_length());
    ASSERT_TRUE(block->discard(kMiB, kMiB));
    EXPECT_EQ(block->host()[kMiB - 1], std::byte{0x11});
    EXPECT_EQ(block->host()[kMiB], std::byte{0});
    EXPECT_EQ(block->host()[2 * kMiB - 1], std::byte{0});
    EXPECT_EQ(block->host()[2 * kMiB], std::byte{0x11});
    EXPECT_EQ(block->discard(1, 4096).error().code(), Errc::InvalidArgument);
    EXPECT_EQ(block->discard(4 * kMiB, 4096).error().code(), Errc::InvalidArgument);
    EXPECT_EQ(block->discard(~std::uint64_t{4095}, 8192).error().code(), Errc::InvalidArgument);
}

TEST_P(RamBlockSources, PreallocationFillsTheBlockWithSeveralThreads)
{
    const TempDir dir;
    GuestMemory ram;
    RamBlockOptions wanted = options(dir);
    wanted.prealloc = true;
    wanted.prealloc_threads = 3;
    wanted.used_length = 130 * kMiB;
    RamBlock* block = must_create(ram, std::move(wanted));
    ASSERT_TRUE(block);
    EXPECT_EQ(resident_bytes(*block), 130 * kMiB);
}

INSTANTIATE_TEST_SUITE_P(All, RamBlockSources, ::testing::Range(0, 6));

TEST(RamBlock, SharedMemoryIsSeenThroughItsDescriptor)
{
    GuestMemory ram;
    RamBlock* block = must_create(
        ram, {.id = "a", .used_length = 8192, .source = RamSource::Memfd, .shared = true});
    block->host()[4097] = std::byte{7};
    std::byte seen{};
    ASSERT_EQ(::pread(block->fd(), &seen, 1, 4097), 1);
    EXPECT_EQ(seen, std::byte{7});
    EXPECT_LT(::ftruncate(block->fd(), 100), 0) << "the size is sealed";

    auto fd = UniqueFd::dup_of(block->fd());
    ASSERT_TRUE(fd);
    GuestMemory other;
    RamBlock* twin = must_create(other, {.id = "a",
                                         .used_length = 8192,
                                         .source = RamSource::Memfd,
                                         .fd = std::move(*fd),
                                         .shared = true});
    EXPECT_EQ(twin->host()[4097], std::byte{7});
}

TEST(RamBlock, ADescriptorThatIsTooShortIsRefused)
{
    UniqueFd fd(::memfd_create("short", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(fd.get(), 4096), 0);
    GuestMemory ram;
    const auto block = ram.create(
        {.id = "a", .used_length = 8192, .source = RamSource::Memfd, .fd = std::move(fd)});
    ASSERT_FALSE(block);
    EXPECT_THAT(block.error().message(), HasSubstr("too small"));
}

TEST(RamBlock, AFileKeepsItsContentsAndIsMadeWhenMissing)
{
    const TempDir dir;
    const std::string path = dir / "ram";
    {
        GuestMemory ram;
        RamBlock* block = must_create(ram, {.id = "a",
                                            .used_length = 8192,
                                            .source = RamSource::File,
                                            .path = path,
                                            .shared = true});
        block->host()[5000] = std::byte{9};
    }
    EXPECT_EQ(std::filesystem::file_size(path), 8192u);
    GuestMemory ram;
    RamBlock* block = must_create(ram, {.id = "a",
                                        .used_length = 4096,
                                        .source = RamSource::File,
                                        .path = path,
                                        .file_offset = 4096,
                                        .readonly = true,
                                        .rom = true});
    EXPECT_EQ(block->host()[5000 - 4096], std::byte{9});
    EXPECT_FALSE(block->writable());
    EXPECT_EQ(block->discard(0, 4096).error().code(), Errc::Unsupported);
}

TEST(RamBlock, BadFilesAreRefusedByName)
{
    const TempDir dir;
    GuestMemory ram;
    const auto refuse = [&](RamBlockOptions options) {
        options.id = "a";
        options.source = RamSource::File;
        const auto block = ram.create(std::move(options));
        EXPECT_FALSE(block);
        return block ? std::string() : block.error().message();
    };
    const std::string missing = dir / "no/such";
    EXPECT_EQ(refuse({.used_length = 4096, .path = missing}),
              "can't open backing store " + missing + " for guest RAM: No such file or directory");
    const std::string small = dir / "small";
    std::ofstream(small) << std::string(4096, 'x');
    EXPECT_EQ(refuse({.used_length = 8192, .path = small}),
              "a backing store size 0x1000 is too small for 'size' option 0x2000 plus 'offset' "
              "option 0x0");
    EXPECT_THAT(refuse({.used_length = 4096, .path = small, .file_offset = 1}),
                HasSubstr("too small"));
    EXPECT_THAT(refuse({.used_length = 4096, .path = dir / "new", .alignment = 3}),
                HasSubstr("alignment 0x3 must be multiples of page size 0x1000"));
}

TEST(RamBlock, APrivateFileMappingDoesNotReachTheFileAndCannotBeDiscarded)
{
    const TempDir dir;
    const std::string path = dir / "template";
    std::ofstream(path) << std::string(4096, 'x');
    GuestMemory ram;
    RamBlock* block = must_create(ram, {.id = "a",
                                        .used_length = 4096,
                                        .source = RamSource::File,
                                        .path = path,
                                        .readonly = true});
    block->host()[0] = std::byte{'y'};
    std::ifstream file(path);
    EXPECT_EQ(file.get(), 'x');
    EXPECT_EQ(block->discard(0, 4096).error().code(), Errc::Unsupported);
}

TEST(RamBlock, HugePagesWithoutAPoolSayWhatThePoolHas)
{
    GuestMemory ram;
    const auto block = ram.create({.id = "a",
                                   .used_length = std::uint64_t{1} << 42,
                                   .source = RamSource::Memfd,
                                   .hugetlb = true,
                                   .hugetlb_size = 2 * kMiB});
    ASSERT_FALSE(block);
    EXPECT_THAT(block.error().message() + block.error().hint(), HasSubstr("2048"));
    EXPECT_THAT(block.error().message(), HasSubstr("'a'"));
    EXPECT_EQ(
        ram.create({.id = "a", .used_length = kMiB, .hugetlb = true, .hugetlb_size = 3 * kMiB})
            .error()
            .message(),
        "Hugepage size must be a power of 2");
    EXPECT_THAT(
        ram.create({.id = "a", .used_length = kMiB, .hugetlb = true, .hugetlb_size = 2 * kMiB})
            .error()
            .message(),
        HasSubstr("not a multiple of its page size 2097152"));
}

TEST(RamBlock, NumaPolicyOfANodeThatDoesNotExistIsRefused)
{
    GuestMemory ram;
    const auto block = ram.create(
        {.id = "a", .used_length = kMiB, .numa_policy = NumaPolicy::Bind, .host_nodes = {900}});
    ASSERT_FALSE(block);
    EXPECT_THAT(block.error().message(), HasSubstr("cannot bind memory to host NUMA nodes"));
}

}  // namespace
}  // namespace godwit::system
