// SPDX-License-Identifier: LGPL-2.1-or-later
//
// VERSION: what this client offers and what it takes from the server's answer.
#include "hw/vfio/vfio_user_connection.h"
#include "util/json.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>

namespace godwit::hw::vfio::user {

namespace {

constexpr std::uint32_t kOwnMaxFds = 64;
constexpr std::size_t kMaxVersionText = 64 * 1024;
constexpr std::uint32_t kMaxTransferAsked = 64U << 20;

std::string own_capabilities()
{
    Json capabilities = Json::object();
    capabilities["max_msg_fds"] = kOwnMaxFds;
    capabilities["max_data_xfer_size"] = kOwnMaxTransfer;
    capabilities["max_dma_maps"] = 65535;
    capabilities["pgsizes"] = 4096;
    capabilities["migration"] = Json::object({{"pgsize", 4096}});
    capabilities["twin_socket"] = Json::object({{"supported", true}});
    Json offer = Json::object();
    offer["capabilities"] = std::move(capabilities);
    return dump_json(offer);
}

// An unsigned number of the server's, within bounds; `otherwise` where it names none.
Result<std::uint64_t> number_of(const Json& capabilities, const char* key, std::uint64_t otherwise,
                                std::uint64_t least, std::uint64_t most)
{
    const auto found = capabilities.find(key);
    if (found == capabilities.end())
        return otherwise;
    if (!found->is_number_unsigned() || found->get<std::uint64_t>() < least)
        return Error(Errc::BadFormat, fmt::format("capability '{}' is {}", key, dump_json(*found)));
    return std::min(found->get<std::uint64_t>(), most);
}

// The place of the twin socket among the descriptors; nothing without one.
Result<std::optional<std::size_t>> twin_index(const Json& capabilities, std::size_t fds)
{
    const auto twin = capabilities.find("twin_socket");
    if (twin == capabilities.end() || !twin->is_object())
        return std::optional<std::size_t>{};
    const auto supported = twin->find("supported");
    if (supported == twin->end() || !supported->is_boolean() || !supported->get<bool>())
        return std::optional<std::size_t>{};
    const std::uint64_t index = GW_TRY(number_of(*twin, "fd_index", 0, 0, UINT64_MAX));
    if (index >= fds)
        return Error(Errc::BadFormat,
                     fmt::format("twin_socket is descriptor {} of {}", index, fds));
    return std::optional<std::size_t>(index);
}

}  // namespace

Result<void> Connection::negotiate()
{
    user::Version version;
    std::string text = own_capabilities();
    const std::array<iovec, 2> pieces{{{&version, sizeof version}, {text.data(), text.size() + 1}}};
    user::Version theirs;
    std::vector<std::byte> answer(kMaxVersionText);
    auto reply = GW_TRY(call({.command = Command::Version,
                              .what = "VERSION",
                              .pieces = pieces,
                              .into_fixed = std::as_writable_bytes(std::span(&theirs, 1)),
                              .into_rest = answer}));
    if (theirs.major != kMajor || theirs.minor > kMinor)
        return worded(Error(Errc::Unsupported,
                            fmt::format("the server speaks version {}.{}, this client {}.{}",
                                        theirs.major, theirs.minor, kMajor, kMinor)),
                      "VERSION");
    agreement_.minor = theirs.minor;
    auto taken = take_version(std::span(answer).first(reply.rest), reply.fds);
    if (!taken)
        return worded(std::move(taken).error(), "VERSION");
    return ok();
}

Result<void> Connection::take_version(std::span<const std::byte> text, std::vector<UniqueFd>& fds)
{
    const auto* chars = reinterpret_cast<const char*>(text.data());
    const std::size_t length = ::strnlen(chars, text.size());
    if (length == 0)
        return ok();  // the defaults
    const Json answer = GW_TRY(parse_json(std::string_view(chars, length)));
    if (!answer.is_object())
        return Error(Errc::BadFormat, "the capabilities are not a JSON object");
    const auto found = answer.find("capabilities");
    if (found == answer.end())
        return ok();
    if (!found->is_object())
        return Error(Errc::BadFormat, "the capabilities are not a JSON object");
    const Json& c = *found;
    agreement_.max_msg_fds = static_cast<std::uint32_t>(
        GW_TRY(number_of(c, "max_msg_fds", 1, 1, io::kMaxFdsPerMessage)));
    const std::uint64_t transfer =
        GW_TRY(number_of(c, "max_data_xfer_size", kOwnMaxTransfer, 4096, kMaxTransferAsked));
    agreement_.max_data_xfer_size =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(transfer, kOwnMaxTransfer));
    agreement_.max_dma_maps = GW_TRY(number_of(c, "max_dma_maps", 65535, 1, UINT64_MAX));
    agreement_.page_sizes = GW_TRY(number_of(c, "pgsizes", 4096, 4096, UINT64_MAX));
    if ((agreement_.page_sizes & 0xfff) != 0)
        return Error(Errc::BadFormat,
                     fmt::format("capability 'pgsizes' is {:#x}", agreement_.page_sizes));
    const auto twin = GW_TRY(twin_index(c, fds.size()));
    if (!twin)
        return ok();
    twin_ = std::make_unique<Wire>(GW_TRY(io::SocketChannel::adopt(std::move(fds[*twin]))), cancel_,
                                   mid_message());
    twin_reader_ =
        NamedThread("vfio-user/twin", [this](const std::stop_token&) { read_loop(*twin_); });
    return ok();
}

}  // namespace godwit::hw::vfio::user
