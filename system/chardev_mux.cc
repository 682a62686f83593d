// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Several front ends on one back end: a serial port and the human monitor on one terminal.
#include "system/chardev_backends.h"

#include <array>
#include <vector>

namespace godwit::system {

namespace {

constexpr char kEscape = 0x01;  // C-a
constexpr std::string_view kHelp = "\n\r"
                                   "C-a h    print this help\n\r"
                                   "C-a x    exit emulator\n\r"
                                   "C-a b    send break (magic sysrq)\n\r"
                                   "C-a c    switch between console and monitor\n\r"
                                   "C-a C-a  sends C-a\n\r";

class Mux;

/// One place for a front end. Everybody may write; input goes to the one that has the focus.
class Port : public Chardev {
public:
    Port(Mux& mux, std::string label) : Chardev(std::move(label)), mux_(mux) {}
    std::string filename() const override { return "mux"; }
    using Chardev::write;
    bool write(std::span<const std::byte> data) override;
    std::size_t write_some(std::span<const std::byte> data) override;
    void on_writable(std::function<void()> ready) override;
    std::size_t queued() const override;
    void flush(unsigned ms) override;
    bool connected() const noexcept override;
    void accept_input() override;
    void set_echo(bool on) override;
    bool in_front() const noexcept override;

    using Chardev::can_receive;
    using Chardev::give;
    using Chardev::tell;

private:
    void attached_changed() override;
    Mux& mux_;
};

class Mux : public MuxChardev {
public:
    Mux(std::unique_ptr<Chardev> base, std::function<void()> quit)
        : label_(base->label()), base_(std::move(base)), quit_(std::move(quit))
    {
        ports_.push_back(std::make_unique<Port>(*this, label_));
        // Cannot fail: nobody else knows the base.
        (void)base_->attach({
            .can_receive = [this]() -> std::size_t {
                return at_escape_ ? 1 : focused().can_receive();
            },
            .receive = [this](std::span<const std::byte> data) { receive(data); },
            .event =
                [this](Chardev::FrontEnd::Event event) {
                    for (const auto& port : ports_)
                        port->tell(event);
                },
        });
    }

    const std::string& label() const noexcept override { return label_; }
    Chardev* free_port() override
    {
        for (const auto& port : ports_) {
            if (!port->attached())
                return port.get();
        }
        ports_.push_back(std::make_unique<Port>(*this, label_));
        return ports_.back().get();
    }
    Chardev* first_port() const noexcept override { return ports_.front().get(); }
    Chardev& base() noexcept override { return *base_; }
    bool busy() const noexcept override
    {
        for (const auto& port : ports_) {
            if (port->attached())
                return true;
        }
        return false;
    }

    /// Whoever attached last has the keyboard.
    void attached(const Port& port)
    {
        for (std::size_t i = 0; i < ports_.size(); ++i) {
            if (ports_[i].get() == &port)
                focus_ = i;
        }
    }
    void receive(std::span<const std::byte> data)
    {
        for (const std::byte byte : data) {
            const char key = static_cast<char>(byte);
            if (std::exchange(at_escape_, false))
                command(key, byte);
            else if (key == kEscape)
                at_escape_ = true;
            else
                focused().give({&byte, 1});
        }
    }

    const Port& in_front() const noexcept { return *ports_[focus_]; }

private:
    Port& focused() { return *ports_[focus_]; }
    void command(char key, std::byte byte)
    {
        switch (key) {
        case 'x':
            base_->write("C-a x: terminating\n\r");
            if (quit_)
                quit_();
            break;
        case 'c':
            do {
                focus_ = (focus_ + 1) % ports_.size();
            } while (!focused().attached() && focus_ != 0);
            focused().tell(Chardev::FrontEnd::Event::Front);
            base_->accept_input();
            break;
        case 'b':
            focused().tell(Chardev::FrontEnd::Event::Break);
            break;
        case kEscape:
            focused().give({&byte, 1});
            break;
        default:
            base_->write(kHelp);
        }
    }

    std::string label_;
    std::unique_ptr<Chardev> base_;
    std::function<void()> quit_;
    std::vector<std::unique_ptr<Port>> ports_;
    std::size_t focus_ = 0;
    bool at_escape_ = false;
};

bool Port::write(std::span<const std::byte> data)
{
    return mux_.base().write(data);
}
std::size_t Port::write_some(std::span<const std::byte> data)
{
    return mux_.base().write_some(data);
}
void Port::on_writable(std::function<void()> ready)
{
    mux_.base().on_writable(std::move(ready));
}
std::size_t Port::queued() const
{
    return mux_.base().queued();
}
void Port::flush(unsigned ms)
{
    mux_.base().flush(ms);
}
bool Port::connected() const noexcept
{
    return mux_.base().connected();
}
void Port::accept_input()
{
    mux_.base().accept_input();
}
void Port::set_echo(bool on)
{
    mux_.base().set_echo(on);
}
bool Port::in_front() const noexcept
{
    return &mux_.in_front() == this;
}
void Port::attached_changed()
{
    if (attached())
        mux_.attached(*this);
    mux_.base().accept_input();
}

}  // namespace

std::unique_ptr<MuxChardev> make_mux(std::unique_ptr<Chardev> base, std::function<void()> quit)
{
    return std::make_unique<Mux>(std::move(base), std::move(quit));
}

}  // namespace godwit::system
