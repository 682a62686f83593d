// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Type "virtio-blk-device", bus "virtio-bus": a disk.
//
// Properties  drive, serial, bootindex (-1), queue-size (256), and accepted without effect:
// write-cache,
//             share-rw, logical_block_size, physical_block_size (512 only), config-wce, num-queues
//             (1 only).
// Section     `virtio-blk` v2. Requests are finished before the register write returns, so none
// waits in it; those
//             that a QEMU left in a stream are carried out once the guest runs.
// Source      Virtio 1.2, section 5.2.
#include "hw/block.h"
#include "hw/register_private.h"
#include "hw/virtio.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"
#include "system/clock.h"
#include "system/property.h"
#include "system/vm.h"

#include <algorithm>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

constexpr std::uint16_t kBlockDevice = 2;
constexpr std::size_t kConfigBytes = 57;
constexpr std::size_t kChunk = 256 * 1024;
constexpr std::uint32_t kMaxZeroSectors = 0x3fffff;

enum Feature : std::uint64_t {
    kSegMax = 1 << 2,
    kGeometry = 1 << 4,
    kReadOnly = 1 << 5,
    kBlockSize = 1 << 6,
    kScsi = 1 << 7,  // shown to legacy drivers; every such request is refused
    kFlush = 1 << 9,
    kTopology = 1 << 10,
    kConfigWce = 1 << 11,
    kDiscard = 1 << 13,
    kWriteZeroes = 1 << 14,
};

enum Request : std::uint32_t { In = 0, Out = 1, Flush = 4, GetId = 8, Discard = 11, Zeroes = 13 };
enum Status : std::uint8_t { Good = 0, IoError = 1, Unsupported = 2 };

std::uint64_t le(std::span<const std::byte> bytes)
{
    std::uint64_t value = 0;
    for (std::size_t n = bytes.size(); n-- > 0;)
        value = value << 8 | static_cast<std::uint8_t>(bytes[n]);
    return value;
}

}  // namespace

class VirtioBlk final : public VirtioDevice {
public:
    VirtioBlk() : VirtioDevice(kBlockDevice, "virtio-blk", 2) {}

    std::string drive_;
    std::string serial_;
    std::string write_cache_ = "auto";
    std::int32_t bootindex_ = -1;
    std::uint16_t queue_size_ = 256;
    std::uint16_t num_queues_ = 1;
    std::uint32_t logical_ = 512;
    std::uint32_t physical_ = 512;
    bool share_rw_ = false;
    bool config_wce_ = true;

protected:
    Result<void> realize() override;
    void unrealize() noexcept override;
    std::uint64_t device_features() const override;
    bool legacy_any_layout() const override { return false; }
    void refresh_config() override;
    void handle_queue(unsigned) override;
    void save_device(migration::stream::StreamWriter& out) override { out.put_u8(0); }
    Result<void> load_device(migration::stream::StreamReader& in) override;
    void loaded() override;
    void device_reset() override { waiting_.clear(); }

private:
    void carry_out(const VirtioElement& element);
    Status run(const VirtioElement& element, std::uint32_t& written);
    Status read_sectors(const VirtioElement& element, std::uint64_t sector, std::uint32_t& written);
    Status write_sectors(const VirtioElement& element, std::uint64_t sector);
    Status zero_sectors(const VirtioElement& element, bool discard);
    Status get_id(const VirtioElement& element, std::uint32_t& written);

    BlockNode* node_ = nullptr;
    std::vector<VirtioElement> waiting_;  // came with a stream
    std::unique_ptr<system::Timer> resume_;
};

Result<void> VirtioBlk::realize()
{
    if (drive_.empty())
        return Error(Errc::InvalidArgument, "drive property not set");
    if (logical_ != kSectorBytes)
        return Error(Errc::InvalidArgument, "logical_block_size must be 512");
    if (num_queues_ != 1)
        return Error(Errc::InvalidArgument, "num-queues must be 1");
    if (queue_size_ < 4 || queue_size_ > kVirtioMaxRing || (queue_size_ & (queue_size_ - 1)) != 0)
        return Error(Errc::InvalidArgument,
                     fmt::format("invalid queue-size property ({}), must be a power of 2 (max {})",
                                 queue_size_, kVirtioMaxRing));
    GW_TRY(VirtioDevice::realize());
    node_ = GW_TRY(BlockSet::of(vm()).claim(drive_, *this, "virtio-blk-device.drive"));
    resize_config(kConfigBytes);
    add_queue(queue_size_);
    resume_ = std::make_unique<system::Timer>(vm().clocks(), system::ClockType::Virtual, [this] {
        for (const VirtioElement& element : std::exchange(waiting_, {}))
            carry_out(element);
        handle_queue(0);
    });
    return {};
}

void VirtioBlk::unrealize() noexcept
{
    resume_.reset();
    BlockSet::of(vm()).release(*this);
}

std::uint64_t VirtioBlk::device_features() const
{
    std::uint64_t all = kSegMax | kGeometry | kBlockSize | kFlush | kTopology | kConfigWce |
                        kDiscard | kWriteZeroes;
    if (legacy())
        all |= kScsi;
    if (node_ != nullptr && node_->read_only())
        all |= kReadOnly;
    return all;
}

void VirtioBlk::refresh_config()
{
    const auto put = [this](std::size_t at, std::uint64_t value, unsigned bytes) {
        for (unsigned n = 0; n < bytes; ++n, value >>= 8)
            config()[at + n] = static_cast<std::uint8_t>(value);
    };
    const std::uint64_t sectors = node_->sectors();
    put(0, sectors, 8);
    put(12, queue_size_ - 2u, 4);
    put(16, std::clamp<std::uint64_t>(sectors / (16 * 63), 2, 16383), 2);
    put(18, 16, 1);
    put(19, 63, 1);
    put(20, kSectorBytes, 4);
    put(32, 1, 1);  // writes are cached until a flush
    put(34, num_queues_, 2);
    put(36, kMaxZeroSectors, 4);
    put(40, 1, 4);
    put(44, 1, 4);
    put(48, kMaxZeroSectors, 4);
    put(52, 1, 4);
    put(56, 1, 1);
}

// --- requests ----------------------------------------------------------------------------------

Status VirtioBlk::read_sectors(const VirtioElement& element, std::uint64_t sector,
                               std::uint32_t& written)
{
    const std::uint64_t bytes = element.in_bytes() - 1;
    if (bytes % kSectorBytes != 0 || sector > node_->sectors() ||
        bytes > node_->size_bytes() - sector * kSectorBytes)
        return IoError;
    std::vector<std::byte> buffer(std::min<std::uint64_t>(bytes, kChunk));
    for (std::uint64_t done = 0; done < bytes;) {
        const auto piece = std::span(buffer).first(std::min<std::uint64_t>(bytes - done, kChunk));
        if (!node_->read(sector * kSectorBytes + done, piece))
            return IoError;
        const auto moved = write_in(element, done, piece);
        if (!moved)
            return IoError;
        done += piece.size();
    }
    written = static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, 0xfffffffe));
    return Good;
}

Status VirtioBlk::write_sectors(const VirtioElement& element, std::uint64_t sector)
{
    const std::uint64_t bytes = element.out_bytes() - 16;
    if (node_->read_only() || bytes % kSectorBytes != 0 || sector > node_->sectors() ||
        bytes > node_->size_bytes() - sector * kSectorBytes)
        return IoError;
    std::vector<std::byte> buffer(std::min<std::uint64_t>(bytes, kChunk));
    for (std::uint64_t done = 0; done < bytes;) {
        const auto piece = std::span(buffer).first(std::min<std::uint64_t>(bytes - done, kChunk));
        if (!read_out(element, 16 + done, piece) ||
            !node_->write(sector * kSectorBytes + done, piece))
            return IoError;
        done += piece.size();
    }
    return Good;
}

Status VirtioBlk::zero_sectors(const VirtioElement& element, bool discard)
{
    std::array<std::byte, 16> segment{};
    if (element.out_bytes() != 32)  // one segment, as the configuration says
        return Unsupported;
    if (!read_out(element, 16, segment))
        return IoError;
    const std::span<const std::byte> all(segment);
    const std::uint64_t sector = le(all.first(8));
    const std::uint64_t count = le(all.subspan(8, 4));
    const std::uint64_t flags = le(all.subspan(12, 4));
    if ((discard && flags != 0) || (flags & ~std::uint64_t{1}) != 0)
        return Unsupported;
    if (node_->read_only() || count > kMaxZeroSectors || sector > node_->sectors() ||
        count > node_->sectors() - sector)
        return IoError;
    const auto done = node_->write_zeroes(sector * kSectorBytes, count * kSectorBytes,
                                          discard || (flags & 1) != 0);
    return done ? Good : IoError;
}

Status VirtioBlk::get_id(const VirtioElement& element, std::uint32_t& written)
{
    std::array<std::byte, 20> id{};
    for (std::size_t n = 0; n < std::min(id.size(), serial_.size()); ++n)
        id[n] = static_cast<std::byte>(serial_[n]);
    const auto room = std::min<std::uint64_t>(element.in_bytes() - 1, id.size());
    if (!write_in(element, 0, std::span(id).first(room)))
        return IoError;
    written = static_cast<std::uint32_t>(room);
    return Good;
}

Status VirtioBlk::run(const VirtioElement& element, std::uint32_t& written)
{
    std::array<std::byte, 16> header{};
    const auto got = read_out(element, 0, header);
    if (!got || *got != header.size())
        return IoError;
    const std::uint64_t sector = le(std::span<const std::byte>(header).subspan(8, 8));
    switch (le(std::span<const std::byte>(header).first(4))) {
    case Request::In:
        return read_sectors(element, sector, written);
    case Request::Out:
        return write_sectors(element, sector);
    case Request::Flush:
        return node_->flush() ? Good : IoError;
    case Request::GetId:
        return get_id(element, written);
    case Request::Discard:
        return zero_sectors(element, true);
    case Request::Zeroes:
        return zero_sectors(element, false);
    default:
        return Unsupported;
    }
}

void VirtioBlk::carry_out(const VirtioElement& element)
{
    if (element.out_bytes() < 16 || element.in_bytes() < 1) {
        break_device(Error(Errc::BadFormat, "virtio-blk missing headers"));
        return;
    }
    std::uint32_t written = 0;
    const std::byte status{run(element, written)};
    if (!write_in(element, element.in_bytes() - 1, std::span(&status, 1))) {
        break_device(Error(Errc::BadFormat, "virtio-blk status byte is not in memory"));
        return;
    }
    push(0, element, written + 1);
    notify(0);
}

void VirtioBlk::handle_queue(unsigned)
{
    if ((status() & virtio::kDriverOk) == 0)
        return;
    VirtioElement element;
    for (auto taken = pop(0, element); taken && *taken; taken = pop(0, element))
        carry_out(element);
}

// --- requests of a stream ----------------------------------------------------------------------

// Each after a 1, in the host layout of QEMU on x86: numbers of pieces, then arrays of 1024.
Result<void> VirtioBlk::load_device(migration::stream::StreamReader& in)
{
    constexpr std::size_t kArray = kVirtioMaxRing;
    constexpr std::size_t kRecord = 16 + 2 * 8 * kArray + 2 * 16 * kArray;
    waiting_.clear();
    for (;;) {
        const std::uint8_t more = GW_TRY(in.get_u8());
        if (more == 0)
            return {};
        if (more != 1 || waiting_.size() >= kVirtioMaxRing)
            return in.error_here(Errc::BadFormat, "virtio-blk: bad list of requests");
        std::vector<std::byte> raw(kRecord);
        GW_TRY(in.get_bytes(raw));
        const std::span<const std::byte> all(raw);
        VirtioElement element;
        const std::uint64_t index = le(all.first(4));
        const std::uint64_t outs = le(all.subspan(4, 4));
        const std::uint64_t ins = le(all.subspan(8, 4));
        if (index >= kVirtioMaxRing || outs > kArray || ins > kArray)
            return in.error_here(Errc::BadFormat, "virtio-blk: a request too large");
        element.head = static_cast<std::uint16_t>(index);
        const auto take = [&](std::size_t addresses, std::size_t lengths, std::uint64_t count) {
            std::vector<VirtioElement::Piece> pieces;
            for (std::uint64_t n = 0; n < count; ++n)
                pieces.push_back({.address = le(all.subspan(addresses + 8 * n, 8)),
                                  .length = static_cast<std::uint32_t>(
                                      le(all.subspan(lengths + 16 * n + 8, 8)))});
            return pieces;
        };
        element.in = take(16, 16 + 16 * kArray, ins);
        element.out = take(16 + 8 * kArray, 16 + 32 * kArray, outs);
        waiting_.push_back(std::move(element));
    }
}

void VirtioBlk::loaded()
{
    if ((status() & virtio::kDriverOk) != 0)
        resume_->arm_in_ns(0);
}

Result<void> register_virtio_blk(system::TypeRegistry& types)
{
    using system::property;
    using B = VirtioBlk;
    return types.add({.name = "virtio-blk-device",
                      .parent = "virtio-device",
                      .bus = "virtio-bus",
                      .description = "virtio disk",
                      .properties = {property<&B::drive_>("drive", "",
                                                          "Node name or ID of a block "
                                                          "device to use as a backend"),
                                     property<&B::serial_>("serial", ""),
                                     property<&B::bootindex_>("bootindex", -1),
                                     property<&B::queue_size_>("queue-size", 256),
                                     property<&B::num_queues_>("num-queues", 1),
                                     property<&B::logical_>("logical_block_size", 512),
                                     property<&B::physical_>("physical_block_size", 512),
                                     property<&B::write_cache_>("write-cache", "auto"),
                                     property<&B::share_rw_>("share-rw", false),
                                     property<&B::config_wce_>("config-wce", true)},
                      .create = [] { return std::make_unique<VirtioBlk>(); }});
}

}  // namespace godwit::hw
