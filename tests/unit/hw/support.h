// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A Vm without a board: an ISA bus with recorded wires, RAM, a clock the test drives, and sections
// saved and loaded one by one.
#pragma once

#include "hw/isa.h"
#include "hw/register.h"
#include "migration/stream/description.h"
#include "migration/stream/reader.h"
#include "migration/stream/registry.h"
#include "migration/stream/writer.h"
#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"

#include <gtest/gtest.h>

namespace godwit::hw::test {

struct House {
    Log log;
    FlightRecorder recorder{0};
    std::unique_ptr<system::Vm> vm = system::Vm::create(log, recorder).value();
    system::MachineGuard guard{vm->lock()};
    IsaBridge* bridge = nullptr;
    std::array<int, 16> wires{};       // levels of the ISA wires
    std::array<unsigned, 16> rises{};  // how often each went up

    House()
    {
        EXPECT_TRUE(hw::register_types(vm->types()));
        vm->clocks().make_client_driven();
        vm->clocks().start_virtual();
        bridge = static_cast<IsaBridge*>(
            vm->devices().add_builtin("isabus-bridge", nullptr, Json::object()).value());
        for (unsigned n = 0; n < 16; ++n)
            bridge->bus().connect_irq(n, system::IrqInput([this, n](int level) {
                                          if (level != 0 && wires[n] == 0)
                                              ++rises[n];
                                          wires[n] = level;
                                      }));
    }

    template <class T>
    T& add(std::string_view type, const Json& properties = Json::object(),
           system::Bus* bus = nullptr)
    {
        const bool isa = bus == nullptr && vm->types().find(type)->bus == "ISA";
        auto device = vm->devices().add_builtin(type, isa ? &bridge->bus() : bus, properties);
        EXPECT_TRUE(device) << device.error().message();
        return static_cast<T&>(**device);
    }

    system::RamBlock& add_ram(std::uint64_t bytes)
    {
        auto* block = vm->ram().create({.id = "pc.ram", .used_length = bytes}).value();
        const system::AddressSpace::Transaction change(vm->memory());
        vm->memory().add({.name = "ram",
                          .start = 0,
                          .size = bytes,
                          .kind = system::RegionKind::Ram,
                          .block = block});
        return *block;
    }

    std::uint64_t in(std::uint16_t port, unsigned size = 1) { return vm->io().load(port, size); }
    void out(std::uint16_t port, std::uint64_t value, unsigned size = 1)
    {
        vm->io().store(port, value, size);
    }
    void step(std::int64_t ns) { vm->clocks().step(ns); }

    std::vector<std::byte> save(std::string_view idstr, std::uint32_t instance = 0,
                                std::string* description = nullptr)
    {
        const auto* entry = vm->state_registry().find(idstr, instance);
        EXPECT_NE(entry, nullptr) << idstr;
        if (entry == nullptr)
            return {};
        migration::stream::StreamWriter out;
        migration::stream::DescriptionWriter text;
        text.begin_object();
        EXPECT_TRUE(migration::stream::save_entry(out, *entry, &text));
        text.end_object();
        if (description != nullptr)
            *description = text.take();
        return out.take();
    }

    Result<void> load(std::string_view idstr, std::uint32_t version,
                      std::span<const std::byte> body, std::uint32_t instance = 0)
    {
        auto* entry = vm->state_registry().find(idstr, instance);
        EXPECT_NE(entry, nullptr) << idstr;
        migration::stream::StreamReader in(body);
        GW_TRY(migration::stream::load_entry(in, *entry, version));
        if (!GW_TRY(in.at_end()))
            return Error(Errc::BadFormat, "bytes left");
        return {};
    }
};

/// Cut anywhere, a section must be refused; nothing else may happen.
inline void expect_no_crash_when_cut(House& house, std::string_view idstr, std::uint32_t version,
                                     const std::vector<std::byte>& body, std::size_t minimum)
{
    for (std::size_t length = 0; length < minimum; ++length)
        EXPECT_FALSE(house.load(idstr, version, std::span(body).first(length))) << length;
}

}  // namespace godwit::hw::test
