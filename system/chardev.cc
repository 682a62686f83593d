// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/chardev.h"

#include "system/chardev_backends.h"

namespace godwit::system {

Chardev::~Chardev() = default;

Result<void> Chardev::attach(FrontEnd front_end)
{
    if (front_end_)
        return Error(Errc::Busy, "Device '" + label_ + "' is in use");
    front_end_ = std::make_shared<FrontEnd>(std::move(front_end));
    if (connected())
        tell(FrontEnd::Event::Opened);
    attached_changed();
    return {};
}

void Chardev::detach() noexcept
{
    front_end_.reset();
    attached_changed();
}

std::size_t Chardev::can_receive() const
{
    const auto front_end = front_end_;
    if (!front_end)
        return 0;
    return front_end->can_receive ? front_end->can_receive() : 0;
}

void Chardev::give(std::span<const std::byte> data)
{
    const auto front_end = front_end_;
    if (front_end && front_end->receive)
        front_end->receive(data);
}

void Chardev::tell(FrontEnd::Event event)
{
    const auto front_end = front_end_;
    if (front_end && front_end->event)
        front_end->event(event);
}

}  // namespace godwit::system
