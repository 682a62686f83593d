// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Line editing for one human monitor: keys in, echo and finished lines out.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::monitor {

/// A line being typed.
///
/// Life     prompt() opens a line; feed() brings keys at any time, those behind the end of a line
///          wait for the next prompt(); the line is handed over once, without its end.
/// Threads  the main loop's. The callbacks may come from a thread of the editor.
class LineEditor {
public:
    struct Callbacks {
        /// Echo, prompt and what else the terminal shall show.
        std::function<void(std::string text)> show;
        std::function<void(std::string line)> finished;
        /// Words that may stand at the end of the text before the cursor.
        std::function<std::vector<std::string>(const std::string& before_cursor)> complete;
    };

    virtual ~LineEditor() = default;
    virtual void prompt() = 0;
    virtual void feed(std::string_view keys) = 0;
    /// Keys not yet looked at.
    virtual std::size_t pending() const = 0;
    /// Lines entered so far, oldest first.
    virtual std::vector<std::string> history() const = 0;
};

/// With libedit where we have it and a pseudo-terminal can be made; else a plain one with echo and
/// backspace.
std::unique_ptr<LineEditor> make_line_editor(std::string prompt, LineEditor::Callbacks callbacks);
/// The plain one.
std::unique_ptr<LineEditor> make_plain_editor(std::string prompt, LineEditor::Callbacks callbacks);

}  // namespace godwit::monitor
