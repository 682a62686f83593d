// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is left of overlapping regions: an immutable list of sections, and how it is published.
#pragma once

#include "system/address_space.h"

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <vector>

namespace godwit::system {

/// A region with its name tag.
struct Region {
    RegionId id = 0;
    RegionSpec spec;
    bool logged = false;
};

/// Sections in ascending order, without overlaps, and a share in each block they lie in.
class FlatView : public std::enable_shared_from_this<FlatView> {
public:
    /// `regions` in the order in which they were added.
    static std::shared_ptr<const FlatView> render(std::span<const Region> regions,
                                                  std::uint64_t size);

    const std::vector<MemorySection>& sections() const noexcept { return sections_; }
    /// Null when nothing is at `address`.
    const MemorySection* find(GuestAddr address) const noexcept;
    /// Bytes from `address`, where nothing is, to the next section or the end of all addresses.
    std::uint64_t hole_length(GuestAddr address) const noexcept;

private:
    void fill_gaps(const Region& region, std::uint64_t size);
    void merge_ram();
    std::vector<MemorySection> sections_;
    std::vector<std::shared_ptr<RamBlock>> blocks_;
};

/// The current view, for readers that take no lock and a writer that does not wait for them.
///
/// A reader counts itself in before it loads the pointer and out when it is done. A view that was
/// replaced is freed once every counter was seen at zero after the replacement: who still uses it
/// was counted before, so its counter cannot have been zero.
///
/// Threads  Reader and current() any; publish() one at a time.
class ViewPublisher {
public:
    explicit ViewPublisher(std::shared_ptr<const FlatView> first);

    class Reader {
    public:
        explicit Reader(const ViewPublisher& publisher) noexcept;
        ~Reader() { counter_.fetch_sub(1, std::memory_order_release); }
        Reader(const Reader&) = delete;
        Reader& operator=(const Reader&) = delete;
        const FlatView& operator*() const noexcept { return *view_; }
        const FlatView* operator->() const noexcept { return view_; }

    private:
        std::atomic<unsigned>& counter_;
        const FlatView* view_;
    };

    std::shared_ptr<const FlatView> current() const;
    void publish(std::shared_ptr<const FlatView> next);
    /// Views replaced and not yet freed; for tests.
    std::size_t retired() const noexcept { return retired_.size(); }

private:
    static constexpr unsigned kShards = 16;
    struct alignas(64) Shard {
        std::atomic<unsigned> readers{0};
    };
    struct Retired {
        std::shared_ptr<const FlatView> view;
        unsigned busy;  // a bit for each shard not yet seen at zero
    };
    void reclaim();

    mutable std::array<Shard, kShards> shards_;
    std::atomic<const FlatView*> published_;
    std::shared_ptr<const FlatView> owner_;
    std::vector<Retired> retired_;
};

}  // namespace godwit::system
