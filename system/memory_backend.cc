// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/memory_backend.h"

#include "system/property.h"
#include "system/vm.h"
#include "util/json.h"
#include "util/size.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace godwit::system {

namespace {

constexpr std::array<std::string_view, 4> kPolicyNames{"default", "preferred", "bind",
                                                       "interleave"};
constexpr std::size_t kMaxHostNodes = 128;

/// A setter that refuses zero, in QEMU's words.
Property never_zero(Property property)
{
    property.set = [name = property.name, set = std::move(property.set)](
                       Object& object, const Json& value) -> Result<void> {
        if (value.is_number() && value == 0)
            return Error(Errc::InvalidArgument,
                         fmt::format("property '{}' of {} doesn't take value '0'", name,
                                     object.type_name()));
        return set(object, value);
    };
    return property;
}

Result<unsigned> node_number(std::string_view text)
{
    const std::uint64_t node = GW_TRY(with_context(parse_u64(text), "host-nodes"));
    if (node >= kMaxHostNodes)
        return Error(Errc::InvalidArgument, fmt::format("Invalid host-nodes value: {}", node));
    return static_cast<unsigned>(node);
}

/// [0, 2], 3 or "0-2" and lists of those: as JSON has it, and as the command line does.
Result<void> append_nodes(const Json& value, std::vector<unsigned>& nodes)
{
    if (value.is_array()) {
        for (const Json& element : value)
            GW_TRY(append_nodes(element, nodes));
    } else if (value.is_number_unsigned()) {
        nodes.push_back(GW_TRY(node_number(value.dump())));
    } else if (value.is_string()) {
        const std::string& text = value.get_ref<const std::string&>();
        const auto dash = text.find('-');
        const unsigned first = GW_TRY(node_number(std::string_view(text).substr(0, dash)));
        const unsigned last = dash == std::string::npos
                                  ? first
                                  : GW_TRY(node_number(std::string_view(text).substr(dash + 1)));
        for (unsigned node = first; node <= last; ++node)
            nodes.push_back(node);
    } else {
        return Error(Errc::InvalidArgument,
                     "Invalid parameter type for 'host-nodes', expected: integer");
    }
    if (nodes.size() > kMaxHostNodes)
        return Error(Errc::InvalidArgument, "host-nodes names too many nodes");
    return {};
}

Property host_nodes_property(std::vector<unsigned>& (*nodes_of)(Object&))
{
    Property property{.name = "host-nodes",
                      .type = "[uint16]",
                      .description = "Binds memory to the list of NUMA host nodes"};
    property.get = [nodes_of](const Object& object) -> Result<Json> {
        return Json(nodes_of(const_cast<Object&>(object)));
    };
    property.set = [nodes_of](Object& object, const Json& value) -> Result<void> {
        std::vector<unsigned> nodes;
        GW_TRY(append_nodes(value, nodes));
        nodes_of(object) = std::move(nodes);
        return {};
    };
    return property;
}

}  // namespace

std::string_view to_string(NumaPolicy policy) noexcept
{
    return kPolicyNames[static_cast<std::size_t>(policy)];
}

std::vector<Property> MemoryBackend::own_properties()
{
    using B = MemoryBackend;
    std::vector<Property> list;
    list.push_back(
        never_zero(size_property<&B::size_>("size", {}, "Size of the memory region (ex: 500M)")));
    list.push_back(property<&B::share_>("share"));
    list.push_back(property<&B::merge_>("merge", true, "Mark memory as mergeable"));
    list.push_back(property<&B::dump_>("dump", true, "Set to 'off' to exclude from core dump"));
    list.push_back(property<&B::prealloc_>("prealloc", false, "Preallocate memory"));
    list.push_back(never_zero(property<&B::prealloc_threads_>(
        "prealloc-threads", 1u, "Number of CPU threads to use for prealloc")));
    list.push_back(property<&B::reserve_>("reserve", true,
                                          "Reserve swap space (or huge pages) if applicable"));
    list.push_back(enum_property<&B::policy_>("policy", "HostMemPolicy", kPolicyNames, "default",
                                              "Set the NUMA policy"));
    list.push_back(host_nodes_property([](Object& object) -> std::vector<unsigned>& {
        return static_cast<B&>(object).host_nodes_;
    }));
    list.push_back(property<&B::canonical_path_id_>("x-use-canonical-path-for-ramblock-id", false));
    return list;
}

MemoryBackend::~MemoryBackend()
{
    if (block_)
        ram_->remove(*block_);
}

Result<void> MemoryBackend::check_settable(const Property& property) const
{
    if (block_)
        return Error(Errc::BadState,
                     fmt::format("cannot change property '{}' of {}", property.name, type_name()));
    return {};
}

Result<RamBlockOptions> MemoryBackend::options() const
{
    if (size_ == 0)
        return Error(Errc::InvalidArgument, "Parameter 'size' is missing");
    if (policy_ == NumaPolicy::Default && !host_nodes_.empty())
        return Error(Errc::InvalidArgument,
                     "host-nodes must be empty for policy default, or you should explicitly "
                     "specify a policy other than default");
    if (policy_ != NumaPolicy::Default && host_nodes_.empty())
        return Error(Errc::InvalidArgument,
                     fmt::format("host-nodes must be set for policy {}", to_string(policy_)));
    if (size_ > ~std::uint64_t{0} - kPageSize)
        return Error(
            Errc::OutOfMemory,
            fmt::format("cannot set up guest memory '{}': Cannot allocate memory", name()));
    RamBlockOptions result;
    result.id = canonical_path_id_ ? path() : name();
    result.used_length = (size_ + kPageSize - 1) & ~(kPageSize - 1);
    result.shared = share_;
    result.reserve = reserve_;
    result.prealloc = prealloc_;
    result.prealloc_threads = prealloc_threads_;
    result.numa_policy = policy_;
    result.host_nodes = host_nodes_;
    result.dump = dump_;
    result.merge = merge_;
    return result;
}

Result<void> MemoryBackend::complete(Vm& vm)
{
    RamBlockOptions wanted = GW_TRY(options());
    block_ = GW_TRY(vm.ram().create(std::move(wanted)));
    ram_ = &vm.ram();
    return {};
}

namespace {

class RamBackend : public MemoryBackend {};

class MemfdBackend : public MemoryBackend {
public:
    MemfdBackend() { share_ = true; }
    static std::vector<Property> own_properties()
    {
        std::vector<Property> list;
        list.push_back(property<&MemfdBackend::hugetlb_>("hugetlb", false, "Use huge pages"));
        list.push_back(
            size_property<&MemfdBackend::hugetlbsize_>("hugetlbsize", {}, "Huge pages size"));
        list.push_back(property<&MemfdBackend::seal_>("seal", true, "Seal growing & shrinking"));
        return list;
    }

protected:
    Result<RamBlockOptions> options() const override
    {
        RamBlockOptions result = GW_TRY(MemoryBackend::options());
        result.source = RamSource::Memfd;
        result.hugetlb = hugetlb_;
        result.hugetlb_size = hugetlbsize_;
        result.seal = seal_;
        return result;
    }

private:
    bool hugetlb_ = false;
    std::uint64_t hugetlbsize_ = 0;
    bool seal_ = true;
};

class FileBackend : public MemoryBackend {
public:
    static std::vector<Property> own_properties()
    {
        using B = FileBackend;
        std::vector<Property> list;
        list.push_back(property<&B::path_>("mem-path"));
        list.push_back(size_property<&B::align_>("align"));
        list.push_back(
            size_property<&B::offset_>("offset", {}, "Offset into the target file (ex: 1G)"));
        list.push_back(property<&B::discard_data_>("discard-data", false));
        list.push_back(property<&B::pmem_>("pmem", false));
        list.push_back(property<&B::readonly_>("readonly", false));
        list.push_back(enum_property<&B::rom_>("rom", "OnOffAuto", kOnOffAutoNames, "auto",
                                               "Whether to create Read Only Memory (ROM)"));
        return list;
    }

protected:
    Result<RamBlockOptions> options() const override
    {
        if (path_.empty())
            return Error(Errc::InvalidArgument, "Parameter 'mem-path' is missing");
        if (pmem_)
            return Error(Errc::Unsupported, "property 'pmem' = 'on' is not supported: this program "
                                            "is built without libpmem");
        if (rom_ == OnOffAuto::On && !readonly_)
            return Error(Errc::InvalidArgument,
                         "property 'rom' = 'on' is not supported with 'readonly' = 'off'");
        if (rom_ == OnOffAuto::Off && readonly_ && share_)
            return Error(Errc::InvalidArgument, "property 'rom' = 'off' is incompatible with "
                                                "'readonly' = 'on' and 'share' = 'on'");
        RamBlockOptions result = GW_TRY(MemoryBackend::options());
        result.source = RamSource::File;
        result.path = path_;
        result.alignment = align_;
        result.file_offset = offset_;
        result.discard_data = discard_data_;
        result.readonly = readonly_;
        result.rom = rom_ == OnOffAuto::On || (rom_ == OnOffAuto::Auto && readonly_);
        return result;
    }

private:
    std::string path_;
    std::uint64_t align_ = 0;
    std::uint64_t offset_ = 0;
    bool discard_data_ = false;
    bool pmem_ = false;
    bool readonly_ = false;
    OnOffAuto rom_ = OnOffAuto::Auto;
};

template <class Backend>
TypeInfo backend_type(std::string name, std::string description, std::vector<Property> properties)
{
    TypeInfo info{.name = std::move(name),
                  .parent = "memory-backend",
                  .description = std::move(description),
                  .properties = std::move(properties)};
    info.create = [] { return std::make_unique<Backend>(); };
    return info;
}

}  // namespace

Result<void> register_memory_backends(TypeRegistry& types)
{
    TypeInfo base{.name = "memory-backend", .parent = "object", .abstract_type = true};
    base.properties = MemoryBackend::own_properties();
    GW_TRY(types.add(std::move(base)));
    GW_TRY(types.add(backend_type<RamBackend>("memory-backend-ram", "guest memory", {})));
    GW_TRY(types.add(backend_type<MemfdBackend>("memory-backend-memfd",
                                                "guest memory in an anonymous file",
                                                MemfdBackend::own_properties())));
    return types.add(backend_type<FileBackend>("memory-backend-file", "guest memory in a file",
                                               FileBackend::own_properties()));
}

}  // namespace godwit::system
