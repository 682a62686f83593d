// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One end of a move in the functional tests of VFIO: a machine with its devices, whose engines
// write rings of records into its memory.
#pragma once

#include "tests/qtest/vfio_support.h"
#include "util/units.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace godwit::qtest {

inline constexpr std::uint64_t kRings = 40 * kMiB;  // one a MiB
inline constexpr std::uint32_t kSlots = 3000;
inline constexpr std::uint32_t kRate = 20000;

inline std::uint64_t ring_of(std::size_t device)
{
    return kRings + device * kMiB;
}

/// GODWIT_CHAOS=long: all there is, not a sample.
bool long_form();

/// A machine with its devices.
class Side {
public:
    struct Options {
        std::size_t devices = 1;
        std::vector<std::string> server;   ///< options of each device's server
        std::vector<std::string> machine;  ///< besides those of vfio_machine()
        std::string properties;            ///< of each vfio-user-pci
        std::string last_properties;       ///< besides, of the last one
        bool incoming = false;
        std::uint32_t slots = kSlots;
        Vmm::Options vmm;
    };
    explicit Side(const Options& options);
    Vmm& vmm() { return *vmm_; }
    DeviceServer& device(std::size_t n) { return *servers_[n]; }
    DeviceServer& last() { return *servers_.back(); }
    std::size_t devices() const { return servers_.size(); }

    void start_engines();
    /// Until it went around.
    void start_engine(std::size_t n);
    /// The engines go on, and then their rings are right. `without`: a device that is gone.
    void expect_engines_right(const DeviceServer* without = nullptr);

private:
    std::uint32_t slots_;
    std::vector<std::unique_ptr<DeviceServer>> servers_;
    std::unique_ptr<Vmm> vmm_;
};

/// Both ends of a move: the source's engines are at work when the target is there.
struct Ends {
    explicit Ends(const Side::Options& both) : Ends(both, both) {}
    Ends(const Side::Options& here, Side::Options there);
    bool started() { return source.vmm().started() && target.vmm().started(); }
    Side source;
    Side target;
};

}  // namespace godwit::qtest
