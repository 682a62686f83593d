// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/sandbox.h"

#include "util/option_list.h"

#include <fmt/format.h>
#include <sys/prctl.h>

#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <string>

#include "godwit-config.h"

#if GW_HAVE_SECCOMP
#include <sched.h>
#include <seccomp.h>
#endif

namespace godwit::system {

namespace {

Result<bool> allow_or_deny(const OptionList& options, std::string_view key, bool otherwise)
{
    const std::string* value = options.find(key);
    if (!value)
        return otherwise;
    if (*value == "allow" || *value == "deny")
        return *value == "allow";
    return Error(Errc::InvalidArgument, fmt::format("invalid argument for {}", key));
}

Result<SandboxOptions::Elevate> elevate_option(const OptionList& options)
{
    using Elevate = SandboxOptions::Elevate;
    const std::string value = options.get_string("elevateprivileges", "allow");
    if (value == "allow")
        return Elevate::Allow;
    if (value == "deny")
        return Elevate::Deny;
    if (value == "children")
        return Elevate::Children;
    return Error(Errc::InvalidArgument, "invalid argument for elevateprivileges");
}

}  // namespace

Result<SandboxOptions> parse_sandbox(std::string_view text)
{
    const OptionList options = GW_TRY(OptionList::parse(text, "enable"));
    GW_TRY(options.only({"enable", "obsolete", "elevateprivileges", "spawn", "resourcecontrol"}));
    SandboxOptions result;
    result.enabled = GW_TRY(options.get_bool("enable", false));
    result.obsolete = GW_TRY(allow_or_deny(options, "obsolete", false));
    result.elevate = GW_TRY(elevate_option(options));
    result.spawn = GW_TRY(allow_or_deny(options, "spawn", true));
    result.resource_control = GW_TRY(allow_or_deny(options, "resourcecontrol", true));
    return result;
}

#if GW_HAVE_SECCOMP

namespace {

/// What no VMM has any business with, by what it would do to the host.
constexpr auto kNever = std::to_array<int>({
    SCMP_SYS(reboot),        SCMP_SYS(kexec_load),     SCMP_SYS(kexec_file_load),
    SCMP_SYS(swapon),        SCMP_SYS(swapoff),        SCMP_SYS(mount),
    SCMP_SYS(umount),        SCMP_SYS(umount2),        SCMP_SYS(pivot_root),
    SCMP_SYS(move_mount),    SCMP_SYS(open_tree),      SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),       SCMP_SYS(fsconfig),       SCMP_SYS(mount_setattr),
    SCMP_SYS(init_module),   SCMP_SYS(finit_module),   SCMP_SYS(delete_module),
    SCMP_SYS(syslog),        SCMP_SYS(acct),           SCMP_SYS(quotactl),
    SCMP_SYS(nfsservctl),    SCMP_SYS(settimeofday),   SCMP_SYS(clock_settime),
    SCMP_SYS(adjtimex),      SCMP_SYS(clock_adjtime),  SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname), SCMP_SYS(ptrace),         SCMP_SYS(process_vm_writev),
    SCMP_SYS(bpf),           SCMP_SYS(iopl),           SCMP_SYS(ioperm),
    SCMP_SYS(add_key),       SCMP_SYS(request_key),    SCMP_SYS(keyctl),
    SCMP_SYS(vhangup),       SCMP_SYS(lookup_dcookie), SCMP_SYS(vserver),
    SCMP_SYS(security),      SCMP_SYS(tuxcall),        SCMP_SYS(afs_syscall),
    SCMP_SYS(getpmsg),       SCMP_SYS(putpmsg),
});
constexpr auto kObsolete = std::to_array<int>({
    SCMP_SYS(readdir),
    SCMP_SYS(_sysctl),
    SCMP_SYS(bdflush),
    SCMP_SYS(create_module),
    SCMP_SYS(get_kernel_syms),
    SCMP_SYS(query_module),
    SCMP_SYS(sgetmask),
    SCMP_SYS(ssetmask),
    SCMP_SYS(sysfs),
    SCMP_SYS(uselib),
    SCMP_SYS(ustat),
});
constexpr auto kElevate = std::to_array<int>({
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setfsuid),
    SCMP_SYS(setfsgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(setpgid),
    SCMP_SYS(setsid),
    SCMP_SYS(capset),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(chroot),
});
constexpr auto kSpawn = std::to_array<int>({
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
});
constexpr auto kResource = std::to_array<int>({
    SCMP_SYS(setpriority),
    SCMP_SYS(sched_setparam),
    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(sched_setattr),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(ioprio_set),
    SCMP_SYS(setrlimit),
});

struct FilterCloser {
    void operator()(void* filter) const noexcept { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, FilterCloser>;

Error refused(std::string_view step, int status)
{
    return Error::from_errno(step, -status).context("sandbox");
}

Result<void> deny(const Filter& filter, std::span<const int> calls, std::uint32_t action)
{
    for (const int call : calls)
        if (const int status = seccomp_rule_add_array(filter.get(), action, call, 0, nullptr);
            status < 0)
            return refused(fmt::format("a rule for system call {}", call), status);
    return ok();
}

/// New processes only: threads pass. clone3 hides its flags in memory, so libraries are told that
/// it is missing and use clone.
Result<void> deny_spawning(const Filter& filter)
{
    GW_TRY(deny(filter, kSpawn, SCMP_ACT_KILL_PROCESS));
    const scmp_arg_cmp no_thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
    int status =
        seccomp_rule_add_array(filter.get(), SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1, &no_thread);
    if (status >= 0)
        status = seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0,
                                        nullptr);
    if (status < 0)
        return refused("a rule for clone", status);
    return ok();
}

}  // namespace

Result<void> enter_sandbox(const SandboxOptions& options)
{
    using Elevate = SandboxOptions::Elevate;
    if (!options.enabled)
        return ok();
    const Filter filter(seccomp_init(SCMP_ACT_ALLOW));
    if (!filter)
        return Error(Errc::OutOfMemory, "sandbox: no filter");
    GW_TRY(deny(filter, kNever, SCMP_ACT_KILL_PROCESS));
    if (!options.obsolete)
        GW_TRY(deny(filter, kObsolete, SCMP_ACT_KILL_PROCESS));
    if (options.elevate == Elevate::Deny)
        GW_TRY(deny(filter, kElevate, SCMP_ACT_KILL_PROCESS));
    if (options.elevate == Elevate::Children && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return Error::from_errno("sandbox: no_new_privs");
    if (!options.spawn)
        GW_TRY(deny_spawning(filter));
    if (!options.resource_control)
        GW_TRY(deny(filter, kResource, SCMP_ACT_KILL_PROCESS));
    if (const int status = seccomp_load(filter.get()); status < 0)
        return refused("loading the filter", status);
    return ok();
}

#else

Result<void> enter_sandbox(const SandboxOptions& options)
{
    if (!options.enabled)
        return ok();
    return Error(Errc::Unsupported,
                 "sandboxing request but seccomp is not compiled into this build");
}

#endif

}  // namespace godwit::system
