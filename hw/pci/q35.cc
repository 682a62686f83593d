// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/pci/q35.h"

#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/json.h"

namespace godwit::hw {
namespace {

// Intel 3 Series Express chipset family data sheet, section 5.1.
constexpr unsigned kPciExBar = 0x60;
constexpr unsigned kPam = 0x90;
constexpr unsigned kPamBytes = 7;
constexpr unsigned kSmram = 0x9d;
constexpr unsigned kEsmramc = 0x9e;
constexpr std::uint64_t kPciExBarDefault = 0xb0000000;

constexpr std::uint32_t kConfigEnable = 0x80000000;
constexpr std::uint64_t kResetCpu = 0x04;

using namespace migration::stream;

constexpr auto kMch = vmstate<Mch::State>(
    "mch", {}, structure<&Mch::State::pci>("parent_obj", kPciState), unused<Mch::State>(1));
static_assert(kMch.well_formed());

constexpr auto kHost =
    vmstate<Q35Host::State>("PCIHost", {}, field<&Q35Host::State::config_reg>("config_reg"));

}  // namespace

// --- the memory-mapped configuration space -----------------------------------------------------

class Mch::Ecam final : public system::IoHandler {
public:
    explicit Ecam(Mch& mch) : mch_(mch) {}
    std::uint64_t read(system::GuestAddr offset, unsigned size) override
    {
        return ours(offset) ? mch_.bus()->config_read(function(offset), reg(offset), size)
                            : ~std::uint64_t{0};
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        if (ours(offset))
            mch_.bus()->config_write(function(offset), reg(offset),
                                     static_cast<std::uint32_t>(value), size);
    }
    unsigned max_access() const override { return 4; }

private:
    static std::uint8_t function(system::GuestAddr offset)
    {
        return static_cast<std::uint8_t>(offset >> 12);
    }
    static unsigned reg(system::GuestAddr offset) { return offset & 0xfff; }
    bool ours(system::GuestAddr offset) const { return offset >> 20 == mch_.bus()->number(); }

    Mch& mch_;
};

Mch::Mch() : ecam_(std::make_unique<Ecam>(*this))
{
    set_identity({.vendor = 0x8086, .device = 0x29c0, .class_code = 0x060000});
    const auto writable = write_mask();
    for (unsigned n = 0; n < 8; ++n)
        writable[kPciExBar + n] = 0xff;
    for (unsigned n = 0; n < kPamBytes; ++n)
        writable[kPam + n] = 0x33;
    writable[kSmram] = 0x7f;
    writable[kEsmramc] = 0xff;
}

void Mch::update_ecam()
{
    const std::uint64_t value = config_u32(kPciExBar) | std::uint64_t{config_u32(kPciExBar + 4)}
                                                            << 32;
    constexpr std::uint64_t mib = 1 << 20;
    std::uint64_t size = 256 * mib >> (value >> 1 & 3);
    std::uint64_t base = value & 0xfffffffff & ~(size - 1);
    if ((value & 1) == 0 || (value >> 1 & 3) == 3 || base == 0)
        base = size = 0;
    if (base == ecam_base_ && size == ecam_size_)
        return;
    ecam_base_ = base;
    ecam_size_ = size;
    region_.reset();
    if (size != 0)
        region_ = MappedRegion(vm().memory(), {.name = "pcie-mmcfg-mmio",
                                               .start = base,
                                               .size = size,
                                               .priority = -1,
                                               .kind = system::RegionKind::Io,
                                               .io = ecam_.get()});
}

void Mch::config_write(unsigned offset, std::uint32_t value, unsigned size)
{
    PciDevice::config_write(offset, value, size);
    update_ecam();
}

Result<void> Mch::realize()
{
    return PciDevice::realize();
}

void Mch::reset(system::ResetKind kind)
{
    PciDevice::reset(kind);
    set_config(kPciExBar, kPciExBarDefault, 8);
    set_config(kPam, 0, kPamBytes);
    set_config(kSmram, 0x02, 1);
    set_config(kEsmramc, 0x38, 1);
    update_ecam();
}

void Mch::unrealize() noexcept
{
    region_.reset();
    PciDevice::unrealize();
}

Result<void> Mch::register_state(StateRegistry& registry)
{
    state_.pci.config.assign(config().begin(), config().end());
    keep(GW_TRY(
        registry.add(kMch, state_, {.device_path = state_path()},
                     {.pre_save = [this] { return save_pci(state_.pci); },
                      .validate = [this](const State& loaded) { return check_pci(loaded.pci); },
                      .post_load =
                          [this](Version) {
                              load_pci(state_.pci);
                              update_ecam();
                              return ok();
                          }})));
    return {};
}

// --- configuration mechanism #1 ----------------------------------------------------------------

// Only a 32-bit write selects. The byte at 0xcf9 is the south bridge's reset control; it lives here
// because an access belongs to the region in which it starts.
class Q35Host::AddressPort final : public system::IoHandler {
public:
    explicit AddressPort(Q35Host& host) : host_(host) {}
    std::uint64_t read(system::GuestAddr offset, unsigned size) override
    {
        if (offset == 1 && size == 1)
            return reset_control_;
        return offset == 0 && size == 4 ? host_.state_.config_reg : ~std::uint64_t{0};
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        if (offset == 0 && size == 4)
            host_.state_.config_reg = static_cast<std::uint32_t>(value);
        else if (offset == 1 && size == 1 && (value & kResetCpu) != 0)
            host_.vm().request_reset(system::ShutdownCause::GuestReset);
        else if (offset == 1 && size == 1)
            reset_control_ = static_cast<std::uint8_t>(value & 0x0a);
    }
    unsigned max_access() const override { return 4; }

private:
    Q35Host& host_;
    std::uint8_t reset_control_ = 0;
};

class Q35Host::DataPort final : public system::IoHandler {
public:
    explicit DataPort(Q35Host& host) : host_(host) {}
    std::uint64_t read(system::GuestAddr offset, unsigned size) override
    {
        if (!selected(offset, size))
            return ~std::uint64_t{0};
        return host_.bus_->config_read(function(), reg(offset), size);
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        if (selected(offset, size))
            host_.bus_->config_write(function(), reg(offset), static_cast<std::uint32_t>(value),
                                     size);
    }
    unsigned max_access() const override { return 4; }

private:
    bool selected(system::GuestAddr offset, unsigned size) const
    {
        const std::uint32_t address = host_.state_.config_reg;
        return (address & kConfigEnable) != 0 && (address >> 16 & 0xff) == host_.bus_->number() &&
               offset + size <= 4;
    }
    std::uint8_t function() const
    {
        return static_cast<std::uint8_t>(host_.state_.config_reg >> 8);
    }
    unsigned reg(system::GuestAddr offset) const
    {
        return (host_.state_.config_reg & 0xfc) + static_cast<unsigned>(offset);
    }

    Q35Host& host_;
};

Q35Host::Q35Host()
    : address_(std::make_unique<AddressPort>(*this)), data_(std::make_unique<DataPort>(*this))
{}

Q35Host::~Q35Host() = default;

Result<void> Q35Host::realize()
{
    bus_ = &static_cast<PciBus&>(
        add_bus(std::make_unique<PciBus>("pcie.0", this, vm().memory(), vm().io())));
    mch_ = static_cast<Mch*>(
        GW_TRY(vm().devices().add_builtin("mch", bus_, Json{{"addr", "00.0"}}, "mch", this)));
    const auto map = [this](const char* name, std::uint16_t at, system::IoHandler& io) {
        regions_.emplace_back(
            vm().io(),
            system::RegionSpec{
                .name = name, .start = at, .size = 4, .kind = system::RegionKind::Io, .io = &io});
    };
    map("pci-conf-idx", 0xcf8, *address_);
    map("pci-conf-data", 0xcfc, *data_);
    return {};
}

void Q35Host::unrealize() noexcept
{
    regions_.clear();
}

Result<void> Q35Host::register_state(StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kHost, state_)));
    keep(GW_TRY(registry.add(kPciBusState, bus_->irq_state())));
    return {};
}

Result<void> register_q35(system::TypeRegistry& types)
{
    using system::property;
    GW_TRY(types.add(
        {.name = "pci-device",
         .parent = "device",
         .abstract_type = true,
         .bus = "PCI",
         .properties = {property<&PciDevice::addr_>(
                            "addr", "", "Slot and optional function number, example: 06.0 or 06"),
                        property<&PciDevice::multifunction_>("multifunction", false)}}));
    GW_TRY(types.add({.name = "mch",
                      .parent = "pci-device",
                      .user_creatable = false,
                      .bus = "PCI",
                      .description = "q35 memory controller hub",
                      .create = [] { return std::make_unique<Mch>(); }}));
    return types.add({.name = "q35-pcihost",
                      .parent = "sys-bus-device",
                      .user_creatable = false,
                      .description = "q35 PCI host bridge",
                      .create = [] { return std::make_unique<Q35Host>(); }});
}

}  // namespace godwit::hw
