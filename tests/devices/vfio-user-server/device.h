// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The PCI device: configuration space, BARs, interrupts, engine and bulk state. It knows nothing
// of sockets, and of migration only which of its parts run.
//
// BAR 0 (4 KiB, registers):
//   00 ID ro  04 VECTORS ro  08 CONTROL (1 engine, 2 interrupts)  0c STATUS (interrupt, w1c)
//   10 RING u64  18 SLOTS  1c RATE  20 NEXT u64 ro  28 MISSED u64 ro  30 INTERRUPTS u64 ro
//   38 DOORBELLS u64 ro  40 DEVICE ro   100+4n doorbell n, wo: so many records at once, then
//   vector n
// BAR 2 (64 KiB, 64-bit, memory of the device; 0x1000-0x3fff and 0x8000-0xffff can be mapped)
// BAR 4 (4 KiB, MSI-X table at 0, pending bits at 0x800)
#pragma once

#include "tests/devices/vfio-user-server/bulk_state.h"
#include "tests/devices/vfio-user-server/engine.h"
#include "tests/devices/vfio-user-server/guest_memory.h"
#include "tests/devices/vfio-user-server/protocol.h"
#include "util/unique_fd.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace godwit::vfio_user_server {

inline constexpr std::uint64_t kRegisterBarSize = 0x1000;
inline constexpr std::uint64_t kMemoryBarSize = 0x10000;
inline constexpr std::uint64_t kVectorBarSize = 0x1000;
inline constexpr unsigned kMaxVectors = 32;
inline constexpr unsigned kDoorbells = 16;
inline constexpr std::array<SparseArea, 2> kMappableAreas{{{0x1000, 0x3000}, {0x8000, 0x8000}}};

struct DeviceOptions {
    std::uint16_t vendor = 0x1b36;
    std::uint16_t device = 0x00fd;
    std::uint32_t id = 1;  ///< stamped into records
    unsigned vectors = 4;  ///< MSI-X
    std::uint64_t state_bytes = 1 << 20;
    std::uint64_t seed = 1;
    std::uint32_t churn = 0;  ///< pages of state rewritten a second
};

/// All that travels besides the bulk state.
struct DeviceState {
    EngineState engine;
    std::uint32_t control = 0;
    std::uint32_t status = 0;
    std::uint64_t interrupts = 0;
    std::uint64_t doorbells = 0;
    std::uint64_t churned = 0;
    std::array<std::uint8_t, 256> config{};
    std::array<std::uint8_t, kVectorBarSize> vectors{};
};

/// Threads  one.
/// Errors   region accesses: their os_errno() is what the client is told.
class Device {
public:
    static Result<std::unique_ptr<Device>> create(const DeviceOptions& options);

    // --- regions ---
    static std::uint64_t region_size(std::uint32_t region) noexcept;
    Result<void> read(std::uint32_t region, std::uint64_t offset, std::span<std::byte> into);
    Result<void> write(std::uint32_t region, std::uint64_t offset, std::span<const std::byte> from);
    /// The memory behind BAR 2.
    int memory_bar_fd() const noexcept { return bar_fd_.get(); }

    // --- interrupts ---
    unsigned irq_count(std::uint32_t index) const noexcept;
    /// Takes descriptors over; an empty one takes the vector away.
    void set_irq(std::uint32_t index, std::uint32_t vector, UniqueFd fd);
    void clear_irqs(std::uint32_t index) noexcept;
    void clear_all_irqs() noexcept;
    void mask_intx(bool masked);
    /// By the client's own wish (SET_IRQS with the trigger action).
    void trigger(std::uint32_t index, std::uint32_t vector) noexcept;

    // --- time ---
    /// The engine and the device's own work, up to `now`. `may_change` is asked before a page of
    /// state is rewritten.
    template <class MayChange>
    void advance(std::int64_t now_ns, MayChange may_change)
    {
        for (std::uint64_t n = work_due(now_ns); n-- > 0;) {
            const std::size_t page = next_churn_page();
            if (may_change(page)) {
                bulk_.rewrite(page);
                ++state_.churned;
            }
        }
    }
    /// It stood still until now: no time to catch up with.
    void restart_time(std::int64_t now_ns) noexcept { last_ns_ = now_ns; }
    bool has_work() const noexcept
    {
        return (state_.engine.enabled != 0 && state_.engine.rate != 0) || options_.churn != 0;
    }
    /// Starts or stops the engine as a driver's registers would; for those without a driver.
    void set_engine(std::uint64_t ring, std::uint32_t slots, std::uint32_t rate);
    void set_engine_on(bool on) noexcept { state_.engine.enabled = on ? kForced : 0; }
    void set_churn(std::uint32_t pages) noexcept { options_.churn = pages; }

    // --- state ---
    void reset();
    const DeviceState& state() const noexcept { return state_; }
    BulkState& bulk() noexcept { return bulk_; }
    GuestMemory& memory() noexcept { return memory_; }
    const DeviceOptions& options() const noexcept { return options_; }
    static constexpr std::size_t saved_bytes() { return sizeof(DeviceState) + kMemoryBarSize; }
    std::vector<std::byte> save() const;
    Result<void> load(std::span<const std::byte> bytes);

private:
    Device(DeviceOptions options, BulkState bulk, UniqueFd bar_fd, Mapping bar);
    void make_config();
    std::uint64_t work_due(std::int64_t now_ns);
    std::size_t next_churn_page() noexcept;
    void interrupt(unsigned vector);
    void update_intx();
    bool msix_enabled() const noexcept;
    bool engine_runs() const noexcept;
    Result<void> read_register(std::uint64_t offset, std::span<std::byte> into) const;
    Result<void> write_register(std::uint64_t offset, std::span<const std::byte> from);
    void ring_doorbell(unsigned n, std::uint32_t records);
    void write_config(std::uint64_t offset, std::span<const std::byte> from);

    DeviceOptions options_;
    BulkState bulk_;
    UniqueFd bar_fd_;
    Mapping bar_;
    GuestMemory memory_;
    DeviceState state_;
    std::array<std::uint8_t, 256> config_mask_{};
    std::array<std::vector<UniqueFd>, kIrqs> irqs_;
    bool intx_masked_ = false;
    std::int64_t last_ns_ = 0;
    double records_owed_ = 0, churn_owed_ = 0;
    std::uint64_t churn_random_ = 1;
};

}  // namespace godwit::vfio_user_server
