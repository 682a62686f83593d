// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/daemon.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace godwit::system {
namespace {

class PidFileSuite : public testing::Test {
protected:
    void SetUp() override { ASSERT_NE(::mkdtemp(directory_), nullptr); }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    std::string path() const { return std::string(directory_) + "/vm.pid"; }

private:
    char directory_[32] = "/tmp/godwit-pid-XXXXXX";
};

TEST_F(PidFileSuite, HoldsOurPidAndVanishes)
{
    {
        auto file = PidFile::create(path());
        ASSERT_TRUE(file) << file.error().message();
        std::ifstream in(path());
        pid_t pid = 0;
        in >> pid;
        EXPECT_EQ(pid, ::getpid());
    }
    EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(PidFileSuite, ASecondProcessIsRefusedByName)
{
    auto file = PidFile::create(path());
    ASSERT_TRUE(file);
    const pid_t child = ::fork();
    if (child == 0) {
        const auto second = PidFile::create(path());
        const bool named = !second && second.error().code() == Errc::Busy &&
                           second.error().message().find(path()) != std::string::npos;
        ::_exit(named ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST_F(PidFileSuite, AStaleFileIsTakenOver)
{
    std::ofstream(path()) << "999999999 and more text than a pid\n";
    auto file = PidFile::create(path());
    ASSERT_TRUE(file);
    std::ifstream in(path());
    std::string line;
    std::getline(in, line);
    EXPECT_EQ(line, std::to_string(::getpid()));
}

TEST_F(PidFileSuite, AMissingFolderIsAnErrorThatNamesTheFile)
{
    const auto file = PidFile::create("/nowhere/at/all.pid");
    ASSERT_FALSE(file);
    EXPECT_NE(file.error().message().find("/nowhere/at/all.pid"), std::string::npos);
}

/// Exit status of a process that becomes a daemon whose child then does `work`.
template <class Work>
int parent_status(Work work)
{
    const pid_t parent = ::fork();
    if (parent == 0) {
        auto daemon = Daemon::start();
        if (!daemon)
            ::_exit(77);
        work(*daemon);
        ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(parent, &status, 0), parent);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Daemon, TheParentSucceedsOnlyOnceTheChildIsUp)
{
    EXPECT_EQ(parent_status([](Daemon& daemon) { (void)daemon.up(); }), 0);
}

TEST(Daemon, TheParentFailsWhenTheChildDiesFirst)
{
    EXPECT_EQ(parent_status([](Daemon&) { ::_exit(3); }), 1);
    EXPECT_EQ(parent_status([](Daemon&) { ::raise(SIGKILL); }), 1);
}

TEST(Daemon, OneThatIsNotADaemonIsAlwaysUp)
{
    EXPECT_TRUE(Daemon().up());
}

}  // namespace
}  // namespace godwit::system
