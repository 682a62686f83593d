// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A move that stands still in a status.
#pragma once

#include "tests/chaos/belongings.h"
#include "tests/chaos/chaos.h"
#include "tests/chaos/relay.h"

#include <memory>
#include <string>

namespace godwit::chaos {

/// A TCP port that answers nobody: its queue is full. connect() waits there.
class BusyPort {
public:
    BusyPort();
    std::string uri() const { return uri_; }
    /// Connections are refused from now on.
    void close() { listener_.reset(), guest_.reset(); }

private:
    UniqueFd listener_;
    UniqueFd guest_;
    std::string uri_;
};

/// A synth guest that writes all the time, on its way, held at the source's status `setup`,
/// `active`, `pre-switchover`, `device` or `completed`.
///
/// setup            there is no target; the source waits for its connection
/// active           the bandwidth is far too small
/// pre-switchover   nobody says migrate-continue
/// device           the target is stopped, the last pages do not fit into the socket
class Held {
public:
    /// With `source`, which an earlier one left, if given.
    explicit Held(const std::string& status, std::unique_ptr<qtest::Vmm> source = nullptr);
    /// A source for it; `oob`: its monitor takes commands out of band.
    static std::unique_ptr<qtest::Vmm> make_source(bool oob = false);
    ~Held();

    qtest::Vmm& source() { return *source_; }
    std::unique_ptr<qtest::Vmm> leave_source() { return std::move(source_); }
    qtest::Vmm& target() { return *target_; }
    bool has_target() const { return target_ != nullptr; }
    /// The host at the other end is gone without a word: nothing is read, nothing comes.
    void lose_peer();
    BusyPort& port() { return port_; }
    /// Nobody answers the source any more: the target is killed, or the port is closed.
    void kill_peer();
    /// What the source has between attempts, from before this one.
    const Belongings& source_idle() const { return source_idle_; }
    /// What the target may have once its attempt has failed.
    const Belongings& target_idle() const { return target_idle_; }

private:
    void start();

    BusyPort port_;
    std::unique_ptr<Relay> relay_;
    std::unique_ptr<qtest::Vmm> source_;
    std::unique_ptr<qtest::Vmm> target_;
    Belongings source_idle_;
    Belongings target_idle_;
};

}  // namespace godwit::chaos
