// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/boot/linux_image.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace godwit::hw {

namespace {

constexpr std::uint16_t kBootFlagValue = 0xaa55;
constexpr std::uint32_t kMagicValue = 0x53726448;  // "HdrS"
constexpr std::uint16_t kOldestVersion = 0x020c;   // the first with xloadflags
constexpr std::uint8_t kLoadedHigh = 0x01;
constexpr std::uint16_t kKernel64 = 0x0001;
constexpr std::uint64_t kSector = 512;

template <class T>
T field(std::span<const std::byte> file, unsigned offset) noexcept
{
    T value;
    std::memcpy(&value, file.data() + offset, sizeof value);
    return value;
}

}  // namespace

Result<LinuxImage> parse_linux_image(std::span<const std::byte> file)
{
    using namespace linux_boot;
    if (file.size() < 2 * kSector || field<std::uint16_t>(file, kBootFlag) != kBootFlagValue ||
        field<std::uint32_t>(file, kMagic) != kMagicValue)
        return Error(Errc::BadFormat, "invalid kernel header");
    const auto version = field<std::uint16_t>(file, kVersion);
    if (version < kOldestVersion)
        return Error(Errc::Unsupported,
                     fmt::format("boot protocol {}.{:02} is too old, 2.12 is needed", version >> 8,
                                 version & 0xff));
    if ((field<std::uint16_t>(file, kXloadFlags) & kKernel64) == 0 ||
        (field<std::uint8_t>(file, kLoadFlags) & kLoadedHigh) == 0)
        return Error(Errc::Unsupported, "the kernel has no 64-bit entry point");
    const auto sectors = field<std::uint8_t>(file, kSetupSects);
    const std::uint64_t setup_size = ((sectors != 0 ? sectors : 4) + std::uint64_t{1}) * kSector;
    if (file.size() <= setup_size + LinuxImage::kEntry64)
        return Error(Errc::BadFormat, "invalid kernel header: the file ends in its setup part");

    LinuxImage image;
    image.setup = file.first(setup_size);
    image.payload = file.subspan(setup_size);
    const std::size_t header_end =
        std::min<std::size_t>(kMagic + static_cast<std::size_t>(field<std::uint8_t>(file, 0x201)),
                              std::min<std::size_t>(kHeaderEnd, setup_size));
    const auto header =
        file.subspan(kHeader, std::max<std::size_t>(header_end, kInitSize + 4) - kHeader);
    image.header.assign(header.begin(), header.end());
    image.cmdline_max = field<std::uint32_t>(file, kCmdlineSize);
    image.initrd_max = field<std::uint32_t>(file, kInitrdAddrMax);
    image.memory_size =
        std::max<std::uint64_t>(image.payload.size(), field<std::uint32_t>(file, kInitSize));
    return image;
}

}  // namespace godwit::hw
