// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/hmp_session.h"

#include "godwit-config.h"
#include "monitor/hmp_runner.h"
#include "system/hmp.h"
#include "system/vm.h"

#include <utility>

namespace godwit::monitor {

namespace {

constexpr std::size_t kReadBytes = 4096;
constexpr std::size_t kMaxPending = 64 << 10;  // keys typed ahead
constexpr std::size_t kMaxOutput = 1 << 20;
constexpr unsigned kFlushMs = 200;
constexpr unsigned kAgainMs = 100;
constexpr std::string_view kPrompt = "(qemu) ";  // what scripts wait for

}  // namespace

HmpSession::HmpSession(system::Vm& vm, const qapi::CommandTable& commands,
                       const system::HmpTable& table, system::Chardev& chardev)
    : vm_(vm), commands_(commands), table_(table), chardev_(chardev), connection_(fds_)
{}

HmpSession::~HmpSession()
{
    stop();
}

Result<void> HmpSession::start()
{
    using Event = system::Chardev::FrontEnd::Event;
    GW_TRY(chardev_.attach({
        .can_receive = [this] { return can_receive(); },
        .receive = [this](std::span<const std::byte> bytes) { receive(bytes); },
        .event =
            [this](Event event) {
                if (event == Event::Opened && !open_)
                    opened();
                else if (event == Event::Closed && open_)
                    closed();
                else if (event == Event::Front && open_)
                    greet();
            },
    }));
    attached_ = true;
    if (chardev_.connected() && !open_)
        opened();
    return {};
}

void HmpSession::stop()
{
    if (!std::exchange(attached_, false))
        return;
    if (open_) {
        chardev_.flush(kFlushMs);
        closed();
    }
    chardev_.detach();
}

void HmpSession::opened()
{
    open_ = true;
    chardev_.set_echo(false);
    if (chardev_.in_front())
        greet();
}

/// On a terminal shared with a serial port, not before somebody switches to the monitor.
void HmpSession::greet()
{
    if (editor_)
        return;
    chardev_.write("Godwit " GW_VERSION " monitor - type 'help' for more information\r\n");
    editor_ = make_editor();
    editor_->prompt();
}

void HmpSession::closed()
{
    open_ = false;
    ++client_;
    again_.reset();
    goes_on_ = {};
    fds_.drop_received();
    // The editor's thread may be waiting for the machine lock to complete a word.
    if (editor_) {
        system::MachineUnlock unlocked(vm_.lock());
        editor_.reset();
    }
}

std::unique_ptr<LineEditor> HmpSession::make_editor()
{
    const auto in_loop = [weak = weak_from_this(), client = client_,
                          &loop = vm_.loop()](auto work) {
        loop.post([weak, client, work = std::move(work)] {
            if (auto self = weak.lock(); self && self->open_ && self->client_ == client)
                work(*self);
        });
    };
    return make_line_editor(
        std::string(kPrompt),
        {.show =
             [in_loop](std::string text) {
                 in_loop([text = std::move(text)](HmpSession& self) { self.chardev_.write(text); });
             },
         .finished =
             [in_loop](std::string line) {
                 in_loop([line = std::move(line)](HmpSession& self) { self.run(line); });
             },
         .complete =
             [weak = weak_from_this()](const std::string& text) {
                 auto self = weak.lock();
                 return self ? self->complete(text) : std::vector<std::string>();
             }});
}

std::size_t HmpSession::can_receive()
{
    held_ = !editor_ || editor_->pending() > kMaxPending || chardev_.queued() > kMaxOutput;
    return held_ ? 0 : kReadBytes;
}

void HmpSession::receive(std::span<const std::byte> bytes)
{
    if (auto fds = chardev_.take_fds(); !fds.empty())
        fds_.receive(std::move(fds));
    if (editor_)
        editor_->feed({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void HmpSession::run(const std::string& line)
{
    system::HmpContext context{vm_, commands_, connection_, cpu_index_,
                               editor_ ? editor_->history() : std::vector<std::string>()};
    chardev_.write(run_hmp_line(table_, context, line));
    if (!open_)
        return;
    goes_on_ = std::move(context.goes_on);
    go_on();
}

/// No prompt while the command goes on; what is typed meanwhile waits.
void HmpSession::go_on()
{
    if (goes_on_) {
        system::HmpOutput out;
        const bool more = goes_on_(out);
        if (!more || chardev_.queued() <= kMaxOutput)
            chardev_.write(with_cr(out.text()));
        if (!open_)
            return;
        if (more) {
            again_ = vm_.loop().after_ms(kAgainMs, [this] { go_on(); });
            return;
        }
        goes_on_ = {};
    }
    answered();
}

void HmpSession::answered()
{
    if (chardev_.queued() <= kMaxOutput)
        return after_output();
    chardev_.on_writable([weak = weak_from_this(), &loop = vm_.loop()] {
        loop.post([weak] {
            if (auto self = weak.lock())
                self->after_output();
        });
    });
}

/// The client has read enough of the answer: the next line may come.
void HmpSession::after_output()
{
    if (!open_ || !editor_)
        return;
    editor_->prompt();
    if (held_)
        chardev_.accept_input();
}

std::vector<std::string> HmpSession::complete(const std::string& before_cursor)
{
    const system::MachineGuardIfNeeded guard(vm_.lock());
    system::HmpContext context{vm_, commands_, connection_, cpu_index_};
    return complete_hmp_line(table_, context, before_cursor);
}

}  // namespace godwit::monitor
