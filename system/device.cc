// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/device.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>

namespace godwit::system {

Device::Device() = default;
Device::~Device() = default;
Bus::~Bus() = default;

std::string Device::state_path() const
{
    return {};
}

Result<void> Device::check_settable(const Property& property) const
{
    if (!realized_ || property.settable_when_realized)
        return {};
    const std::string type(type_name());
    std::string text = "Attempt to set property '" + property.name + "' on ";
    if (id_.empty())
        text += "anonymous device (type '" + type + "')";
    else
        text += "device '" + id_ + "' (type '" + type + "')";
    return Error(Errc::BadState, text + " after it was realized");
}

namespace {

Device::GpioList* find_list(const std::vector<std::unique_ptr<Device::GpioList>>& lists,
                            std::string_view name)
{
    const auto it =
        std::ranges::find_if(lists, [&](const auto& list) { return list->name == name; });
    return it == lists.end() ? nullptr : it->get();
}

Device::GpioList& make_list(std::vector<std::unique_ptr<Device::GpioList>>& lists, std::string name)
{
    if (Device::GpioList* list = find_list(lists, name))
        return *list;
    lists.push_back(std::make_unique<Device::GpioList>());
    lists.back()->name = std::move(name);
    return *lists.back();
}

}  // namespace

IrqInput Device::gpio_in(std::string_view list, unsigned n)
{
    const GpioList* found = find_list(gpio_, list);
    return found && n < found->inputs.size() ? found->inputs[n] : IrqInput();
}

IrqOutput& Device::gpio_out(std::string_view list, unsigned n)
{
    const GpioList* found = find_list(gpio_, list);
    if (!found || n >= found->outputs.size()) {
        std::fprintf(stderr, "%s has no output pin '%.*s' %u\n", path().c_str(),
                     static_cast<int>(list.size()), list.data(), n);
        std::abort();
    }
    return *found->outputs[n];
}

void Device::add_gpio_in(std::string list, unsigned count,
                         std::function<void(unsigned n, int level)> changed)
{
    GpioList& to = make_list(gpio_, std::move(list));
    const auto shared = std::make_shared<decltype(changed)>(std::move(changed));
    const auto first = static_cast<unsigned>(to.inputs.size());
    for (unsigned n = first; n < first + count; ++n)
        to.inputs.emplace_back([shared, n](int level) { (*shared)(n, level); });
}

void Device::add_gpio_out(std::string list, unsigned count)
{
    GpioList& to = make_list(gpio_, std::move(list));
    for (unsigned n = 0; n < count; ++n)
        to.outputs.push_back(std::make_unique<IrqOutput>());
}

Bus& Device::add_bus(std::unique_ptr<Bus> bus)
{
    buses_.push_back(std::move(bus));
    return *buses_.back();
}

void Device::keep(Registration registration)
{
    kept_.push_back(std::move(registration));
}

}  // namespace godwit::system
