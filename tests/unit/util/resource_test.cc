// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The owners: descriptors, mappings, events, threads, registrations; and byte order.
#include "tests/unit/util/must.h"
#include "util/byte_order.h"
#include "util/event_fd.h"
#include "util/mapping.h"
#include "util/read_file.h"
#include "util/registration.h"
#include "util/thread.h"
#include "util/unique_fd.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace godwit::test {
namespace {

bool is_open(int fd)
{
    return ::fcntl(fd, F_GETFD) >= 0;
}

UniqueFd open_null()
{
    return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
}

TEST(UniqueFd, ClosesWhatItOwnsOnce)
{
    int number = -1;
    {
        UniqueFd fd = open_null();
        number = fd.get();
        UniqueFd moved = std::move(fd);
        EXPECT_FALSE(fd);
        EXPECT_TRUE(is_open(number));
    }
    EXPECT_FALSE(is_open(number));
}

TEST(UniqueFd, ReleaseAndResetHandOver)
{
    UniqueFd fd = open_null();
    const int first = fd.get();
    UniqueFd other(fd.release());
    EXPECT_EQ(other.get(), first);
    errno = 77;
    other.reset();
    EXPECT_EQ(errno, 77);
    EXPECT_FALSE(is_open(first));
}

TEST(UniqueFd, ADuplicateIsAnotherDescriptorClosedOnExec)
{
    const UniqueFd fd = open_null();
    const UniqueFd copy = must(fd.dup());
    EXPECT_NE(copy.get(), fd.get());
    EXPECT_NE(::fcntl(copy.get(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_FALSE(UniqueFd().dup());
}

TEST(EventFd, IsReadableFromSignalToDrain)
{
    const EventFd event = must(EventFd::create());
    EXPECT_FALSE(event.is_signalled());
    EXPECT_FALSE(event.drain());
    event.signal();
    event.signal();
    EXPECT_TRUE(event.wait());
    EXPECT_TRUE(event.drain());
    EXPECT_FALSE(event.is_signalled());
}

TEST(EventFd, WakesAnotherThread)
{
    const EventFd event = must(EventFd::create());
    std::jthread waker([&] { event.signal(); });
    EXPECT_TRUE(event.wait(30000));
}

TEST(Mapping, AnonymousMemoryIsZeroAndWritable)
{
    const Mapping memory = must(Mapping::anonymous(10000));
    EXPECT_EQ(memory.size(), 10000u);
    for (const std::byte byte : memory.span())
        ASSERT_EQ(byte, std::byte{0});
    memory.span().back() = std::byte{1};
}

TEST(Mapping, AlignmentIsKept)
{
    for (const std::size_t alignment : {std::size_t{1} << 16, std::size_t{1} << 21}) {
        const Mapping memory =
            must(Mapping::anonymous(3 * host_page_size(), {.alignment = alignment}));
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment, 0u);
        memory.span().back() = std::byte{1};
    }
    EXPECT_FALSE(Mapping::anonymous(4096, {.alignment = 3000}));
}

TEST(Mapping, ASharedFileSeesWhatIsWritten)
{
    const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(3 * host_page_size())), 0);
    const Mapping whole = must(Mapping::of_fd(file.get(), 3 * host_page_size()));
    const Mapping second = must(Mapping::of_fd(
        file.get(), host_page_size(), host_page_size(),
        {.sharing = Mapping::Sharing::Shared, .writable = false, .alignment = 1 << 21}));
    whole.data()[host_page_size() + 5] = std::byte{42};
    EXPECT_EQ(second.data()[5], std::byte{42});
}

TEST(Mapping, BadRequestsAreErrors)
{
    EXPECT_EQ(Mapping::anonymous(0).error().code(), Errc::InvalidArgument);
    EXPECT_EQ(Mapping::anonymous(SIZE_MAX / 2).error().code(), Errc::OutOfMemory);
    EXPECT_EQ(Mapping::anonymous(SIZE_MAX, {.alignment = 1 << 21}).error().code(),
              Errc::OutOfMemory);
    EXPECT_FALSE(Mapping::of_fd(-1, 4096));
    const Mapping memory = must(Mapping::anonymous(4096));
    EXPECT_FALSE(memory.advise(4096, 4096, MADV_DONTNEED));
    EXPECT_TRUE(memory.advise(MADV_DONTNEED));
}

TEST(Mapping, MovingLeavesNothingBehind)
{
    Mapping first = must(Mapping::anonymous(4096));
    std::byte* data = first.data();
    Mapping second = std::move(first);
    EXPECT_FALSE(first);
    EXPECT_EQ(first.size(), 0u);
    first = std::move(second);
    EXPECT_EQ(first.data(), data);
    const Mapping adopted = Mapping::adopt(first.release(), 4096);
    EXPECT_EQ(adopted.data(), data);
}

TEST(Registration, RemovesItsEntryOnce)
{
    int removed = 0;
    {
        Registration first([&]() noexcept { ++removed; });
        Registration second = std::move(first);
        EXPECT_FALSE(first);
        EXPECT_EQ(removed, 0);
        second = Registration([&]() noexcept { removed += 10; });
        EXPECT_EQ(removed, 1);
    }
    EXPECT_EQ(removed, 11);
    {
        Registration kept([&]() noexcept { removed = 0; });
        kept.release();
    }
    EXPECT_EQ(removed, 11);
}

TEST(NamedThread, HasItsNameAndStopsWhenDestroyed)
{
    std::string name;
    std::int32_t tid = 0;
    bool stopped = false;
    {
        NamedThread thread("mig/send 1", [&](std::stop_token stop) {
            name = thread_name();
            tid = this_thread_identity().tid;
            while (!stop.stop_requested())
                std::this_thread::yield();
            stopped = true;
        });
    }
    EXPECT_EQ(name, "mig/send 1");
    EXPECT_NE(tid, ::gettid());
    EXPECT_TRUE(stopped);
}

TEST(NamedThread, ALongNameIsCut)
{
    std::string name;
    NamedThread("a name of more than fifteen", [&](std::stop_token) {
        name = thread_name();
    }).join();
    EXPECT_EQ(name, "a name of more ");
}

TEST(ByteOrder, ValuesAreStoredAsNamedAtAnyAlignment)
{
    std::array<std::byte, 9> bytes{};
    store_be<std::uint32_t>(bytes.data() + 1, 0x01020304);
    EXPECT_EQ(bytes[1], std::byte{1});
    EXPECT_EQ(bytes[4], std::byte{4});
    EXPECT_EQ(load_be<std::uint32_t>(bytes.data() + 1), 0x01020304u);
    EXPECT_EQ(load_le<std::uint32_t>(bytes.data() + 1), 0x04030201u);
    store_le<std::uint64_t>(bytes.data() + 1, 0x0102030405060708);
    EXPECT_EQ(bytes[1], std::byte{8});
    store_be<std::int16_t>(bytes.data(), -2);
    EXPECT_EQ(load_be<std::int16_t>(bytes.data()), -2);
    store_be<double>(bytes.data() + 1, 1.0);
    EXPECT_EQ(bytes[1], std::byte{0x3f});
    EXPECT_EQ(load_be<double>(bytes.data() + 1), 1.0);
}

TEST(ByteOrder, ABoolFromABadByteIsStillABool)
{
    const std::byte bad{0x80};
    EXPECT_TRUE(load_be<bool>(&bad));
}

TEST(ByteOrder, ArraysAreCodedItemByItem)
{
    const std::array<std::uint16_t, 3> items{1, 0x0203, 0xffff};
    std::array<std::byte, 6> bytes{};
    encode_be<std::uint16_t>(items, bytes);
    EXPECT_EQ(bytes[3], std::byte{3});
    std::array<std::uint16_t, 3> back{};
    decode_be<std::uint16_t>(bytes, back);
    EXPECT_EQ(back, items);
}

TEST(Error, IsOneLineWhateverItRepeats)
{
    const Error error = Error(Errc::InvalidArgument, "'a\nb\x7f' is unknown").context("-x\ry");
    EXPECT_EQ(error.message(), "-x\\x0dy: 'a\\x0ab\\x7f' is unknown");
}

TEST(ReadSmallFile, NamesTheFileAndKeepsToItsLimit)
{
    EXPECT_EQ(read_small_file("/nonexistent/x").error().message(),
              "/nonexistent/x: No such file or directory");
    EXPECT_EQ(read_small_file("/dev/zero", 5000).error().message(),
              "/dev/zero: larger than 5000 bytes");
    EXPECT_EQ(must(read_small_file("/dev/null")), "");
}

TEST(Error, TellsItsStoryOutermostFirst)
{
    const Error error =
        Error::from_errno("open", ENOENT).context("disk.img").with_hint("Is it there?");
    EXPECT_EQ(error.message(), "disk.img: open: No such file or directory");
    EXPECT_EQ(error.code(), Errc::NotFound);
    EXPECT_EQ(error.os_errno(), ENOENT);
    EXPECT_EQ(error.hint(), "Is it there?");
    EXPECT_EQ(errc_name(Errc::BadState), "BadState");
}

TEST(Result, TryHandsTheErrorOnAndMovesTheValueOut)
{
    const auto inner = [](bool good) -> Result<std::unique_ptr<int>> {
        if (!good)
            return Error(Errc::Busy, "busy");
        return std::make_unique<int>(5);
    };
    const auto outer = [&](bool good) -> Result<int> {
        const auto value = GW_TRY(inner(good));
        return *value;
    };
    EXPECT_EQ(must(outer(true)), 5);
    EXPECT_EQ(outer(false).error().code(), Errc::Busy);
    EXPECT_EQ(with_context(outer(false), "outer").error().message(), "outer: busy");
}

}  // namespace
}  // namespace godwit::test
