// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/fd_store.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits>
#include <map>
#include <mutex>

namespace godwit::system {

namespace {

constexpr std::string_view kPrefix = "/dev/fdset/";

struct OwnedMember {
    UniqueFd fd;
    std::optional<std::string> opaque;
};

struct OwnedSet {
    std::vector<OwnedMember> members;  // newest first
    unsigned duplicates = 0;
    bool unused() const noexcept { return members.empty() && duplicates == 0; }
};

/// Whether a member opened as `have` serves a request for `want`.
bool same_access(int have, int want) noexcept
{
    constexpr int kCompared = O_ACCMODE | O_DIRECT;
    return (have & kCompared) == (want & kCompared);
}

}  // namespace

struct FdStore::State {
    mutable std::mutex mutex;  // guards sets
    std::map<std::int64_t, OwnedSet> sets;

    std::int64_t lowest_free_id() const
    {
        std::int64_t id = 0;
        for (const auto& [taken, set] : sets) {
            if (taken != id)
                break;
            ++id;
        }
        return id;
    }

    void drop_duplicate(std::int64_t id) noexcept
    {
        const std::lock_guard guard(mutex);
        const auto found = sets.find(id);
        if (found == sets.end())
            return;
        --found->second.duplicates;
        if (found->second.unused())
            sets.erase(found);
    }
};

FdStore::FdStore() : state_(std::make_shared<State>()) {}
FdStore::~FdStore() = default;

Result<FdStore::Added> FdStore::add(UniqueFd fd, std::optional<std::int64_t> set_id,
                                    std::optional<std::string> opaque)
{
    if (set_id && *set_id < 0)
        return Error(Errc::InvalidArgument, "Parameter 'fdset-id' expects a non-negative value");
    const std::lock_guard guard(state_->mutex);
    const std::int64_t id = set_id ? *set_id : state_->lowest_free_id();
    auto& members = state_->sets[id].members;
    const int number = fd.get();
    members.insert(members.begin(), OwnedMember{std::move(fd), std::move(opaque)});
    return Added{.set_id = id, .fd = number};
}

Result<void> FdStore::remove(std::int64_t set_id, std::optional<std::int64_t> fd)
{
    const std::lock_guard guard(state_->mutex);
    const auto found = state_->sets.find(set_id);
    std::size_t removed = 0;
    if (found != state_->sets.end()) {
        removed = std::erase_if(found->second.members, [&](const OwnedMember& member) {
            return !fd || member.fd.get() == *fd;
        });
        if (found->second.unused())
            state_->sets.erase(found);
    }
    if (removed > 0)
        return {};
    const std::string name =
        fd ? fmt::format("fdset-id:{}, fd:{}", set_id, *fd) : fmt::format("fdset-id:{}", set_id);
    return Error(Errc::NotFound, fmt::format("File descriptor named '{}' not found", name));
}

std::vector<FdStore::Set> FdStore::list() const
{
    const std::lock_guard guard(state_->mutex);
    std::vector<Set> out;
    for (auto it = state_->sets.rbegin(); it != state_->sets.rend(); ++it) {
        Set& set = out.emplace_back(Set{.id = it->first, .members = {}});
        for (const OwnedMember& member : it->second.members)
            set.members.push_back({.fd = member.fd.get(), .opaque = member.opaque});
    }
    return out;
}

Result<OpenedFile> FdStore::open(const std::string& path, int flags, unsigned mode)
{
    if (!path.starts_with(kPrefix)) {
        UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
        if (!fd)
            return Error::from_errno(fmt::format("Could not open '{}'", path));
        return OpenedFile{.fd = std::move(fd), .in_set = {}};
    }
    const auto id = fdset_of_path(path);
    if (!id)
        return Error(Errc::InvalidArgument, fmt::format("Could not parse fdset {}", path));

    const std::lock_guard guard(state_->mutex);
    const auto found = state_->sets.find(*id);
    if (found == state_->sets.end())
        return Error(Errc::NotFound,
                     fmt::format("Could not open '{}': fdset {} does not exist", path, *id));
    for (const OwnedMember& member : found->second.members) {
        const int have = ::fcntl(member.fd.get(), F_GETFL);
        if (have < 0 || !same_access(have, flags))
            continue;
        UniqueFd fd = GW_TRY(with_context(member.fd.dup(), path));
        ++found->second.duplicates;
        return OpenedFile{.fd = std::move(fd),
                          .in_set = Registration(
                              [state = state_, id]() noexcept { state->drop_duplicate(*id); })};
    }
    return Error(
        Errc::PermissionDenied,
        fmt::format("Could not open '{}': fdset {} has no descriptor with that access mode", path,
                    *id),
        EACCES);
}

void FdStore::drop_unused()
{
    const std::lock_guard guard(state_->mutex);
    std::erase_if(state_->sets, [](const auto& entry) { return entry.second.duplicates == 0; });
}

std::optional<std::int64_t> fdset_of_path(std::string_view path) noexcept
{
    if (!path.starts_with(kPrefix))
        return std::nullopt;
    const std::string_view text = path.substr(kPrefix.size());
    std::int64_t id = -1;
    const char* const end = text.data() + text.size();
    const auto [stop, status] = std::from_chars(text.data(), end, id);
    if (status != std::errc() || stop != end || id < 0)
        return std::nullopt;
    return id;
}

}  // namespace godwit::system
