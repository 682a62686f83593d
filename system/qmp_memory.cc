// SPDX-License-Identifier: LGPL-2.1-or-later
//
// QMP commands about guest memory.
#include "system/memory_backend.h"
#include "system/qmp_private.h"
#include "util/unique_fd.h"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <functional>
#include <unistd.h>

namespace godwit::system {

Result<qapi::MemoryInfo> SystemQmp::query_memory_size_summary()
{
    return qapi::MemoryInfo{.base_memory = vm_.config().ram_bytes, .plugged_memory = 0};
}

Result<std::vector<qapi::Memdev>> SystemQmp::query_memdev()
{
    std::vector<qapi::Memdev> list;
    for (const Object* object : vm_.root().child("objects")->children()) {
        const auto* backend = dynamic_cast<const MemoryBackend*>(object);
        if (!backend)
            continue;
        qapi::Memdev one{
            .id = backend->name(),
            .size = backend->size(),
            .merge = backend->merge(),
            .dump = backend->dump(),
            .prealloc = backend->prealloc(),
            .share = backend->share(),
            .reserve = backend->reserve(),
            .policy = qapi::from_string<qapi::HostMemPolicy>(to_string(backend->policy()))
                          .value_or(qapi::HostMemPolicy::Default),
        };
        for (const unsigned node : backend->host_nodes())
            one.host_nodes.push_back(static_cast<std::uint16_t>(node));
        list.push_back(std::move(one));
    }
    return list;
}

namespace {

constexpr std::uint64_t kPiece = 4096;

/// Writes `size` bytes to a file, at most a page at a time; `fill` gets the address and the room.
Result<void> save(const std::string& path, std::uint64_t address, std::uint64_t size,
                  const std::function<Result<void>(std::uint64_t, std::span<std::byte>)>& fill)
{
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!fd)
        return Error::from_errno("Could not open '" + path + "'");
    std::array<std::byte, kPiece> buffer;
    while (size > 0) {
        const std::uint64_t room = std::min(size, kPiece - address % kPiece);
        const auto piece = std::span(buffer).first(room);
        std::ranges::fill(piece, std::byte{0});
        GW_TRY(fill(address, piece));
        if (::write(fd.get(), piece.data(), piece.size()) != static_cast<ssize_t>(piece.size()))
            return Error::from_errno("Could not write '" + path + "'");
        address += room;
        size -= room;
    }
    return {};
}

}  // namespace

Result<void> SystemQmp::memsave(const qapi::MemsaveArgs& args)
{
    const std::int64_t index = args.cpu_index.value_or(0);
    if (index < 0 || static_cast<std::uint64_t>(index) >= vm_.vcpus().size())
        return Error(Errc::InvalidArgument, "Parameter 'cpu-index' expects a CPU number");
    Vcpu& vcpu = *vm_.vcpus()[static_cast<std::size_t>(index)];
    return save(args.filename, args.val, args.size,
                [&](std::uint64_t address, std::span<std::byte> piece) -> Result<void> {
                    auto physical = vcpu.translate(address);
                    // A CPU without page tables (qtest, synth) sees memory as it is.
                    if (!physical && physical.error().code() == Errc::Unsupported)
                        physical = address;
                    if (!physical || !vm_.memory().read(*physical, piece)) {
                        return Error(Errc::InvalidArgument,
                                     fmt::format("Invalid addr {:#018x}/size {} specified",
                                                 args.val, args.size));
                    }
                    return {};
                });
}

Result<void> SystemQmp::pmemsave(const qapi::PmemsaveArgs& args)
{
    return save(args.filename, args.val, args.size,
                [&](std::uint64_t address, std::span<std::byte> piece) -> Result<void> {
                    (void)vm_.memory().read(address, piece);  // holes read as hardware reads them
                    return {};
                });
}

Result<qapi::HumanReadableText> SystemQmp::x_query_ramblock()
{
    std::string text = fmt::format("{:>24} {:>8}  {:>18} {:>18} {:>18} {:>18} {:>3}\n",
                                   "Block Name", "PSize", "Offset", "Used", "Total", "HVA", "RO");
    std::uint64_t offset = 0;
    for (const RamBlock* block : vm_.ram().blocks()) {
        text += fmt::format("{:>24} {:>4} KiB  {:#018x} {:#018x} {:#018x} {:#018x} {:>3}\n",
                            block->id(), block->page_size() >> 10, offset, block->used_length(),
                            block->max_length(), reinterpret_cast<std::uintptr_t>(block->host()),
                            block->writable() ? "rw" : "ro");
        offset += block->max_length();
    }
    return qapi::HumanReadableText{.human_readable_text = text};
}

}  // namespace godwit::system
