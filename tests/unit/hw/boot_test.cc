// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/boot/boot_stub.h"
#include "hw/boot/direct_boot.h"
#include "hw/boot/elf.h"
#include "hw/boot/linux_image.h"
#include "system/main_loop.h"
#include "util/units.h"

#include <algorithm>
#include <cstring>
#include <elf.h>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <unistd.h>

namespace godwit::hw {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::byte>;

template <class T>
void append(Bytes& bytes, const T& value)
{
    const auto* raw = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), raw, raw + sizeof value);
}

/// A 64-bit kernel: note, and one segment of 16 bytes in the file and 4096 in memory.
Bytes tiny_elf(std::uint64_t address = 0x200000)
{
    Bytes file;
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_entry = address;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 2;
    const std::uint64_t note_at = sizeof header + 2 * sizeof(Elf64_Phdr);
    append(file, header);
    Elf64_Phdr note{.p_type = PT_NOTE,
                    .p_flags = 0,
                    .p_offset = note_at,
                    .p_vaddr = 0,
                    .p_paddr = 0,
                    .p_filesz = 20,
                    .p_memsz = 20,
                    .p_align = 4};
    Elf64_Phdr load{.p_type = PT_LOAD,
                    .p_flags = 0,
                    .p_offset = note_at + 20,
                    .p_vaddr = address,
                    .p_paddr = address,
                    .p_filesz = 16,
                    .p_memsz = 4096,
                    .p_align = 4096};
    append(file, note);
    append(file, load);
    append(file, Elf64_Nhdr{.n_namesz = 4, .n_descsz = 4, .n_type = 18});
    append(file, std::array<char, 4>{'X', 'e', 'n', '\0'});
    append(file, static_cast<std::uint32_t>(address + 4));
    for (unsigned i = 0; i < 16; ++i)
        file.push_back(std::byte(i));
    return file;
}

TEST(Elf, SegmentsAndThePvhNoteAreFound)
{
    const Bytes file = tiny_elf();
    const auto image = parse_elf(file);
    ASSERT_TRUE(image) << image.error().message();
    EXPECT_EQ(image->pvh_entry, 0x200004u);
    ASSERT_EQ(image->segments.size(), 1u);
    EXPECT_EQ(image->segments[0].address, 0x200000u);
    EXPECT_EQ(image->segments[0].data.size(), 16u);
    EXPECT_EQ(image->segments[0].memory_size, 4096u);
}

TEST(Elf, TruncatedAnywhereIsAnErrorNotACrash)
{
    const Bytes file = tiny_elf();
    for (std::size_t length = 0; length < file.size(); ++length) {
        const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(length));
        EXPECT_FALSE(parse_elf(cut)) << length;
    }
}

TEST(Elf, DamageIsRefusedOrStaysInsideTheFile)
{
    std::mt19937 random(7);
    for (unsigned round = 0; round < 20000; ++round) {
        Bytes file = tiny_elf();
        for (unsigned n = random() % 4; n-- > 0;)
            file[random() % file.size()] = std::byte(random());
        const auto image = parse_elf(file);
        if (!image)
            continue;
        for (const ElfSegment& segment : image->segments) {
            ASSERT_GE(segment.data.data(), file.data());
            ASSERT_LE(segment.data.data() + segment.data.size(), file.data() + file.size());
            ASSERT_GE(segment.memory_size, segment.data.size());
            ASSERT_GE(segment.address + segment.memory_size, segment.address);
        }
    }
}

TEST(LinuxImage, WhatIsNoKernelIsRefused)
{
    EXPECT_EQ(parse_linux_image(Bytes(100)).error().message(), "invalid kernel header");
    EXPECT_EQ(parse_linux_image(Bytes(4096)).error().message(), "invalid kernel header");
    Bytes old(4096);
    const auto put = [&old](unsigned at, std::uint64_t value, unsigned size) {
        std::memcpy(old.data() + at, &value, size);
    };
    put(linux_boot::kBootFlag, 0xaa55, 2);
    put(linux_boot::kMagic, 0x53726448, 4);
    put(linux_boot::kVersion, 0x0206, 2);
    EXPECT_THAT(parse_linux_image(old).error().message(), HasSubstr("2.06 is too old"));
    put(linux_boot::kVersion, 0x020f, 2);
    EXPECT_THAT(parse_linux_image(old).error().message(), HasSubstr("64-bit entry"));
    put(linux_boot::kXloadFlags, 1, 2);
    put(linux_boot::kLoadFlags, 1, 1);
    put(linux_boot::kSetupSects, 60, 1);
    EXPECT_THAT(parse_linux_image(old).error().message(), HasSubstr("ends in its setup part"));
    put(linux_boot::kSetupSects, 1, 1);
    put(linux_boot::kInitSize, 0x5000, 4);
    const auto image = parse_linux_image(old);
    ASSERT_TRUE(image);
    EXPECT_EQ(image->payload.size(), 4096u - 1024);
    EXPECT_EQ(image->memory_size, 0x5000u);
}

TEST(BootStub, StartsAtTheResetVectorAndIsZeroElsewhere)
{
    const Bytes image = make_boot_stub(0x20000, BootSectorEntry{});
    ASSERT_EQ(image.size(), 0x20000u);
    EXPECT_EQ(image[0x1fff0], std::byte{0xe9});
    EXPECT_TRUE(std::all_of(image.begin(), image.begin() + 0x1fe00,
                            [](std::byte byte) { return byte == std::byte{0}; }));
    const Bytes wake = make_boot_stub(0x10000, RealModeEntry{.segment = 0x1234, .offset = 0x56});
    const Bytes expected{std::byte{0xea}, std::byte{0x56}, std::byte{0}, std::byte{0x34},
                         std::byte{0x12}};
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), wake.begin() + 0xfff0));
}

class DirectBoot : public ::testing::Test {
protected:
    DirectBoot()
    {
        std::string name = (std::filesystem::temp_directory_path() / "gw-boot-XXXXXX").string();
        dir_ = ::mkdtemp(name.data());
    }
    ~DirectBoot() override { std::filesystem::remove_all(dir_); }
    std::string file(const char* name, const Bytes& bytes)
    {
        const std::string path = dir_ / name;
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()));
        return path;
    }
    std::filesystem::path dir_;
    MemoryMap map_ = pc_memory_map(16 * kMiB, 0, {});
};

TEST_F(DirectBoot, APvhKernelFindsItsInitrdItsCommandLineAndTheMap)
{
    system::MachineLock lock;
    system::GuestMemory ram;
    system::AddressSpace memory("memory", lock, 0);
    const system::MachineGuard guard(lock);
    auto* block = ram.create({.id = "ram", .used_length = 16 * kMiB}).value();
    memory.add({.name = "ram", .size = 16 * kMiB, .kind = system::RegionKind::Ram, .block = block});
    const auto plan = plan_direct_boot({.kernel = file("kernel", tiny_elf()),
                                        .initrd = file("initrd", Bytes(5000, std::byte{0x77})),
                                        .cmdline = "console=none"},
                                       16 * kMiB, map_);
    ASSERT_TRUE(plan) << plan.error().message();
    block->host()[0x200010] = std::byte{0xee};
    ASSERT_TRUE(load_boot_plan(*plan, memory, false));
    EXPECT_EQ(memory.load(0x200004, 4), 0x07060504u);
    EXPECT_EQ(memory.load(0x200010, 1), 0u) << "what follows the file's bytes is cleared";
    const auto info = std::get<PvhEntry>(plan->entry).start_info;
    EXPECT_EQ(memory.load(info, 4), 0x336ec578u);
    const std::uint64_t module = memory.load(memory.load(info + 16, 8), 8);
    EXPECT_EQ(module, (16 * kMiB - 5000) & ~0xfffull);
    EXPECT_EQ(memory.load(module + 4999, 1), 0x77u);
    const std::uint64_t text = memory.load(info + 24, 8);
    EXPECT_STREQ(reinterpret_cast<const char*>(block->host() + text), "console=none");
    EXPECT_EQ(memory.load(info + 48, 4), map_.size());
}

TEST_F(DirectBoot, WhatDoesNotWorkIsRefusedByName)
{
    const auto refusal = [this](const BootFiles& files) {
        const auto plan = plan_direct_boot(files, 16 * kMiB, map_);
        EXPECT_FALSE(plan);
        return plan ? std::string() : plan.error().message();
    };
    const std::string good = file("good", tiny_elf());
    EXPECT_THAT(refusal({.kernel = "/nonexistent/k"}),
                ::testing::AllOf(HasSubstr("/nonexistent/k"), HasSubstr("No such file")));
    EXPECT_THAT(refusal({.kernel = dir_}), HasSubstr("not a regular file"));
    EXPECT_THAT(refusal({.kernel = file("text", Bytes(10))}), HasSubstr("invalid kernel header"));
    EXPECT_THAT(refusal({.kernel = file("low", tiny_elf(0x1000))}), HasSubstr("not in RAM"));
    EXPECT_THAT(refusal({.kernel = file("high", tiny_elf(16 * kMiB - 0x800))}),
                HasSubstr("not in RAM"));
    EXPECT_THAT(refusal({.kernel = good, .initrd = "/nonexistent/i"}),
                HasSubstr("error reading initrd /nonexistent/i"));
    EXPECT_THAT(refusal({.kernel = good, .initrd = file("big", Bytes(15 * kMiB))}),
                HasSubstr("does not fit"));
    EXPECT_THAT(refusal({.kernel = good, .cmdline = std::string(70000, 'x')}),
                HasSubstr("-append"));
    Bytes no_note = tiny_elf();
    no_note[sizeof(Elf64_Ehdr)] = std::byte{0};
    EXPECT_THAT(refusal({.kernel = file("plain", no_note)}), HasSubstr("no PVH entry point"));
}

TEST(MemoryMap, LeavesOutWhatBelongsToBiosAndVga)
{
    using Type = MemoryMapEntry::Type;
    const MemoryMap map =
        pc_memory_map(3072 * kMiB, 1024 * kMiB, {{0xfffc0000, 0x40000, Type::Reserved}});
    EXPECT_EQ(map, (MemoryMap{{0, 0x9fc00, Type::Ram},
                              {0x9fc00, 0x400, Type::Reserved},
                              {0xf0000, 0x10000, Type::Reserved},
                              {kMiB, 3071 * kMiB, Type::Ram},
                              {0xfffc0000, 0x40000, Type::Reserved},
                              {std::uint64_t{1} << 32, 1024 * kMiB, Type::Ram}}));
    EXPECT_EQ(e820_bytes(map).size(), 6u * 20);
}

}  // namespace
}  // namespace godwit::hw
