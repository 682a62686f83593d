// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A device of the test kernel: what a test says of it, and what a test does to it.
#pragma once

#include "hw/vfio/abi.h"
#include "hw/vfio/device_backend.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace godwit::hw::vfio::test {

class DmaSpace;
class MigrationEngine;

struct BarSpec {
    std::uint64_t size = 0;  ///< 0: none
    bool io = false;
    bool wide = false;
    std::vector<RegionArea> areas;  ///< mappable; empty: none
    bool whole_mmap = false;        ///< the MMAP flag without a sparse list
};

enum class Dialect : std::uint8_t { None, V1, V2 };

struct DeviceSpec {
    std::string address = "0000:3b:00.0";
    unsigned group = 12;
    std::string cdev = "vfio0";
    std::uint16_t vendor = 0x1b36;
    std::uint16_t device = 0x0fd1;
    std::array<BarSpec, 6> bars{};
    std::uint64_t config_size = 256;
    bool express = false;  ///< a PCI Express capability; in 4096 bytes also SR-IOV and a serial
    bool intx = true;
    unsigned msi_vectors = 0;
    unsigned msix_vectors = 0;
    unsigned msix_bar = 0;
    std::uint64_t msix_table = 0;
    std::uint64_t msix_pending = 0x800;
    bool can_reset = true;
    std::string vf_token{};  ///< that its physical function asks for

    Dialect dialect = Dialect::V2;
    bool p2p = true;
    bool precopy = true;
    bool data_size = true;            ///< feature 9
    std::uint64_t v1_window = 65536;  ///< size of the data section
    bool v1_mapped = false;           ///< the data section may be mapped
    /// Internal state, moved in chunks of kChunk (state_stream.h).
    std::size_t state_bytes = 64 * 1024;

    bool logging = false;  ///< device DMA logging
    std::uint64_t log_page = 4096;
    bool iommu_dirty = false;  ///< its IOMMU sets dirty bits
    bool pins = false;         ///< a mediated device that pins what it uses, and only that
};

/// Answers of the device that a test arranges.
struct DeviceFaults {
    /// Instead of an errno: the call does not come back before TestKernel::release().
    static constexpr int kHangs = 4096;
    struct Refusal {
        int error = 0;
        std::optional<MigrationState> lands_in;  ///< else where it was
        bool resets = false;                     ///< it gets there, and is reset at once
    };
    /// Entering this state, in either dialect.
    std::map<MigrationState, Refusal> enter;
    int read = 0;                 ///< errno of the next data read; ENODEV: and it is gone for good
    int write = 0;                ///< of a data write
    bool gone = false;            ///< ENODEV to everything
    bool data_resets = false;     ///< the next data access finds it reset
    bool read_too_long = false;   ///< v2: read() gives more than asked for; v1: data_size does
    bool write_too_long = false;  ///< v2: write() takes more than was given
    bool ends_early = false;      ///< it says that its data ends where it does not
    int reset = 0;
    int log_report = 0;
    bool empty_chunks = false;     ///< v1: data_size 0 although bytes are pending, once in a while
    bool zero_in_precopy = false;  ///< v2: read() gives 0 instead of ENOMSG
    bool second_data_fd = false;   ///< v2: hands out a new data_fd within one transfer
};

/// The device itself.
///
/// Order    DMA and changes of internal state only while it runs; interrupts too.
class TestDevice {
public:
    explicit TestDevice(DeviceSpec spec, std::recursive_mutex& lock);
    ~TestDevice();

    const DeviceSpec& spec() const noexcept { return spec_; }
    DeviceFaults faults;

    MigrationState state() const;
    bool running() const;  ///< may do DMA
    /// State arcs it walked, as letters of the facts: "R>P P>p p>C".
    std::string walked() const;
    unsigned resets() const;
    /// BAR accesses in STOP_COPY or RESUMING, which a user must not make.
    unsigned forbidden_accesses() const;

    /// The device writes guest memory. BadState when stopped, NotFound where nothing is mapped,
    /// PermissionDenied without bus mastering or into a read-only mapping.
    Result<void> dma_write(std::uint64_t iova, std::span<const std::byte> from);
    Result<void> dma_read(std::uint64_t iova, std::span<std::byte> into);
    /// Fires a vector; false when nobody listens or it is masked or the device stands still.
    bool trigger(std::uint32_t index, std::uint32_t vector);
    bool irq_masked(std::uint32_t index) const;
    std::size_t irqs_armed(std::uint32_t index) const;

    /// Internal state. poke() is the device at work: it must be running.
    Result<void> poke(std::size_t at, std::span<const std::byte> from);
    std::vector<std::byte> internal() const;
    void fill_internal(std::uint64_t seed);
    /// Bytes in a BAR as the device sees them.
    std::vector<std::byte> bar(unsigned index, std::uint64_t at, std::size_t length) const;

    /// Moves the INTx line; while it is high and unmasked the interrupt fires.
    void set_intx(bool high);
    /// The kernel looks whether the eventfd that unmasks INTx was signalled.
    void look_for_unmask();

    // --- for the kernel's files ---

    DmaSpace* dma = nullptr;  ///< where its DMA goes; null: nowhere
    std::unique_ptr<MigrationEngine> engine;
    std::vector<std::byte> internal_state;
    unsigned reset_count = 0;
    unsigned forbidden = 0;
    bool logging = false;
    std::uint64_t log_page = 0;
    std::vector<DmaRange> log_ranges;
    std::set<std::uint64_t> logged;  ///< page numbers of log_page bytes
    bool bus_master() const;
    void leave_irqs();

    struct Irq {
        std::vector<UniqueFd> fds;
        bool masked = false;
        bool high = false;
    };
    std::array<Irq, 5> irqs;
    bool takes_unmask_eventfd = true;
    UniqueFd unmask;  ///< an eventfd; none: INTx is unmasked by a call
    UniqueFd memory;  ///< all regions, region n at n << 40

private:
    DeviceSpec spec_;
    std::recursive_mutex& lock_;
};

inline constexpr std::uint64_t region_offset(std::uint32_t index)
{
    return std::uint64_t{index} << 40;
}

}  // namespace godwit::hw::vfio::test
