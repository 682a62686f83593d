// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/fw_cfg.h"

#include "hw/dma.h"
#include "hw/register_private.h"
#include "migration/stream/registry.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/byte_order.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fmt/format.h>

namespace godwit::hw {
namespace {

constexpr std::uint16_t kWriteChannel = 0x4000;  // ignored since files are written by DMA
constexpr std::size_t kNameBytes = 56;
constexpr std::size_t kEntryBytes = 64;

constexpr std::uint32_t kDmaError = 0x01;
constexpr std::uint32_t kDmaRead = 0x02;
constexpr std::uint32_t kDmaSkip = 0x04;
constexpr std::uint32_t kDmaSelect = 0x08;
constexpr std::uint32_t kDmaWrite = 0x10;
constexpr std::uint64_t kDmaSignature = 0x51454d5520434647;  // "QEMU CFG"

void put_be(std::span<std::byte> at, std::uint64_t value)
{
    for (std::size_t n = at.size(); n-- > 0; value >>= 8)
        at[n] = static_cast<std::byte>(value);
}

std::uint64_t get_be(std::span<const std::byte> at)
{
    std::uint64_t value = 0;
    for (const std::byte byte : at)
        value = value << 8 | static_cast<std::uint8_t>(byte);
    return value;
}

FwCfg::Bytes little_endian(std::uint64_t value, std::size_t bytes)
{
    FwCfg::Bytes data(bytes);
    for (std::byte& byte : data) {
        byte = static_cast<std::byte>(value);
        value >>= 8;
    }
    return data;
}

FwCfg::Bytes bytes_of(std::string_view text)
{
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

// The two classic ports. Any one-byte read is a data read, any two-byte write a selection.
}  // namespace

class FwCfg::ComboPort final : public system::IoHandler {
public:
    explicit ComboPort(FwCfg& owner) : owner_(owner) {}
    std::uint64_t read(system::GuestAddr, unsigned size) override
    {
        return size == 1 ? owner_.read_byte() : ~std::uint64_t{0};
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        if (size == 2 && offset == 0)
            owner_.select(static_cast<std::uint16_t>(value));
    }
    unsigned max_access() const override { return 2; }

private:
    FwCfg& owner_;
};

// A 64-bit big-endian register; writing its low half starts the transfer.
class FwCfg::DmaPort final : public system::IoHandler {
public:
    explicit DmaPort(FwCfg& owner) : owner_(owner) {}
    std::uint64_t read(system::GuestAddr offset, unsigned size) override
    {
        if (offset + size > 8)
            return 0;
        std::uint64_t value = 0;
        for (unsigned n = 0; n < size; ++n)
            value |= (kDmaSignature >> (8 * (7 - (offset + n))) & 0xff) << (8 * n);
        return value;
    }
    void write(system::GuestAddr offset, std::uint64_t value, unsigned size) override
    {
        FwCfgState& state = owner_.state_;
        if (size == 4 && offset == 0) {
            state.dma_addr = std::uint64_t{std::byteswap(static_cast<std::uint32_t>(value))} << 32;
        } else if (size == 4 && offset == 4) {
            state.dma_addr |= std::byteswap(static_cast<std::uint32_t>(value));
            owner_.run_dma();
        } else if (size == 8 && offset == 0) {
            state.dma_addr = std::byteswap(value);
            owner_.run_dma();
        }
    }

private:
    FwCfg& owner_;
};

FwCfg::FwCfg() : combo_(std::make_unique<ComboPort>(*this)), dma_(std::make_unique<DmaPort>(*this))
{
    set(FwCfgKey::Signature, bytes_of("QEMU"));
    rebuild_directory();
}

FwCfg::~FwCfg() = default;

// --- items -------------------------------------------------------------------------------------

void FwCfg::set(FwCfgKey key, Bytes data)
{
    items_[static_cast<std::uint16_t>(key)].data = std::move(data);
}

void FwCfg::set_string(FwCfgKey key, std::string_view text)
{
    Bytes data = bytes_of(text);
    data.push_back(std::byte{0});
    set(key, std::move(data));
}

void FwCfg::set_u16(FwCfgKey key, std::uint16_t value)
{
    set(key, little_endian(value, 2));
}

void FwCfg::set_u32(FwCfgKey key, std::uint32_t value)
{
    set(key, little_endian(value, 4));
}

void FwCfg::set_u64(FwCfgKey key, std::uint64_t value)
{
    set(key, little_endian(value, 8));
}

void FwCfg::on_select(FwCfgKey key, std::function<void()> hook)
{
    items_[static_cast<std::uint16_t>(key)].on_select = std::move(hook);
}

Result<void> FwCfg::add_file(std::string name, Bytes data)
{
    return add_file(std::move(name), Item{.data = std::move(data)});
}

Result<void> FwCfg::add_file(std::string name, Item item)
{
    if (name.empty() || name.size() >= kNameBytes)
        return Error(Errc::InvalidArgument,
                     fmt::format("fw_cfg file name '{}' must have 1 to 55 bytes", name));
    if (files_.contains(name))
        return Error(Errc::Exists, fmt::format("duplicate fw_cfg file name: {}", name));
    if (files_.size() >= file_slots_)
        return Error(Errc::OutOfMemory, fmt::format("no fw_cfg slot left for file {}", name));
    files_.emplace(std::move(name), std::move(item));
    rebuild_directory();
    return {};
}

Result<void> FwCfg::set_file(std::string_view name, Bytes data)
{
    const auto it = files_.find(name);
    if (it == files_.end())
        return add_file(std::string(name), std::move(data));
    it->second.data = std::move(data);
    rebuild_directory();
    return {};
}

const FwCfg::Item* FwCfg::file(std::string_view name) const
{
    const auto it = files_.find(name);
    return it == files_.end() ? nullptr : &it->second;
}

std::uint16_t FwCfg::file_key(std::string_view name) const
{
    const auto it = files_.find(name);
    if (it == files_.end())
        return 0;
    return static_cast<std::uint16_t>(static_cast<unsigned>(FwCfgKey::FileFirst) +
                                      std::distance(files_.begin(), it));
}

// Count, then per file: size, key, reserved, name; integers big-endian.
void FwCfg::rebuild_directory()
{
    Bytes directory(4 + files_.size() * kEntryBytes);
    const std::span<std::byte> all(directory);
    put_be(all.first(4), files_.size());
    std::size_t at = 4;
    std::uint16_t key = static_cast<std::uint16_t>(FwCfgKey::FileFirst);
    for (const auto& [name, item] : files_) {
        put_be(all.subspan(at, 4), item.data.size());
        put_be(all.subspan(at + 4, 2), key++);
        std::memcpy(&directory[at + 8], name.data(), name.size());
        at += kEntryBytes;
    }
    set(FwCfgKey::FileDir, std::move(directory));
}

FwCfg::Item* FwCfg::item(std::uint16_t key)
{
    key &= static_cast<std::uint16_t>(~kWriteChannel);
    const auto first = static_cast<std::uint16_t>(FwCfgKey::FileFirst);
    if (key >= first && key - first < static_cast<int>(files_.size()))
        return &std::next(files_.begin(), key - first)->second;
    const auto it = items_.find(key);
    return it == items_.end() ? nullptr : &it->second;
}

// --- the guest -----------------------------------------------------------------------------------

void FwCfg::select(std::uint16_t key)
{
    state_.cur_entry = key;
    state_.cur_offset = 0;
    if (Item* chosen = item(key); chosen != nullptr && chosen->on_select) {
        const auto hook = chosen->on_select;  // may replace the item
        hook();
    }
}

std::uint8_t FwCfg::read_byte()
{
    const Item* current = item(state_.cur_entry);
    if (current == nullptr || state_.cur_offset >= current->data.size())
        return 0;
    return static_cast<std::uint8_t>(current->data[state_.cur_offset++]);
}

struct FwCfg::Request {
    std::uint32_t control;
    std::uint32_t length;
    std::uint64_t address;
};

// Descriptor: control, length, address; 16 bytes, big-endian. The answer goes into `control`.
void FwCfg::run_dma()
{
    const std::uint64_t at = std::exchange(state_.dma_addr, 0);
    std::array<std::byte, 16> raw{};
    auto& memory = vm().memory();
    std::array<std::byte, 4> answer{};
    if (!dma_read(memory, at, raw)) {
        put_be(answer, kDmaError);
        (void)dma_write(memory, at, answer);
        return;
    }
    const std::span<const std::byte> all(raw);
    Request request{.control = static_cast<std::uint32_t>(get_be(all.first(4))),
                    .length = static_cast<std::uint32_t>(get_be(all.subspan(4, 4))),
                    .address = get_be(all.subspan(8, 8))};
    if ((request.control & kDmaSelect) != 0)
        select(static_cast<std::uint16_t>(request.control >> 16));
    put_be(answer, transfer(request) ? 0 : kDmaError);
    (void)dma_write(memory, at, answer);
}

Result<void> FwCfg::transfer(Request& request)
{
    auto& memory = vm().memory();
    const bool reads = (request.control & kDmaRead) != 0;
    const bool writes = !reads && (request.control & kDmaWrite) != 0;
    if (!reads && !writes && (request.control & kDmaSkip) == 0)
        return {};
    Item* current = item(state_.cur_entry);
    const std::uint64_t size = current == nullptr ? 0 : current->data.size();
    const std::uint64_t left = size - std::min<std::uint64_t>(size, state_.cur_offset);
    const auto here = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, request.length));
    const std::uint32_t offset = state_.cur_offset;

    if (writes) {
        if (current == nullptr || !current->writable || here != request.length)
            return Error(Errc::PermissionDenied, "fw_cfg item takes no such write");
        GW_TRY(dma_read(memory, request.address, std::span(current->data).subspan(offset, here)));
    } else if (reads) {
        if (here > 0)
            GW_TRY(dma_write(memory, request.address,
                             std::span(std::as_const(current->data)).subspan(offset, here)));
        GW_TRY(dma_zero(memory, request.address + here, request.length - here));
    }
    state_.cur_offset += here;
    if (writes && current->on_write)
        current->on_write(offset, here);
    return {};
}

// --- life ----------------------------------------------------------------------------------------

Result<void> FwCfg::realize()
{
    set_u32(FwCfgKey::Id, dma_enabled_ ? 3 : 1);
    const auto map = [this](const char* name, std::uint16_t at, std::uint64_t size,
                            system::IoHandler& io) {
        regions_.emplace_back(vm().io(), system::RegionSpec{.name = name,
                                                            .start = at,
                                                            .size = size,
                                                            .kind = system::RegionKind::Io,
                                                            .io = &io});
    };
    map("fwcfg", 0x510, 2, *combo_);
    if (dma_enabled_)
        map("fwcfg.dma", 0x514, 8, *dma_);
    return {};
}

void FwCfg::reset(system::ResetKind)
{
    state_.dma_addr = 0;
    select(0);
}

void FwCfg::unrealize() noexcept
{
    regions_.clear();
}

void FwCfg::set_acpi_sizes(std::uint64_t tables, std::uint64_t linker, std::uint64_t rsdp)
{
    state_.table_mr_size = tables;
    state_.linker_mr_size = linker;
    state_.rsdp_mr_size = rsdp;
}

namespace {

using namespace migration::stream;

constexpr std::uint64_t kPage = 4096;

constexpr auto kDma = vmstate<FwCfgState>("fw_cfg/dma", {.current = 0, .oldest = 0},
                                          field<&FwCfgState::dma_addr>("dma_addr"));
constexpr auto kAcpi = vmstate<FwCfgState>("fw_cfg/acpi_mr",
                                           {.needed =
                                                [](const FwCfgState& s) {
                                                    return s.table_mr_size % kPage != 0 ||
                                                           s.linker_mr_size % kPage != 0 ||
                                                           s.rsdp_mr_size % kPage != 0;
                                                }},
                                           field<&FwCfgState::table_mr_size>("table_mr_size"),
                                           field<&FwCfgState::linker_mr_size>("linker_mr_size"),
                                           field<&FwCfgState::rsdp_mr_size>("rsdp_mr_size"));

// The read position was a 16-bit field in version 1, whence the index in the name.
constexpr auto kFwCfg = vmstate<FwCfgState>(
    "fw_cfg", {.current = 2, .oldest = 2}, field<&FwCfgState::cur_entry>("cur_entry"),
    field<&FwCfgState::cur_offset>("cur_offset[1]"), subsection(kDma), subsection(kAcpi));
static_assert(kFwCfg.well_formed());

// A device without DMA does not send that part.
constexpr auto kFwCfgNoDma = vmstate<FwCfgState>(
    "fw_cfg", {.current = 2, .oldest = 2}, field<&FwCfgState::cur_entry>("cur_entry"),
    field<&FwCfgState::cur_offset>("cur_offset[1]"), subsection(kAcpi));

}  // namespace

Result<void> FwCfg::register_state(StateRegistry& registry)
{
    const VMStateOf<FwCfgState>& how =
        dma_enabled_ ? static_cast<const VMStateOf<FwCfgState>&>(kFwCfg) : kFwCfgNoDma;
    keep(GW_TRY(registry.add(how, state_, {}, {.post_load = [this](Version) {
                                 if (loaded_)
                                     loaded_(state_);
                                 return ok();
                             }})));
    return {};
}

Result<void> register_fw_cfg(system::TypeRegistry& types)
{
    using system::property;
    return types.add(
        {.name = "fw_cfg_io",
         .parent = "sys-bus-device",
         .user_creatable = false,
         .description = "firmware configuration items at ports 0x510-0x51b",
         .properties = {property<&FwCfg::dma_enabled_>("dma_enabled", true),
                        property<&FwCfg::file_slots_>("x-file-slots", std::uint16_t{32})},
         .create = [] { return std::make_unique<FwCfg>(); }});
}

}  // namespace godwit::hw
