// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/boot/elf.h"

#include <cstring>
#include <elf.h>
#include <fmt/format.h>
#include <string_view>

namespace godwit::hw {

namespace {

constexpr std::uint32_t kPhys32Entry = 18;
constexpr unsigned kMaxHeaders = 64;

using File = std::span<const std::byte>;

Error bad(std::string what)
{
    return Error(Errc::BadFormat, std::move(what));
}

bool inside(File file, std::uint64_t offset, std::uint64_t size) noexcept
{
    return offset <= file.size() && size <= file.size() - offset;
}

/// A copy, as nothing says that the file's structures are aligned.
template <class T>
Result<T> read_at(File file, std::uint64_t offset, std::string_view what)
{
    if (!inside(file, offset, sizeof(T)))
        return bad(fmt::format("{} at {:#x} lies outside the file", what, offset));
    T value;
    std::memcpy(&value, file.data() + offset, sizeof value);
    return value;
}

struct Elf32 {
    using Header = Elf32_Ehdr;
    using Program = Elf32_Phdr;
};
struct Elf64 {
    using Header = Elf64_Ehdr;
    using Program = Elf64_Phdr;
};

constexpr std::uint64_t align_note(std::uint64_t size, std::uint64_t alignment) noexcept
{
    return (size + alignment - 1) & ~(alignment - 1);
}

/// The PVH entry among the notes of one segment.
std::optional<std::uint32_t> find_pvh_entry(File notes, std::uint64_t alignment)
{
    std::uint64_t at = 0;
    while (inside(notes, at, sizeof(Elf32_Nhdr))) {
        Elf32_Nhdr note;
        std::memcpy(&note, notes.data() + at, sizeof note);
        at += sizeof note;
        const std::uint64_t name = at;
        const std::uint64_t description = name + align_note(note.n_namesz, alignment);
        const std::uint64_t next = description + align_note(note.n_descsz, alignment);
        if (!inside(notes, name, note.n_namesz) || !inside(notes, description, note.n_descsz))
            return std::nullopt;
        constexpr char kXen[] = "Xen";
        if (note.n_type == kPhys32Entry && note.n_namesz == sizeof kXen &&
            std::memcmp(notes.data() + name, kXen, sizeof kXen) == 0 && note.n_descsz >= 4) {
            std::uint32_t entry;
            std::memcpy(&entry, notes.data() + description, sizeof entry);
            return entry;
        }
        at = next;
    }
    return std::nullopt;
}

template <class Program>
Result<void> take_program(File file, const Program& program, ElfImage& image)
{
    const std::uint64_t offset = program.p_offset;
    const std::uint64_t file_size = program.p_filesz;
    const std::uint64_t memory_size = program.p_memsz;
    if (program.p_type != PT_LOAD && program.p_type != PT_NOTE)
        return {};
    if (!inside(file, offset, file_size))
        return bad(fmt::format("segment of {:#x} bytes at {:#x} lies outside the file", file_size,
                               offset));
    const File data = file.subspan(offset, file_size);
    if (program.p_type == PT_NOTE) {
        if (!image.pvh_entry)
            image.pvh_entry = find_pvh_entry(data, program.p_align == 8 ? 8 : 4);
        return {};
    }
    if (memory_size < file_size || std::uint64_t{program.p_paddr} + memory_size < memory_size)
        return bad(fmt::format("segment for {:#x} has impossible sizes", program.p_paddr));
    if (memory_size != 0)
        image.segments.push_back({program.p_paddr, data, memory_size});
    return {};
}

template <class Elf>
Result<ElfImage> parse(File file)
{
    using Program = typename Elf::Program;
    const auto header = GW_TRY(read_at<typename Elf::Header>(file, 0, "file header"));
    const bool x86 = header.e_machine == EM_386 || header.e_machine == EM_X86_64;
    if (!x86 || header.e_ident[EI_DATA] != ELFDATA2LSB)
        return bad("not for x86");
    if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
        return bad("not an executable");
    if (header.e_phentsize != sizeof(Program) || header.e_phnum == 0 ||
        header.e_phnum > kMaxHeaders)
        return bad(
            fmt::format("{} program headers of {} bytes", header.e_phnum, header.e_phentsize));
    if (header.e_phoff > file.size())
        return bad(fmt::format("program headers at {:#x} lie outside the file", header.e_phoff));
    ElfImage image{.entry = header.e_entry};
    for (unsigned n = 0; n < header.e_phnum; ++n) {
        const auto program =
            GW_TRY(read_at<Program>(file, header.e_phoff + n * sizeof(Program), "program header"));
        GW_TRY(take_program(file, program, image));
    }
    if (image.segments.empty())
        return bad("nothing to load");
    return image;
}

}  // namespace

bool is_elf(std::span<const std::byte> file) noexcept
{
    return file.size() >= SELFMAG && std::memcmp(file.data(), ELFMAG, SELFMAG) == 0;
}

Result<ElfImage> parse_elf(std::span<const std::byte> file)
{
    if (!is_elf(file) || file.size() < EI_NIDENT)
        return bad("no ELF file");
    switch (static_cast<unsigned>(file[EI_CLASS])) {
    case ELFCLASS32:
        return parse<Elf32>(file);
    case ELFCLASS64:
        return parse<Elf64>(file);
    default:
        return bad("unknown ELF class");
    }
}

}  // namespace godwit::hw
