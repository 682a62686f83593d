// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A virtual machine under test: the program, its QMP and its qtest connection, in one object.
#pragma once

#include "tests/qtest/libqtest/process.h"
#include "tests/qtest/libqtest/qmp_client.h"
#include "tests/qtest/libqtest/qtest_client.h"
#include "tests/qtest/libqtest/temp_dir.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godwit::qtest {

/// Starts the program and connects.
///
///     Vmm vmm({"-machine", "q35", "-m", "128"});
///     vmm.qtest().writeb(0x1000, 0x5a);
///     EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "running");
///
/// Defaults  -accel qtest unless `args` name an accelerator; -display none, -nodefaults.
/// Failures  name the command line, the exit status and what stood on stderr.
/// End       quit() or the destructor, which ends the program through QMP if it can and expects
///           exit status 0 unless told otherwise.
class Vmm {
public:
    struct Options {
        std::string program;  ///< "" = binary()
        bool qtest = true;
        bool qmp = true;
        bool negotiate = true;
        bool oob = false;
        bool defaults = false;        ///< leave out -nodefaults
        std::string accel = "qtest";  ///< "" = none added
        std::vector<int> keep_fds;
        std::vector<std::string> environment;
    };

    explicit Vmm(std::vector<std::string> args) : Vmm(std::move(args), Options()) {}
    Vmm(std::vector<std::string> args, Options options);
    ~Vmm();
    Vmm(const Vmm&) = delete;
    Vmm& operator=(const Vmm&) = delete;

    QmpClient& qmp() noexcept { return qmp_; }
    QtestClient& qtest() noexcept { return qtest_; }
    Process& process() noexcept { return *process_; }
    TempDir& dir() noexcept { return dir_; }
    bool started() const noexcept { return started_; }

    /// Asks the program to quit and waits for its end.
    std::optional<ExitStatus> quit();
    /// Waits for an end that comes by itself.
    std::optional<ExitStatus> wait_exit() { return process_->wait(); }
    void terminate(int signal) { process_->kill(signal); }

    /// Waits until query-status says so, woken by events.
    void wait_status(std::string_view status);

    std::string story() const;

private:
    std::vector<std::string> command_line(const std::vector<std::string>& args) const;
    void connect();

    Options options_;
    TempDir dir_;
    std::unique_ptr<Listener> qmp_listener_;
    std::unique_ptr<Listener> qtest_listener_;
    std::unique_ptr<Process> process_;
    QmpClient qmp_;
    QtestClient qtest_;
    bool started_ = false;
};

/// Bytes that depend on their address alone, so that any part can be checked by itself.
std::vector<std::byte> pattern(std::uint64_t address, std::uint64_t length, std::uint64_t seed);
void fill_pattern(QtestClient& qtest, std::uint64_t address, std::uint64_t length,
                  std::uint64_t seed);
/// Fails the test with the first wrong address.
void check_pattern(QtestClient& qtest, std::uint64_t address, std::uint64_t length,
                   std::uint64_t seed);

/// Why a KVM guest cannot run here; nothing if it can.
std::optional<std::string> kvm_missing();

// For arguments that name their own accelerator.
inline const Vmm::Options kAccelGiven{.accel = ""};

}  // namespace godwit::qtest

/// Skips the test, with the reason, where there is no /dev/kvm.
#define GW_SKIP_WITHOUT_KVM()                               \
    if (const auto reason = ::godwit::qtest::kvm_missing()) \
    GTEST_SKIP() << *reason
