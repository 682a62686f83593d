// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/boot/boot_stub.h"

#include <cassert>
#include <initializer_list>
#include <utility>

namespace godwit::hw {

namespace {

constexpr std::uint16_t kReset = 0xfff0;  // offset of the reset vector in the top 64 KiB
constexpr std::uint16_t kCode = 0xff00;   // the rest of the stub
constexpr std::uint16_t kGdt = 0xfec0;    // five descriptors
constexpr std::uint16_t kGdtPointer = 0xfee8;
constexpr std::uint32_t kTop = 0xffff0000;  // linear address of offset 0

/// Writes machine code into the top 64 KiB of an image, front to back.
class Assembler {
public:
    explicit Assembler(std::vector<std::byte>& image) : image_(image) {}
    Assembler& at(std::uint16_t offset)
    {
        position_ = offset;
        return *this;
    }
    std::uint16_t position() const noexcept { return position_; }
    Assembler& bytes(std::initializer_list<unsigned> list)
    {
        for (const unsigned byte : list)
            put(byte, 1);
        return *this;
    }
    Assembler& u16(std::uint64_t value) { return put(value, 2); }
    Assembler& u32(std::uint64_t value) { return put(value, 4); }
    Assembler& u64(std::uint64_t value) { return put(value, 8); }

private:
    Assembler& put(std::uint64_t value, unsigned size)
    {
        for (; size > 0; --size, value >>= 8)
            image_[image_.size() - 0x10000 + position_++] = static_cast<std::byte>(value & 0xff);
        return *this;
    }
    std::vector<std::byte>& image_;
    std::uint16_t position_ = 0;
};

/// From the reset vector to protected mode with flat segments. CS has base 0xffff0000 there, so
/// what is in the image is reached through it.
void enter_protected_mode(Assembler& code, unsigned code_selector, unsigned data_selector)
{
    code.at(kGdt)
        .u64(0)
        .u64(0x00cf9b000000ffff)   // 0x08: 32-bit code
        .u64(0x00af9b000000ffff)   // 0x10: 64-bit code
        .u64(0x00cf93000000ffff)   // 0x18: data
        .u64(0x00008b000000ffff);  // 0x20: a busy TSS, for who looks at TR
    code.at(kGdtPointer).u16(5 * 8 - 1).u32(kTop + kGdt);
    code.at(kReset).bytes({0xe9}).u16(std::uint16_t(kCode - (kReset + 3)));  // jmp kCode
    code.at(kCode)
        .bytes({0xfa, 0xfc})                    // cli; cld
        .bytes({0x2e, 0x66, 0x0f, 0x01, 0x16})  // lgdtl %cs:kGdtPointer
        .u16(kGdtPointer)
        .bytes({0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0});  // or $1, %cr0
    const std::uint32_t next = kTop + code.position() + 8;
    code.bytes({0x66, 0xea}).u32(next).u16(code_selector);  // ljmpl to the next instruction
    code.bytes({0xb8})
        .u32(data_selector)                                                    // mov $data, %eax
        .bytes({0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8});  // ds es ss fs gs
    code.bytes({0x31, 0xc0, 0x31, 0xc9, 0x31, 0xd2, 0x31, 0xdb})  // eax ecx edx ebx = 0
        .bytes({0x31, 0xf6, 0x31, 0xff, 0x31, 0xed});             // esi edi ebp = 0
}

void emit(Assembler& code, const HaltEntry&)
{
    code.at(kReset).bytes({0xfa, 0xf4, 0xeb, 0xfc});  // 1: cli; hlt; jmp 1b
}

void emit(Assembler& code, const BootSectorEntry&)
{
    code.at(kReset).bytes({0xe9}).u16(std::uint16_t(kCode - (kReset + 3)));
    code.at(kCode)
        .bytes({0xfa, 0xfc, 0x31, 0xc0})              // cli; cld; xor %ax, %ax
        .bytes({0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0})  // ds es ss = 0
        .bytes({0xbc})
        .u16(0x7c00)          // sp
        .bytes({0xb2, 0x80})  // dl: first disk
        .bytes({0xea})
        .u16(0x7c00)
        .u16(0);  // ljmp $0, $0x7c00
}

void emit(Assembler& code, const RealModeEntry& to)
{
    code.at(kReset).bytes({0xea}).u16(to.offset).u16(to.segment);
}

void emit(Assembler& code, const PvhEntry& to)
{
    enter_protected_mode(code, 0x08, 0x18);
    code.bytes({0xbb})
        .u32(to.start_info)  // mov $start_info, %ebx
        .bytes({0xb8})
        .u32(to.entry)         // mov $entry, %eax
        .bytes({0xff, 0xe0});  // jmp *%eax
}

void emit(Assembler& code, const Linux64Entry& to)
{
    enter_protected_mode(code, 0x08, 0x18);
    code.bytes({0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0})  // or $PAE, %cr4
        .bytes({0xb8})
        .u32(to.page_table)
        .bytes({0x0f, 0x22, 0xd8})  // mov $table, %cr3
        .bytes({0xb9})
        .u32(0xc0000080)  // mov $EFER, %ecx
        .bytes({0x0f, 0x32, 0x0d})
        .u32(0x100)
        .bytes({0x0f, 0x30})  // or $LME
        .bytes({0x0f, 0x20, 0xc0, 0x0d})
        .u32(0x80000000)  // or $PG, %cr0
        .bytes({0x0f, 0x22, 0xc0});
    const std::uint32_t next = kTop + code.position() + 7;
    code.bytes({0xea})
        .u32(next)
        .u16(0x10)  // ljmp to the next instruction, 64 bits
        .bytes({0xbe})
        .u32(to.boot_params)  // mov $boot_params, %esi
        .bytes({0xb8})
        .u32(to.entry)         // mov $entry, %eax
        .bytes({0xff, 0xe0});  // jmp *%rax
}

}  // namespace

std::vector<std::byte> make_boot_stub(std::size_t size, const StubEntry& entry)
{
    assert(size >= 0x10000);
    std::vector<std::byte> image(size);
    Assembler code(image);
    std::visit([&code](const auto& to) { emit(code, to); }, entry);
    return image;
}

}  // namespace godwit::hw
