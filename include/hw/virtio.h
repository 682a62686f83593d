// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Virtio devices, their queues, and the bus between a device and its transport.
#pragma once

#include "migration/stream/registry.h"
#include "system/device.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace godwit::hw {

class VirtioDevice;

inline constexpr unsigned kVirtioMaxQueues = 1024;  ///< as the stream has them
inline constexpr std::uint32_t kVirtioMaxRing = 1024;

namespace virtio {
inline constexpr std::uint8_t kDriverOk = 0x04;
inline constexpr std::uint8_t kFeaturesOk = 0x08;
inline constexpr std::uint8_t kNeedsReset = 0x40;

inline constexpr std::uint64_t kNotifyOnEmpty = std::uint64_t{1} << 24;
inline constexpr std::uint64_t kAnyLayout = std::uint64_t{1} << 27;
inline constexpr std::uint64_t kIndirect = std::uint64_t{1} << 28;
inline constexpr std::uint64_t kEventIdx = std::uint64_t{1} << 29;
inline constexpr std::uint64_t kVersion1 = std::uint64_t{1} << 32;
inline constexpr std::uint64_t kRingReset = std::uint64_t{1} << 40;
}  // namespace virtio

/// One split ring as the driver set it up.
struct VirtioQueue {
    std::uint32_t num = 0;  ///< entries, a power of two; 0: the device has no such queue
    std::uint32_t num_default = 0;
    std::uint32_t align = 4096;
    std::uint64_t desc = 0;  ///< 0: not set up
    std::uint64_t avail = 0;
    std::uint64_t used = 0;
    std::uint16_t last_avail = 0;  ///< next entry of the available ring to take
    std::uint16_t used_idx = 0;
    std::uint16_t signalled_used = 0;
    bool signalled_valid = false;
};

/// A chain of buffers that the device took.
struct VirtioElement {
    struct Piece {
        std::uint64_t address = 0;
        std::uint32_t length = 0;
    };
    std::uint16_t head = 0;
    std::vector<Piece> out;  ///< for the device to read
    std::vector<Piece> in;   ///< for the device to write
    std::uint64_t out_bytes() const noexcept;
    std::uint64_t in_bytes() const noexcept;
};

/// What a device asks of what carries it.
class VirtioTransport {
public:
    virtual ~VirtioTransport() = default;
    virtual void notify_queue(unsigned queue) = 0;  ///< interrupt: buffers were used
    virtual void notify_config() = 0;
    virtual bool legacy() const noexcept = 0;
    /// Its part of the section: in front of the device's, and in a subsection.
    virtual void save_head(migration::stream::StreamWriter& out) = 0;
    virtual Result<void> load_head(migration::stream::StreamReader& in) = 0;
    virtual void save_extra(migration::stream::StreamWriter& out) = 0;
    virtual Result<void> load_extra(migration::stream::StreamReader& in) = 0;
};

/// A bus of type "virtio-bus" with room for one device.
class VirtioBus : public system::Bus {
public:
    VirtioBus(std::string name, system::Device& owner, VirtioTransport& transport)
        : Bus("virtio-bus", std::move(name), &owner), transport_(transport)
    {}
    bool full() const override { return !devices().empty(); }
    Result<void> check_plug(system::Device& device) override;
    VirtioTransport& transport() noexcept { return transport_; }
    VirtioDevice* device() const noexcept;

private:
    VirtioTransport& transport_;
};

/// Base of virtio devices. A device adds its queues in realize(), after VirtioDevice::realize(),
/// and answers handle_queue().
///
/// Threads  with the machine lock.
/// Errors   a guest that breaks the rules of a ring breaks the device (NEEDS_RESET) until it resets
/// it. Section  "virtio-<kind>", the hand-written layout of QEMU; found by the transport's path.
/// Source   Virtio 1.2, sections 2 and 4.2; QEMU 10.0's section layout.
class VirtioDevice : public system::Device {
public:
    /// `section` and `version` of the stream, `id` of the standard.
    VirtioDevice(std::uint16_t id, std::string section, migration::stream::Version version);
    ~VirtioDevice() override;

    std::uint16_t device_id() const noexcept { return id_; }
    std::uint8_t status() const noexcept { return status_; }
    std::uint8_t isr() const noexcept { return isr_; }
    bool broken() const noexcept { return broken_; }
    /// What is offered on this transport, and what the driver took.
    std::uint64_t offered() const;
    std::uint64_t features() const noexcept { return features_; }
    bool has(std::uint64_t feature) const noexcept { return (features_ & feature) != 0; }

    // --- for transports ---
    void set_status(std::uint8_t status);  ///< 0 resets
    void set_features(std::uint64_t features) { features_ = features & offered(); }
    void ack_isr(std::uint8_t bits) { isr_ &= static_cast<std::uint8_t>(~bits); }
    void raise_isr(std::uint8_t bits) { isr_ |= bits; }
    unsigned queue_count() const noexcept { return static_cast<unsigned>(queues_.size()); }
    VirtioQueue* queue(unsigned n) noexcept { return n < queues_.size() ? &queues_[n] : nullptr; }
    void reset_queue(unsigned n);
    /// Legacy set-up: rings follow one another from `desc`.
    void set_legacy_ring(unsigned n, std::uint64_t desc);
    void queue_notified(unsigned n);
    std::uint32_t config_size() const noexcept
    {
        return static_cast<std::uint32_t>(config_.size());
    }
    std::uint64_t read_config(std::uint64_t offset, unsigned size);
    void write_config(std::uint64_t offset, std::uint64_t value, unsigned size);
    std::uint16_t queue_sel = 0;

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override { reset_device(); }
    Result<void> register_state(migration::stream::StateRegistry& registry) override;

    /// Feature bits of the device itself; those of the rings and the transport are added.
    virtual std::uint64_t device_features() const { return 0; }
    /// Whether a legacy driver is told that any layout of buffers will do.
    virtual bool legacy_any_layout() const { return true; }
    bool legacy() const noexcept { return transport_ != nullptr && transport_->legacy(); }
    virtual void handle_queue(unsigned n) = 0;
    virtual void device_reset() {}
    virtual void status_changed() {}
    /// Fills config() before the guest reads it; is told after it wrote.
    virtual void refresh_config() {}
    virtual void config_written() {}
    virtual void save_device(migration::stream::StreamWriter&) {}
    virtual Result<void> load_device(migration::stream::StreamReader&) { return {}; }
    /// The loaded rings are in place; handlers may run again once the guest does.
    virtual void loaded() {}

    unsigned add_queue(std::uint32_t entries);
    std::span<std::uint8_t> config() noexcept { return config_; }
    void resize_config(std::size_t bytes) { config_.resize(bytes); }

    /// The next chain the driver offers, if any. An error breaks the device.
    Result<bool> pop(unsigned n, VirtioElement& element);
    /// Leaves a popped chain in the ring, as if it had not been taken.
    void unpop(unsigned n);
    /// Gives a chain back with `written` bytes in it; notify() then tells the driver if it wants to
    /// know.
    void push(unsigned n, const VirtioElement& element, std::uint32_t written);
    void notify(unsigned n);
    void notify_config();
    /// Between `data` and the pieces of a chain, from byte `offset` of it on. Returns the bytes
    /// moved.
    Result<std::size_t> read_out(const VirtioElement& element, std::uint64_t offset,
                                 std::span<std::byte> data);
    Result<std::size_t> write_in(const VirtioElement& element, std::uint64_t offset,
                                 std::span<const std::byte> data);
    void break_device(const Error& why);

private:
    struct Extras;
    struct Self {  // what the registry knows of us: the record is written by hand
        VirtioDevice* device = nullptr;
    };
    using Section = migration::stream::VMStateDef<Self, 1>;
    void save(migration::stream::StreamWriter& out);
    Result<void> load(migration::stream::StreamReader& in);
    Result<void> load_queues(migration::stream::StreamReader& in);
    Result<void> check_rings();
    void reset_device();
    Result<void> add_indirect(const VirtioQueue& queue, std::uint64_t at, std::uint32_t bytes,
                              VirtioElement& element);
    Result<void> walk(const VirtioQueue& queue, std::uint64_t table, std::uint32_t entries,
                      std::uint16_t head, bool indirect, VirtioElement& element);
    bool wants_interrupt(VirtioQueue& queue);
    Result<std::uint16_t> load_u16(std::uint64_t address);
    Result<void> store_u16(std::uint64_t address, std::uint16_t value);

    std::uint16_t id_;
    std::string section_;
    migration::stream::Version version_;
    std::unique_ptr<const Section> description_;
    Self self_{this};
    VirtioTransport* transport_ = nullptr;
    std::uint8_t status_ = 0;
    std::uint8_t isr_ = 0;
    std::uint64_t features_ = 0;
    bool broken_ = false;
    std::vector<std::uint8_t> config_;
    std::vector<VirtioQueue> queues_;
};

}  // namespace godwit::hw
