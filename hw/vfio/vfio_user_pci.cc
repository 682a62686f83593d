// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/vfio/vfio_user_pci.h"

#include "hw/vfio/vfio_user_device.h"
#include "hw/vfio/vfio_user_dma.h"
#include "system/property.h"
#include "system/vm.h"
#include "util/log.h"

#include <array>
#include <fmt/format.h>

namespace godwit::hw::vfio {

namespace {

// Where boards have their RAM: from 0 on, and above 4 GiB what does not fit below.
constexpr std::array<system::GuestAddr, 2> kRamStarts{0, std::uint64_t{4} << 30};

}  // namespace

// The server can only map memory that has a descriptor to send.
Result<void> VfioUserPci::check_memory() const
{
    for (const system::GuestAddr start : kRamStarts) {
        const auto section = vm().memory().find(start);
        if (!section || section->block == nullptr || section->readonly())
            continue;
        const system::RamBlock& block = *section->block;
        if (block.fd() < 0 || !block.shared())
            return Error(Errc::InvalidArgument,
                         fmt::format("vfio-user-pci: guest memory '{}' cannot be shared with a "
                                     "vfio-user server",
                                     block.id()))
                .with_hint(
                    "Use -object memory-backend-memfd,id=mem,size=SIZE,share=on and -machine "
                    "memory-backend=mem.");
    }
    return ok();
}

Result<VfioDevice::Opened> VfioUserPci::open()
{
    if (socket_.empty())
        return Error(Errc::InvalidArgument, "vfio-user-pci: property 'socket' is not set");
    if (message_timeout_ms_ == 0)
        return Error(Errc::InvalidArgument, "vfio-user-pci: property 'x-msg-timeout' is 0");
    GW_TRY(check_memory());
    system::Vm& machine = vm();
    const std::string who = fmt::format("vfio-user-pci '{}'", id().empty() ? socket_ : id());
    const Log log = machine.log().with_category("vfio");
    std::shared_ptr<user::Connection> connection = GW_TRY(user::Connection::connect(
        socket_, {.patience = std::chrono::milliseconds(message_timeout_ms_),
                  .log = log,
                  .on_broken = [who, log, path = socket_](const Error& error) {
                      log.error(fmt::format("{}: connection to {} is lost: {}", who, path,
                                            error.message()));
                  }}));
    auto memory =
        std::make_unique<VfioUserDma>(connection, [&machine](std::byte* host, std::size_t length) {
            const auto [block, offset] = machine.ram().block_of(host);
            if (block != nullptr)
                block->mark_dirty(offset, length);
        });
    return Opened{.device = std::make_unique<VfioUserDevice>(connection),
                  .container = std::make_shared<Container>(machine, std::move(memory))};
}

Result<void> register_vfio_user_pci(system::TypeRegistry& types,
                                    std::shared_ptr<MigrationGroup> migration)
{
    auto properties = device_properties();
    properties.push_back(system::property<&VfioUserPci::socket_>(
        "socket", "", "path of the UNIX socket that the server listens on"));
    properties.push_back(system::property<&VfioUserPci::message_timeout_ms_>(
        "x-msg-timeout", 5000U, "milliseconds that an answer may take"));
    return types.add({.name = "vfio-user-pci",
                      .parent = "pci-device",
                      .hotpluggable = true,
                      .bus = "PCI",
                      .description = "a PCI device that a vfio-user server provides",
                      .properties = std::move(properties),
                      .create = [migration] {
                          auto made = std::make_unique<VfioUserPci>();
                          made->set_migration_group(migration);
                          return made;
                      }});
}

}  // namespace godwit::hw::vfio
