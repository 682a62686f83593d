// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where each vCPU sits: -smp says in which socket and core, -numa in which node.
#pragma once

#include "qapi/machine_types_types.h"
#include "util/result.h"

#include <string>
#include <utility>
#include <vector>

namespace godwit::system {

struct VmConfig;

/// One `-numa node`.
struct NumaNode {
    std::string option;  ///< "-numa node,memdev=a", for errors
    std::string memdev;  ///< back end of its memory; empty: it has none
    std::vector<std::pair<unsigned, unsigned>> cpus;  ///< first and last of each `cpus=`
};

/// Gives each of `max_cpus` vCPUs its node (`config.cpu_nodes`): as `cpus=` say, and the rest to
/// node 0; where no node names CPUs they follow their sockets. Nothing without nodes.
///
/// Returns  what to warn of: CPUs that some nodes should have named.
/// Errors   InvalidArgument with the option: an index of max_cpus or more, a CPU in two nodes.
Result<std::vector<std::string>> assign_cpus_to_nodes(VmConfig& config);

/// Socket, core, thread; die if there are several; node if there are any.
qapi::CpuInstanceProperties cpu_place(const VmConfig& config, unsigned index);

}  // namespace godwit::system
