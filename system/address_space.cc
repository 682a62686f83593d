// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/address_space.h"

#include "system/address_space_private.h"

#include <algorithm>
#include <cassert>

namespace godwit::system {

AddressSpace::AddressSpace(std::string name, MachineLock& lock, std::uint64_t size)
    : impl_(std::make_shared<Impl>(std::move(name), lock, size))
{}

AddressSpace::~AddressSpace() = default;

const std::string& AddressSpace::name() const noexcept
{
    return impl_->name;
}

MachineLock& AddressSpace::lock() const noexcept
{
    return impl_->lock;
}

void AddressSpace::on_error(std::function<void(const Error&)> handler)
{
    impl_->on_error = std::move(handler);
}

// --- Transactions

AddressSpace::Transaction::Transaction(AddressSpace& space) : space_(space)
{
    ++space_.impl_->depth;
}

AddressSpace::Transaction::~Transaction()
{
    if (!open_)
        return;
    const auto result = commit();
    if (!result && space_.impl_->on_error)
        space_.impl_->on_error(result.error());
}

Result<void> AddressSpace::Transaction::commit()
{
    if (!std::exchange(open_, false))
        return {};
    return space_.impl_->end_transaction();
}

Region* AddressSpace::Impl::region(RegionId id) noexcept
{
    const auto found = std::ranges::find(regions, id, &Region::id);
    return found == regions.end() ? nullptr : &*found;
}

void AddressSpace::Impl::before_change()
{
    assert(depth > 0);
    if (!before)
        before = regions;
}

Result<void> AddressSpace::Impl::end_transaction()
{
    assert(depth > 0);
    if (--depth != 0 || !before)
        return {};
    auto result = commit();
    if (!result)
        regions = std::move(*before);
    before.reset();
    return result;
}

Result<void> AddressSpace::Impl::commit()
{
    auto next = FlatView::render(regions, size);
    const auto old = publisher.current();
    if (old->sections() != next->sections()) {
        for (MemoryListener* listener : listeners)
            listener->begin();
        auto told = tell(old->sections(), next->sections());
        if (told)
            publisher.publish(std::move(next));
        for (MemoryListener* listener : listeners)
            listener->commit();
        return told;
    }
    return {};
}

namespace {

using Sections = std::vector<MemorySection>;

/// The same memory at the same place, whatever it is called and whether it is logged.
bool same_place(const MemorySection& a, const MemorySection& b) noexcept
{
    return a.start == b.start && a.size == b.size && a.kind == b.kind && a.block == b.block &&
           a.block_offset == b.block_offset && a.io == b.io && a.io_offset == b.io_offset;
}

const MemorySection* same_in(const Sections& sections, const MemorySection& wanted)
{
    const auto found = std::ranges::lower_bound(sections, wanted.start, {}, &MemorySection::start);
    return found != sections.end() && same_place(*found, wanted) ? &*found : nullptr;
}

void tell_removed(const std::vector<MemoryListener*>& listeners, const MemorySection& section,
                  std::size_t count)
{
    for (std::size_t i = count; i-- > 0;) {
        if (section.logged)
            listeners[i]->log_stop(section);
        listeners[i]->region_del(section);
    }
}

Result<void> tell_added(const std::vector<MemoryListener*>& listeners, const MemorySection& section)
{
    for (std::size_t i = 0; i < listeners.size(); ++i) {
        auto added = listeners[i]->region_add(section);
        if (!added) {
            tell_removed(listeners, section, i);
            return with_context(std::move(added), listeners[i]->name());
        }
        if (section.logged)
            listeners[i]->log_start(section);
    }
    return {};
}

void tell_kept(const std::vector<MemoryListener*>& listeners, const MemorySection& old_section,
               const MemorySection& section)
{
    for (MemoryListener* listener : listeners)
        listener->region_nop(section);
    if (section.logged && !old_section.logged)
        for (MemoryListener* listener : listeners)
            listener->log_start(section);
    if (!section.logged && old_section.logged)
        for (auto listener = listeners.rbegin(); listener != listeners.rend(); ++listener)
            (*listener)->log_stop(section);
}

}  // namespace

void AddressSpace::Impl::sync_before_removal(const Sections& going)
{
    if (going.empty())
        return;
    for (MemoryListener* listener : listeners) {
        if (listener->has_global_sync()) {
            listener->log_sync_global(false);
            continue;
        }
        for (const MemorySection& section : going)
            listener->log_sync(section);
    }
}

Result<void> AddressSpace::Impl::tell(const Sections& old_sections, const Sections& new_sections)
{
    Sections going;
    Sections going_logged;
    for (const MemorySection& section : old_sections) {
        if (same_in(new_sections, section))
            continue;
        going.push_back(section);
        if (section.kind == RegionKind::Ram && (log_users != 0 || section.logged))
            going_logged.push_back(section);
    }
    sync_before_removal(going_logged);
    for (const MemorySection& section : going)
        tell_removed(listeners, section, listeners.size());

    Sections added;
    for (const MemorySection& section : new_sections) {
        if (const MemorySection* old = same_in(old_sections, section)) {
            tell_kept(listeners, *old, section);
            continue;
        }
        auto result = tell_added(listeners, section);
        if (!result) {
            for (auto undo = added.rbegin(); undo != added.rend(); ++undo)
                tell_removed(listeners, *undo, listeners.size());
            for (const MemorySection& back : going)
                (void)tell_added(listeners, back);  // it was there a moment ago
            return result;
        }
        added.push_back(section);
    }
    return {};
}

// --- Regions

RegionId AddressSpace::add(RegionSpec spec)
{
    Transaction transaction(*this);
    impl_->before_change();
    const RegionId id = impl_->next_region++;
    impl_->regions.push_back(Region{.id = id, .spec = std::move(spec)});
    return id;
}

void AddressSpace::remove(RegionId id)
{
    Transaction transaction(*this);
    impl_->before_change();
    std::erase_if(impl_->regions, [id](const Region& region) { return region.id == id; });
}

void AddressSpace::set_enabled(RegionId id, bool enabled)
{
    Transaction transaction(*this);
    impl_->before_change();
    if (Region* region = impl_->region(id))
        region->spec.enabled = enabled;
}

void AddressSpace::move(RegionId id, GuestAddr start)
{
    Transaction transaction(*this);
    impl_->before_change();
    if (Region* region = impl_->region(id))
        region->spec.start = start;
}

void AddressSpace::resize(RegionId id, std::uint64_t size)
{
    Transaction transaction(*this);
    impl_->before_change();
    if (Region* region = impl_->region(id))
        region->spec.size = size;
}

void AddressSpace::set_logged(RegionId id, bool on)
{
    Transaction transaction(*this);
    impl_->before_change();
    if (Region* region = impl_->region(id))
        region->logged = on;
}

std::vector<RegionSpec> AddressSpace::regions() const
{
    std::vector<RegionSpec> list;
    list.reserve(impl_->regions.size());
    for (const Region& region : impl_->regions)
        list.push_back(region.spec);
    return list;
}

std::optional<RegionSpec> AddressSpace::region(RegionId id) const
{
    const Region* found = impl_->region(id);
    return found ? std::optional(found->spec) : std::nullopt;
}

// --- Listeners

void remove_sections(MemoryListener& listener, const std::vector<MemorySection>& sections,
                     std::size_t count)
{
    while (count-- > 0) {
        if (sections[count].logged)
            listener.log_stop(sections[count]);
        listener.region_del(sections[count]);
    }
}

Result<void> add_sections(MemoryListener& listener, const std::vector<MemorySection>& sections)
{
    for (std::size_t i = 0; i < sections.size(); ++i) {
        auto added = listener.region_add(sections[i]);
        if (!added) {
            remove_sections(listener, sections, i);
            return with_context(std::move(added), listener.name());
        }
        if (sections[i].logged)
            listener.log_start(sections[i]);
    }
    return {};
}

Result<Registration> AddressSpace::try_add_listener(MemoryListener& listener)
{
    if (impl_->log_users != 0)
        GW_TRY(with_context(listener.log_global_start(), listener.name()));
    const auto view = impl_->publisher.current();
    listener.begin();
    auto added = add_sections(listener, view->sections());
    listener.commit();
    if (!added) {
        if (impl_->log_users != 0)
            listener.log_global_stop();
        return std::unexpected(std::move(added).error());
    }
    const auto place = std::ranges::upper_bound(impl_->listeners, listener.priority(), {},
                                                &MemoryListener::priority);
    impl_->listeners.insert(place, &listener);
    return Registration([weak = std::weak_ptr(impl_), gone = &listener]() noexcept {
        const auto impl = weak.lock();
        if (!impl)
            return;
        std::erase(impl->listeners, gone);
        if (impl->log_users != 0)
            gone->log_global_stop();
        const auto last_view = impl->publisher.current();
        gone->begin();
        remove_sections(*gone, last_view->sections(), last_view->sections().size());
        gone->commit();
    });
}

Registration AddressSpace::add_listener(MemoryListener& listener)
{
    auto added = try_add_listener(listener);
    if (added)
        return std::move(*added);
    if (impl_->on_error)
        impl_->on_error(added.error());
    return {};
}

std::vector<MemoryListener*> AddressSpace::listeners() const
{
    return impl_->listeners;
}

}  // namespace godwit::system
