// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/vfio/kernel/test_device.h"

#include "tests/unit/vfio/kernel/dma_space.h"
#include "tests/unit/vfio/kernel/migration_engine.h"

#include <algorithm>
#include <cstring>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

namespace godwit::hw::vfio::test {

namespace {

constexpr std::uint64_t kCommandOffset = 4;
constexpr std::uint16_t kBusMaster = 4;

void put(std::vector<std::uint8_t>& config, std::size_t at, std::uint64_t value, std::size_t size)
{
    for (std::size_t n = 0; n < size; ++n, value >>= 8)
        config[at + n] = static_cast<std::uint8_t>(value);
}

/// Header and capabilities as a driver would find them.
std::vector<std::uint8_t> first_config(const DeviceSpec& spec)
{
    std::vector<std::uint8_t> config(spec.config_size);
    put(config, 0x00, spec.vendor, 2);
    put(config, 0x02, spec.device, 2);
    put(config, 0x08, 0x00ff0001, 4);
    put(config, 0x2c, spec.vendor, 2);
    put(config, 0x2e, 0x0001, 2);
    put(config, 0x3d, spec.intx ? 1 : 0, 1);
    for (std::size_t n = 0; n < spec.bars.size(); ++n) {
        const BarSpec& bar = spec.bars[n];
        put(config, 0x10 + 4 * n, bar.size == 0 ? 0 : bar.io ? 1 : bar.wide ? 4 : 0, 4);
        if (bar.size != 0 && bar.wide)
            ++n;  // its upper half
    }
    std::size_t link = 0x34;
    std::size_t at = 0x40;
    const auto capability = [&](std::uint8_t id, std::size_t size) {
        put(config, link, at, 1);
        put(config, 0x06, 0x10, 1);
        put(config, at, id, 1);
        link = at + 1;
        at += size;
        return at - size;
    };
    const std::size_t power = capability(0x01, 8);  // power management: left to the device
    put(config, power + 2, 0x0003, 2);
    if (spec.msi_vectors != 0) {
        const std::size_t cap = capability(0x05, 16);
        unsigned log2 = 0;
        while (1U << log2 < spec.msi_vectors)
            ++log2;
        put(config, cap + 2, log2 << 1 | 0x80, 2);
    }
    if (spec.msix_vectors != 0) {
        const std::size_t cap = capability(0x11, 12);
        put(config, cap + 2, spec.msix_vectors - 1, 2);
        put(config, cap + 4, spec.msix_table | spec.msix_bar, 4);
        put(config, cap + 8, spec.msix_pending | spec.msix_bar, 4);
    }
    if (spec.express)
        put(config, capability(0x10, 0x3c) + 2, 0x0002, 2);
    if (spec.express && spec.config_size > 256) {
        put(config, 0x100, 0x18010010, 4);  // SR-IOV, next 0x180
        put(config, 0x180, 0x00010003, 4);  // serial number
    }
    const std::size_t vendor = capability(0x09, 16);
    put(config, vendor + 2, 16, 1);
    put(config, vendor + 4, 0x6e656b6f74, 5);
    return config;
}

/// Devices share memory with vCPUs and a migration without asking anybody: no race of ours.
__attribute__((no_sanitize("thread"))) void copy_by_dma(volatile std::byte* to,
                                                        const std::byte* from, std::size_t length)
{
    for (std::size_t n = 0; n < length; ++n)
        to[n] = from[n];
}

}  // namespace

TestDevice::TestDevice(DeviceSpec spec, std::recursive_mutex& lock)
    : engine(std::make_unique<MigrationEngine>(*this)), spec_(std::move(spec)), lock_(lock)
{
    internal_state.resize(spec_.state_bytes);
    memory.reset(::memfd_create("vfio-device", MFD_CLOEXEC));
    (void)!::ftruncate(memory.get(), static_cast<off_t>(region_offset(kFirstSpecialRegion + 1)));
    const std::vector<std::uint8_t> config = first_config(spec_);
    (void)!::pwrite(memory.get(), config.data(), config.size(),
                    static_cast<off_t>(region_offset(kConfigRegion)));
    irqs[kIntxIrq].fds.resize(spec_.intx ? 1 : 0);
    irqs[kMsiIrq].fds.resize(spec_.msi_vectors);
    irqs[kMsixIrq].fds.resize(spec_.msix_vectors);
}

TestDevice::~TestDevice() = default;

MigrationState TestDevice::state() const
{
    const std::lock_guard guard(lock_);
    return engine->state();
}

bool TestDevice::running() const
{
    const std::lock_guard guard(lock_);
    return engine->running();
}

std::string TestDevice::walked() const
{
    const std::lock_guard guard(lock_);
    return engine->walked();
}

unsigned TestDevice::resets() const
{
    const std::lock_guard guard(lock_);
    return reset_count;
}

unsigned TestDevice::forbidden_accesses() const
{
    const std::lock_guard guard(lock_);
    return forbidden;
}

bool TestDevice::bus_master() const
{
    std::uint16_t command = 0;
    (void)!::pread(memory.get(), &command, sizeof command,
                   static_cast<off_t>(region_offset(kConfigRegion) + kCommandOffset));
    return (command & kBusMaster) != 0;
}

Result<void> TestDevice::dma_write(std::uint64_t iova, std::span<const std::byte> from)
{
    const std::lock_guard guard(lock_);
    if (!engine->running())
        return Error(Errc::BadState, "the device stands still");
    const DmaSpace::Window* window = dma != nullptr ? dma->find(iova, from.size()) : nullptr;
    if (window == nullptr)
        return Error(Errc::NotFound, "nothing is mapped there");
    if (!window->write || !bus_master())
        return Error(Errc::PermissionDenied, "the device may not write there");
    copy_by_dma(window->host + (iova - window->iova), from.data(), from.size());
    if (logging)
        note_pages(logged, log_page, iova, from.size());
    dma->wrote(*this, iova, from.size());
    return {};
}

Result<void> TestDevice::dma_read(std::uint64_t iova, std::span<std::byte> into)
{
    const std::lock_guard guard(lock_);
    if (!engine->running())
        return Error(Errc::BadState, "the device stands still");
    const DmaSpace::Window* window = dma != nullptr ? dma->find(iova, into.size()) : nullptr;
    if (window == nullptr)
        return Error(Errc::NotFound, "nothing is mapped there");
    if (!bus_master())
        return Error(Errc::PermissionDenied, "the device is no bus master");
    copy_by_dma(into.data(), window->host + (iova - window->iova), into.size());
    return {};
}

void TestDevice::look_for_unmask()
{
    const std::lock_guard guard(lock_);
    std::uint64_t count = 0;
    if (!unmask || ::read(unmask.get(), &count, sizeof count) != sizeof count)
        return;
    irqs[kIntxIrq].masked = false;
    if (irqs[kIntxIrq].high)
        trigger(kIntxIrq, 0);
}

bool TestDevice::trigger(std::uint32_t index, std::uint32_t vector)
{
    const std::lock_guard guard(lock_);
    Irq& irq = irqs.at(index);
    if (!engine->running() || vector >= irq.fds.size() || !irq.fds[vector] || irq.masked)
        return false;
    ::eventfd_write(irq.fds[vector].get(), 1);
    if (index == kIntxIrq)
        irq.masked = true;  // automasked
    return true;
}

void TestDevice::set_intx(bool high)
{
    const std::lock_guard guard(lock_);
    irqs[kIntxIrq].high = high;
    if (high)
        trigger(kIntxIrq, 0);
}

bool TestDevice::irq_masked(std::uint32_t index) const
{
    const std::lock_guard guard(lock_);
    return irqs.at(index).masked;
}

std::size_t TestDevice::irqs_armed(std::uint32_t index) const
{
    const std::lock_guard guard(lock_);
    return static_cast<std::size_t>(std::ranges::count_if(
        irqs.at(index).fds, [](const UniqueFd& fd) { return static_cast<bool>(fd); }));
}

void TestDevice::leave_irqs()
{
    for (Irq& irq : irqs) {
        for (UniqueFd& fd : irq.fds)
            fd.reset();
        irq.masked = false;
    }
}

Result<void> TestDevice::poke(std::size_t at, std::span<const std::byte> from)
{
    const std::lock_guard guard(lock_);
    if (!engine->running())
        return Error(Errc::BadState, "the device stands still");
    std::ranges::copy(from, internal_state.begin() + static_cast<std::ptrdiff_t>(at));
    engine->changed(at, from.size());
    return {};
}

std::vector<std::byte> TestDevice::internal() const
{
    const std::lock_guard guard(lock_);
    return internal_state;
}

void TestDevice::fill_internal(std::uint64_t seed)
{
    const std::lock_guard guard(lock_);
    for (std::byte& byte : internal_state) {
        seed = seed * 6364136223846793005 + 1442695040888963407;
        byte = static_cast<std::byte>(seed >> 56);
    }
    engine->changed(0, internal_state.size());
}

std::vector<std::byte> TestDevice::bar(unsigned index, std::uint64_t at, std::size_t length) const
{
    std::vector<std::byte> bytes(length);
    (void)!::pread(memory.get(), bytes.data(), length,
                   static_cast<off_t>(region_offset(index) + at));
    return bytes;
}

}  // namespace godwit::hw::vfio::test
