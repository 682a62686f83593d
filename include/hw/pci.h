// SPDX-License-Identifier: LGPL-2.1-or-later
//
// PCI devices and the bus they sit on: what a device needs to appear in configuration space, map
// its BARs, raise interrupts, reach guest memory and migrate. How to write one:
// docs/developer/writing-a-device.md.
#pragma once

#include "hw/region.h"
#include "migration/stream/vmstate.h"
#include "system/device.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace godwit::hw {

class PciDevice;

/// Offsets and bits of the configuration header.
/// Source   PCI Local Bus Specification 3.0, chapter 6; PCI Express Base 3.0, chapter 7.
namespace pci {
inline constexpr unsigned kVendorId = 0x00;
inline constexpr unsigned kDeviceId = 0x02;
inline constexpr unsigned kCommand = 0x04;
inline constexpr unsigned kStatus = 0x06;
inline constexpr unsigned kRevision = 0x08;
inline constexpr unsigned kClassProg = 0x09;
inline constexpr unsigned kClass = 0x0a;
inline constexpr unsigned kCacheLine = 0x0c;
inline constexpr unsigned kLatency = 0x0d;
inline constexpr unsigned kHeaderType = 0x0e;
inline constexpr unsigned kBar0 = 0x10;
inline constexpr unsigned kSubsystemVendor = 0x2c;
inline constexpr unsigned kSubsystem = 0x2e;
inline constexpr unsigned kRom = 0x30;
inline constexpr unsigned kCapabilities = 0x34;
inline constexpr unsigned kInterruptLine = 0x3c;
inline constexpr unsigned kInterruptPin = 0x3d;
inline constexpr unsigned kFirstCapability = 0x40;
inline constexpr unsigned kConfigSize = 0x100;
inline constexpr unsigned kExpressConfigSize = 0x1000;

inline constexpr std::uint16_t kCommandIo = 0x0001;
inline constexpr std::uint16_t kCommandMemory = 0x0002;
inline constexpr std::uint16_t kCommandMaster = 0x0004;
inline constexpr std::uint16_t kCommandIntxDisable = 0x0400;
inline constexpr std::uint16_t kStatusInterrupt = 0x0008;
inline constexpr std::uint16_t kStatusCapList = 0x0010;
inline constexpr std::uint8_t kHeaderMultifunction = 0x80;

inline constexpr std::uint8_t kCapMsi = 0x05;
inline constexpr std::uint8_t kCapVendor = 0x09;
inline constexpr std::uint8_t kCapExpress = 0x10;
inline constexpr std::uint8_t kCapMsix = 0x11;

constexpr std::uint8_t devfn(unsigned slot, unsigned function)
{
    return static_cast<std::uint8_t>((slot & 31) << 3 | (function & 7));
}
}  // namespace pci

/// Who a device says it is. Zero subsystem ids become 1af4:1100.
struct PciIdentity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint32_t class_code = 0;  ///< base, sub-class, programming interface: 0x010601 is AHCI
    std::uint8_t revision = 0;
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
    std::uint8_t interrupt_pin = 0;  ///< 1..4 = INTA..INTD, 0 = none
};

/// A part of a BAR. Parts may overlap; `priority` (below 500 and above -500) decides.
struct PciBarPart {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    system::IoHandler* io = nullptr;    ///< registers, or ...
    system::RamBlock* block = nullptr;  ///< ... memory (an mmap of the real device, a ROM)
    std::uint64_t block_offset = 0;
    int priority = 0;
    bool enabled = true;
};

/// One base address register. Size is a power of two: at least 16 bytes (memory) or 4 (ports).
struct PciBar {
    enum class Kind { Memory32, Memory64, Io };
    Kind kind = Kind::Memory32;
    bool prefetchable = false;
    std::uint64_t size = 0;
    std::vector<PciBarPart> parts;
};

/// A message-signalled interrupt: a write of `data` to `address`.
struct MsiMessage {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
};

/// What every PCI device migrates: structure "PCIDevice" v2, the first field of its section:
/// `structure<&MyState::pci>("parent_obj", kPciState)`.
struct PciState {
    std::int32_t version_id = 2;
    std::vector<std::uint8_t> config;  ///< 256 or 4096 bytes
    std::array<std::int32_t, 4> irq_state{};
};
extern const migration::stream::VMStateDef<PciState, 4> kPciState;

/// MSI-X table and pending bits as the stream has them: structure "msix".
struct PciMsixState {
    std::vector<std::uint8_t> table;
    std::vector<std::uint8_t> pending;
};
extern const migration::stream::VMStateDef<PciMsixState, 1> kPciMsixState;

/// A bus of type "PCI". Devices find it as parent_bus().
///
/// Shape    256 functions; the address property "addr" ("1f.2", "3", "0x3.1") or the first free
/// slot. Threads  with the machine lock. Errors   check_plug(): "PCI: slot 3 function 0 not
/// available for NAME, in use by OTHER".
class PciBus : public system::Bus {
public:
    PciBus(std::string name, system::Device* owner, system::AddressSpace& memory,
           system::AddressSpace& io);
    ~PciBus() override;

    PciDevice* find(std::uint8_t devfn) const noexcept { return slots_[devfn]; }
    std::uint8_t number() const noexcept { return 0; }
    system::AddressSpace& memory() noexcept { return memory_; }
    system::AddressSpace& io() noexcept { return io_; }

    /// Configuration cycles. Nothing at `devfn`, or past its space: ones, and writes vanish.
    std::uint32_t config_read(std::uint8_t devfn, unsigned offset, unsigned size);
    void config_write(std::uint8_t devfn, unsigned offset, std::uint32_t value, unsigned size);

    /// INTx: `map` finds the wire of a device's pin (0..3), `set` is called when the wire changes.
    using IrqMap = std::function<unsigned(std::uint8_t devfn, unsigned pin)>;
    using IrqSet = std::function<void(unsigned wire, int level)>;
    void set_irqs(unsigned wires, IrqMap map, IrqSet set);
    int irq_level(unsigned wire) const { return irq_.count.at(wire) != 0 ? 1 : 0; }
    /// For a device whose interrupt goes past this program: the GSI of the accelerator's chip that
    /// a wire is now, and nothing where it is not one alone. The board tells when that changes.
    using IrqRoute = std::function<std::optional<unsigned>(unsigned wire)>;
    void route_irqs(IrqRoute route) { route_ = std::move(route); }
    std::optional<unsigned> irq_gsi(std::uint8_t devfn, unsigned pin) const;
    void irq_routes_changed();
    /// Where messages go that the accelerator does not take; by default a store to guest memory.
    void on_msi(std::function<void(const MsiMessage&)> send) { msi_ = std::move(send); }

    /// Devices may come and go while the guest runs (boards that build themselves leave it on).
    void set_hotplug(bool allowed) { hotplug_ = allowed; }

    Result<void> check_plug(system::Device& device) override;
    Result<void> plug(system::Device& device) override;
    void unplug(system::Device& device) noexcept override;
    bool accepts_hotplug() const override { return hotplug_; }
    bool full() const override;

    /// Section `PCIBUS` v1: the owner registers it.
    struct IrqState {
        std::int32_t nirq = 0;
        std::vector<std::int32_t> count;
    };
    IrqState& irq_state() noexcept { return irq_; }

private:
    friend class PciDevice;
    Result<std::uint8_t> place(const PciDevice& device) const;
    void change_irq(std::uint8_t devfn, unsigned pin, int change);
    void send_msi(system::Vm& vm, const MsiMessage& message);

    system::AddressSpace& memory_;
    system::AddressSpace& io_;
    std::array<PciDevice*, 256> slots_{};
    IrqState irq_;
    IrqMap map_;
    IrqSet set_;
    IrqRoute route_;
    std::function<void(const MsiMessage&)> msi_;
    bool hotplug_ = true;
};
extern const migration::stream::VMStateOf<PciBus::IrqState>& kPciBusState;

/// A function on a PciBus. A device derives from it, calls set_identity() and add_bar() in its
/// constructor or realize(), and hands PciState through in its section.
///
/// Life     the derived realize() calls PciDevice::realize() first, its reset() PciDevice::reset(),
/// its
///          unrealize() PciDevice::unrealize() last.
/// Shape    configuration space of 256 bytes, or 4096 after use_express_config(). Bits outside the
///          write mask keep their value; bits in the write-1-to-clear mask are cleared by ones.
/// Properties  addr, multifunction (off), failover_pair_id and the like are not known.
/// Threads  with the machine lock.
/// Errors   add_bar(), add_capability(), add_msix(): InvalidArgument, Exists, OutOfMemory (no
/// room), named.
class PciDevice : public system::Device {
public:
    PciDevice();
    ~PciDevice() override;

    std::string addr_;
    bool multifunction_ = false;

    PciBus* bus() const noexcept { return bus_; }
    std::uint8_t devfn() const noexcept { return devfn_; }
    /// "0000:00:1f.2"
    std::string state_path() const override;

    /// Configuration cycles: size 1, 2 or 4, within the space, not crossing a dword. A device that
    /// reacts to its own registers overrides config_write() and calls this one.
    virtual std::uint32_t config_read(unsigned offset, unsigned size);
    virtual void config_write(unsigned offset, std::uint32_t value, unsigned size);

    std::span<std::uint8_t> config() noexcept { return pci_.config; }
    std::span<const std::uint8_t> config() const noexcept { return pci_.config; }
    std::uint8_t config_u8(unsigned offset) const { return pci_.config[offset]; }
    std::uint16_t config_u16(unsigned offset) const;
    std::uint32_t config_u32(unsigned offset) const;
    void set_config(unsigned offset, std::uint64_t value, unsigned size);
    std::uint16_t command() const { return config_u16(pci::kCommand); }
    bool bus_master() const { return (command() & pci::kCommandMaster) != 0; }

    /// Where BAR `index` is mapped now; nothing when decoding is off or the address is not usable.
    std::optional<std::uint64_t> bar_address(unsigned index) const;
    std::uint64_t bar_size(unsigned index) const;

    /// Level of the device's interrupt pin. Ignored while it has none.
    void set_irq(int level);
    bool irq_level() const noexcept { return pci_.irq_state[0] != 0; }
    /// PciBus::irq_gsi() of its pin, while the guest lets INTx through.
    std::optional<unsigned> irq_gsi() const;

    bool msi_enabled() const;
    bool msix_enabled() const;
    unsigned msi_vectors() const;   ///< that the guest allows, 1..32
    unsigned msix_vectors() const;  ///< table size, 0 without MSI-X
    /// Sends vector `n`, or leaves it pending while masked. Out of range or disabled: nothing.
    void msi_notify(unsigned n);
    void msix_notify(unsigned n);
    /// What vector `n` would send, and whether it may now.
    MsiMessage msi_message(unsigned n) const;
    MsiMessage msix_message(unsigned n) const;
    bool msix_masked(unsigned n) const;
    void msix_set_pending(unsigned n, bool pending);
    /// Sends by MSI-X, MSI or (vector 0 only, as a level that stays) INTx: whatever the guest
    /// enabled.
    void notify(unsigned n);

    /// Guest memory, if the guest made the device a bus master.
    /// Errors   PermissionDenied when not; those of hw/dma.h.
    Result<void> dma_read(std::uint64_t from, std::span<std::byte> into);
    Result<void> dma_write(std::uint64_t to, std::span<const std::byte> from);

    // --- for derived classes and tests ---

    void set_identity(const PciIdentity& identity);
    void use_express_config();
    std::span<std::uint8_t> write_mask() noexcept { return wmask_; }
    std::span<std::uint8_t> clear_mask() noexcept { return w1cmask_; }
    /// Bytes that a loaded configuration must have in common with this device.
    std::span<std::uint8_t> compare_mask() noexcept { return cmask_; }

    /// BAR `index` 0..5; a Memory64 one takes the next index too. 6 is the expansion ROM
    /// (Memory32).
    Result<void> add_bar(unsigned index, PciBar bar);
    /// Changes the parts (an mmap that comes or goes); takes effect at once. MSI-X tables stay in
    /// front.
    void set_bar_parts(unsigned index, std::vector<PciBarPart> parts);
    /// A capability of `size` bytes, header included, at `offset` or (0) where there is room. Its
    /// bytes are read-only until the device opens them in write_mask(). Returns the offset.
    Result<unsigned> add_capability(std::uint8_t id, unsigned size, unsigned offset = 0);
    unsigned find_capability(std::uint8_t id) const;  ///< 0: none
    /// An extended capability in the upper part of an express configuration space.
    Result<unsigned> add_ext_capability(std::uint16_t id, std::uint8_t version, unsigned size,
                                        unsigned offset = 0);
    Result<void> add_msi(unsigned vectors, bool address64 = true, bool maskable = false,
                         unsigned offset = 0);
    /// Table and pending bits lie over BARs that were added before.
    Result<void> add_msix(unsigned vectors, unsigned table_bar, std::uint64_t table_offset,
                          unsigned pending_bar, std::uint64_t pending_offset, unsigned offset = 0);

    /// For the section: copies out, checks what arrived, takes it over (BARs are mapped again).
    Result<void> save_pci(PciState& into) const;
    Result<void> check_pci(const PciState& loaded) const;
    void load_pci(const PciState& loaded);
    PciMsixState save_msix() const;
    Result<void> check_msix(const PciMsixState& loaded) const;
    void load_msix(const PciMsixState& loaded);

protected:
    Result<void> realize() override;
    void reset(system::ResetKind) override;
    void unrealize() noexcept override;

    /// A vector was masked, unmasked or given another message; MSI-X was switched on or off (all
    /// vectors).
    virtual void msix_changed(unsigned /*vector*/) {}
    virtual void msi_changed() {}
    /// irq_gsi() may be another one.
    virtual void irq_route_changed() {}
    /// A BAR moved, appeared or went.
    virtual void bars_changed() {}

private:
    friend class PciBus;
    struct Bar;
    class MsixWindow;

    void update_bars();
    std::optional<std::uint64_t> decode_bar(unsigned index) const;
    void map_bar(unsigned index);
    void after_write(unsigned offset, unsigned size, std::uint16_t old_command);
    void flush_msi_pending();
    void flush_msix_pending(bool was_enabled);
    void change_intx(std::uint16_t old_command);

    PciState pci_;
    std::vector<std::uint8_t> wmask_;
    std::vector<std::uint8_t> w1cmask_;
    std::vector<std::uint8_t> cmask_;
    std::vector<std::uint8_t> used_;  // by capabilities
    PciBus* bus_ = nullptr;
    std::uint8_t devfn_ = 0;
    std::array<std::unique_ptr<Bar>, 7> bars_;
    unsigned msi_cap_ = 0;
    unsigned msix_cap_ = 0;
    std::unique_ptr<MsixWindow> msix_;
};

}  // namespace godwit::hw
