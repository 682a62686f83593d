// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/exec_channel.h"
#include "io/file_channel.h"
#include "io/open.h"
#include "io/pipe_channel.h"
#include "tests/unit/io/test_util.h"

#include <array>
#include <climits>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <future>
#include <sys/stat.h>
#include <unistd.h>

namespace godwit::io::test {
namespace {

std::string contents(const std::string& path)
{
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void put(const std::string& path, std::string_view text)
{
    std::ofstream(path, std::ios::binary) << text;
}

TEST(FileChannel, SavingKeepsWhatStandsBeforeTheOffsetAndCutsTheRest)
{
    const TempDir dir;
    put(dir.path("f"), "headerOLDOLDOLD");
    {
        auto file = must(open_for_writing(FileAddress{.path = dir.path("f"), .offset = 6}));
        must(file->write_all(bytes_of("new")));
        must(file->close());
    }
    EXPECT_EQ(contents(dir.path("f")), "headernew");
}

TEST(FileChannel, LoadingBeginsAtTheOffset)
{
    const TempDir dir;
    put(dir.path("f"), "headerstate");
    auto file = must(open_for_reading(FileAddress{.path = dir.path("f"), .offset = 6}));
    EXPECT_EQ(read_text(*file, 5), "state");
    std::array<std::byte, 1> to;
    EXPECT_EQ(must(file->read_some(to)), 0u);
}

TEST(FileChannel, AMissingFileIsNamed)
{
    const auto missing = open_for_reading(FileAddress{.path = "/no/such/file"});
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().message(),
              "Could not open '/no/such/file': No such file or directory");
    EXPECT_FALSE(open_for_reading(FileAddress{.path = "/"}));
}

TEST(FileChannel, PositionsDoNotMoveTheStream)
{
    const TempDir dir;
    auto file = must(FileChannel::open(dir.path("f"), O_RDWR | O_CREAT));
    EXPECT_TRUE(file->has(Feature::Seekable));
    must(file->write_all(bytes_of("stream")));
    must(file->pwrite_all(bytes_of("at 4096"), 4096));
    must(file->write_all(bytes_of(" goes on")));
    EXPECT_EQ(must(file->tell()), 14u);
    EXPECT_EQ(must(file->size()), 4103u);
    std::array<std::byte, 7> to;
    must(file->pread_exact(to, 4096));
    EXPECT_EQ(text_of(to), "at 4096");
    must(file->seek(0));
    EXPECT_EQ(read_text(*file, 14), "stream goes on");
}

TEST(FileChannel, ManyPiecesGoToAndFromAPlace)
{
    const TempDir dir;
    auto file = must(FileChannel::open(dir.path("f"), O_RDWR | O_CREAT));
    const auto sent = pattern(IOV_MAX * 2 + 5);
    std::vector<iovec> pieces;
    for (std::size_t at = 0; at < sent.size(); ++at)
        pieces.push_back(as_iovec(std::span(sent).subspan(at, 1)));
    must(file->pwritev_all(pieces, 100));
    std::vector<std::byte> got(sent.size());
    const iovec whole = as_iovec(got);
    must(file->preadv_exact({&whole, 1}, 100));
    EXPECT_TRUE(got == sent);
}

TEST(FileChannel, ReadingBeyondTheEndIsTruncatedAndTellsWhere)
{
    const TempDir dir;
    put(dir.path("f"), "12345");
    auto file = must(FileChannel::open(dir.path("f"), O_RDONLY));
    std::array<std::byte, 4> to;
    const auto end = file->pread_exact(to, 3);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Truncated);
    EXPECT_EQ(end.error().message(),
              "file " + dir.path("f") + ": end of file after 2 of 4 bytes at offset 3");
    EXPECT_FALSE(file->pread_exact(to, UINT64_MAX));
}

TEST(FileChannel, AFullDiskIsSaidSo)
{
    auto full = FileChannel::open("/dev/full", O_WRONLY);
    if (!full)
        GTEST_SKIP() << "no /dev/full here";
    const auto end = (*full)->write_all(bytes_of("x"));
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().os_errno(), ENOSPC);
    EXPECT_EQ(end.error().message(),
              "file /dev/full: Unable to write to file: No space left on device");
}

TEST(FileChannel, ADirectoryIsRefused)
{
    const auto directory = FileChannel::open("/tmp", O_RDONLY);
    ASSERT_FALSE(directory);
    EXPECT_EQ(directory.error().os_errno(), EISDIR);
}

TEST(FileChannel, AfterShutdownNothingMoves)
{
    const TempDir dir;
    auto file = must(FileChannel::open(dir.path("f"), O_RDWR | O_CREAT));
    must(file->shutdown(Shutdown::Both));
    EXPECT_EQ(file->write_all(bytes_of("x")).error().code(), Errc::Closed);
    EXPECT_EQ(file->pwrite_all(bytes_of("x"), 0).error().code(), Errc::Closed);
    std::array<std::byte, 1> to;
    EXPECT_EQ(file->read_exact(to).error().code(), Errc::Closed);
}

TEST(AdoptFd, EachKindOfDescriptorGetsItsChannel)
{
    const TempDir dir;
    put(dir.path("f"), "text");
    auto file = must(adopt_fd(UniqueFd(::open(dir.path("f").c_str(), O_RDONLY)), "f"));
    EXPECT_TRUE(file->has(Feature::Seekable));
    EXPECT_EQ(read_text(*file, 4), "text");
    auto null = must(adopt_fd(UniqueFd(::open("/dev/null", O_RDWR)), "null"));
    must(null->write_all(bytes_of("x")));
    auto [one, two] = must(socket_pair());
    auto socket = must(adopt_fd(must(UniqueFd::dup_of(one->fd())), "socket"));
    EXPECT_TRUE(socket->has(Feature::Peek));
    EXPECT_FALSE(adopt_fd(UniqueFd(::open("/tmp", O_RDONLY)), "directory"));
    EXPECT_FALSE(adopt_fd(UniqueFd(), "none"));
}

TEST(PipeChannel, TheFlagsOfASharedDescriptorAreRestored)
{
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    const UniqueFd other(fds[0]);
    const UniqueFd shared(must(UniqueFd::dup_of(fds[1])).release());
    auto channel = must(PipeChannel::adopt(UniqueFd(), UniqueFd(fds[1]), "shared"));
    EXPECT_NE(::fcntl(shared.get(), F_GETFL) & O_NONBLOCK, 0);
    must(channel->close());
    EXPECT_EQ(::fcntl(shared.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(PipeChannel, TheWrongDirectionIsRefused)
{
    auto [reader, writer] = must(make_pipe());
    std::array<std::byte, 1> to;
    EXPECT_EQ(writer->read_exact(to).error().code(), Errc::Unsupported);
    EXPECT_EQ(reader->write_all(bytes_of("x")).error().code(), Errc::Unsupported);
}

TEST(PipeChannel, ASignalThatWasPendingBeforeStaysPending)
{
    sigset_t pipe_signal;
    sigset_t before;
    ::sigemptyset(&pipe_signal);
    ::sigaddset(&pipe_signal, SIGPIPE);
    ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &pipe_signal, &before), 0);
    ASSERT_EQ(::pthread_kill(::pthread_self(), SIGPIPE), 0);
    auto [reader, writer] = must(make_pipe());
    reader.reset();
    EXPECT_EQ(writer->write_all(bytes_of("x")).error().os_errno(), EPIPE);
    sigset_t pending;
    ::sigpending(&pending);
    EXPECT_EQ(::sigismember(&pending, SIGPIPE), 1);
    int taken = 0;
    ::sigwait(&pipe_signal, &taken);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

using Mode = ExecChannel::Mode;

std::vector<std::string> shell(std::string command)
{
    return {"/bin/sh", "-c", std::move(command)};
}

TEST(ExecChannel, ACommandReadsWhatWeWriteAndIsReapedOnClose)
{
    const TempDir dir;
    auto command = must(ExecChannel::start(shell("cat > " + dir.path("out")), Mode::Write));
    const int pid = command->pid();
    must(command->write_all(bytes_of("through the shell")));
    must(command->close());
    EXPECT_EQ(contents(dir.path("out")), "through the shell");
    EXPECT_EQ(::kill(pid, 0), -1);
    must(command->close());  // again does nothing
}

TEST(ExecChannel, WhatACommandPrintsIsRead)
{
    auto command = must(open_for_reading(ExecAddress{shell("printf hello")}));
    EXPECT_EQ(read_text(*command, 5), "hello");
    std::array<std::byte, 1> to;
    EXPECT_EQ(must(command->read_some(to)), 0u);
    must(command->close());
}

TEST(ExecChannel, BothWaysThroughOneCommand)
{
    auto command = must(ExecChannel::start({"cat"}, Mode::Both));
    must(command->write_all(bytes_of("echo")));
    EXPECT_EQ(read_text(*command, 4), "echo");
    must(command->close());
}

TEST(ExecChannel, AnExitStatusIsAnError)
{
    auto command = must(ExecChannel::start(shell("exit 3"), Mode::Read));
    const auto end = command->close();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().message(), "exec 'exit 3': exited with status 3");
}

TEST(ExecChannel, ASignalIsAnErrorToo)
{
    auto command = must(ExecChannel::start(shell("kill -TERM $$"), Mode::Read));
    const auto end = command->close();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().message(),
              "exec 'kill -TERM $$': was terminated by signal 15 (Terminated)");
}

TEST(ExecChannel, ACommandThatDoesNotExistFailsAtOnce)
{
    const auto missing = ExecChannel::start({"/no/such/command"}, Mode::Write);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().message(), "exec '/no/such/command': No such file or directory");
    EXPECT_FALSE(ExecChannel::start({}, Mode::Write));
}

TEST(ExecChannel, ACommandThatDoesNotLeaveInTimeIsKilledAndReaped)
{
    auto command = must(ExecChannel::start({"sleep", "1000"}, Mode::Read));
    const int pid = command->pid();
    command->set_patience({.cancel = {}, .deadline = deadline_in(std::chrono::milliseconds(1))});
    const auto end = command->close();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::TimedOut);
    EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(ExecChannel, DestroyingItUnclosedLeavesNoChildBehind)
{
    int pid = 0;
    {
        auto command = must(ExecChannel::start({"sleep", "1000"}, Mode::Read));
        pid = command->pid();
    }
    EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(ExecChannel, CancelEndsTheWaitForACommandThatSaysNothing)
{
    auto command = must(ExecChannel::start({"sleep", "1000"}, Mode::Read));
    const Cancel cancel = must(Cancel::create());
    command->set_patience({.cancel = cancel, .deadline = soon()});
    auto result = std::async(std::launch::async, [&] {
        std::array<std::byte, 1> to;
        return command->read_exact(to);
    });
    cancel.request();
    const auto end = result.get();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code(), Errc::Cancelled);
}

TEST(ExecChannel, TheChildGetsNoOtherDescriptorOfOurs)
{
    const UniqueFd ours(::open("/dev/null", O_RDONLY));  // without O_CLOEXEC
    auto command = must(ExecChannel::start(
        shell("test -e /proc/self/fd/" + std::to_string(ours.get()) + " && echo has || echo none"),
        Mode::Read));
    EXPECT_EQ(read_text(*command, 4), "none");
}

}  // namespace
}  // namespace godwit::io::test
