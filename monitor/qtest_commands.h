// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the lines of the qtest protocol do to the machine.
#pragma once

#include "monitor/qtest_words.h"
#include "util/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::system {
class AddressSpace;
class Device;
class Vm;
}  // namespace godwit::system

namespace godwit::monitor {

/// Runs qtest requests against one Vm.
///
/// Shape    one line in, one line out: "OK ...", "FAIL ..." (it could not be done) or "ERR ..."
/// (the
///          request makes no sense). Interrupts are told in lines of their own, "IRQ raise 3".
/// Threads  with the machine lock.
/// Source   facts of the QTest protocol of QEMU 10.0; docs/user/monitors.md.
class QtestCommands {
public:
    using Send = std::function<void(std::string_view line)>;
    using LoadModule = std::function<Result<void>(std::string_view, std::string_view)>;

    /// `send` takes the lines that nobody asked for.
    QtestCommands(system::Vm& vm, Send send, LoadModule load_module);

    ~QtestCommands() { *self_ = nullptr; }
    QtestCommands(const QtestCommands&) = delete;
    QtestCommands& operator=(const QtestCommands&) = delete;

    /// The answer to `line` (without newline), with a newline.
    std::string run(std::string_view line);
    /// A new client: it is told of interrupts as if all were low.
    void forget_levels() { levels_.clear(); }

private:
    struct Access;
    using Handler = Result<std::string> (QtestCommands::*)(const QtestWords&);

    Result<std::string> dispatch(const QtestWords& words);
    Result<std::string> port_or_memory(const Access& access, const QtestWords& words);

    Result<std::string> endianness(const QtestWords&);
    Result<std::string> read(const QtestWords& words);
    Result<std::string> b64read(const QtestWords& words);
    Result<std::string> write(const QtestWords& words);
    Result<std::string> b64write(const QtestWords& words);
    Result<std::string> memset(const QtestWords& words);
    Result<std::string> irq_intercept_in(const QtestWords& words);
    Result<std::string> irq_intercept_out(const QtestWords& words);
    Result<std::string> set_irq_in(const QtestWords& words);
    Result<std::string> clock_step(const QtestWords& words);
    Result<std::string> clock_set(const QtestWords& words);
    Result<std::string> module_load(const QtestWords& words);

    Result<system::Device*> device(const QtestWords& words) const;
    Result<bool> begin_intercept(system::Device& device);
    std::function<void(int level)> listener(unsigned n);
    void irq_changed(unsigned n, int level);
    Result<std::vector<std::byte>> guest_bytes(const QtestWords& words);
    void read_sections(std::uint64_t address, std::span<std::byte> into);
    bool client_drives_clock() const;

    system::Vm& vm_;
    /// Held by the wires we listen to, which may outlive us.
    std::shared_ptr<QtestCommands*> self_ = std::make_shared<QtestCommands*>(this);
    Send send_;
    LoadModule load_module_;
    system::Device* intercepted_ = nullptr;  // only compared
    std::map<unsigned, int> levels_;
};

}  // namespace godwit::monitor
