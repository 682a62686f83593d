// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The command queue of the interrupt translation service, and the interrupts it leads to.
#include "hw/intc/its.h"

#include "hw/dma.h"
#include "system/accelerator.h"
#include "system/vm.h"

#include <algorithm>
#include <span>

namespace godwit::hw {
namespace {

// Arm IHI 0069, section 5.3.
enum Opcode : unsigned {
    kMovi = 0x01,
    kInt = 0x03,
    kClear = 0x04,
    kSync = 0x05,
    kMapd = 0x08,
    kMapc = 0x09,
    kMapti = 0x0a,
    kMapi = 0x0b,
    kInv = 0x0c,
    kInvall = 0x0d,
    kMovall = 0x0e,
    kDiscard = 0x0f,
};

constexpr std::uint64_t kCommandBytes = 32;
constexpr std::uint64_t kStalled = 1;
constexpr std::uint64_t kValid = std::uint64_t{1} << 63;
constexpr std::uint64_t kQueueAddress = 0x000ffffffffff000;
constexpr std::uint64_t kTableAddress = 0x000fffffffffff00;
constexpr std::uint64_t kApic = 0xfee00000;
constexpr std::uint32_t kFirstVector = 16;
constexpr std::uint32_t kVectors = 256;

unsigned opcode_of(std::uint64_t word)
{
    return word & 0xff;
}

std::uint32_t device_number(const std::array<std::uint64_t, 4>& command)
{
    return static_cast<std::uint32_t>(command[0] >> 32);
}

std::uint32_t event_number(const std::array<std::uint64_t, 4>& command)
{
    return static_cast<std::uint32_t>(command[1]);
}

std::uint16_t collection_number(const std::array<std::uint64_t, 4>& command)
{
    return static_cast<std::uint16_t>(command[2]);
}

/// RDbase of a word, as a processor number (GITS_TYPER.PTA is 0).
std::uint64_t processor_number(std::uint64_t word)
{
    return word >> 16 & 0x7ffffffff;
}

bool in_ram(system::AddressSpace& memory, system::GuestAddr at, std::uint64_t bytes)
{
    return memory.ram_pointer(at, bytes) != nullptr;
}

}  // namespace

std::uint64_t Its::queue_bytes() const noexcept
{
    return (registers_.cbaser & kValid) != 0 ? ((registers_.cbaser & 0xff) + 1) * 4096 : 0;
}

std::uint64_t Its::collection_room() const noexcept
{
    const ItsTableBase table = ItsTableBase::decode(registers_.baser[1]);
    return table.valid ? table.bytes / kItsEntryBytes : 0;
}

bool Its::processor_exists(std::uint64_t number) const
{
    return number < std::max<std::size_t>(1, vm().config().max_cpus);
}

bool Its::fail(unsigned opcode, ItsMistake mistake)
{
    registers_.error = 0x010000 | opcode << 8 | static_cast<unsigned>(mistake);
    ++registers_.errors;
    return false;
}

/// Each command once: the end stands still, so a queue is at most gone through.
void Its::run_queue()
{
    const std::uint64_t bytes = queue_bytes();
    while (enabled() && bytes != 0 && (registers_.creadr & kStalled) == 0 &&
           registers_.creadr != registers_.cwriter) {
        if (registers_.cwriter >= bytes || registers_.creadr >= bytes) {
            fail(0, ItsMistake::QueueNotInMemory);
            registers_.creadr |= kStalled;
            return;
        }
        Words command{};
        const system::GuestAddr at = (registers_.cbaser & kQueueAddress) + registers_.creadr;
        if (!dma_read(vm().memory(), at, std::as_writable_bytes(std::span(command)))) {
            fail(0, ItsMistake::QueueNotInMemory);
            registers_.creadr |= kStalled;
            return;
        }
        if (!execute(command)) {
            registers_.creadr |= kStalled;
            return;
        }
        registers_.creadr = (registers_.creadr + kCommandBytes) % bytes;
    }
}

bool Its::execute(const Words& command)
{
    switch (opcode_of(command[0])) {
    case kMapd:
        return map_device(command);
    case kMapc:
        return map_collection(command);
    case kMapti:
        return map_event(command, true);
    case kMapi:
        return map_event(command, false);
    case kMovi:
        return move_event(command);
    case kMovall:
        return move_all(command);
    case kInt:
    case kClear:
    case kInv:
    case kDiscard:
        return on_event(command);
    case kInvall:
        return invalidate_all(command);
    case kSync:
        return true;  // nothing is ever under way
    default:
        return fail(opcode_of(command[0]), ItsMistake::UnknownCommand);
    }
}

bool Its::map_device(const Words& command)
{
    const std::uint32_t id = device_number(command);
    const ItsTableBase table = ItsTableBase::decode(registers_.baser[0]);
    if (!its_device_entry(vm().memory(), table, id))
        return fail(kMapd, ItsMistake::DeviceOutOfRange);
    if ((command[2] & kValid) == 0) {
        tables_.unmap(id);
        return true;
    }
    ItsDevice device{.table = command[2] & kTableAddress,
                     .event_bits = static_cast<unsigned>(command[1] & 0x1f) + 1};
    if (!in_ram(vm().memory(), device.table, device.table_bytes()) ||
        !tables_.map(id, std::move(device)))
        return fail(kMapd, ItsMistake::TableOutOfRange);
    return true;
}

bool Its::map_collection(const Words& command)
{
    const std::uint16_t id = collection_number(command);
    if (id >= collection_room())
        return fail(kMapc, ItsMistake::CollectionOutOfRange);
    if ((command[2] & kValid) == 0) {
        tables_.collections.erase(id);
        return true;
    }
    const std::uint64_t processor = processor_number(command[2]);
    if (!processor_exists(processor))
        return fail(kMapc, ItsMistake::TargetOutOfRange);
    tables_.collections[id] = static_cast<std::uint32_t>(processor);
    return true;
}

/// The device of a command about an event, if both are right.
ItsDevice* Its::device_of(const Words& command)
{
    const unsigned opcode = opcode_of(command[0]);
    if (device_number(command) >= 1u << kItsDeviceBits) {
        fail(opcode, ItsMistake::DeviceOutOfRange);
        return nullptr;
    }
    ItsDevice* const found = tables_.find(device_number(command));
    if (found == nullptr) {
        fail(opcode, ItsMistake::UnmappedDevice);
        return nullptr;
    }
    if (event_number(command) >= std::uint64_t{1} << found->event_bits) {
        fail(opcode, ItsMistake::EventOutOfRange);
        return nullptr;
    }
    return found;
}

bool Its::map_event(const Words& command, bool explicit_intid)
{
    const unsigned opcode = opcode_of(command[0]);
    ItsDevice* device = device_of(command);
    if (device == nullptr)
        return false;
    const std::uint32_t intid =
        explicit_intid ? static_cast<std::uint32_t>(command[1] >> 32) : event_number(command);
    if (intid < kItsFirstLpi || intid >= 1u << kItsIdBits)
        return fail(opcode, ItsMistake::InterruptOutOfRange);
    const std::uint16_t collection = collection_number(command);
    if (collection >= collection_room())
        return fail(opcode, ItsMistake::CollectionOutOfRange);
    device->events[event_number(command)] = {.intid = intid, .collection = collection};
    return true;
}

bool Its::move_event(const Words& command)
{
    ItsDevice* device = device_of(command);
    if (device == nullptr)
        return false;
    const auto event = device->events.find(event_number(command));
    if (event == device->events.end())
        return fail(kMovi, ItsMistake::UnmappedEvent);
    const std::uint16_t collection = collection_number(command);
    if (collection >= collection_room())
        return fail(kMovi, ItsMistake::CollectionOutOfRange);
    if (!tables_.collections.contains(collection))
        return fail(kMovi, ItsMistake::UnmappedCollection);
    event->second.collection = collection;
    return true;
}

/// Interrupts that are pending move with their processor's local APIC; mappings stay.
bool Its::move_all(const Words& command)
{
    for (const std::uint64_t word : {command[2], command[3]})
        if (!processor_exists(processor_number(word)))
            return fail(kMovall, ItsMistake::TargetOutOfRange);
    return true;
}

/// INT, CLEAR, INV, DISCARD.
bool Its::on_event(const Words& command)
{
    const unsigned opcode = opcode_of(command[0]);
    ItsDevice* device = device_of(command);
    if (device == nullptr)
        return false;
    const auto event = device->events.find(event_number(command));
    if (event == device->events.end())
        return fail(opcode, ItsMistake::UnmappedEvent);
    if (!tables_.collections.contains(event->second.collection) && opcode != kDiscard)
        return fail(opcode, ItsMistake::UnmappedCollection);
    if (opcode == kDiscard)
        device->events.erase(event);
    else if (opcode == kInt)
        signal(device_number(command), event_number(command));
    return true;
}

bool Its::invalidate_all(const Words& command)
{
    const std::uint16_t collection = collection_number(command);
    if (collection >= collection_room())
        return fail(kInvall, ItsMistake::CollectionOutOfRange);
    if (!tables_.collections.contains(collection))
        return fail(kInvall, ItsMistake::UnmappedCollection);
    return true;
}

/// A device's write to GITS_TRANSLATER, or INT.
void Its::signal(std::uint32_t device, std::uint32_t event)
{
    if (!enabled())
        return;
    const auto target = tables_.translate(device, event);
    if (!target) {
        fail(kInt, tables_.find(device) != nullptr ? ItsMistake::UnmappedEvent
                                                   : ItsMistake::UnmappedDevice);
        return;
    }
    ++registers_.translated;
    registers_.last_device = device;
    registers_.last_event = event;
    registers_.last_intid = target->intid;
    registers_.last_processor = target->processor;
    deliver(*target);
}

void Its::deliver(const ItsTarget& target)
{
    const std::uint32_t vector = target.intid - kItsFirstLpi;
    if (vector < kFirstVector || vector >= kVectors)
        return;
    const std::uint64_t address = kApic | std::uint64_t{target.processor & 0xff} << 12;
    if (system::Accelerator* accelerator = vm().accelerator())
        if (system::KernelIrqchip* irqchip = accelerator->irqchip()) {
            (void)irqchip->send_msi(address, vector);
            return;
        }
    vm().memory().store(address, vector, 4);
}

}  // namespace godwit::hw
