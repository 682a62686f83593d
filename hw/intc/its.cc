// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/intc/its.h"

#include "hw/register_private.h"
#include "migration/notifier.h"
#include "migration/service.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/flight_recorder.h"

#include <fmt/format.h>

namespace godwit::hw {
namespace {

using namespace migration::stream;

// GITS registers, Arm IHI 0069 section 12.19.
constexpr unsigned kCtlr = 0x0000;
constexpr unsigned kTyper = 0x0008;
constexpr unsigned kCbaser = 0x0080;
constexpr unsigned kCwriter = 0x0088;
constexpr unsigned kCreadr = 0x0090;
constexpr unsigned kBaser0 = 0x0100;
constexpr unsigned kBaser1 = 0x0108;
constexpr unsigned kError = 0xc000;
constexpr unsigned kErrors = 0xc008;
constexpr unsigned kTranslated = 0xc010;
constexpr unsigned kLastDevice = 0xc018;
constexpr unsigned kLastInterrupt = 0xc020;
constexpr unsigned kPidr2 = 0xffe8;

constexpr std::uint32_t kEnabled = 1;
constexpr std::uint32_t kQuiescent = 1u << 31;
constexpr std::uint64_t kIdentity = std::uint64_t{0x47570000} << 32;  // GITS_IIDR
constexpr std::uint64_t kTyperValue =
    1 | (kItsEntryBytes - 1) << 4 | (kItsIdBits - 1) << 8 | std::uint64_t{kItsDeviceBits - 1} << 13;
constexpr std::uint64_t kOffset = 0xfffe0;
constexpr std::uint64_t kRetry = 1;
constexpr std::uint64_t kStalled = 1;
constexpr std::uint64_t kIndirect = std::uint64_t{1} << 62;
constexpr std::uint64_t kBaserFixed = std::uint64_t{7} << 56 | std::uint64_t{31}
                                                                   << 48;  // type, size of an entry
constexpr std::array<std::uint64_t, 2> kBaserIs{
    std::uint64_t{1} << 56 | (kItsEntryBytes - 1) << 48,
    std::uint64_t{4} << 56 | (kItsEntryBytes - 1) << 48,
};

constexpr TraceEvent<std::uint64_t, std::uint64_t, std::uint64_t> kItsFlush{
    "its_flush", {"devices", "events", "pages"}};
constexpr TraceEvent<std::uint64_t, std::uint64_t> kItsLoad{"its_load", {"devices", "events"}};

using R = ItsRegisters;
constexpr auto kItsState = vmstate<R>(
    "its", {}, field<&R::ctlr>("ctlr").in_range(0, 1), field<&R::cbaser>("cbaser"),
    field<&R::cwriter>("cwriter"), field<&R::creadr>("creadr"), field<&R::baser>("baser"),
    field<&R::error>("error"), field<&R::errors>("errors"), field<&R::translated>("translated"),
    field<&R::last_device>("last_device"), field<&R::last_event>("last_event"),
    field<&R::last_intid>("last_intid"), field<&R::last_processor>("last_processor"));
static_assert(kItsState.well_formed());

std::uint64_t pair(std::uint32_t low, std::uint32_t high)
{
    return low | std::uint64_t{high} << 32;
}

std::uint64_t merge(std::uint64_t old, std::uint64_t value, std::uint64_t mask)
{
    return (old & ~mask) | (value & mask);
}

}  // namespace

Result<void> Its::realize()
{
    if (base_ % kRegisterBytes != 0 || base_ + kBytes < base_)
        return Error(Errc::InvalidArgument,
                     fmt::format("its: base 0x{:x} is not a multiple of 64 KiB", base_));
    registers_.baser = kBaserIs;
    region_ = MappedRegion(
        vm().memory(), {.name = "its", .start = base_, .size = kBytes, .priority = 1, .io = this});
    if (migration::MigrationService* service = vm().migration())
        keep(service->notifiers().add(
            {.name = "its", .notify = [this](migration::Moment moment) -> Result<void> {
                 if (moment == migration::Moment::InCompletion)
                     flush();
                 return {};
             }}));
    return {};
}

void Its::reset(system::ResetKind)
{
    registers_ = {.baser = kBaserIs};
    tables_.clear();
}

std::uint64_t Its::flush()
{
    const std::uint64_t pages =
        tables_.flush(vm().memory(), ItsTableBase::decode(registers_.baser[0]),
                      ItsTableBase::decode(registers_.baser[1]),
                      [this] { fail(0, ItsMistake::TableNotInMemory); });
    vm().recorder().record(kItsFlush, tables_.devices().size(), tables_.event_count(), pages);
    return pages;
}

void Its::read_tables()
{
    tables_.load(vm().memory(), ItsTableBase::decode(registers_.baser[0]),
                 ItsTableBase::decode(registers_.baser[1]),
                 [this] { fail(0, ItsMistake::TableNotInMemory); });
    vm().recorder().record(kItsLoad, tables_.devices().size(), tables_.event_count());
}

Result<void> Its::check(const ItsRegisters& loaded) const
{
    for (std::size_t n = 0; n < kBaserIs.size(); ++n)
        if ((loaded.baser[n] & kBaserFixed) != kBaserIs[n])
            return Error(Errc::BadFormat, fmt::format("baser {}: {:#x} is no table of this kind", n,
                                                      loaded.baser[n]));
    if ((loaded.cwriter & ~kOffset) != 0 || (loaded.creadr & ~(kOffset | kStalled)) != 0)
        return Error(Errc::BadFormat, "the queue's offsets are not those of commands");
    return {};
}

Result<void> Its::register_state(StateRegistry& registry)
{
    keep(GW_TRY(registry.add(kItsState, registers_, {},
                             {.validate = [this](const ItsRegisters& r) { return check(r); },
                              .post_load = [this](Version) -> Result<void> {
                                  read_tables();
                                  return {};
                              }})));
    return {};
}

std::uint64_t Its::read_register(unsigned reg) const
{
    switch (reg) {
    case kCtlr:
        return pair(registers_.ctlr | kQuiescent, 0) | kIdentity;
    case kTyper:
        return kTyperValue;
    case kCbaser:
        return registers_.cbaser;
    case kCwriter:
        return registers_.cwriter;
    case kCreadr:
        return registers_.creadr;
    case kBaser0:
        return registers_.baser[0];
    case kBaser1:
        return registers_.baser[1];
    case kError:
        return registers_.error;
    case kErrors:
        return registers_.errors;
    case kTranslated:
        return registers_.translated;
    case kLastDevice:
        return pair(registers_.last_device, registers_.last_event);
    case kLastInterrupt:
        return pair(registers_.last_intid, registers_.last_processor);
    case kPidr2:
        return 0x30;
    default:
        return 0;
    }
}

std::uint64_t Its::read(system::GuestAddr offset, unsigned size)
{
    if (offset >= kRegisterBytes || offset % size != 0)
        return 0;
    const std::uint64_t value = read_register(static_cast<unsigned>(offset) & ~7u);
    return size == 8 ? value : value >> 8 * (offset & 4) & 0xffffffff;
}

void Its::write(system::GuestAddr offset, std::uint64_t value, unsigned size)
{
    if (offset % size != 0)
        return;
    if (offset >= kRegisterBytes) {
        if (size == 4)
            signal(static_cast<std::uint32_t>((offset - kRegisterBytes) / 4),
                   static_cast<std::uint32_t>(value));
        return;
    }
    const unsigned shift = 8 * (offset & 4);
    const std::uint64_t mask = size == 8 ? ~std::uint64_t{0} : std::uint64_t{0xffffffff} << shift;
    write_register(static_cast<unsigned>(offset) & ~7u, value << shift, mask);
}

void Its::write_register(unsigned reg, std::uint64_t value, std::uint64_t mask)
{
    switch (reg) {
    case kCtlr:
        if ((mask & kEnabled) != 0)
            registers_.ctlr = value & kEnabled;
        run_queue();
        break;
    case kCbaser:
        // While it runs, the queue stays where it is.
        if (enabled())
            break;
        registers_.cbaser = merge(registers_.cbaser, value, mask);
        registers_.creadr = 0;
        registers_.cwriter = 0;
        break;
    case kCwriter:
        if ((mask & kRetry) == 0)
            break;
        if ((value & kRetry) != 0)
            registers_.creadr &= ~kStalled;
        registers_.cwriter = merge(registers_.cwriter, value, mask) & kOffset;
        run_queue();
        break;
    case kBaser0:
    case kBaser1: {
        if (enabled())
            break;
        const unsigned n = reg == kBaser0 ? 0 : 1;
        std::uint64_t baser = merge(registers_.baser[n], value, mask & ~kBaserFixed);
        if (n == 1)
            baser &= ~kIndirect;
        registers_.baser[n] = baser;
        break;
    }
    case kError:
        registers_.error = 0;
        break;
    default:
        break;
    }
}

Result<void> register_its(system::TypeRegistry& types)
{
    return types.add({.name = "its",
                      .parent = "device",
                      .description = "interrupt translation service",
                      .properties = {system::property<&Its::base_>(
                          "base", 0xfe000000u, "guest address of its registers")},
                      .create = [] { return std::make_unique<Its>(); }});
}

}  // namespace godwit::hw
