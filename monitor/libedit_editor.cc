// SPDX-License-Identifier: LGPL-2.1-or-later
//
// libedit as a line editor for a chardev. The library reads with a blocking call and expects a
// terminal, so it gets a thread of its own that waits for keys from us, and a pseudo-terminal whose
// modes it may set; neither keys nor echo ever pass through that terminal.
#include "monitor/line_editor.h"

#include "godwit-config.h"

#if GW_HAVE_LIBEDIT

#include "util/thread.h"
#include "util/unique_fd.h"

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fcntl.h>
#include <histedit.h>
#include <mutex>
#include <sys/ioctl.h>
#include <termios.h>

namespace godwit::monitor {

namespace {

constexpr std::size_t kMaxLine = 64 << 10;
constexpr int kHistoryLines = 512;

/// libedit asks the terminal library, which keeps the terminal it was asked about last in a global.
/// Editors of one process therefore take turns; nobody holds this while waiting for a key.
std::mutex& terminal_library()
{
    static std::mutex mutex;
    return mutex;
}

struct CloseFile {
    void operator()(FILE* file) const { std::fclose(file); }
};
struct EndHistory {
    void operator()(History* history) const { ::history_end(history); }
};
struct EndEditLine {
    void operator()(EditLine* editor) const { ::el_end(editor); }
};
using FilePtr = std::unique_ptr<FILE, CloseFile>;

class LibeditEditor : public LineEditor {
public:
    LibeditEditor(std::string prompt, Callbacks callbacks)
        : prompt_(std::move(prompt)), callbacks_(std::move(callbacks))
    {}
    ~LibeditEditor() override
    {
        thread_.request_stop();
        {
            const std::lock_guard guard(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
    }

    /// False if there is no pseudo-terminal to be had.
    bool start()
    {
        if (!open_terminal())
            return false;
        thread_ = NamedThread("mon/edit", [this](std::stop_token) { run(); });
        return true;
    }

    void prompt() override
    {
        {
            const std::lock_guard guard(mutex_);
            ++prompts_;
        }
        changed_.notify_all();
    }
    void feed(std::string_view keys) override
    {
        {
            const std::lock_guard guard(mutex_);
            keys_.insert(keys_.end(), keys.begin(), keys.end());
        }
        changed_.notify_all();
    }
    std::size_t pending() const override
    {
        const std::lock_guard guard(mutex_);
        return keys_.size();
    }
    std::vector<std::string> history() const override
    {
        const std::lock_guard guard(mutex_);
        return entered_;
    }

private:
    bool open_terminal()
    {
        master_.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
        char name[64];
        if (!master_ || ::grantpt(master_.get()) < 0 || ::unlockpt(master_.get()) < 0 ||
            ::ptsname_r(master_.get(), name, sizeof name) != 0)
            return false;
        slave_.reset(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
        // Wide enough that the library never breaks a line: we do not know the client's width.
        const winsize size{.ws_row = 24, .ws_col = 1000, .ws_xpixel = 0, .ws_ypixel = 0};
        return slave_ && ::ioctl(slave_.get(), TIOCSWINSZ, &size) == 0;
    }

    static ssize_t write_out(void* self, const char* text, std::size_t length)
    {
        static_cast<LibeditEditor*>(self)->callbacks_.show(std::string(text, length));
        return static_cast<ssize_t>(length);
    }
    static FilePtr open_out(LibeditEditor* self)
    {
        const cookie_io_functions_t functions{
            .read = nullptr, .write = write_out, .seek = nullptr, .close = nullptr};
        return FilePtr(::fopencookie(self, "w", functions));
    }

    static LibeditEditor& self_of(EditLine* editor)
    {
        void* self = nullptr;
        ::el_get(editor, EL_CLIENTDATA, &self);
        return *static_cast<LibeditEditor*>(self);
    }

    /// Waits for a key with the terminal library free for others. 0 is the end.
    static int next_key(EditLine* editor, wchar_t* key)
    {
        LibeditEditor& self = self_of(editor);
        terminal_library().unlock();
        int got = 0;
        {
            std::unique_lock lock(self.mutex_);
            self.changed_.wait(lock, [&] { return self.stopping_ || !self.keys_.empty(); });
            if (!self.stopping_) {
                const auto byte = static_cast<unsigned char>(self.keys_.front());
                self.keys_.pop_front();
                const bool end = byte == '\r' || byte == '\n';
                self.typed_ = end ? 0 : self.typed_ + 1;
                // Not ASCII, or a line without end: nothing that a command would take.
                *key = byte < 0x80 && self.typed_ < kMaxLine ? byte : L'?';
                if (self.typed_ >= kMaxLine)
                    *key = L'\x15';  // kill the line
                got = 1;
            }
        }
        terminal_library().lock();
        return got;
    }

    static const char* show_prompt(EditLine* editor) { return self_of(editor).prompt_.c_str(); }

    /// TAB: one match is inserted, of several what they share; then they are listed.
    static unsigned char complete(EditLine* editor, int)
    {
        LibeditEditor& self = self_of(editor);
        const LineInfo* line = ::el_line(editor);
        const std::string before(line->buffer, line->cursor);
        terminal_library().unlock();
        const auto words = self.callbacks_.complete(before);
        terminal_library().lock();
        if (words.empty())
            return CC_ERROR;
        const std::size_t typed = before.size() - (before.find_last_of(" \t") + 1);
        std::size_t shared = words[0].size();
        for (const std::string& word : words)
            while (words[0].substr(0, shared) != word.substr(0, shared))
                --shared;
        std::string more = words[0].substr(0, shared).substr(std::min(typed, shared));
        if (words.size() == 1 && !more.ends_with('/'))
            more += ' ';
        if (!more.empty() && ::el_insertstr(editor, more.c_str()) == 0)
            return CC_REFRESH;
        std::string list = "\r\n";
        for (const std::string& word : words)
            list += word + "  ";
        self.callbacks_.show(list + "\r\n");
        return CC_REDISPLAY;
    }

    void set_up(EditLine* editor, History* history)
    {
        HistEvent event;
        ::history(history, &event, H_SETSIZE, kHistoryLines);
        ::history(history, &event, H_SETUNIQUE, 1);
        ::el_set(editor, EL_CLIENTDATA, this);
        ::el_set(editor, EL_TERMINAL, "vt100");
        ::el_set(editor, EL_EDITOR, "emacs");
        ::el_set(editor, EL_SIGNAL, 0);
        ::el_set(editor, EL_PROMPT, show_prompt);
        ::el_set(editor, EL_HIST, ::history, history);
        ::el_set(editor, EL_GETCFN, next_key);
        ::el_set(editor, EL_ADDFN, "gw-complete", "complete the word", complete);
        ::el_set(editor, EL_BIND, "\t", "gw-complete", nullptr);
        ::el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    }

    bool wait_for_prompt()
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopping_ || prompts_ > 0; });
        if (stopping_)
            return false;
        --prompts_;
        return true;
    }

    /// The thread "mon/edit".
    void run()
    {
        std::unique_lock library(terminal_library());
        const FilePtr out = open_out(this);
        const FilePtr in(std::fopen("/dev/null", "re"));
        const FilePtr err(std::fopen("/dev/null", "we"));
        const int terminal = slave_.get();
        const std::unique_ptr<History, EndHistory> history(::history_init());
        const std::unique_ptr<EditLine, EndEditLine> editor(
            ::el_init_fd("godwit", in.get(), out.get(), err.get(), terminal, terminal, terminal));
        if (!editor || !history)
            return;
        set_up(editor.get(), history.get());
        while (true) {
            library.unlock();
            const bool go_on = wait_for_prompt();
            library.lock();
            if (!go_on)
                break;
            int length = 0;
            const char* text = ::el_gets(editor.get(), &length);
            std::string line(text ? text : "", text ? static_cast<std::size_t>(length) : 0);
            std::fflush(out.get());
            {
                const std::lock_guard guard(mutex_);
                if (stopping_)
                    break;
            }
            finish(line, history.get());
        }
    }

    void finish(std::string& line, History* history)
    {
        while (line.ends_with('\n') || line.ends_with('\r'))
            line.pop_back();
        if (!line.empty()) {
            HistEvent event;
            ::history(history, &event, H_ENTER, line.c_str());
            const std::lock_guard guard(mutex_);
            entered_.push_back(line);
            if (entered_.size() > kHistoryLines)
                entered_.erase(entered_.begin());
        }
        callbacks_.finished(std::move(line));
    }

    std::string prompt_;
    Callbacks callbacks_;
    UniqueFd master_;
    UniqueFd slave_;

    mutable std::mutex mutex_;  // guards all below
    std::condition_variable changed_;
    std::deque<char> keys_;
    std::vector<std::string> entered_;
    std::size_t typed_ = 0;  // in this line
    unsigned prompts_ = 0;
    bool stopping_ = false;

    NamedThread thread_;
};

}  // namespace

std::unique_ptr<LineEditor> make_line_editor(std::string prompt, LineEditor::Callbacks callbacks)
{
    auto editor = std::make_unique<LibeditEditor>(prompt, callbacks);
    if (editor->start())
        return editor;
    return make_plain_editor(std::move(prompt), std::move(callbacks));
}

}  // namespace godwit::monitor

#else

namespace godwit::monitor {

std::unique_ptr<LineEditor> make_line_editor(std::string prompt, LineEditor::Callbacks callbacks)
{
    return make_plain_editor(std::move(prompt), std::move(callbacks));
}

}  // namespace godwit::monitor

#endif
