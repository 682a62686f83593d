// SPDX-License-Identifier: LGPL-2.1-or-later
#include "util/thread.h"

#include <algorithm>
#include <pthread.h>
#include <unistd.h>
#include <utility>

namespace godwit {

namespace {

// The thread's own; nobody else sees it.
thread_local ThreadIdentity identity;

}  // namespace

void set_thread_name(std::string_view name) noexcept
{
    std::array<char, 16> text{};
    std::copy_n(name.data(), std::min(name.size(), kMaxThreadName), text.data());
    ::pthread_setname_np(::pthread_self(), text.data());
    identity.name = text;
    identity.tid = ::gettid();
}

std::string thread_name()
{
    return this_thread_identity().name.data();
}

const ThreadIdentity& this_thread_identity() noexcept
{
    if (identity.tid == 0) [[unlikely]] {
        ::pthread_getname_np(::pthread_self(), identity.name.data(), identity.name.size());
        identity.tid = ::gettid();
    }
    return identity;
}

NamedThread::NamedThread(std::string name, std::move_only_function<void(std::stop_token)> body)
    : thread_([name = std::move(name), body = std::move(body)](std::stop_token stop) mutable {
          set_thread_name(name);
          body(std::move(stop));
      })
{}

}  // namespace godwit
