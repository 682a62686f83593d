// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A virtio device's section: a record written by hand, then subsections. Layout:
// docs/migration/stream.md and QEMU 10.0's hw/virtio.
#include "hw/virtio.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"
#include "system/vm.h"

#include <fmt/format.h>

namespace godwit::hw {

using namespace migration::stream;

struct Ring {
    std::uint64_t avail = 0;
    std::uint64_t used = 0;
};

// What the subsections carry, gathered before saving and spread after loading.
struct VirtioDevice::Extras {
    VirtioDevice* device = nullptr;
    std::uint64_t features = 0;
    std::vector<Ring> rings = std::vector<Ring>(kVirtioMaxQueues);
    std::vector<std::uint32_t> sizes = std::vector<std::uint32_t>(kVirtioMaxQueues);
    bool resized = false;
    bool broken = false;
    bool started = false;
    bool modern = false;
    bool got_features = false;
    bool got_rings = false;

    static const VMState& description();
};

const VMState& VirtioDevice::Extras::description()
{
    using E = VirtioDevice::Extras;
    static constexpr auto kRing =
        vmstate<Ring>("virtqueue_state", {}, field<&Ring::avail>("vring.avail"),
                      field<&Ring::used>("vring.used"));
    static constexpr auto kFeatures =
        vmstate<E>("virtio/64bit_features",
                   {.needed = [](const E& e) { return e.device->offered() >> 32 != 0; },
                    .post_load =
                        [](E& e, Version) {
                            e.got_features = true;
                            return ok();
                        }},
                   field<&E::features>("guest_features"));
    static constexpr auto kRings =
        vmstate<E>("virtio/virtqueues",
                   {.needed = [](const E& e) { return e.modern; },
                    .post_load =
                        [](E& e, Version) {
                            e.got_rings = true;
                            return ok();
                        }},
                   structure<&E::rings>("vq", kRing)
                       .counted([](const E&) { return kVirtioMaxQueues; })
                       .at_most(kVirtioMaxQueues));
    static constexpr auto kSizes =
        vmstate<E>("virtio/ringsize", {.needed = [](const E& e) { return e.resized; }},
                   field<&E::sizes>("vring.num_default")
                       .counted([](const E&) { return kVirtioMaxQueues; })
                       .at_most(kVirtioMaxQueues));
    static constexpr auto kBroken =
        vmstate<E>("virtio/broken", {.needed = [](const E& e) { return e.broken; }},
                   field<&E::broken>("broken"));
    static constexpr auto kExtra = vmstate<E>(
        "virtio/extra_state", {.needed = [](const E& e) { return e.modern; }},
        custom<E>(
            "extra_state", "virtio extra state",
            [](StreamWriter& out, E& e) { e.device->transport_->save_extra(out); },
            [](StreamReader& in, E& e, Version) { return e.device->transport_->load_extra(in); }));
    static constexpr auto kStarted =
        vmstate<E>("virtio/started", {.needed = [](const E& e) { return e.started; }},
                   field<&E::started>("started"));
    static constexpr auto kVirtio =
        vmstate<E>("virtio", {}, subsection(kFeatures), subsection(kRings), subsection(kSizes),
                   subsection(kBroken), subsection(kExtra), subsection(kStarted));
    static_assert(kVirtio.well_formed());
    return kVirtio;
}

Result<void> VirtioDevice::register_state(StateRegistry& registry)
{
    const std::string path = parent_bus() != nullptr && parent_bus()->owner() != nullptr
                                 ? parent_bus()->owner()->state_path()
                                 : std::string();
    // Described as QEMU does: one opaque field.
    description_ = std::unique_ptr<const Section>(new Section(vmstate<Self>(
        section_, {.current = version_, .oldest = version_},
        custom<Self>(
            "virtio", "virtio", [](StreamWriter& out, Self& self) { self.device->save(out); },
            [](StreamReader& in, Self& self, Version) { return self.device->load(in); }))));
    keep(GW_TRY(registry.add(*description_, self_, {.device_path = path})));
    return {};
}

// --- saving ------------------------------------------------------------------------------------

void VirtioDevice::save(StreamWriter& out)
{
    transport_->save_head(out);
    out.put_u8(status_);
    out.put_u8(isr_);
    out.put_be16(queue_sel);
    out.put_be32(static_cast<std::uint32_t>(features_));
    out.put_be32(config_size());
    out.put_bytes(std::as_bytes(std::span(config_)));
    out.put_be32(queue_count());
    Extras extras{.device = this, .features = features_};
    for (unsigned n = 0; n < queues_.size(); ++n) {
        const VirtioQueue& queue = queues_[n];
        out.put_be32(queue.num);
        out.put_be32(queue.align);
        out.put_be64(queue.desc);
        out.put_be16(queue.last_avail);
        extras.rings[n] = {.avail = queue.avail, .used = queue.used};
        extras.sizes[n] = queue.num_default;
        extras.resized = extras.resized || queue.num != queue.num_default;
    }
    save_device(out);
    extras.broken = broken_;
    extras.started = (status_ & virtio::kDriverOk) != 0;
    extras.modern = !transport_->legacy();
    (void)save_subsections(out, Extras::description(), &extras);  // has no hooks that could fail
}

// --- loading -----------------------------------------------------------------------------------

Result<void> VirtioDevice::load_queues(StreamReader& in)
{
    const std::uint32_t count = GW_TRY(in.get_be32());
    if (count > kVirtioMaxQueues)
        return in.error_here(Errc::BadFormat,
                             fmt::format("Invalid number of virtqueues: 0x{:x}", count));
    for (unsigned n = 0; n < queues_.size(); ++n)
        reset_queue(n);
    for (std::uint32_t n = 0; n < count; ++n) {
        VirtioQueue loaded;
        loaded.num = GW_TRY(in.get_be32());
        loaded.align = GW_TRY(in.get_be32());
        loaded.desc = GW_TRY(in.get_be64());
        loaded.last_avail = GW_TRY(in.get_be16());
        if (loaded.num > kVirtioMaxRing || (loaded.num & (loaded.num - 1)) != 0 ||
            (loaded.align & (loaded.align - 1)) != 0)
            return in.error_here(
                Errc::BadFormat,
                fmt::format("VQ {} has a ring of {} aligned to {}", n, loaded.num, loaded.align));
        if (loaded.desc == 0 && loaded.last_avail != 0)
            return in.error_here(
                Errc::BadFormat,
                fmt::format("VQ {} address 0x0 inconsistent with Host index 0x{:x}", n,
                            loaded.last_avail));
        if (n >= queues_.size())
            continue;  // as QEMU: a queue that is not ours is read and forgotten
        loaded.num_default = queues_[n].num_default;
        queues_[n] = loaded;
        if (loaded.desc != 0 && transport_->legacy()) {
            set_legacy_ring(n, loaded.desc);
            queues_[n].last_avail = loaded.last_avail;
        }
    }
    return {};
}

// The indices in guest memory decide what is still in flight.
Result<void> VirtioDevice::check_rings()
{
    for (unsigned n = 0; n < queues_.size(); ++n) {
        VirtioQueue& queue = queues_[n];
        if (queue.desc == 0)
            continue;
        const auto avail = load_u16(queue.avail + 2);
        const auto used = load_u16(queue.used + 2);
        if (!avail || !used) {
            break_device(Error(Errc::BadFormat, fmt::format("VQ {} is not in memory", n)));
            continue;
        }
        const auto waiting = static_cast<std::uint16_t>(*avail - queue.last_avail);
        if (waiting > queue.num) {
            break_device(Error(Errc::BadFormat,
                               fmt::format("VQ {} size 0x{:x} Guest index 0x{:x} inconsistent with "
                                           "Host index 0x{:x}: delta 0x{:x}",
                                           n, queue.num, *avail, queue.last_avail, waiting)));
            continue;
        }
        queue.used_idx = *used;
        if (static_cast<std::uint16_t>(queue.last_avail - queue.used_idx) > queue.num)
            return Error(Errc::BadFormat,
                         fmt::format("VQ {} size 0x{:x} < last_avail_idx 0x{:x} - used_idx 0x{:x}",
                                     n, queue.num, queue.last_avail, queue.used_idx));
    }
    return {};
}

Result<void> VirtioDevice::load(StreamReader& in)
{
    GW_TRY(transport_->load_head(in));
    status_ = GW_TRY(in.get_u8());
    isr_ = GW_TRY(in.get_u8());
    queue_sel = GW_TRY(in.get_be16());
    if (queue_sel >= kVirtioMaxQueues)
        return in.error_here(Errc::BadFormat, fmt::format("queue_sel {} is too large", queue_sel));
    const std::uint32_t low_features = GW_TRY(in.get_be32());
    const std::uint32_t config_bytes = GW_TRY(in.get_be32());
    for (std::uint32_t n = 0; n < config_bytes; ++n) {
        const std::uint8_t byte = GW_TRY(in.get_u8());
        if (n < config_.size())
            config_[n] = byte;
    }
    GW_TRY(load_queues(in));
    GW_TRY(load_device(in));
    Extras extras{.device = this};
    for (unsigned n = 0; n < queues_.size(); ++n)
        extras.sizes[n] = queues_[n].num_default;
    GW_TRY(load_subsections(in, Extras::description(), &extras));
    const std::uint64_t wanted = extras.got_features ? extras.features : low_features;
    if ((wanted & ~offered()) != 0)
        return Error(Errc::BadFormat, fmt::format("Features 0x{:x} unsupported. Allowed features: "
                                                  "0x{:x}",
                                                  wanted, offered()));
    features_ = wanted;
    broken_ = extras.broken;
    for (unsigned n = 0; n < queues_.size(); ++n) {
        if (extras.got_rings) {
            queues_[n].avail = extras.rings[n].avail;
            queues_[n].used = extras.rings[n].used;
        }
    }
    GW_TRY(check_rings());
    loaded();
    return {};
}

}  // namespace godwit::hw
