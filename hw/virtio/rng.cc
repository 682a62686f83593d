// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Type "virtio-rng-device", bus "virtio-bus": the host's random bytes.
//
// Properties  max-bytes, period (ms): at most so many bytes in so long a time; unlimited by
// default. Section     `virtio-rng` v1.
#include "hw/register_private.h"
#include "hw/virtio.h"
#include "system/clock.h"
#include "system/property.h"
#include "system/vm.h"

#include <algorithm>
#include <array>
#include <sys/random.h>

namespace godwit::hw {
namespace {

constexpr std::uint16_t kEntropyDevice = 4;
constexpr std::uint64_t kNoLimit = 0x7fffffffffffffff;

class VirtioRng final : public VirtioDevice {
public:
    VirtioRng() : VirtioDevice(kEntropyDevice, "virtio-rng", 1) {}
    std::uint64_t max_bytes_ = kNoLimit;
    std::uint32_t period_ = 65536;

protected:
    Result<void> realize() override
    {
        if (period_ == 0)
            return Error(Errc::InvalidArgument, "'period' parameter expects a positive integer");
        GW_TRY(VirtioDevice::realize());
        add_queue(8);
        left_ = max_bytes_;
        refill_ =
            std::make_unique<system::Timer>(vm().clocks(), system::ClockType::Virtual, [this] {
                left_ = max_bytes_;
                serve();
            });
        return {};
    }
    void unrealize() noexcept override { refill_.reset(); }
    void handle_queue(unsigned) override { serve(); }
    void device_reset() override { left_ = max_bytes_; }
    void loaded() override
    {
        if ((status() & virtio::kDriverOk) != 0)
            refill_->arm_in_ns(0);  // requests that waited on the other side
    }

private:
    void serve()
    {
        if ((status() & virtio::kDriverOk) == 0)
            return;
        VirtioElement element;
        bool any = false;
        while (left_ > 0) {
            const auto taken = pop(0, element);
            if (!taken || !*taken)
                break;
            push(0, element, fill(element));
            any = true;
        }
        if (any)
            notify(0);
        if (left_ == 0 && !refill_->armed())
            refill_->arm_in_ns(std::int64_t{period_} * 1'000'000);
    }

    std::uint32_t fill(const VirtioElement& element)
    {
        std::array<std::byte, 4096> bytes;
        const std::uint64_t total = std::min({element.in_bytes(), left_, std::uint64_t{1} << 20});
        std::uint64_t done = 0;
        while (done < total) {
            const auto piece =
                std::span(bytes).first(std::min<std::uint64_t>(total - done, bytes.size()));
            if (::getrandom(piece.data(), piece.size(), 0) != static_cast<ssize_t>(piece.size()))
                break;
            const auto moved = write_in(element, done, piece);
            if (!moved) {
                break_device(moved.error());
                break;
            }
            done += *moved;
        }
        left_ -= done;
        return static_cast<std::uint32_t>(done);
    }

    std::uint64_t left_ = 0;
    std::unique_ptr<system::Timer> refill_;
};

}  // namespace

Result<void> register_virtio_rng(system::TypeRegistry& types)
{
    using system::property;
    return types.add({.name = "virtio-rng-device",
                      .parent = "virtio-device",
                      .bus = "virtio-bus",
                      .description = "random numbers from the host",
                      .properties = {property<&VirtioRng::max_bytes_>("max-bytes", kNoLimit),
                                     property<&VirtioRng::period_>("period", 65536)},
                      .create = [] { return std::make_unique<VirtioRng>(); }});
}

}  // namespace godwit::hw
