// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One attempt to take over a machine that comes from elsewhere. Gone when it ends.
#pragma once

#include "io/channel.h"
#include "migration/environment.h"
#include "migration/fate.h"
#include "migration/insight/timeline.h"
#include "migration/live_state.h"
#include "migration/section_sizes.h"
#include "migration/status.h"
#include "migration/stream/common_sections.h"
#include "migration/stream/reader.h"
#include "migration/stream/registry.h"
#include "migration/stream/sections.h"
#include "migration/stream/writer.h"
#include "util/thread.h"

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace godwit::migration {

struct IncomingConfig {
    Capabilities capabilities;
    bool ignore_unknown_sections = false;
    bool expect_description = true;  ///< off with `suppress-vmdesc`
    bool exit_on_error = true;       ///< a failure ends the program
    bool accepts_again = false;      ///< `accept` may be called more than once
};

/// Threads  "mig/incoming" does everything; it holds the machine lock while devices load, and drops
///          it while it waits for bytes, so that a silent peer stops nobody. Getters from any
///          thread.
/// Errors   end in error() and in the status; nothing runs then.
class Incoming {
public:
    struct Parts {
        Environment& env;
        StatusTracker& status;
        stream::GlobalStateSection& global_state;
        std::shared_ptr<Timeline> timeline;
    };
    /// Waits for the connection, or opens what is to be read.
    using Accept = std::move_only_function<Result<io::ChannelPtr>(const io::Patience&)>;

    /// `status` has moved to Setup. `done` runs in the incoming thread, as its last act.
    static Result<std::unique_ptr<Incoming>>
    create(Parts parts, IncomingConfig config, Accept accept, std::move_only_function<void()> done);
    /// Stops waiting and joins; do not hold the machine lock unless `done` ran.
    ~Incoming();

    std::optional<std::string> error() const;
    /// Shuts the connection down, if there is one. Any thread; takes no machine lock.
    void yank();
    /// Makes the thread give up; the status becomes failed, and the program does not end for it.
    void stop()
    {
        stopping_ = true;
        const std::lock_guard guard(channel_mutex_);
        cancel_.request();
    }

private:
    Incoming(Parts parts, IncomingConfig config, Accept accept,
             std::move_only_function<void()> done);

    void run();
    Result<void> take_over();
    void serve_visitor(stream::StreamReader& in);
    void serve_question(stream::StreamReader& in);
    bool thanked();
    void stay_for_questions(Fate fate);
    Result<void> take_stream(stream::StreamReader& in);
    void hear_greeting(stream::StreamReader& in);
    Result<void> load_stream(stream::StreamReader& in);
    Result<void> load_setup();
    void note_sample(std::uint64_t position);
    Result<bool> load_element(stream::StreamReader& in);
    Result<void> load_header_section(stream::StreamReader& in, stream::SectionType type);
    Result<void> load_part(stream::StreamReader& in, stream::SectionType type);
    Result<void> load_body(stream::StreamReader& in, stream::StateEntry& entry,
                           stream::SectionType type, Version version);
    Result<void> command(stream::StreamReader& in);
    Result<void> load_description(stream::StreamReader& in);
    Result<void> skip_unknown(stream::StreamReader& in, const stream::SectionHeader& header);
    Result<void> load_rest(stream::StreamReader& in, const stream::SectionHeader& header);
    Result<void> agree(stream::StreamReader& in);
    Result<void> start_guest();
    void approve();
    Result<void> answer_ping(stream::StreamReader& in, std::uint32_t value);
    bool explain(const Error& error);
    Result<void> reply_be32(stream::ReturnMessage type, std::uint32_t value);
    Result<void> reply(stream::ReturnMessage type, std::span<const std::byte> payload);
    void finish(Result<void> result);
    void clean_up() noexcept;
    void tell_timeline();

    struct Known {
        stream::StateEntry* entry;
        Version version;
    };

    Parts p_;
    IncomingConfig config_;
    Accept accept_;
    std::move_only_function<void()> done_;
    io::Cancel cancel_;  // channel_mutex_, behind the attempt's last wait
    std::atomic<bool> stopping_{false};
    std::mutex channel_mutex_;  // for yank(), until yankable_ goes: who sets channel_ and shuts it
    io::ChannelPtr channel_;
    bool yanked_ = false;  // channel_mutex_
    Registration yankable_;
    std::map<std::uint32_t, Known> sections_;  // by the section id of their START or FULL
    std::vector<LiveStateHandler*> set_up_;    // whose load_cleanup() is owed
    bool global_state_seen_ = false;
    bool rest_loaded_ = false;             // the stream was read ahead to its end
    std::unique_ptr<SectionSizes> sizes_;  // once an unknown section was met: how long each one is
    std::int64_t sampled_ns_ = 0;
    std::uint64_t sampled_bytes_ = 0;
    bool return_path_ = false;
    bool peer_godwit_ = false;      // the source says it is a Godwit
    bool timeline_wanted_ = false;  ///< the source asked for our clock
    bool peer_stays_ = false;       // and it knows that we are: it waits for our word

    std::optional<Ticket> ticket_;  // by which the source may ask what became of the guest

    std::mutex reply_mutex_;          // SWITCHOVER_ACK may come from a handler's thread
    unsigned approvals_missing_ = 0;  // reply_mutex_

    mutable std::mutex error_mutex_;
    std::optional<std::string> error_;  // error_mutex_

    NamedThread thread_;  // last: joins before what it uses is gone
};

}  // namespace godwit::migration
