// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Devices behind vfio-user for the functional tests: the server as a child, its control socket, and
// machines that use it.
#pragma once

#include "tests/qtest/libqtest/process.h"
#include "tests/qtest/libqtest/stream.h"
#include "tests/qtest/libqtest/temp_dir.h"
#include "tests/qtest/libqtest/vmm.h"
#include "util/json.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::qtest {

/// $VFIO_USER_SERVER, else what the build made beside the program; "" if there is none.
std::string vfio_user_server();

/// One device as a process of its own. docs/vfio-user-server.md tells its options and commands.
///
/// Failures  an answer that is an error fails the test.
class DeviceServer {
public:
    explicit DeviceServer(std::vector<std::string> options = {});

    const std::string& socket() const noexcept { return socket_; }
    /// The `return` of a command.
    Json ask(std::string_view command, Json arguments = Json::object());
    Json status() { return ask("status"); }
    std::string state() { return status()["state"]; }
    std::uint64_t next() { return status()["next"]; }
    /// The engine runs, without a driver in the guest.
    void start(std::uint64_t ring, std::uint32_t slots, std::uint32_t rate);
    /// Waits until a counter of the status is so large; the status then.
    Json wait_for(std::string_view counter, std::uint64_t at_least);
    Json wait_state(std::string_view state);
    /// As "kind=refuse,arc=STOP:STOP_COPY".
    void inject(Json fault) { ask("inject", std::move(fault)); }
    Process& process() noexcept { return *process_; }

private:
    TempDir dir_;
    std::string socket_;
    std::unique_ptr<Process> process_;
    Stream control_;
};

/// q35 with `devices`, and RAM that the devices can map.
std::vector<std::string> vfio_machine(const std::vector<DeviceServer*>& devices,
                                      std::string_view ram = "64M",
                                      std::string_view properties = {});

/// Expects that the ring in guest memory has exactly the newest records of `device`, whose engine
/// stands still: none lost, torn or repeated.
void expect_ring_right(QtestClient& qtest, DeviceServer& device, std::uint64_t ring,
                       std::uint32_t slots);

}  // namespace godwit::qtest
