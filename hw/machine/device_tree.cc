// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/machine/device_tree.h"

#include "hw/machine/board.h"
#include "system/vm.h"
#include "util/log.h"
#include "util/unique_fd.h"

#include <array>
#include <cctype>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <libfdt.h>
#include <set>
#include <span>
#include <unistd.h>

namespace godwit::hw {

namespace {

constexpr std::size_t kMaxTree = 16 << 20;

/// libfdt's sequential writer. Running out of room makes it start over with twice as much, so
/// nobody needs to look at each call: the last one tells.
class TreeWriter {
public:
    explicit TreeWriter(std::size_t room) : buffer_(room)
    {
        note(fdt_create(buffer_.data(), static_cast<int>(room)));
        note(fdt_finish_reservemap(buffer_.data()));
    }
    void begin(const std::string& name) { note(fdt_begin_node(buffer_.data(), name.c_str())); }
    void end() { note(fdt_end_node(buffer_.data())); }
    void text(const char* name, const std::string& value)
    {
        note(fdt_property_string(buffer_.data(), name, value.c_str()));
    }
    void u32(const char* name, std::uint32_t value)
    {
        note(fdt_property_u32(buffer_.data(), name, value));
    }
    void flag(const char* name) { note(fdt_property(buffer_.data(), name, nullptr, 0)); }
    void cells(const char* name, std::span<const std::uint64_t> values)
    {
        std::vector<fdt64_t> raw;
        for (const std::uint64_t value : values)
            raw.push_back(cpu_to_fdt64(value));
        note(fdt_property(buffer_.data(), name, raw.data(),
                          static_cast<int>(raw.size() * sizeof(fdt64_t))));
    }
    /// The addresses below this node are 64 bits, their sizes as well.
    void wide_cells()
    {
        u32("#address-cells", 2);
        u32("#size-cells", 2);
    }
    /// Zero, or a negative FDT_ERR_*.
    int finish()
    {
        note(fdt_finish(buffer_.data()));
        return status_;
    }
    std::vector<std::byte> take()
    {
        const void* tree = buffer_.data();
        buffer_.resize(fdt_totalsize(tree));
        return std::move(buffer_);
    }

private:
    void note(int status)
    {
        if (status_ == 0 && status < 0)
            status_ = status;
    }
    std::vector<std::byte> buffer_;
    int status_ = 0;
};

/// A name as the specification wants it: what else is in it becomes '-', and it is unique.
class NodeNames {
public:
    std::string make(std::string name, std::uint64_t address)
    {
        for (char& c : name)
            if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '.')
                c = '-';
        std::string full = fmt::format("{:.24}@{:x}", name.empty() ? "region" : name, address);
        for (unsigned n = 1; !used_.insert(full).second; ++n)
            full = fmt::format("{:.20}-{}@{:x}", name, n, address);
        return full;
    }

private:
    std::set<std::string> used_;
};

void write_memory(TreeWriter& tree, const std::vector<system::MemorySection>& sections)
{
    for (const system::MemorySection& section : sections) {
        if (section.kind != system::RegionKind::Ram)
            continue;
        tree.begin(fmt::format("memory@{:x}", section.start));
        tree.text("device_type", "memory");
        tree.cells("reg", std::array{section.start, section.size});
        tree.text("label", section.block->id());
        tree.end();
    }
}

void write_cpus(TreeWriter& tree, const system::Vm& vm)
{
    tree.begin("cpus");
    tree.u32("#address-cells", 1);
    tree.u32("#size-cells", 0);
    for (const system::Vcpu* vcpu : vm.vcpus()) {
        tree.begin(fmt::format("cpu@{:x}", vcpu->index()));
        tree.text("device_type", "cpu");
        tree.text("compatible", std::string(vcpu->type_name()));
        tree.u32("reg", vcpu->index());
        tree.end();
    }
    tree.end();
}

/// What is at which address (or port), and ROM.
void write_regions(TreeWriter& tree, const char* node,
                   const std::vector<system::MemorySection>& sections,
                   const std::vector<VirtioTransport>& transports)
{
    tree.begin(node);
    tree.wide_cells();
    tree.text("compatible", "simple-bus");
    tree.flag("ranges");
    NodeNames names;
    for (const system::MemorySection& section : sections) {
        if (section.kind == system::RegionKind::Ram)
            continue;
        const VirtioTransport* virtio = nullptr;
        for (const VirtioTransport& transport : transports)
            if (transport.base == section.start)
                virtio = &transport;
        tree.begin(names.make(virtio ? "virtio_mmio" : section.name, section.start));
        tree.cells("reg", std::array{section.start, section.size});
        if (virtio) {
            tree.text("compatible", "virtio,mmio");
            tree.u32("interrupts", virtio->gsi);
        } else {
            tree.text("label", section.name);
        }
        if (section.kind == system::RegionKind::Rom)
            tree.flag("read-only");
        tree.end();
    }
    tree.end();
}

/// Each device of the machine with its place in the object tree.
void write_devices(TreeWriter& tree, system::Vm& vm)
{
    tree.begin("devices");
    tree.u32("#address-cells", 1);
    tree.u32("#size-cells", 0);
    std::uint32_t number = 0;
    for (const system::Device* device : vm.devices().devices()) {
        tree.begin(fmt::format("device@{:x}", number));
        tree.u32("reg", number++);
        tree.text("compatible", std::string(device->type_name()));
        tree.text("path", device->path());
        if (!device->id().empty())
            tree.text("label", device->id());
        if (const system::Bus* bus = device->parent_bus())
            tree.text("bus", bus->name());
        tree.end();
    }
    tree.end();
}

void write_tree(TreeWriter& tree, system::Vm& vm, const system::Machine& machine)
{
    const auto* board = dynamic_cast<const X86Board*>(&machine);
    const std::vector<VirtioTransport> transports =
        board ? board->transports() : std::vector<VirtioTransport>();
    const auto memory = vm.memory().view();
    const auto ports = vm.io().view();
    tree.begin("");
    tree.wide_cells();
    tree.text("compatible", fmt::format("godwit,{}", machine.info().name));
    tree.text("model", machine.info().description);
    tree.begin("chosen");
    tree.text("bootargs", vm.config().append);
    tree.end();
    write_memory(tree, *memory);
    write_cpus(tree, vm);
    write_regions(tree, "soc", *memory, transports);
    write_regions(tree, "io", *ports, {});
    write_devices(tree, vm);
    tree.end();
}

Result<void> write_file(const std::string& path, std::span<const std::byte> bytes)
{
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd)
        return Error::from_errno("open");
    while (!bytes.empty()) {
        const ssize_t done = ::write(fd.get(), bytes.data(), bytes.size());
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return Error::from_errno("write");
        bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
    return {};
}

}  // namespace

Result<std::vector<std::byte>> make_device_tree(system::Vm& vm, const system::Machine& machine)
{
    int status = -FDT_ERR_NOSPACE;
    for (std::size_t room = 16 << 10; status == -FDT_ERR_NOSPACE && room <= kMaxTree; room *= 2) {
        TreeWriter tree(room);
        write_tree(tree, vm, machine);
        status = tree.finish();
        if (status == 0)
            return tree.take();
    }
    return Error(Errc::Internal, fmt::format("device tree: {}", fdt_strerror(status)));
}

Result<void> dump_device_tree_if_asked(system::Vm& vm, const system::Machine& machine)
{
    if (machine.dumpdtb.empty())
        return {};
    const std::vector<std::byte> tree = GW_TRY(make_device_tree(vm, machine));
    GW_TRY(with_context(write_file(machine.dumpdtb, tree),
                        fmt::format("failed to dump FDT to {}", machine.dumpdtb)));
    vm.log().info(fmt::format("dtb dumped to {}. Exiting.", machine.dumpdtb));
    vm.config().stopped = true;
    vm.request_shutdown(system::ShutdownCause::HostQmpQuit);
    return {};
}

}  // namespace godwit::hw
