// SPDX-License-Identifier: LGPL-2.1-or-later
//
// vfio-user-server: a PCI device as a process.
#include "tests/devices/vfio-user-server/server.h"

#include "util/size.h"

#include <cstdio>
#include <fmt/format.h>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace {

using namespace godwit;
using namespace godwit::vfio_user_server;

constexpr const char* kHelp =
    R"(usage: vfio-user-server [OPTION]... SOCKET

A PCI device that serves one vfio-user client at a time on the UNIX socket SOCKET.
Its DMA engine writes numbered records into guest memory, also while the guest migrates.

  --control PATH       UNIX socket for JSON commands, one a line: status, start, wait, inject, ...
  --id N               number of the device, stamped into its records (1)
  --vectors N          MSI-X vectors, 1 to 32 (4)
  --state SIZE         internal state that migrates, a multiple of 4 KiB (1M)
  --seed N             what the state is filled from (1)
  --churn N            pages of state rewritten a second while the device runs (0)
  --no-precopy         the device has no PRE_COPY states
  --no-p2p             the device has no P2P states
  --no-migration       the device cannot migrate at all
  --no-logging         the device keeps no log of its DMA
  --no-data-size       the device cannot tell how much state is left
  --no-precopy-info    no pre-copy figures (an extension of the protocol)
  --no-page-check      do not check each page of state that arrives
  --strict             refuse in STOP and STOP_COPY what libvfio-user refuses there
  --max-transfer SIZE  data in one message (1M)
  --stop-delay MS      what a full stop takes; the device runs meanwhile (0)
  --p2p-delay MS       what a stop of peer traffic takes (0)
  --fault SPEC         something that goes wrong, e.g. kind=refuse,arc=STOP:STOP_COPY,errno=EIO;
                       kinds: refuse hang short-read bad-length corrupt disconnect reset;
                       places: arc=FROM:TO, to=STATE, command=NAME; after=N, count=N (0: for ever)
  --once               end when the first client has gone
  --help               this text

Ends with status 0 on SIGTERM, SIGINT and the control command "quit". docs/vfio-user-server.md
tells more.
)";

Result<std::uint64_t> to_number(std::string_view text)
{
    return parse_size(text);
}

/// What a flag or an option does to the settings.
using Flag = std::function<void(ServerOptions&)>;
using Option = std::function<Result<void>(ServerOptions&, std::string_view)>;

template <class Set>
Option number_option(std::uint64_t max, Set set)
{
    return [max, set](ServerOptions& options, std::string_view text) -> Result<void> {
        const std::uint64_t value = GW_TRY(to_number(text));
        if (value > max)
            return Error(Errc::InvalidArgument, fmt::format("{} is more than {}", text, max));
        set(options, value);
        return {};
    };
}

const std::map<std::string_view, Flag> kFlags{
    {"--no-precopy", [](ServerOptions& o) { o.migration.flags &= ~kMigPreCopy; }},
    {"--no-p2p", [](ServerOptions& o) { o.migration.flags &= ~kMigP2p; }},
    {"--no-migration", [](ServerOptions& o) { o.migration.flags = 0; }},
    {"--no-logging", [](ServerOptions& o) { o.protocol.device_logging = false; }},
    {"--no-data-size", [](ServerOptions& o) { o.protocol.data_size = false; }},
    {"--no-precopy-info", [](ServerOptions& o) { o.protocol.precopy_info = false; }},
    {"--no-page-check", [](ServerOptions& o) { o.migration.check_pages = false; }},
    {"--strict", [](ServerOptions& o) { o.protocol.strict = true; }},
    {"--once", [](ServerOptions& o) { o.once = true; }},
};

std::map<std::string_view, Option> known_options()
{
    constexpr std::uint64_t kMaxDelay = 600000;
    constexpr std::uint64_t kNsPerMs = 1000000;
    using O = ServerOptions;
    using N = std::uint64_t;
    return {
        {"--control",
         [](O& o, std::string_view text) -> Result<void> {
             o.control_path = text;
             return {};
         }},
        {"--id",
         number_option(UINT32_MAX, [](O& o, N n) { o.device.id = static_cast<std::uint32_t>(n); })},
        {"--vectors",
         number_option(kMaxVectors,
                       [](O& o, N n) { o.device.vectors = static_cast<unsigned>(n); })},
        {"--state", number_option(N{4} << 30, [](O& o, N n) { o.device.state_bytes = n; })},
        {"--seed", number_option(UINT64_MAX, [](O& o, N n) { o.device.seed = n; })},
        {"--churn",
         number_option(1u << 24,
                       [](O& o, N n) { o.device.churn = static_cast<std::uint32_t>(n); })},
        {"--max-transfer", number_option(64 << 20, [](O& o, N n) { o.protocol.max_transfer = n; })},
        {"--stop-delay", number_option(kMaxDelay,
                                       [](O& o, N n) {
                                           o.migration.stop_delay_ns =
                                               static_cast<std::int64_t>(n * kNsPerMs);
                                       })},
        {"--p2p-delay", number_option(kMaxDelay,
                                      [](O& o, N n) {
                                          o.migration.p2p_delay_ns =
                                              static_cast<std::int64_t>(n * kNsPerMs);
                                      })},
        {"--fault",
         [](O& o, std::string_view text) -> Result<void> {
             o.faults.push_back(GW_TRY(Fault::parse(text)));
             return {};
         }},
    };
}

Result<ServerOptions> parse(int argc, char** argv)
{
    ServerOptions options;
    const auto with_value = known_options();
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (const auto flag = kFlags.find(word); flag != kFlags.end()) {
            flag->second(options);
        } else if (const auto option = with_value.find(word); option != with_value.end()) {
            if (++i == argc)
                return Error(Errc::InvalidArgument, fmt::format("{} needs a value", word));
            GW_TRY(with_context(option->second(options, argv[i]), word));
        } else if (word.starts_with("-") || !options.socket_path.empty()) {
            return Error(Errc::InvalidArgument, fmt::format("{} is not known", word));
        } else {
            options.socket_path = word;
        }
    }
    if (options.socket_path.empty())
        return Error(Errc::InvalidArgument, "which socket?");
    if (options.protocol.max_transfer < 4096)
        return Error(Errc::InvalidArgument, "--max-transfer: at least 4 KiB");
    return options;
}

Result<void> serve(int argc, char** argv)
{
    auto options = GW_TRY(parse(argc, argv));
    const auto server = GW_TRY(Server::create(std::move(options)));
    return server->run();
}

}  // namespace

int main(int argc, char** argv)
{
    for (int i = 1; i < argc; ++i)
        if (std::string_view(argv[i]) == "--help" || std::string_view(argv[i]) == "-h") {
            std::fputs(kHelp, stdout);
            return 0;
        }
    if (auto served = serve(argc, argv); !served) {
        std::fprintf(stderr, "vfio-user-server: %s\n", served.error().message().c_str());
        return 1;
    }
    return 0;
}
