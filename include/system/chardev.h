// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Character devices: byte pipes between a front end (UART, monitor, qtest) and the outside.
#pragma once

#include "util/result.h"
#include "util/unique_fd.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit {
class OptionList;
}

namespace godwit::system {

class MainLoop;
class YankRegistry;

/// The front end's view of a chardev. One front end at a time.
///
/// Threads  main loop, machine lock held; write() from any thread that holds the machine lock.
class Chardev {
public:
    struct FrontEnd {
        /// How many bytes it can take now; 0 holds the back end off.
        std::function<std::size_t()> can_receive;
        std::function<void(std::span<const std::byte>)> receive;
        /// Front: a keyboard that several share was given to this front end (C-a c).
        enum class Event { Opened, Closed, Break, Front };
        std::function<void(Event)> event;
    };

    virtual ~Chardev();
    const std::string& label() const noexcept { return label_; }
    /// query-chardev's `filename`: "unix:mon.sock,server=on", "file", "null".
    virtual std::string filename() const = 0;

    /// Opened follows at once, from within, when somebody is connected.
    /// Errors   Busy when another front end has it: "Device 'x' is in use".
    Result<void> attach(FrontEnd front_end);
    void detach() noexcept;
    bool attached() const noexcept { return front_end_ != nullptr; }

    /// Queues everything; back ends write in order from the main loop when they cannot at once.
    /// Returns false when nobody is connected (the bytes are dropped).
    virtual bool write(std::span<const std::byte> data) = 0;
    bool write(std::string_view text) { return write(std::as_bytes(std::span(text))); }
    /// Writes what fits now, without queueing: UARTs that honour back pressure. Returns the bytes
    /// taken.
    virtual std::size_t write_some(std::span<const std::byte> data) = 0;
    /// Calls once when write_some() may take bytes again.
    virtual void on_writable(std::function<void()> ready) { ready(); }
    /// Bytes still queued; flush() waits for them (at exit), at most `ms`.
    virtual std::size_t queued() const { return 0; }
    virtual void flush(unsigned ms) {}
    virtual bool connected() const noexcept = 0;
    /// The front end can take bytes again.
    virtual void accept_input() = 0;
    /// Descriptors that arrived with the bytes of the last receive(), in order; taking empties the
    /// list.
    virtual std::vector<UniqueFd> take_fds() { return {}; }
    virtual void set_echo(bool) {}
    /// False while several share the back end and the keyboard is another's.
    virtual bool in_front() const noexcept { return true; }
    /// ringbuf-read and ringbuf-write: nothing and false from any other back end.
    virtual std::optional<std::string> ring_read(std::size_t) { return std::nullopt; }
    virtual bool ring_write(std::span<const std::byte>) { return false; }
    /// From now on `loop` serves this chardev: callbacks run there, under its lock, and write() and
    /// the others need that lock. The caller holds the locks of the old loop and the new.
    /// Errors  Unsupported: this back end stays where it is.
    virtual Result<void> move_to(MainLoop&)
    {
        return Error(Errc::Unsupported, "this character device cannot change its thread");
    }

protected:
    explicit Chardev(std::string label) : label_(std::move(label)) {}
    /// How many bytes the front end takes now; 0 without one.
    std::size_t can_receive() const;
    // These keep the front end alive while it runs, also when it detaches itself.
    void give(std::span<const std::byte> data);
    void tell(FrontEnd::Event event);
    virtual void attached_changed() {}

private:
    std::string label_;
    std::shared_ptr<FrontEnd> front_end_;
};

/// "socket", "file", ...: what -chardev and chardev-add know.
std::span<const std::string_view> chardev_backend_names() noexcept;

/// All chardevs of a Vm: -chardev, -serial, -qmp, -monitor, -qtest, chardev-add.
///
/// Errors   in QEMU's words, without the option: the caller adds it.
class ChardevSet {
public:
    /// What a back end has to say to the operator: "char device redirected to ...".
    using Notice = std::function<void(std::string_view line)>;
    /// `yanks`, if any: where socket back ends can be torn loose.
    explicit ChardevSet(MainLoop& loop, Notice notice = {}, YankRegistry* yanks = nullptr);
    ~ChardevSet();
    /// `options` as parsed from "-chardev socket,id=c0,path=P,server=on,wait=off"
    /// (util/option_list.h).
    Result<Chardev*> add(std::string_view chardev_option);
    /// The same in parts: key "backend" and the keys of -chardev.
    /// Errors   "Chardev with id 'x' already exists".
    Result<Chardev*> create(const std::string& label, const OptionList& options);
    /// The short forms: "stdio", "unix:PATH[,server=on,wait=off]", "tcp:...", "file:PATH", "null",
    /// "none" (returns nullptr), "pty", "pipe:PATH", "fd:N", "chardev:ID", "mon:stdio".
    Result<Chardev*> add_short(std::string_view text, std::string label);
    /// Errors   "Chardev 'x' not found", "Chardev 'x' is busy".
    Result<void> remove(std::string_view label);
    /// Of one with several front ends (mux=on, "mon:"), a place that is free.
    Chardev* find(std::string_view label) const noexcept;
    /// In order of creation.
    std::vector<Chardev*> list() const;
    /// Makes the human monitor of "mon:..." on its place of the chardev. Errors end the option.
    void set_monitor_maker(std::function<Result<void>(Chardev&)> maker);
    /// C-a x on a mux: the operator wants to leave.
    void set_quit_handler(std::function<void()> quit);
    /// Waits for queued bytes of all, at most `ms`: before the process ends.
    void flush(unsigned ms);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::system
