// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is to go wrong, and where.
//
//   kind=refuse,arc=PRE_COPY_P2P:STOP_COPY,errno=EIO     one step of a walk; '*' is any state
//   kind=hang,to=RESUMING                                a wish for a state, before its first step
//   kind=short-read,command=MIG_DATA_READ,after=3        a command, from its fourth time on
//   kind=hang,command=MIG_DATA_READ,in=STOP_COPY         a command in one state
#pragma once

#include "tests/devices/vfio-user-server/states.h"
#include "util/json.h"
#include "util/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::vfio_user_server {

enum class FaultKind : std::uint8_t {
    Refuse,      ///< an error reply; the state stays, or becomes ERROR with leave=ERROR
    Hang,        ///< no answer to this and to nothing after it, until the control says "unhang"
    ShortRead,   ///< MIG_DATA_READ: from now on there is nothing more
    BadLength,   ///< a reply whose length fields lie
    Corrupt,     ///< MIG_DATA_READ: one byte of the data is wrong
    Disconnect,  ///< the connection is closed instead of an answer
    Reset,       ///< the device resets itself, then goes on as if nothing had happened
};
std::string_view to_string(FaultKind kind) noexcept;

struct Fault {
    FaultKind kind = FaultKind::Refuse;
    std::string command;            ///< "" = not of a command
    std::optional<State> in;        ///< the command in this state only; nothing = any
    std::optional<State> to;        ///< wished state
    bool on_arc = false;            ///< a step ...
    std::optional<State> arc_from;  ///< ... from here; nothing = any
    std::optional<State> arc_to;    ///< ... to here
    std::uint64_t after = 0;        ///< matches that go well first
    std::uint64_t count = 1;        ///< times it then happens; 0 = for ever
    int error = 0;                  ///< errno of a refusal; 0 = EIO
    bool leave_error = false;       ///< a refused step ends in ERROR

    /// "kind=...,command=|to=|arc=FROM:TO,..." or the same as a JSON object.
    /// Errors   InvalidArgument, naming the key.
    static Result<Fault> parse(std::string_view text);
    static Result<Fault> from_json(const Json& json);
};

/// Those still to come.
class Faults {
public:
    void add(Fault fault) { faults_.push_back(std::move(fault)); }
    void clear() noexcept { faults_.clear(); }
    bool empty() const noexcept { return faults_.empty(); }
    std::uint64_t fired() const noexcept { return fired_; }

    std::optional<Fault> at_command(std::string_view command, State now);
    std::optional<Fault> at_wish(State to);
    std::optional<Fault> at_arc(State from, State to);

private:
    template <class Matches>
    std::optional<Fault> take(Matches matches);
    std::vector<Fault> faults_;
    std::uint64_t fired_ = 0;
};

}  // namespace godwit::vfio_user_server
