// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/guest_memory.h"

#include "system/ram_backing.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <sys/mman.h>

namespace godwit::system {

namespace {

constexpr std::size_t kMaxIdLength = 255;  // the stream has one byte for it

}  // namespace

struct RamBlock::Impl {
    std::string id;
    RamBacking backing;
    std::uint64_t fd_offset = 0;
    std::atomic<std::uint64_t> used_length{0};
    std::uint64_t max_length = 0;
    bool shared = false;
    bool writable = true;
    bool discard_data = false;
    std::atomic<bool> migratable{true};
    std::unique_ptr<DirtyLog> dirty;
    std::weak_ptr<GuestMemory::Impl> owner;

    bool holds(std::uint64_t offset, std::uint64_t length) const noexcept
    {
        return offset <= max_length && length <= max_length - offset;
    }
    Result<void> punch(std::uint64_t offset, std::uint64_t length);
    bool may_discard() const noexcept;
};

struct GuestMemory::Impl {
    using Observer = std::function<void(Change, RamBlock&)>;

    void notify(Change change, RamBlock& block)
    {
        generation.fetch_add(1);
        const auto present = observers;  // an observer may come or go meanwhile
        for (const auto& [id, observer] : present)
            observer(change, block);
    }

    mutable std::shared_mutex mutex;  // guards blocks; changes hold the machine lock as well
    std::vector<std::shared_ptr<RamBlock>> blocks;
    std::atomic<std::uint64_t> generation{0};
    std::atomic<unsigned> keepers{0};             // of pages: those who forbid to discard any
    std::map<std::uint64_t, Observer> observers;  // machine lock
    std::uint64_t next_observer = 1;
};

RamBlock::RamBlock() : impl_(std::make_unique<Impl>()) {}

RamBlock::~RamBlock()
{
    if (impl_->discard_data && impl_->shared && impl_->backing.mapping)
        (void)impl_->backing.mapping.advise(MADV_REMOVE);
}

const std::string& RamBlock::id() const noexcept
{
    return impl_->id;
}

std::byte* RamBlock::host() const noexcept
{
    return impl_->backing.mapping.data();
}

std::uint64_t RamBlock::used_length() const noexcept
{
    return impl_->used_length.load(std::memory_order_acquire);
}

std::uint64_t RamBlock::max_length() const noexcept
{
    return impl_->max_length;
}

std::uint64_t RamBlock::page_size() const noexcept
{
    return impl_->backing.page_size;
}

int RamBlock::fd() const noexcept
{
    return impl_->backing.fd.get();
}

std::uint64_t RamBlock::fd_offset() const noexcept
{
    return impl_->fd_offset;
}

bool RamBlock::shared() const noexcept
{
    return impl_->shared;
}

RamSource RamBlock::source() const noexcept
{
    return impl_->backing.source;
}

bool RamBlock::writable() const noexcept
{
    return impl_->writable;
}

bool RamBlock::migratable() const noexcept
{
    return impl_->migratable.load(std::memory_order_relaxed);
}

void RamBlock::set_migratable(bool on) noexcept
{
    impl_->migratable.store(on, std::memory_order_relaxed);
}

DirtyLog& RamBlock::dirty() noexcept
{
    return *impl_->dirty;
}

void RamBlock::mark_dirty(std::uint64_t offset, std::uint64_t length) noexcept
{
    if (length == 0)
        return;
    const PageIndex first = offset >> kPageBits;
    const PageIndex last = (offset + length - 1) >> kPageBits;
    impl_->dirty->mark(PageRun{first, last - first + 1});
}

bool RamBlock::Impl::may_discard() const noexcept
{
    const auto all = owner.lock();
    return !all || all->keepers == 0;
}

Result<void> RamBlock::Impl::punch(std::uint64_t offset, std::uint64_t length)
{
    const bool own_zeros = backing.source != RamSource::File;
    if (!shared && !own_zeros)
        return Error(Errc::Unsupported,
                     fmt::format("'{}' is a private mapping of a file; its pages cannot be "
                                 "discarded",
                                 id));
    if (shared &&
        ::fallocate(backing.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(fd_offset + offset), static_cast<off_t>(length)) < 0)
        return Error::from_errno(fmt::format("cannot discard pages of '{}'", id));
    return with_context(backing.mapping.advise(offset, length, MADV_DONTNEED),
                        fmt::format("cannot discard pages of '{}'", id));
}

Result<void> RamBlock::discard(std::uint64_t offset, std::uint64_t length)
{
    if (!impl_->holds(offset, length) || offset % page_size() != 0 || length % page_size() != 0)
        return Error(Errc::InvalidArgument,
                     fmt::format("cannot discard {:#x} bytes at {:#x} of '{}': not whole pages of "
                                 "it",
                                 length, offset, id()));
    if (length == 0)
        return {};
    if (!impl_->writable)
        return Error(Errc::Unsupported, fmt::format("'{}' is read-only", id()));
    if (!impl_->may_discard())
        return Error(Errc::Unsupported,
                     fmt::format("pages of '{}' are in use by a device's IOMMU", id()));
    return impl_->punch(offset, length);
}

Result<void> RamBlock::resize(std::uint64_t length)
{
    const std::uint64_t page = page_size();
    if (length > max_length())
        return Error(Errc::InvalidArgument, fmt::format("'{}' cannot have {:#x} bytes, only {:#x}",
                                                        id(), length, max_length()));
    const std::uint64_t rounded = (length + page - 1) / page * page;
    const std::uint64_t old = used_length();
    if (rounded == old)
        return {};
    if (rounded < old && impl_->may_discard())  // so that it reads as zeros when it grows
        GW_TRY(impl_->punch(rounded, old - rounded));
    else if (rounded < old && writable())
        std::memset(host() + rounded, 0, old - rounded);
    impl_->used_length.store(rounded, std::memory_order_release);
    mark_dirty(0, rounded);
    if (const auto owner = impl_->owner.lock())
        owner->notify(GuestMemory::Change::Resized, *this);
    return {};
}

GuestMemory::GuestMemory() : impl_(std::make_shared<Impl>()) {}

GuestMemory::~GuestMemory() = default;

namespace {

Result<void> check(const RamBlockOptions& options)
{
    if (options.id.empty() || options.id.size() > kMaxIdLength)
        return Error(
            Errc::InvalidArgument,
            fmt::format("'{}' cannot name a RAM block: 1 to {} bytes", options.id, kMaxIdLength));
    if (options.used_length == 0 || options.used_length > options.max_length ||
        options.used_length % kPageSize != 0 || options.max_length % kPageSize != 0)
        return Error(Errc::InvalidArgument,
                     fmt::format("RAM block '{}' cannot have {:#x} of {:#x} bytes", options.id,
                                 options.used_length, options.max_length));
    return {};
}

}  // namespace

Result<RamBlock*> GuestMemory::create(RamBlockOptions options)
{
    if (options.max_length == 0)
        options.max_length = options.used_length;
    GW_TRY(check(options));
    if (find(options.id))
        return Error(Errc::Exists, fmt::format("RAM block '{}' exists already", options.id));

    const std::shared_ptr<RamBlock> block(new RamBlock);
    RamBlock::Impl& impl = *block->impl_;
    impl.backing = GW_TRY(make_ram_backing(options));
    impl.dirty = GW_TRY(DirtyLog::create(options.max_length >> kPageBits));
    impl.id = std::move(options.id);
    impl.fd_offset = options.file_offset;
    impl.used_length.store(options.used_length);
    impl.max_length = options.max_length;
    impl.shared = options.shared;
    impl.writable = !options.rom;
    impl.discard_data = options.discard_data;
    impl.migratable = options.migratable;
    impl.owner = impl_;
    {
        const std::unique_lock lock(impl_->mutex);
        const auto place = std::ranges::find_if(impl_->blocks, [&](const auto& other) {
            return other->max_length() < block->max_length();
        });
        impl_->blocks.insert(place, block);
    }
    impl_->notify(Change::Added, *block);
    return block.get();
}

void GuestMemory::remove(RamBlock& block) noexcept
{
    impl_->notify(Change::Removed, block);
    std::shared_ptr<RamBlock> keep;  // a flat view may hold it a little longer than we do
    const std::unique_lock lock(impl_->mutex);
    const auto place = std::ranges::find_if(
        impl_->blocks, [&](const auto& other) { return &block == other.get(); });
    if (place == impl_->blocks.end())
        return;
    keep = std::move(*place);
    impl_->blocks.erase(place);
}

std::vector<RamBlock*> GuestMemory::blocks() const
{
    const std::shared_lock lock(impl_->mutex);
    std::vector<RamBlock*> list;
    list.reserve(impl_->blocks.size());
    for (const auto& block : impl_->blocks)
        list.push_back(block.get());
    return list;
}

RamBlock* GuestMemory::find(std::string_view id) const noexcept
{
    const std::shared_lock lock(impl_->mutex);
    for (const auto& block : impl_->blocks)
        if (block->id() == id)
            return block.get();
    return nullptr;
}

std::pair<RamBlock*, std::uint64_t> GuestMemory::block_of(const void* host) const noexcept
{
    const auto at = reinterpret_cast<std::uintptr_t>(host);
    const std::shared_lock lock(impl_->mutex);
    for (const auto& block : impl_->blocks) {
        const auto start = reinterpret_cast<std::uintptr_t>(block->host());
        if (at >= start && at - start < block->max_length())
            return {block.get(), at - start};
    }
    return {nullptr, 0};
}

std::uint64_t GuestMemory::total_bytes() const noexcept
{
    const std::shared_lock lock(impl_->mutex);
    std::uint64_t total = 0;
    for (const auto& block : impl_->blocks)
        total += block->used_length();
    return total;
}

std::uint64_t GuestMemory::generation() const noexcept
{
    return impl_->generation.load();
}

Registration GuestMemory::forbid_discard()
{
    ++impl_->keepers;
    return Registration([impl = impl_]() noexcept { --impl->keepers; });
}

bool GuestMemory::may_discard() const noexcept
{
    return impl_->keepers == 0;
}

Registration GuestMemory::on_change(std::function<void(Change, RamBlock&)> observer)
{
    const std::uint64_t id = impl_->next_observer++;
    impl_->observers.emplace(id, std::move(observer));
    return Registration([impl = std::weak_ptr(impl_), id]() noexcept {
        if (const auto alive = impl.lock())
            alive->observers.erase(id);
    });
}

}  // namespace godwit::system
