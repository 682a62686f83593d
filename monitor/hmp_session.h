// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One human monitor on a chardev: banner, prompt, lines, answers.
#pragma once

#include "monitor/connection.h"
#include "monitor/line_editor.h"
#include "system/chardev.h"
#include "util/registration.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace godwit::qapi {
class CommandTable;
}

namespace godwit::system {
class HmpOutput;
class HmpTable;
class Vm;
}  // namespace godwit::system

namespace godwit::monitor {

/// Threads  main loop with the machine lock; the line editor has a thread of its own.
class HmpSession : public std::enable_shared_from_this<HmpSession> {
public:
    HmpSession(system::Vm& vm, const qapi::CommandTable& commands, const system::HmpTable& table,
               system::Chardev& chardev);
    ~HmpSession();
    Result<void> start();
    void stop();

private:
    void opened();
    void greet();
    void closed();
    std::size_t can_receive();
    void receive(std::span<const std::byte> bytes);
    void run(const std::string& line);
    void go_on();
    void answered();
    void after_output();
    std::vector<std::string> complete(const std::string& before_cursor);
    std::unique_ptr<LineEditor> make_editor();

    system::Vm& vm_;
    const qapi::CommandTable& commands_;
    const system::HmpTable& table_;
    system::Chardev& chardev_;
    SessionFds fds_;
    Connection connection_;
    unsigned cpu_index_ = 0;
    std::uint64_t client_ = 0;  // counts connections, so that no late echo reaches the next one
    bool attached_ = false;
    bool open_ = false;
    bool held_ = false;
    std::unique_ptr<LineEditor> editor_;
    std::function<bool(system::HmpOutput&)> goes_on_;  // of the command that keeps the prompt back
    Registration again_;
};

}  // namespace godwit::monitor
