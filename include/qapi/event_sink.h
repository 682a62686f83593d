// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where events go. The emitters in qapi/<module>_events.h are the way to send one.
#pragma once

#include "util/json_fwd.h"

#include <string_view>

namespace godwit::qapi {

/// Takes every event. The QMP monitor is one; a test may be another.
///
/// Threads  emit() from any thread; events of one thread keep their order.
/// Errors   none: an event nobody can receive is dropped.
class EventSink {
public:
    virtual ~EventSink() = default;

    /// @param event  the wire name, "STOP"
    /// @param data   an object, empty for an event without data
    virtual void emit(std::string_view event, Json data) = 0;
};

}  // namespace godwit::qapi
