// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/sandbox.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <thread>

#include "godwit-config.h"

namespace godwit::system {
namespace {

std::string parse_error(std::string_view text)
{
    const auto parsed = parse_sandbox(text);
    return parsed ? "" : parsed.error().message();
}

/// Wait status of a child that enters the sandbox and then does `work`; 99 when it could not enter.
int status_inside(std::string_view text, const std::function<int()>& work)
{
    const pid_t child = ::fork();
    if (child == 0) {
        const auto options = parse_sandbox(text);
        if (!options || !enter_sandbox(*options))
            ::_exit(99);
        ::_exit(work());
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}

bool died_of_sigsys(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

TEST(Sandbox, DefaultsAreQemus)
{
    const auto options = parse_sandbox("on");
    ASSERT_TRUE(options);
    EXPECT_TRUE(options->enabled);
    EXPECT_FALSE(options->obsolete);
    EXPECT_TRUE(options->spawn);
    EXPECT_TRUE(options->resource_control);
    EXPECT_EQ(options->elevate, SandboxOptions::Elevate::Allow);
}

TEST(Sandbox, BadWordsAreNamed)
{
    EXPECT_EQ(parse_error("on,spawn=maybe"), "invalid argument for spawn");
    EXPECT_EQ(parse_error("on,obsolete=on"), "invalid argument for obsolete");
    EXPECT_EQ(parse_error("on,elevateprivileges=x"), "invalid argument for elevateprivileges");
    EXPECT_EQ(parse_error("on,colour=red"), "Invalid parameter 'colour'");
    EXPECT_EQ(parse_error("perhaps"), "Parameter 'enable' expects 'on' or 'off'");
}

#if GW_HAVE_SECCOMP

#if defined(__SANITIZE_THREAD__)
constexpr bool kForkUnderSanitizer = true;
#else
constexpr bool kForkUnderSanitizer = false;
#endif

TEST(Sandbox, OffDeniesNothing)
{
    const int status = status_inside("off", [] { return ::syscall(SYS_sysfs, 3) >= 0 ? 0 : 1; });
    EXPECT_TRUE(WIFEXITED(status)) << status;
}

TEST(Sandbox, OnEndsAProcessThatMounts)
{
    EXPECT_TRUE(died_of_sigsys(status_inside(
        "on", [] { return static_cast<int>(::syscall(SYS_umount2, "/nowhere", 0)); })));
}

TEST(Sandbox, ObsoleteCallsAreDeniedUnlessAllowed)
{
    EXPECT_TRUE(
        died_of_sigsys(status_inside("on", [] { return ::syscall(SYS_sysfs, 3) >= 0 ? 0 : 1; })));
    EXPECT_TRUE(WIFEXITED(
        status_inside("on,obsolete=allow", [] { return ::syscall(SYS_sysfs, 3) >= 0 ? 0 : 1; })));
}

TEST(Sandbox, WithoutSpawnThreadsStillStartAndProgramsDoNot)
{
    if (kForkUnderSanitizer)
        GTEST_SKIP() << "ThreadSanitizer's own thread start cannot be told from a fork";
    const int threads = status_inside("on,spawn=deny", [] {
        int seen = 1;
        std::thread([&] { seen = 0; }).join();
        return seen;
    });
    EXPECT_TRUE(WIFEXITED(threads) && WEXITSTATUS(threads) == 0) << threads;
    EXPECT_TRUE(died_of_sigsys(
        status_inside("on,spawn=deny", [] { return ::execl("/bin/true", "true", nullptr); })));
    EXPECT_TRUE(
        died_of_sigsys(status_inside("on,spawn=deny", [] { return ::fork() == 0 ? 0 : 1; })));
}

TEST(Sandbox, ResourceControlCanBeDenied)
{
    EXPECT_TRUE(died_of_sigsys(status_inside("on,resourcecontrol=deny",
                                             [] { return ::setpriority(PRIO_PROCESS, 0, 0); })));
}

TEST(Sandbox, ChildrenCannotGainPrivileges)
{
    const int status = status_inside("on,elevateprivileges=children", [] {
        return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1;
    });
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

#endif

}  // namespace
}  // namespace godwit::system
