// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Disk images: raw files (or nothing, "null-co") by node name, and the drives that disks are made
// from.
#pragma once

#include "system/fd_store.h"
#include "system/object.h"
#include "system/run_state.h"
#include "util/result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::system {
class Vm;
}
namespace godwit::qapi {
class BlockCommands;
struct BlockdevOptions;
}  // namespace godwit::qapi

namespace godwit::hw {

inline constexpr std::uint64_t kSectorBytes = 512;

/// An image that is open.
///
/// Units    bytes; size_bytes() is the file's size rounded up to a sector, the rest of the last
/// sector reads
///          as zeros.
/// Threads  with the machine lock. Requests are carried out at once.
/// Errors   InvalidArgument past the end, PermissionDenied for writes to an image that is read-only
///          or not active, Io.
/// Locking  none is taken: two processes may have one image open, as source and destination do.
class BlockNode {
public:
    struct Options {
        std::string node_name;
        std::string driver;  ///< "raw", "file", "null-co"
        std::string filename;
        std::string below;  ///< the node it was made over; that one cannot be removed before it
        bool read_only = false;
        bool auto_read_only = false;  ///< read-only if it cannot be opened otherwise
        bool direct = false;
        bool no_flush = false;
        std::uint64_t offset = 0;
        std::optional<std::uint64_t> size;  ///< of it from `offset` on; null-co: default 1 GiB
    };
    static Result<std::unique_ptr<BlockNode>> open(system::FdStore& fds, Options options);

    const std::string& name() const noexcept { return options_.node_name; }
    const Options& options() const noexcept { return options_; }
    std::uint64_t size_bytes() const noexcept { return size_; }
    std::uint64_t sectors() const noexcept { return size_ / kSectorBytes; }
    bool read_only() const noexcept { return options_.read_only; }
    std::uint64_t allocated_bytes() const noexcept;  ///< on the host
    /// Whether it is ours to write, or belongs to the other end of a migration.
    bool active() const noexcept { return active_; }
    void set_active(bool yes) noexcept { active_ = yes; }

    Result<void> read(std::uint64_t offset, std::span<std::byte> into);
    Result<void> write(std::uint64_t offset, std::span<const std::byte> from);
    Result<void> flush();
    /// The same, if anything was written since.
    Result<void> flush_writes() { return written_ ? flush() : Result<void>(); }
    /// Zeros, with or (`unmap`) without room on the host.
    Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool unmap);

private:
    Result<void> check_writable() const;
    explicit BlockNode(Options options) : options_(std::move(options)) {}
    Options options_;
    system::OpenedFile file_;
    std::uint64_t size_ = 0;
    std::uint64_t file_bytes_ = 0;
    bool active_ = true;
    bool written_ = false;  // since the last flush
};

/// What -drive makes: an id, the image in it, and whose it is.
struct Drive {
    std::string id;  ///< "d0", "ide0-hd0"; "" for a node that a device uses by its own name
    BlockNode* node = nullptr;
    std::string interface;  ///< "none", "ide", "virtio"
    unsigned index = 0;     ///< among those of its interface
    system::Object* user = nullptr;
};

/// All images and drives of a Vm.
///
/// Activity as QEMU has it: a destination's images become active when its guest starts, by itself
///          or by `cont`; a source's are given away with the guest, and come back if it runs again.
/// Order    when the guest stops, what it wrote goes to the storage, after the devices stopped.
/// Errors   in QEMU's words: "Could not open 'x': No such file or directory", "Duplicate ID 'd0'
/// for drive",
///          "Duplicate nodes with node-name='n'".
class BlockSet final : public system::Object {
public:
    /// The Vm's one, made on first use.
    static BlockSet& of(system::Vm& vm);
    ~BlockSet() override;

    /// -drive: file, if, id, index, format, readonly (read-only), media=disk, node-name, cache, and
    /// options that change nothing here (aio, werror, rerror, discard, detect-zeroes,
    /// snapshot=off).
    Result<Drive*> add_drive(std::string_view option);
    /// -blockdev: JSON or keys.
    Result<void> add_blockdev(std::string_view option);
    /// blockdev-add.
    Result<void> add_node(const qapi::BlockdevOptions& options);
    /// Errors   DeviceNotFound: "Failed to find node with node-name='n'"; Busy: "Node n is in use",
    /// "Block device n is in use" (by a node over it).
    Result<void> remove_node(std::string_view name);

    BlockNode* find_node(std::string_view name) const noexcept;
    Drive* find_drive(std::string_view id) const noexcept;
    std::vector<const Drive*> drives() const;
    std::vector<BlockNode*> nodes() const;
    /// -drive without if=none: disks the board attaches itself, by index.
    std::vector<Drive*> default_disks(std::string_view interface = "ide") const;

    /// A device takes a drive (or a node) for itself. `property` is for the text: "ide-hd.drive".
    /// Errors   "Property 'ide-hd.drive' can't find value 'x'", "Drive 'x' is already in use by
    /// another device".
    Result<BlockNode*> claim(std::string_view drive, system::Object& user,
                             std::string_view property);
    void release(system::Object& user) noexcept;

private:
    Result<BlockNode*> insert(BlockNode::Options options);
    void follow(system::RunState state) noexcept;
    Result<void> flush_writes();
    BlockSet() = default;
    friend Result<void> register_block(system::TypeRegistry& types);
    system::Vm* vm_ = nullptr;
    std::vector<std::unique_ptr<BlockNode>> nodes_;
    std::vector<std::unique_ptr<Drive>> drives_;
    unsigned automatic_ = 0;
    bool active_ = true;
    Registration activity_;
    Registration flusher_;
};

/// The disk to boot from: the ide-hd with the lowest bootindex, else the first; null without one.
BlockNode* boot_disk(system::Vm& vm);

/// query-block, query-named-block-nodes, blockdev-add, blockdev-del.
std::unique_ptr<qapi::BlockCommands> make_block_commands(system::Vm& vm);

}  // namespace godwit::hw
