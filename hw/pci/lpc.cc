// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/pci/lpc.h"

#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"

namespace godwit::hw {
namespace {

constexpr unsigned kPmBase = 0x40;
constexpr unsigned kAcpiControl = 0x44;
constexpr unsigned kPirqA = 0x60;  // A..D, then E..H at 0x68
constexpr unsigned kRcba = 0xf0;
constexpr std::uint8_t kAcpiEnable = 0x80;
constexpr std::uint8_t kPirqOff = 0x80;
constexpr unsigned kNoWire = 16;
constexpr unsigned kPirqs = 8;
constexpr unsigned kFirstPirqGsi = 16;

constexpr std::uint8_t kApmEnable = 2;  // what our FADT tells a guest to write
constexpr std::uint8_t kApmDisable = 3;

using namespace migration::stream;

constexpr auto kApm = vmstate<Lpc::Apm>("APM State", {}, field<&Lpc::Apm::control>("apmc"),
                                        field<&Lpc::Apm::status>("apms"));
constexpr auto kLpc = vmstate<Lpc::State>(
    "ICH9LPC", {}, structure<&Lpc::State::pci>("d", kPciState),
    structure<&Lpc::State::apm>("apm", kApm), structure<&Lpc::State::pm>("pm", kPmState),
    field<&Lpc::State::chip_config>("chip_config"), field<&Lpc::State::sci_level>("sci_level"));
static_assert(kLpc.well_formed());

unsigned pirq_register(unsigned pirq)
{
    return pirq < 4 ? kPirqA + pirq : kPirqA + 8 + (pirq - 4);
}

// Where the route of a device of slots 25..31 stands in the chip configuration.
unsigned route_register(unsigned slot)
{
    constexpr std::array<std::uint16_t, 7> at{0x3150, 0x314c, 0x3148, 0x3146,
                                              0x3144, 0x3142, 0x3140};
    return at[slot - 25];
}

}  // namespace

// --- windows -----------------------------------------------------------------------------------

class Lpc::ApmPorts final : public system::IoHandler {
public:
    explicit ApmPorts(Lpc& lpc) : lpc_(lpc) {}
    std::uint64_t read(system::GuestAddr offset, unsigned) override
    {
        return offset == 0 ? lpc_.state_->apm.control : lpc_.state_->apm.status;
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned) override
    {
        if (offset != 0) {
            lpc_.state_->apm.status = static_cast<std::uint8_t>(value);
            return;
        }
        lpc_.state_->apm.control = static_cast<std::uint8_t>(value);
        if (lpc_.state_->apm.control == kApmEnable || lpc_.state_->apm.control == kApmDisable)
            lpc_.pm_->enable_acpi(lpc_.state_->apm.control == kApmEnable);
    }
    unsigned max_access() const override { return 1; }

private:
    Lpc& lpc_;
};

// Root complex registers: memory, of which the interrupt routes mean something.
class Lpc::Rcrb final : public system::IoHandler {
public:
    explicit Rcrb(Lpc& lpc) : lpc_(lpc) {}
    std::uint64_t read(system::GuestAddr offset, unsigned size) override
    {
        const auto& bytes = lpc_.state_->chip_config;
        std::uint64_t value = 0;
        for (unsigned n = 0; n < size && offset + n < bytes.size(); ++n)
            value |= std::uint64_t{bytes[offset + n]} << (8 * n);
        return value;
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        auto& bytes = lpc_.state_->chip_config;
        for (unsigned n = 0; n < size && offset + n < bytes.size(); ++n, value >>= 8)
            bytes[offset + n] = static_cast<std::uint8_t>(value);
        if (lpc_.gsi_ != nullptr)
            lpc_.bus()->irq_routes_changed();
    }
    unsigned max_access() const override { return 4; }

private:
    Lpc& lpc_;
};

Lpc::Lpc()
    : state_(std::make_unique<State>()), apm_ports_(std::make_unique<ApmPorts>(*this)),
      rcrb_(std::make_unique<Rcrb>(*this))
{
    set_identity({.vendor = 0x8086, .device = 0x2918, .class_code = 0x060100, .revision = 2});
    const auto writable = write_mask();
    writable[kPmBase] = 0x80;
    writable[kPmBase + 1] = 0xff;
    writable[kAcpiControl] = 0x87;
    for (unsigned pirq = 0; pirq < kPirqs; ++pirq)
        writable[pirq_register(pirq)] = 0x8f;
    writable[kRcba] = 0x01;
    writable[kRcba + 1] = 0xc0;
    writable[kRcba + 2] = writable[kRcba + 3] = 0xff;
}

Lpc::~Lpc() = default;

void Lpc::update_windows()
{
    const std::uint32_t pm =
        (config_u8(kAcpiControl) & kAcpiEnable) != 0 ? config_u32(kPmBase) & 0xff80 : 0;
    if (pm != pm_at_) {
        pm_at_ = pm;
        pm_region_.reset();
        if (pm != 0)
            pm_region_ = MappedRegion(vm().io(), {.name = "ich9-pm",
                                                  .start = pm,
                                                  .size = AcpiPm::kPorts,
                                                  .kind = system::RegionKind::Io,
                                                  .io = pm_.get()});
    }
    const std::uint32_t rcba = config_u32(kRcba);
    const std::uint32_t rcrb = (rcba & 1) != 0 ? rcba & 0xffffc000 : 0;
    if (rcrb != rcrb_at_) {
        rcrb_at_ = rcrb;
        rcrb_region_.reset();
        if (rcrb != 0)
            rcrb_region_ = MappedRegion(vm().memory(), {.name = "lpc-rcrb-mmio",
                                                        .start = rcrb,
                                                        .size = kRcrbBytes,
                                                        .priority = -1,
                                                        .kind = system::RegionKind::Io,
                                                        .io = rcrb_.get()});
    }
}

void Lpc::config_write(unsigned offset, std::uint32_t value, unsigned size)
{
    PciDevice::config_write(offset, value, size);
    update_windows();
    update_all_gsi();
}

// --- interrupts --------------------------------------------------------------------------------

unsigned Lpc::map_pirq(std::uint8_t devfn, unsigned pin) const
{
    const unsigned slot = devfn >> 3;
    if (slot < 25)
        return 4 + (slot + pin) % 4;
    const unsigned at = route_register(slot);
    const unsigned route = state_->chip_config[at] | state_->chip_config[at + 1] << 8;
    return route >> (4 * pin) & 7;
}

unsigned Lpc::isa_wire(unsigned pirq) const
{
    const std::uint8_t route = config_u8(pirq_register(pirq));
    const unsigned wire = route & 0x0f;
    const bool possible = wire > 2 && wire != 8 && wire != 13;
    return (route & kPirqOff) != 0 || !possible ? kNoWire : wire;
}

unsigned Lpc::sci_gsi() const
{
    constexpr std::array<unsigned, 8> gsi{9, 10, 11, 9, 20, 21, 9, 9};
    return gsi[config_u8(kAcpiControl) & 7];
}

void Lpc::update_gsi(unsigned gsi)
{
    if (gsi_ == nullptr || gsi >= gsi_->count())
        return;
    bool level = state_->sci_level != 0 && sci_gsi() == gsi;
    for (unsigned pirq = 0; pirq < kPirqs; ++pirq)
        level = level || (pirq_level_[pirq] != 0 &&
                          (gsi == kFirstPirqGsi + pirq || (gsi < 16 && isa_wire(pirq) == gsi)));
    if (gsi_->level(gsi) != (level ? 1 : 0))
        gsi_->input(gsi).set(level ? 1 : 0);
}

// After a route changed. ISA wires that no PIRQ and no SCI uses belong to ISA devices.
void Lpc::update_all_gsi()
{
    for (unsigned pirq = 0; pirq < kPirqs; ++pirq) {
        update_gsi(kFirstPirqGsi + pirq);
        if (const unsigned wire = isa_wire(pirq); wire != kNoWire)
            update_gsi(wire);
    }
    update_gsi(sci_gsi());
    if (gsi_ != nullptr)
        bus()->irq_routes_changed();
}

void Lpc::connect_gsi(std::shared_ptr<Gsi> gsi)
{
    gsi_ = std::move(gsi);
    for (unsigned n = 0; n < IsaBus::kIrqs; ++n)
        isa_->connect_irq(n, gsi_->input(n));
    bus()->set_irqs(
        kPirqs, [this](std::uint8_t devfn, unsigned pin) { return map_pirq(devfn, pin); },
        [this](unsigned pirq, int level) {
            pirq_level_[pirq] = level != 0 ? 1 : 0;
            update_gsi(kFirstPirqGsi + pirq);
            if (const unsigned wire = isa_wire(pirq); wire != kNoWire)
                update_gsi(wire);
        });
    // A wire that the guest has on an ISA interrupt as well is two of the chip's.
    bus()->route_irqs([this](unsigned pirq) -> std::optional<unsigned> {
        if (pirq >= kPirqs || (config_u8(pirq_register(pirq)) & kPirqOff) == 0)
            return std::nullopt;
        return kFirstPirqGsi + pirq;
    });
}

// --- life --------------------------------------------------------------------------------------

Result<void> Lpc::realize()
{
    multifunction_ = true;  // SATA and SMBus share the slot
    GW_TRY(PciDevice::realize());
    isa_ = &static_cast<IsaBus&>(add_bus(std::make_unique<IsaBus>("isa.0", this)));
    pm_ = std::make_unique<AcpiPm>(
        vm(), state_->pm,
        AcpiPm::Values{.s3 = !disable_s3_, .s4 = !disable_s4_, .s4_type = s4_val_},
        [this](int level) {
            state_->sci_level = level != 0 ? 1 : 0;
            update_gsi(sci_gsi());
        });
    const auto map = [this](const char* name, std::uint16_t at, std::uint64_t size,
                            system::IoHandler& io) {
        fixed_.emplace_back(vm().io(), system::RegionSpec{.name = name,
                                                          .start = at,
                                                          .size = size,
                                                          .priority = 1,
                                                          .kind = system::RegionKind::Io,
                                                          .io = &io});
    };
    map("apm-io", 0xb2, 2, *apm_ports_);
    return {};
}

void Lpc::reset(system::ResetKind kind)
{
    PciDevice::reset(kind);
    set_config(kPmBase, 1, 4);
    set_config(kAcpiControl, 0, 1);
    for (unsigned pirq = 0; pirq < kPirqs; ++pirq)
        set_config(pirq_register(pirq), kPirqOff, 1);
    set_config(kRcba, 0, 4);
    if (firmware_pm_base_ != 0) {
        set_config(kPmBase, (firmware_pm_base_ & 0xff80) | 1, 4);
        set_config(kAcpiControl, kAcpiEnable, 1);
    }
    state_->apm = {};
    state_->chip_config.fill(0);
    for (unsigned slot = 25; slot < 32; ++slot) {  // INTA to PIRQA, INTB to PIRQB, ...
        state_->chip_config[route_register(slot)] = 0x10;
        state_->chip_config[route_register(slot) + 1] = 0x32;
    }
    state_->chip_config[0x3410] = 0x20;  // GCS: boot from the LPC bus
    pm_->reset(kind == system::ResetKind::Wakeup);
    update_windows();
    update_all_gsi();
}

void Lpc::unrealize() noexcept
{
    pm_region_.reset();
    rcrb_region_.reset();
    fixed_.clear();
    pm_.reset();
    PciDevice::unrealize();
}

Result<void> Lpc::register_state(StateRegistry& registry)
{
    state_->pci.config.assign(config().begin(), config().end());
    keep(GW_TRY(registry.add(
        kLpc, *state_, {.device_path = state_path()},
        {.pre_save =
             [this] {
                 pm_->pre_save();
                 return save_pci(state_->pci);
             },
         .validate = [this](const State& loaded) { return check_pci(loaded.pci); },
         .post_load =
             [this](Version) {
                 load_pci(state_->pci);
                 for (unsigned pirq = 0; pirq < kPirqs && gsi_ != nullptr; ++pirq)
                     pirq_level_[pirq] = static_cast<std::uint8_t>(bus()->irq_level(pirq));
                 update_windows();
                 pm_->post_load();
                 update_all_gsi();
                 return ok();
             }})));
    return {};
}

Result<void> register_lpc(system::TypeRegistry& types)
{
    using system::property;
    return types.add({.name = "ICH9-LPC",
                      .parent = "pci-device",
                      .user_creatable = false,
                      .bus = "PCI",
                      .description = "ICH9 LPC bridge",
                      .properties = {property<&Lpc::disable_s3_>("disable_s3", false),
                                     property<&Lpc::disable_s4_>("disable_s4", false),
                                     property<&Lpc::s4_val_>("s4_val", 2),
                                     property<&Lpc::firmware_pm_base_>("x-firmware-pm-base", 0)},
                      .create = [] { return std::make_unique<Lpc>(); }});
}

}  // namespace godwit::hw
