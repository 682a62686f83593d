// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A Vm with RAM and vCPUs and nothing else, for tests of accelerators.
#pragma once

#include "accel/accel.h"
#include "qapi/event_sink.h"
#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"

#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace godwit::accel {

class TestVm {
public:
    using Properties = std::vector<std::pair<std::string, std::string>>;

    explicit TestVm(unsigned cpus = 1, std::uint64_t ram_bytes = 16 << 20) : ram_bytes_(ram_bytes)
    {
        auto made = system::Vm::create(log_, recorder_);
        EXPECT_TRUE(made);
        vm_ = std::move(*made);
        vm_->config().cpus = vm_->config().max_cpus = cpus;
        EXPECT_TRUE(register_types(vm_->types()));
        system::MachineGuard guard(vm_->lock());
        auto block = vm_->ram().create({.id = "ram", .used_length = ram_bytes_});
        EXPECT_TRUE(block);
        ram_ = *block;
        vm_->memory().add({.name = "ram",
                           .start = 0,
                           .size = ram_bytes_,
                           .kind = system::RegionKind::Ram,
                           .block = ram_});
        vm_->set_event_sink(&events_);
    }
    ~TestVm() { vm_.reset(); }

    /// As -accel TYPE,properties, the vCPUs included.
    Result<void> start_accelerator(const std::string& type, const Properties& properties = {},
                                   std::string_view model = {})
    {
        system::MachineGuard guard(vm_->lock());
        auto object = GW_TRY(vm_->types().create(type));
        for (const auto& [name, value] : properties)
            GW_TRY(object->set_property_text(name, value));
        GW_TRY(vm_->set_accelerator(std::unique_ptr<system::Accelerator>(
            dynamic_cast<system::Accelerator*>(object.release()))));
        GW_TRY(vm_->accelerator()->prepare({}));
        for (unsigned i = 0; i < vm_->config().cpus; ++i) {
            auto vcpu = GW_TRY(vm_->accelerator()->create_vcpu(i, model));
            system::Vcpu* made = vcpu.get();
            GW_TRY(vm_->devices().add_builtin(std::move(vcpu), nullptr));
            vm_->add_vcpu(*made);
        }
        GW_TRY(vm_->accelerator()->set_vcpus_done());
        vm_->devices().reset_all(system::ResetKind::Cold);
        return {};
    }

    void resume()
    {
        system::MachineGuard guard(vm_->lock());
        for (system::Vcpu* vcpu : vm_->vcpus())
            vcpu->resume();
    }
    void pause()
    {
        for (system::Vcpu* vcpu : vm_->vcpus())
            vcpu->request_pause();
        for (system::Vcpu* vcpu : vm_->vcpus())
            vcpu->wait_paused();
    }

    system::Vm& vm() { return *vm_; }
    system::RamBlock& ram() { return *ram_; }
    std::byte* memory() { return ram_->host(); }
    MemoryLogSink& log() { return *sink_; }

    struct Events : qapi::EventSink {
        std::vector<std::string> seen;
        void emit(std::string_view event, Json) override { seen.emplace_back(event); }
        bool has(std::string_view name) const
        {
            return std::find(seen.begin(), seen.end(), name) != seen.end();
        }
    };
    Events& events() { return events_; }

private:
    std::uint64_t ram_bytes_;
    std::shared_ptr<MemoryLogSink> sink_ = std::make_shared<MemoryLogSink>();
    Log log_{sink_};
    FlightRecorder recorder_{64};
    Events events_;
    std::unique_ptr<system::Vm> vm_;
    system::RamBlock* ram_ = nullptr;
};

}  // namespace godwit::accel
