// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/plugin.h"

#include "system/vm.h"
#include "util/unique_fd.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmodule.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "godwit-config.h"

namespace godwit::system {

namespace {

/// A manifest is a short list of type names; a longer file is not one of ours.
constexpr off_t kMaxManifest = 64 * 1024;

struct ModuleCloser {
    void operator()(GModule* module) const noexcept { g_module_close(module); }
};
using Module = std::unique_ptr<GModule, ModuleCloser>;

std::string directory_of_program()
{
    std::array<char, 4096> path;
    const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
    if (length <= 0)
        return {};
    const std::string_view name(path.data(), static_cast<std::size_t>(length));
    return std::string(name.substr(0, name.rfind('/')));
}

/// Where modules may lie: the operator's choice alone, or else the installation's, then the build
/// tree's.
std::vector<std::string> module_directories()
{
    if (const char* chosen = std::getenv("GODWIT_MODULE_DIR"); chosen && *chosen)
        return {chosen};
    std::vector<std::string> found{GW_PLUGIN_DIR};
    if (const std::string program = directory_of_program(); !program.empty()) {
        found.push_back(program + "/../lib/godwit");
        found.push_back(program + "/plugins");
    }
    return found;
}

bool plain_name(std::string_view name)
{
    return !name.empty() && name.size() < 128 && name.find('/') == std::string_view::npos &&
           name != "." && name != "..";
}

/// The lines of `path`, if it is a small regular file.
std::vector<std::string> manifest_lines(const std::string& path)
{
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat info;
    if (!fd || ::fstat(fd.get(), &info) < 0 || !S_ISREG(info.st_mode) ||
        info.st_size > kMaxManifest)
        return {};
    std::string text(static_cast<std::size_t>(info.st_size), '\0');
    const ssize_t length = ::read(fd.get(), text.data(), text.size());
    text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        if (end > at && text[at] != '#')
            lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

/// The manifests of a directory: "x.so" beside its "x.types", which names one type a line.
std::vector<std::string> manifests_in(const std::string& directory)
{
    std::vector<std::string> found;
    GDir* dir = g_dir_open(directory.c_str(), 0, nullptr);
    if (!dir)
        return found;
    while (const char* name = g_dir_read_name(dir))
        if (std::string_view(name).ends_with(".types"))
            found.push_back(directory + "/" + name);
    g_dir_close(dir);
    std::ranges::sort(found);
    return found;
}

Result<const PluginInfo*> plugin_info(GModule* module, const std::string& path)
{
    gpointer symbol = nullptr;
    if (!g_module_symbol(module, "godwit_plugin", &symbol) || !symbol)
        return Error(Errc::BadFormat,
                     path + ": is not a Godwit plugin: it exports no godwit_plugin");
    const auto* info = static_cast<const PluginInfo*>(symbol);
    if (info->magic != PluginInfo{}.magic)
        return Error(Errc::BadFormat,
                     path + ": is not a Godwit plugin: its godwit_plugin has another mark");
    if (info->abi != kPluginAbi)
        return Error(Errc::Unsupported,
                     fmt::format("{}: was built for plugin ABI {:08x}, this program has {:08x}",
                                 path, info->abi, kPluginAbi))
            .with_hint("Build the plugin again with the headers this program was installed with.");
    if (!info->name || !info->load)
        return Error(Errc::BadFormat,
                     path + ": is an incomplete plugin: it has no name or no load function");
    return info;
}

}  // namespace

namespace {

/// The loader maps a file as its headers say; touching pages that a cut-off copy does not have
/// would be our end. What is no ELF file at all is left to the loader to refuse.
Result<void> check_whole(const std::string& path)
{
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat info;
    if (!fd || ::fstat(fd.get(), &info) < 0)
        return Error::from_errno(path);
    const auto size = static_cast<std::uint64_t>(info.st_size);
    Elf64_Ehdr header;
    if (::pread(fd.get(), &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header) ||
        std::memcmp(static_cast<const void*>(header.e_ident), ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64)
        return ok();
    for (unsigned n = 0; n < header.e_phnum; ++n) {
        Elf64_Phdr part;
        const auto at = static_cast<off_t>(header.e_phoff + n * sizeof part);
        if (::pread(fd.get(), &part, sizeof part, at) != static_cast<ssize_t>(sizeof part) ||
            part.p_offset > size || part.p_filesz > size - part.p_offset)
            return Error(Errc::BadFormat, path + ": the file is cut off");
    }
    return ok();
}

}  // namespace

struct PluginLoader::Impl {
    Vm& vm;
    std::map<std::string, Module, std::less<>> loaded;  // by plugin name

    explicit Impl(Vm& machine) : vm(machine) {}
};

PluginLoader::PluginLoader(Vm& vm) : impl_(std::make_unique<Impl>(vm)) {}

PluginLoader::~PluginLoader() = default;

Result<void> PluginLoader::load_file(const std::string& path)
{
    // A name without a slash would be searched for along the library path.
    const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
    if (::access(file.c_str(), R_OK) < 0)
        return Error::from_errno(path).context("plugin");
    GW_TRY(with_context(check_whole(file), "plugin"));
    Module module(g_module_open(file.c_str(), static_cast<GModuleFlags>(G_MODULE_BIND_LOCAL)));
    if (!module)
        return Error(Errc::BadFormat, fmt::format("plugin: {}", g_module_error()));
    const PluginInfo* info = GW_TRY(with_context(plugin_info(module.get(), path), "plugin"));
    if (impl_->loaded.contains(info->name))
        return ok();
    GW_TRY(with_context(info->load(impl_->vm), fmt::format("plugin {} ({})", info->name, path)));
    impl_->loaded.emplace(info->name, std::move(module));
    return ok();
}

Result<void> PluginLoader::load(std::string_view prefix, std::string_view name)
{
    const std::string file = fmt::format("{}{}.so", prefix, name);
    if (!plain_name(file))
        return Error(Errc::InvalidArgument, fmt::format("plugin: '{}' is not a module name", file));
    const auto directories = module_directories();
    for (const std::string& directory : directories)
        if (const std::string path = directory + "/" + file; ::access(path.c_str(), F_OK) == 0)
            return load_file(path);
    return Error(Errc::NotFound,
                 fmt::format("plugin: no module {} in {}", file, fmt::join(directories, ", ")));
}

Result<bool> PluginLoader::load_for_type(std::string_view type)
{
    for (const std::string& directory : module_directories())
        for (const std::string& manifest : manifests_in(directory)) {
            const auto types = manifest_lines(manifest);
            if (std::ranges::find(types, type) == types.end())
                continue;
            GW_TRY(load_file(manifest.substr(0, manifest.size() - 6) + ".so"));
            return true;
        }
    return false;
}

}  // namespace godwit::system
