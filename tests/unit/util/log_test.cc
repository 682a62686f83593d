// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/log.h"

#include "tests/unit/util/must.h"

#include <array>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <regex>
#include <thread>
#include <unistd.h>

namespace godwit::test {
namespace {

struct Captured {
    Captured()
    {
        int fds[2];
        if (::pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0) {
            out = UniqueFd(fds[0]);
            in = UniqueFd(fds[1]);
        }
    }
    std::string text() const
    {
        std::array<char, 65536> buffer;
        const ssize_t got = ::read(out.get(), buffer.data(), buffer.size());
        return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
    }
    UniqueFd out;
    UniqueFd in;
};

TEST(Log, LinesBeginWithTheProgramAndTheLevel)
{
    const Captured captured;
    const Log log(std::make_shared<StreamLogSink>(
        captured.in.get(),
        StreamLogSink::Options{.program = "godwit-system-x86_64", .level = LogLevel::Debug}));
    log.error("it broke");
    log.warn("it may break");
    log.info("it runs");
    log.debug("it ticks");
    EXPECT_EQ(captured.text(), "godwit-system-x86_64: it broke\n"
                               "godwit-system-x86_64: warning: it may break\n"
                               "godwit-system-x86_64: info: it runs\n"
                               "godwit-system-x86_64: debug: it ticks\n");
}

TEST(Log, TimestampsAreIso8601InUtc)
{
    const Captured captured;
    const Log log(std::make_shared<StreamLogSink>(
        captured.in.get(),
        StreamLogSink::Options{.program = "p", .guest = "vm1", .timestamps = true}));
    log.error("x");
    const std::string text = captured.text();
    EXPECT_TRUE(
        std::regex_match(text, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z vm1 p: x\n)")))
        << text;
}

TEST(Log, ACategoryMayBeMoreTalkativeThanTheRest)
{
    const Captured captured;
    const Log log(std::make_shared<StreamLogSink>(
        captured.in.get(), StreamLogSink::Options{.level = LogLevel::Warning,
                                                  .categories = {{"migration", LogLevel::Debug}}}));
    log.info("not this");
    log.with_category("migration").debug("but this");
    EXPECT_EQ(captured.text(), "debug: but this\n");
    EXPECT_FALSE(log.wants(LogLevel::Info));
    EXPECT_TRUE(log.with_category("migration").wants(LogLevel::Info));
}

TEST(Log, AnErrorIsReportedWithItsHint)
{
    const auto sink = std::make_shared<MemoryLogSink>();
    Log(sink).report(Error(Errc::Io, "no").with_hint("try again"));
    ASSERT_EQ(sink->lines().size(), 2u);
    EXPECT_EQ(sink->lines()[0].message, "no");
    EXPECT_EQ(sink->lines()[1].message, "try again");
}

TEST(Log, EscapeSequencesOfAHostilePeerDoNotReachTheTerminal)
{
    const Captured captured;
    const Log log(std::make_shared<StreamLogSink>(captured.in.get(), StreamLogSink::Options{}));
    log.error("peer said \x1b[2J");
    EXPECT_EQ(captured.text(), "peer said ?[2J\n");
}

TEST(Log, FurtherLinesGoToAFile)
{
    std::string path = std::filesystem::temp_directory_path() / "godwit-log-XXXXXX";
    const UniqueFd file(::mkstemp(path.data()));
    const Captured captured;
    const auto sink =
        std::make_shared<StreamLogSink>(captured.in.get(), StreamLogSink::Options{.program = "p"});
    must(sink->redirect(path));
    Log(sink).error("in the file");
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    EXPECT_EQ(line, "p: in the file");
    EXPECT_EQ(captured.text(), "");
    EXPECT_EQ(sink->redirect("/no/such/dir/x").error().message(),
              "/no/such/dir/x: No such file or directory");
    std::filesystem::remove(path);
}

TEST(Log, WithoutASinkItIsSilent)
{
    const Log log;
    EXPECT_FALSE(log.wants(LogLevel::Error));
    log.error("nobody hears");
}

TEST(Log, LinesOfManyThreadsStayWhole)
{
    const Captured captured;
    const Log log(std::make_shared<StreamLogSink>(captured.in.get(), StreamLogSink::Options{}));
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back([&] {
                for (int n = 0; n < 100; ++n)
                    log.error("0123456789");
            });
    }
    std::string expected;
    for (int i = 0; i < 400; ++i)
        expected += "0123456789\n";
    EXPECT_EQ(captured.text(), expected);
}

TEST(MemoryLogSink, KeepsTheLastLines)
{
    const auto sink = std::make_shared<MemoryLogSink>(2);
    const Log log(sink);
    for (const char* text : {"a", "b", "c"})
        log.info(text);
    ASSERT_EQ(sink->lines().size(), 2u);
    EXPECT_EQ(sink->lines()[0].message, "b");
}

}  // namespace
}  // namespace godwit::test
