// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/kvm/cpu_properties.h"

#include "system/property.h"
#include "util/json.h"

#include <utility>

namespace godwit::accel::kvm {

void add_cpu_properties(system::Object& object, const CpuDefinition& cpu)
{
    const auto add = [&]<class F>(std::string name, std::string type, F value) {
        object.add_property(system::readonly_property(
            std::move(name), std::move(type),
            [&cpu, value](const system::Object&) -> Result<Json> { return Json(value(cpu)); }));
    };
    add("family", "int", [](const CpuDefinition& c) { return c.family; });
    add("model", "int", [](const CpuDefinition& c) { return c.model_number; });
    add("stepping", "int", [](const CpuDefinition& c) { return c.stepping; });
    add("level", "uint32", [](const CpuDefinition& c) { return c.level; });
    add("xlevel", "uint32", [](const CpuDefinition& c) { return c.xlevel; });
    add("phys-bits", "uint32", [](const CpuDefinition& c) { return c.phys_bits; });
    add("vendor", "string", [](const CpuDefinition& c) { return c.vendor; });
    add("model-id", "string", [](const CpuDefinition& c) { return c.model_id; });
    for (const Feature& feature : all_features())
        if (object.find_property(feature.name) == nullptr)  // a name may stand for several bits
            add(std::string(feature.name), "bool", [name = feature.name](const CpuDefinition& c) {
                return has_feature(c.features, name);
            });
}

}  // namespace godwit::accel::kvm
