// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/vfio_side.h"

#include <cstdlib>
#include <string_view>

namespace godwit::qtest {

bool long_form()
{
    const char* form = std::getenv("GODWIT_CHAOS");
    return form != nullptr && form == std::string_view("long");
}

Side::Side(const Options& options) : slots_(options.slots)
{
    std::vector<DeviceServer*> all;
    for (std::size_t n = 0; n < options.devices; ++n) {
        std::vector<std::string> words = options.server;
        words.insert(words.end(), {"--id", std::to_string(n + 1), "--seed",
                                   std::to_string(options.incoming ? 100 : n + 1)});
        servers_.push_back(std::make_unique<DeviceServer>(words));
        all.push_back(servers_.back().get());
    }
    auto arguments = vfio_machine(all, "64M", options.properties);
    if (!options.last_properties.empty())
        arguments.back() += "," + options.last_properties;
    arguments.insert(arguments.end(), options.machine.begin(), options.machine.end());
    if (options.incoming)
        arguments.insert(arguments.end(), {"-incoming", "defer"});
    vmm_ = std::make_unique<Vmm>(arguments, options.vmm);
}

void Side::start_engines()
{
    for (std::size_t n = 0; n < devices(); ++n)
        device(n).start(ring_of(n), slots_, kRate);
    for (std::size_t n = 0; n < devices(); ++n)
        device(n).wait_for("next", slots_);
}

void Side::start_engine(std::size_t n)
{
    device(n).start(ring_of(n), slots_, kRate);
    device(n).wait_for("next", slots_);
}

void Side::expect_engines_right(const DeviceServer* without)
{
    for (std::size_t n = 0; n < devices(); ++n) {
        if (&device(n) == without)
            continue;
        device(n).wait_for("next", device(n).next() + slots_ / 2);
        device(n).ask("stop");
        expect_ring_right(vmm().qtest(), device(n), ring_of(n), slots_);
        device(n).start(ring_of(n), slots_, kRate);
    }
}

namespace {

Side::Options as_target(Side& source, Side::Options options)
{
    if (source.vmm().started())
        source.start_engines();
    options.incoming = true;
    return options;
}

}  // namespace

Ends::Ends(const Side::Options& here, Side::Options there)
    : source(here), target(as_target(source, std::move(there)))
{}

}  // namespace godwit::qtest
