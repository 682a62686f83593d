// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Interrupt wires: an output pin of one device drives an input of another.
#pragma once

#include <functional>
#include <memory>

namespace godwit::system {

/// An input: what happens when a wire that ends here changes. Copies refer to the same input.
///
/// Threads  with the machine lock.
class IrqInput {
public:
    using Handler = std::function<void(int level)>;
    IrqInput() = default;
    explicit IrqInput(Handler handler) : handler_(std::make_shared<Handler>(std::move(handler))) {}

    void set(int level) const
    {
        if (handler_ && *handler_)
            (*handler_)(level);
    }
    explicit operator bool() const noexcept { return handler_ && *handler_; }

    /// qtest's irq_intercept_in: from now on `observer` is told first of every change.
    void intercept(Handler observer) const
    {
        if (handler_)
            *handler_ = [first = std::move(observer), then = std::move(*handler_)](int level) {
                first(level);
                if (then)
                    then(level);
            };
    }

private:
    friend class IrqOutput;
    std::shared_ptr<Handler> handler_;
};

/// An output pin of a device. It remembers its level, so that a pin connected late is told.
///
/// Threads  with the machine lock.
class IrqOutput {
public:
    void connect(IrqInput to) { target_ = std::move(to); }
    bool connected() const noexcept { return static_cast<bool>(target_); }
    const IrqInput& target() const noexcept { return target_; }

    void set(int level)
    {
        level_ = level;
        if (observer_)
            observer_(level);
        if (!intercepted_)
            target_.set(level);
    }
    void raise() { set(1); }
    void lower() { set(0); }
    void pulse()
    {
        set(1);
        set(0);
    }
    int level() const noexcept { return level_; }

    /// qtest's irq_intercept_out: `observer` is told of every change; `swallow` keeps it from the
    /// target.
    void intercept(std::function<void(int level)> observer, bool swallow)
    {
        observer_ = std::move(observer);
        intercepted_ = swallow;
    }

private:
    IrqInput target_;
    int level_ = 0;
    std::function<void(int)> observer_;
    bool intercepted_ = false;
};

}  // namespace godwit::system
