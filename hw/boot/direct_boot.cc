// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/boot/direct_boot.h"

#include "hw/boot/elf.h"
#include "hw/boot/linux_image.h"
#include "hw/fw_cfg.h"
#include "util/unique_fd.h"
#include "util/units.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godwit::hw {

namespace {

constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMaxKernel = std::uint64_t{1} << 30;

// Below 640 KiB, where no kernel is loaded.
constexpr std::uint32_t kStartInfo = 0x6000;
constexpr std::uint32_t kModuleList = 0x6040;
constexpr std::uint32_t kPvhMap = 0x6100;
constexpr std::uint32_t kBootParams = 0x7000;
constexpr std::uint32_t kPageTables = 0x8000;  // six pages
constexpr std::uint32_t kCmdline = 0x20000;
constexpr std::size_t kMaxCmdline = 0xffff;
constexpr std::uint64_t kLowRamEnd = 0x9fc00;
constexpr std::uint64_t kVgaStart = 0xa0000;
constexpr std::uint64_t kBiosStart = 0xf0000;

constexpr std::uint32_t kStartInfoMagic = 0x336ec578;
constexpr std::uint8_t kUnregisteredLoader = 0xff;

/// Little-endian fields, one behind the other.
class Fields {
public:
    Fields& u32(std::uint64_t value) { return put(value, 4); }
    Fields& u64(std::uint64_t value) { return put(value, 8); }
    std::vector<std::byte> take() { return std::move(bytes_); }

private:
    Fields& put(std::uint64_t value, unsigned size)
    {
        for (; size > 0; --size, value >>= 8)
            bytes_.push_back(static_cast<std::byte>(value & 0xff));
        return *this;
    }
    std::vector<std::byte> bytes_;
};

template <class T>
void set_field(std::vector<std::byte>& bytes, unsigned offset, T value)
{
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

std::vector<std::byte> text_bytes(const std::string& text)
{
    const auto* data = reinterpret_cast<const std::byte*>(text.c_str());
    return {data, data + text.size() + 1};
}

}  // namespace

Result<std::vector<std::byte>> read_boot_file(const std::string& path, std::uint64_t limit)
{
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat info{};
    if (!fd)
        return Error::from_errno("open").with_hint({});
    if (::fstat(fd.get(), &info) < 0)
        return Error::from_errno("stat");
    if (!S_ISREG(info.st_mode))
        return Error(Errc::InvalidArgument, "not a regular file");
    if (static_cast<std::uint64_t>(info.st_size) > limit)
        return Error(
            Errc::InvalidArgument,
            fmt::format("{} bytes are more than the {} there is room for", info.st_size, limit));
    std::vector<std::byte> bytes(static_cast<std::size_t>(info.st_size));
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t got = ::read(fd.get(), bytes.data() + done, bytes.size() - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return Error::from_errno("read");
        if (got == 0)
            return Error(Errc::Truncated, "the file became shorter while it was read");
        done += static_cast<std::size_t>(got);
    }
    return bytes;
}

MemoryMap pc_memory_map(std::uint64_t ram_below_4g, std::uint64_t ram_above_4g,
                        const MemoryMap& reserved)
{
    using Type = MemoryMapEntry::Type;
    MemoryMap map;
    map.push_back({0, std::min(ram_below_4g, kLowRamEnd), Type::Ram});
    map.push_back({kLowRamEnd, kVgaStart - kLowRamEnd, Type::Reserved});
    map.push_back({kBiosStart, kMiB - kBiosStart, Type::Reserved});
    if (ram_below_4g > kMiB)
        map.push_back({kMiB, ram_below_4g - kMiB, Type::Ram});
    map.insert(map.end(), reserved.begin(), reserved.end());
    if (ram_above_4g != 0)
        map.push_back({k4GiB, ram_above_4g, Type::Ram});
    return map;
}

std::vector<std::byte> e820_bytes(const MemoryMap& map)
{
    Fields table;
    for (const MemoryMapEntry& entry : map)
        table.u64(entry.start).u64(entry.size).u32(static_cast<std::uint32_t>(entry.type));
    return table.take();
}

namespace {

/// What both kinds of kernel need to know while they are laid out.
struct Layout {
    const BootFiles& files;
    std::uint64_t ram_below_4g;
    const MemoryMap& map;
    std::vector<std::byte> initrd;
};

Error kernel_error(const BootFiles& files, Error error)
{
    return std::move(error).context(fmt::format("could not load kernel '{}'", files.kernel));
}

Result<void> place_cmdline(BootPlan& plan, const Layout& layout, std::uint64_t limit)
{
    if (layout.files.cmdline.size() > std::min<std::uint64_t>(limit, kMaxCmdline))
        return Error(Errc::InvalidArgument,
                     fmt::format("-append: {} characters are more than the {} the kernel takes",
                                 layout.files.cmdline.size(),
                                 std::min<std::uint64_t>(limit, kMaxCmdline)));
    plan.cmdline = layout.files.cmdline;
    std::vector<std::byte> text = text_bytes(layout.files.cmdline);
    const std::uint64_t size = text.size();
    plan.pieces.push_back({kCmdline, std::move(text), size});
    return {};
}

/// As high as `limit` and RAM allow, above `kernel_end`.
Result<void> place_initrd(BootPlan& plan, Layout& layout, std::uint64_t kernel_end,
                          std::uint64_t limit)
{
    if (layout.initrd.empty())
        return {};
    const std::uint64_t size = layout.initrd.size();
    const std::uint64_t top = std::min(layout.ram_below_4g, limit);
    if (size > top || ((top - size) & ~(kPage - 1)) < kernel_end)
        return Error(Errc::InvalidArgument,
                     fmt::format("initrd {} ({} bytes) does not fit between the kernel's end at "
                                 "{:#x} and {:#x}",
                                 layout.files.initrd, size, kernel_end, top));
    plan.initrd_address = (top - size) & ~(kPage - 1);
    plan.initrd = layout.initrd;
    plan.pieces.push_back({plan.initrd_address, std::move(layout.initrd), size});
    return {};
}

Result<BootPlan> plan_pvh(const ElfImage& elf, Layout& layout)
{
    if (!elf.pvh_entry)
        return kernel_error(layout.files,
                            Error(Errc::Unsupported, "the ELF file has no PVH entry point"));
    BootPlan plan;
    std::uint64_t end = kMiB;
    for (const ElfSegment& segment : elf.segments) {
        const std::uint64_t segment_end = segment.address + segment.memory_size;
        if (segment.address < kMiB || segment_end > layout.ram_below_4g)
            return kernel_error(
                layout.files,
                Error(Errc::InvalidArgument,
                      fmt::format("segment {:#x} to {:#x} is not in RAM from "
                                  "0x100000 to {:#x}",
                                  segment.address, segment_end, layout.ram_below_4g)));
        plan.pieces.push_back(
            {segment.address, {segment.data.begin(), segment.data.end()}, segment.memory_size});
        plan.kernel_address = plan.pieces.size() == 1
                                  ? segment.address
                                  : std::min(plan.kernel_address, segment.address);
        end = std::max(end, segment_end);
    }
    plan.kernel_entry = *elf.pvh_entry;
    GW_TRY(place_cmdline(plan, layout, kMaxCmdline));
    GW_TRY(place_initrd(plan, layout, end, k4GiB));

    Fields info;
    info.u32(kStartInfoMagic).u32(1).u32(0).u32(plan.initrd.empty() ? 0 : 1);
    info.u64(kModuleList).u64(kCmdline).u64(0).u64(kPvhMap).u32(layout.map.size()).u32(0);
    Fields modules;
    modules.u64(plan.initrd_address).u64(plan.initrd.size()).u64(0).u64(0);
    Fields map;
    for (const MemoryMapEntry& entry : layout.map)
        map.u64(entry.start).u64(entry.size).u32(static_cast<std::uint32_t>(entry.type)).u32(0);
    plan.pieces.push_back({kStartInfo, info.take(), 0});
    plan.pieces.push_back({kModuleList, modules.take(), 0});
    plan.pieces.push_back({kPvhMap, map.take(), 0});
    plan.entry = PvhEntry{.entry = *elf.pvh_entry, .start_info = kStartInfo};
    return plan;
}

/// 4 GiB mapped to themselves in pages of 2 MiB.
std::vector<std::byte> identity_page_tables()
{
    constexpr std::uint64_t kPresentWritable = 3;
    constexpr std::uint64_t kLarge = 0x80;
    Fields tables;
    const auto pad = [&tables](unsigned entries) {
        for (; entries > 0; --entries)
            tables.u64(0);
    };
    tables.u64((kPageTables + kPage) | kPresentWritable);
    pad(511);
    for (unsigned directory = 0; directory < 4; ++directory)
        tables.u64((kPageTables + (2 + directory) * kPage) | kPresentWritable);
    pad(508);
    for (std::uint64_t page = 0; page < 4 * 512; ++page)
        tables.u64(page * 2 * kMiB | kPresentWritable | kLarge);
    return tables.take();
}

std::vector<std::byte> boot_params(const LinuxImage& image, const BootPlan& plan,
                                   const MemoryMap& map)
{
    using namespace linux_boot;
    std::vector<std::byte> params(kBootParamsSize);
    std::ranges::copy(image.header, params.begin() + kHeader);
    set_field(params, kTypeOfLoader, kUnregisteredLoader);
    set_field(params, kCmdLinePtr, kCmdline);
    set_field(params, kRamdiskImage, static_cast<std::uint32_t>(plan.initrd_address));
    set_field(params, kRamdiskSize, static_cast<std::uint32_t>(plan.initrd.size()));
    const std::vector<std::byte> e820 = e820_bytes(map);
    std::ranges::copy(e820, params.begin() + kE820Table);
    set_field(params, kE820Entries, static_cast<std::uint8_t>(map.size()));
    return params;
}

Result<BootPlan> plan_linux(const LinuxImage& image, Layout& layout)
{
    BootPlan plan;
    const std::uint64_t end = LinuxImage::kLoadAddress + image.memory_size;
    if (end > layout.ram_below_4g)
        return kernel_error(
            layout.files,
            Error(Errc::InvalidArgument, fmt::format("it needs RAM up to {:#x}, there is {:#x}",
                                                     end, layout.ram_below_4g)));
    plan.setup.assign(image.setup.begin(), image.setup.end());
    plan.kernel.assign(image.payload.begin(), image.payload.end());
    plan.kernel_address = LinuxImage::kLoadAddress;
    plan.kernel_entry = LinuxImage::kLoadAddress + LinuxImage::kEntry64;
    plan.pieces.push_back({LinuxImage::kLoadAddress, plan.kernel, image.memory_size});
    GW_TRY(place_cmdline(plan, layout, image.cmdline_max));
    GW_TRY(place_initrd(plan, layout, end, std::uint64_t{image.initrd_max} + 1));
    plan.pieces.push_back({kBootParams, boot_params(image, plan, layout.map), 0});
    plan.pieces.push_back({kPageTables, identity_page_tables(), 0});
    plan.entry = Linux64Entry{.entry = static_cast<std::uint32_t>(plan.kernel_entry),
                              .boot_params = kBootParams,
                              .page_table = kPageTables};
    return plan;
}

}  // namespace

Result<BootPlan> plan_direct_boot(const BootFiles& files, std::uint64_t ram_below_4g,
                                  const MemoryMap& map)
{
    auto kernel = read_boot_file(files.kernel, std::min(kMaxKernel, ram_below_4g));
    if (!kernel)
        return std::move(kernel).error().context(
            fmt::format("could not load kernel '{}'", files.kernel));
    Layout layout{.files = files, .ram_below_4g = ram_below_4g, .map = map, .initrd = {}};
    if (!files.initrd.empty()) {
        auto initrd = read_boot_file(files.initrd, ram_below_4g);
        if (!initrd)
            return std::move(initrd).error().context(
                fmt::format("error reading initrd {}", files.initrd));
        layout.initrd = std::move(*initrd);
    }
    if (is_elf(*kernel)) {
        const auto elf = parse_elf(*kernel);
        if (!elf)
            return kernel_error(files, elf.error());
        return plan_pvh(*elf, layout);
    }
    const auto image = parse_linux_image(*kernel);
    if (!image)
        return kernel_error(files, image.error());
    return plan_linux(*image, layout);
}

Result<void> load_boot_plan(const BootPlan& plan, system::AddressSpace& memory, bool fresh)
{
    for (const BootPiece& piece : plan.pieces) {
        GW_TRY(memory.write_rom(piece.address, piece.data));
        if (!fresh && piece.memory_size > piece.data.size())
            GW_TRY(memory.fill(piece.address + piece.data.size(),
                               piece.memory_size - piece.data.size(), 0));
    }
    return {};
}

void describe_boot_plan(const BootPlan& plan, FwCfg& fw_cfg)
{
    const auto u32 = [&fw_cfg](FwCfgKey key, std::uint64_t value) {
        fw_cfg.set_u32(key, static_cast<std::uint32_t>(value));
    };
    u32(FwCfgKey::KernelAddr, plan.kernel_address);
    u32(FwCfgKey::KernelEntry, plan.kernel_entry);
    u32(FwCfgKey::KernelSize, plan.kernel.size());
    fw_cfg.set(FwCfgKey::KernelData, plan.kernel);
    u32(FwCfgKey::SetupAddr, 0x10000);
    u32(FwCfgKey::SetupSize, plan.setup.size());
    fw_cfg.set(FwCfgKey::SetupData, plan.setup);
    u32(FwCfgKey::InitrdAddr, plan.initrd_address);
    u32(FwCfgKey::InitrdSize, plan.initrd.size());
    fw_cfg.set(FwCfgKey::InitrdData, plan.initrd);
    u32(FwCfgKey::CmdlineAddr, kCmdline);
    u32(FwCfgKey::CmdlineSize, plan.cmdline.size() + 1);
    fw_cfg.set_string(FwCfgKey::CmdlineData, plan.cmdline);
}

}  // namespace godwit::hw
