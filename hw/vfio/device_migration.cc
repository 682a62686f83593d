// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Puts a device's part in migration together: what it can do, why it may not, who is told.
#include "hw/vfio/device_migration.h"

#include "hw/vfio/device.h"
#include "hw/vfio/live_state.h"
#include "migration/service.h"
#include "migration/stream/registry.h"
#include "qapi/event_sink.h"
#include "system/vm.h"
#include "util/json.h"
#include "util/log.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

/// What a device does besides its live state.
class Host final : public MigrationHost {
public:
    Host(VfioDevice& device, MigrationGroup& group) : device_(device), group_(group) {}

    const std::string& name() const override { return device_.device_name(); }
    std::chrono::milliseconds patience() const override { return device_.state_timeout(); }
    bool insists_on_multifd() const override
    {
        return device_.migration_properties().multifd_transfer == OnOffAuto::On;
    }
    void warn(Error error) override
    {
        device_.vm().log().warn(std::move(error).context("vfio").message());
    }
    Result<void> save_config(migration::StreamWriter& out) override
    {
        return device_.save_config(out);
    }
    Result<void> load_config(migration::StreamReader& in) override
    {
        return device_.load_config(in);
    }
    Result<void> recover_by_reset() override { return device_.recover_by_reset(); }
    void state_changed(MigrationState state) override
    {
        if (state == MigrationState::Running)  // some devices take no eventfds before
            device_.rearm_if_needed();
        if (!device_.migration_properties().events || state == MigrationState::Error)
            return;
        Json data = Json::object();
        data["device-id"] = device_.id();
        data["qom-path"] = device_.path();
        data["device-state"] = event_name(state);
        device_.vm().events().emit("VFIO_MIGRATION", std::move(data));
    }
    // Once for all devices of a container.
    std::uint64_t untracked_bytes() override
    {
        for (const GroupMember* member : group_.members()) {
            const auto* live = dynamic_cast<const VfioLiveState*>(member);
            const auto* host = live == nullptr ? nullptr : dynamic_cast<const Host*>(&live->host());
            if (host == nullptr || &host->device_.container() != &device_.container())
                continue;
            return host == this ? device_.container().untracked_bytes() : 0;
        }
        return 0;
    }

private:
    VfioDevice& device_;
    MigrationGroup& group_;
};

class Registered final : public DeviceMigration {
public:
    Registered(VfioDevice& device, std::shared_ptr<MigrationGroup> group,
               std::unique_ptr<StateWalker> walker)
        : group_(std::move(group)), host_(device, *group_),
          live_(host_, device.vm().lock(), std::move(walker)), vm_(device.vm())
    {}
    ~Registered() override
    {
        entry_.reset();
        membership_.reset();
        if (!group_->lacks_p2p())
            group_->blocker.reset();
    }

    Result<void> enter(const std::string& path)
    {
        entry_ = GW_TRY(vm_.state_registry().add_live(
            "vfio", 1, migration::stream::Priority::Default, live_, {.device_path = path}));
        membership_ = group_->add(live_);
        return ok();
    }
    void device_was_reset() noexcept override { live_.was_reset(); }

private:
    std::shared_ptr<MigrationGroup> group_;
    Host host_;
    VfioLiveState live_;
    system::Vm& vm_;
    Registration membership_;
    Registration entry_;
};

/// A device that stands in migration's way.
class Blocked final : public DeviceMigration {
public:
    explicit Blocked(Registration reason) : reason_(std::move(reason)) {}
    void device_was_reset() noexcept override {}

private:
    Registration reason_;
};

Result<Registration> block(system::Vm& vm, std::string reason)
{
    if (vm.migration() == nullptr)
        return Registration();
    return vm.migration()->block(std::move(reason));
}

/// The reason as an error where the user insists, else as a blocker.
Result<std::unique_ptr<DeviceMigration>> refuse(VfioDevice& device, const std::string& why)
{
    std::string reason = fmt::format("{}: {}", device.device_name(), why);
    if (device.migration_properties().enable == OnOffAuto::On)
        return Error(Errc::Unsupported, std::move(reason));
    return std::make_unique<Blocked>(GW_TRY(block(device.vm(), std::move(reason))));
}

std::string why_not(const Error& error)
{
    if (error.code() == Errc::Unsupported)
        return "VFIO migration is not supported in kernel";
    const int number = error.os_errno() != 0 ? error.os_errno() : EINVAL;
    return fmt::format("Migration couldn't be initialized for VFIO device, err: {} ({})", -number,
                       error.message());
}

/// Several devices of which one cannot stop its peer traffic alone.
Result<void> check_peers(MigrationGroup& group, VfioDevice& device)
{
    if (!group.lacks_p2p() || group.blocker)
        return ok();
    std::string reason =
        "Multiple VFIO devices migration is supported only if all of them support P2P migration";
    if (device.migration_properties().enable == OnOffAuto::On)
        return Error(Errc::Unsupported, std::move(reason));
    group.blocker = GW_TRY(block(device.vm(), std::move(reason)));
    return ok();
}

}  // namespace

Result<std::unique_ptr<DeviceMigration>> start_migration(VfioDevice& device)
{
    const MigrationProperties properties = device.migration_properties();
    if (properties.enable == OnOffAuto::Off)
        return refuse(device, "Migration is disabled for VFIO device");
    auto walker = StateWalker::create(device.backend());
    if (!walker)
        return refuse(device, why_not(walker.error()));
    if (GW_TRY(device.container().tracker()) == Tracker::None) {
        constexpr std::string_view why =
            "VFIO device doesn't support device and IOMMU dirty tracking";
        if (properties.enable != OnOffAuto::On)
            return refuse(device, std::string(why));
        device.vm().log().warn(fmt::format("{}: {}", device.device_name(), why));
    }
    if (!device.migration_group())
        device.set_migration_group(std::make_shared<MigrationGroup>(device.vm().run_state()));
    auto registered =
        std::make_unique<Registered>(device, device.migration_group(), std::move(*walker));
    GW_TRY(registered->enter(device.state_path()));
    GW_TRY(check_peers(*device.migration_group(), device));
    return registered;
}

}  // namespace godwit::hw::vfio
