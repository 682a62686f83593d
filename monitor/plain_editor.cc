// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The editor for builds without libedit: echo, backspace, and no more.
#include "monitor/line_editor.h"

#include <utility>

namespace godwit::monitor {

namespace {

constexpr std::size_t kMaxLine = 64 << 10;

class PlainEditor : public LineEditor {
public:
    PlainEditor(std::string prompt, Callbacks callbacks)
        : prompt_(std::move(prompt)), callbacks_(std::move(callbacks))
    {}

    void prompt() override
    {
        callbacks_.show(prompt_);
        open_ = true;
        go_on();
    }
    void feed(std::string_view keys) override
    {
        keys_ += keys;
        go_on();
    }
    std::size_t pending() const override { return keys_.size(); }
    std::vector<std::string> history() const override { return history_; }

private:
    void go_on()
    {
        while (open_ && !keys_.empty()) {
            const char key = keys_.front();
            keys_.erase(0, 1);
            const bool second_of_crlf = key == '\n' && std::exchange(after_cr_, key == '\r');
            after_cr_ = key == '\r';
            if (!second_of_crlf)
                take(key);
        }
    }

    void take(char key)
    {
        if (key == '\r' || key == '\n') {
            open_ = false;
            callbacks_.show("\r\n");
            if (!line_.empty())
                history_.push_back(line_);
            callbacks_.finished(std::exchange(line_, {}));
        } else if ((key == '\b' || key == 0x7f) && !line_.empty()) {
            line_.pop_back();
            callbacks_.show("\b \b");
        } else if (static_cast<unsigned char>(key) >= 0x20 && line_.size() < kMaxLine) {
            line_ += key;
            callbacks_.show(std::string(1, key));
        }
    }

    std::string prompt_;
    Callbacks callbacks_;
    std::string keys_;
    std::string line_;
    std::vector<std::string> history_;
    bool open_ = false;
    bool after_cr_ = false;
};

}  // namespace

std::unique_ptr<LineEditor> make_plain_editor(std::string prompt, LineEditor::Callbacks callbacks)
{
    return std::make_unique<PlainEditor>(std::move(prompt), std::move(callbacks));
}

}  // namespace godwit::monitor
