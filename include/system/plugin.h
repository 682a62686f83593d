// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Shared modules that add devices. A plugin includes only include/ and exports one symbol,
// GW_PLUGIN.
#pragma once

#include "system/object.h"
#include "system/plugin_abi.h"
#include "util/result.h"

#include <cstdint>
#include <memory>
#include <string>

namespace godwit::system {

class Vm;

/// Made by the build from the headers that plugins see (scripts/plugin-abi): whatever changes in
/// them, but for comments and layout, gives another number.
inline constexpr std::uint32_t kPluginAbi = GW_PLUGIN_ABI;

/// What a plugin exports as `godwit_plugin`.
struct PluginInfo {
    std::uint32_t magic = 0x47575047;  ///< "GWPG"
    std::uint32_t abi = kPluginAbi;
    const char* name = nullptr;
    const char* description = nullptr;
    const char* build = nullptr;             ///< compiler and library versions it was built with
    Result<void> (*load)(Vm& vm) = nullptr;  ///< adds types
};

/// Finds, checks and loads modules; keeps them loaded as long as the Vm lives.
///
/// Errors   NotFound, "is not a Godwit plugin", "was built for plugin ABI 1c0ffee5, this program
/// has a72a5143": the path is named.
class PluginLoader {
public:
    explicit PluginLoader(Vm& vm);
    ~PluginLoader();
    Result<void> load_file(const std::string& path);
    /// "hw-", "vfio": godwit's module directory (GODWIT_MODULE_DIR overrides), file "hw-vfio.so".
    /// qtest's module_load.
    Result<void> load(std::string_view prefix, std::string_view name);
    /// Loads the module that provides a device type nobody knows yet, if one is installed: "x.so"
    /// whose manifest "x.types" beside it names the type on a line. False when there is none.
    Result<bool> load_for_type(std::string_view type);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::system

/// At namespace scope of one source file of a plugin.
#define GW_PLUGIN(name_, description_, load_)          \
    extern "C" __attribute__((visibility("default")))  \
    const godwit::system::PluginInfo godwit_plugin;    \
    const godwit::system::PluginInfo godwit_plugin = { \
        .name = name_, .description = description_, .build = __VERSION__, .load = load_}
