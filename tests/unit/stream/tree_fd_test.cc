// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Sorted maps and open files as fields of a device's state.
#include "io/pipe_channel.h"
#include "io/socket.h"
#include "migration/stream/channel_stream.h"
#include "migration/stream/vmstate.h"
#include "tests/unit/stream/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godwit::migration::stream {
namespace {

using testing::HasSubstr;

struct Interval {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    auto operator<=>(const Interval&) const = default;
};
struct Mapping {
    std::uint32_t flags = 0;
    bool operator==(const Mapping&) const = default;
};
constexpr auto kInterval =
    vmstate<Interval>("interval", {}, field<&Interval::low>("low"), field<&Interval::high>("high"));
constexpr auto kMapping =
    vmstate<Mapping>("mapping", {}, field<&Mapping::flags>("flags").in_range(0, 3));

struct Domain {
    std::map<std::uint32_t, Mapping> endpoints;
    std::map<Interval, Mapping> mappings;
    std::uint8_t after = 0;
    bool operator==(const Domain&) const = default;
};
constexpr auto kDomain = vmstate<Domain>(
    "domain", {}, tree<&Domain::endpoints>("endpoints", kMapping).at_most(4),
    tree<&Domain::mappings>("mappings", kInterval, kMapping), field<&Domain::after>("after"));
static_assert(kDomain.well_formed());

Domain full()
{
    return {
        .endpoints = {{9, {2}}, {7, {1}}}, .mappings = {{{0x1000, 0x1fff}, {3}}}, .after = 0xaa};
}

// The count, then 01 and a pair for each in the keys' order, then 00.
constexpr std::string_view kFull = "00000002"
                                   "01 0000000000000007 00000001"
                                   "01 0000000000000009 00000002"
                                   "00"
                                   "00000001"
                                   "01 0000000000001000 0000000000001fff 00000003"
                                   "00"
                                   "aa";

TEST(VMStateTree, GoesInTheOrderOfItsKeysAndComesBack)
{
    Domain domain = full();
    const Bytes bytes = saved(kDomain, &domain);
    EXPECT_EQ(bytes, from_hex(std::string(kFull)));
    Domain back{.endpoints = {{1, {1}}}, .mappings = {}, .after = 0};
    EXPECT_EQ(load_error(kDomain, &back, bytes, 1), "");
    EXPECT_EQ(back, domain);
    Domain empty;
    EXPECT_EQ(hex(saved(kDomain, &empty)), "0000000000"
                                           "0000000000"
                                           "00");
}

TEST(VMStateTree, IsDescribedWithItsSize)
{
    Domain domain = full();
    const std::string text = described(kDomain, &domain);
    EXPECT_THAT(text,
                HasSubstr(R"({"name": "endpoints", "type": "gtree", "vmsd_name": "mapping")"));
    EXPECT_THAT(text, HasSubstr(R"("size": 31})"));
}

TEST(VMStateTree, TruncatedAnywhereIsAnErrorWithItsPlace)
{
    Domain domain = full();
    const Bytes bytes = saved(kDomain, &domain);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        Domain back;
        EXPECT_THAT(load_error(kDomain, &back,
                               Bytes(bytes.begin(), bytes.begin() + static_cast<long>(length)), 1),
                    HasSubstr("the stream ends at byte " + std::to_string(length)));
    }
}

std::string refusal(std::string text)
{
    Domain back;
    return load_error(kDomain, &back, from_hex(std::move(text)), 1);
}

TEST(VMStateTree, ACountThatIsNotTrueIsRefused)
{
    EXPECT_THAT(refusal("00000001 00"), HasSubstr("endpoints: a tree of 1 elements ends behind 0"));
    EXPECT_THAT(refusal("00000000 01"), HasSubstr("a tree of 0 elements goes on behind 0"));
    EXPECT_THAT(refusal("00000001 02"), HasSubstr("0x02 where a tree goes on"));
    EXPECT_THAT(refusal("00000005"), HasSubstr("5 elements, there is room for 4"));
    EXPECT_THAT(refusal("ffffffff"), HasSubstr("there is room for 4"));
}

TEST(VMStateTree, AKeyTwiceOrTooLargeAndABadValueAreRefused)
{
    EXPECT_THAT(refusal("00000002 01 0000000000000007 00000001 01 0000000000000007 00000001 00"),
                HasSubstr("endpoints: [1]: a key that is there twice"));
    EXPECT_THAT(refusal("00000001 01 0000000100000007 00000001 00"), HasSubstr("too large"));
    EXPECT_THAT(refusal("00000001 01 0000000000000007 00000004 00"),
                HasSubstr("endpoints: [0]: flags: 4 is outside 0..3"));
}

// --- Open files ----------------------------------------------------------------------------------

struct Handle {
    std::uint32_t before = 0;
    FdState file;
    std::uint32_t after = 0;
};
constexpr auto kHandle =
    vmstate<Handle>("handle", {}, field<&Handle::before>("before"),
                    descriptor<&Handle::file>("file"), field<&Handle::after>("after"));
static_assert(kHandle.well_formed());

FdState some_file()
{
    return {std::make_shared<const UniqueFd>(::memfd_create("x", MFD_CLOEXEC))};
}

ino_t inode(int fd)
{
    struct stat info{};
    EXPECT_EQ(::fstat(fd, &info), 0);
    return info.st_ino;
}

struct Pair {
    io::ChannelPtr ours;
    io::ChannelPtr theirs;
    Pair()
    {
        int ends[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        ours = io::adopt_fd(UniqueFd(ends[0]), "a").value();
        theirs = io::adopt_fd(UniqueFd(ends[1]), "b").value();
    }
};

TEST(VMStateDescriptor, TheFileTravelsBesideItsByte)
{
    Pair pair;
    Handle first{.before = 1, .file = some_file(), .after = 2};
    Handle second{.before = 3, .file = some_file(), .after = 4};
    ChannelSink sink(*pair.ours);
    StreamWriter out(sink);
    ASSERT_TRUE(save_state(out, kHandle, &first));
    ASSERT_TRUE(save_state(out, kHandle, &second));
    ASSERT_TRUE(out.flush());
    EXPECT_EQ(out.position(), 18u);
    ASSERT_TRUE(pair.ours->shutdown(io::Shutdown::Write));

    ChannelSource source(*pair.theirs, ChannelSource::OpenFiles::Take);
    StreamReader in(source);
    Handle a;
    Handle b;
    ASSERT_TRUE(load_state(in, kHandle, &a, 1));
    ASSERT_TRUE(load_state(in, kHandle, &b, 1));
    EXPECT_EQ(a.after, 2u);
    EXPECT_EQ(b.after, 4u);
    EXPECT_NE(a.file.fd(), first.file.fd());
    EXPECT_EQ(inode(a.file.fd()), inode(first.file.fd()));
    EXPECT_EQ(inode(b.file.fd()), inode(second.file.fd()));
}

TEST(VMStateDescriptor, IsOneByteInTheStreamAndInItsDescription)
{
    Handle handle{.before = 1, .file = some_file(), .after = 2};
    EXPECT_EQ(hex(saved(kHandle, &handle)), "000000012000000002");
    EXPECT_THAT(described(kHandle, &handle),
                HasSubstr(R"({"name": "file", "type": "fd", "size": 1})"));
}

TEST(VMStateDescriptor, WithoutAFileBothSidesSaySo)
{
    Handle none;
    StreamWriter out;
    EXPECT_THAT(save_state(out, kHandle, &none).error().message(),
                HasSubstr("file: there is no open file"));
    EXPECT_THAT(load_error(kHandle, &none, from_hex("00000001 20 00000002"), 1),
                HasSubstr("file: no open file came along, at byte 5"));
    EXPECT_THAT(load_error(kHandle, &none, from_hex("00000001 21 00000002"), 1),
                HasSubstr("file: 0x21 where an open file (0x20) is due"));
}

TEST(VMStateDescriptor, AChannelThatCarriesNoneRefuses)
{
    auto [reader, writer] = io::make_pipe().value();
    Handle handle{.before = 1, .file = some_file(), .after = 2};
    ChannelSink sink(*writer);
    StreamWriter out(sink);
    EXPECT_THAT(save_state(out, kHandle, &handle).error().message(), HasSubstr("file: writing"));
}

}  // namespace
}  // namespace godwit::migration::stream
