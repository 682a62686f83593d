// SPDX-License-Identifier: LGPL-2.1-or-later
//
// An event sink that remembers.
#pragma once

#include "qapi/event_sink.h"
#include "util/json.h"

#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace godwit::system {

class EventRecorder : public qapi::EventSink {
public:
    void emit(std::string_view event, Json data) override
    {
        std::lock_guard guard(mutex_);
        events_.emplace_back(event, dump_json(data));
    }
    std::vector<std::string> names() const
    {
        std::lock_guard guard(mutex_);
        std::vector<std::string> names;
        for (const auto& [name, data] : events_)
            names.push_back(name);
        return names;
    }
    std::string data(std::size_t index) const
    {
        std::lock_guard guard(mutex_);
        return events_.at(index).second;
    }

private:
    mutable std::mutex mutex_;  // guards events_
    std::vector<std::pair<std::string, std::string>> events_;
};

}  // namespace godwit::system
