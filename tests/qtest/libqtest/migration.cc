// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/libqtest/migration.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>

namespace godwit::qtest {

std::string_view to_string(Transport transport)
{
    static constexpr std::array<std::string_view, 6> kNames = {"tcp", "tcp6", "unix",
                                                               "fd",  "exec", "file"};
    return kNames[static_cast<std::size_t>(transport)];
}

namespace {

/// Listens on a port of the system's choice; what the source has to connect to.
std::string listen_on(Vmm& target, std::string_view host)
{
    target.qmp().execute("migrate-incoming", {{"uri", fmt::format("tcp:{}:0", host)}});
    const Json info = target.qmp().execute("query-migrate");
    const std::string port = info["socket-address"][0]["port"];
    return fmt::format("tcp:{}:{}", host, port);
}

}  // namespace

void Path::prepare_target(Vmm& target)
{
    switch (transport_) {
    case Transport::Tcp:
        uri_ = listen_on(target, "127.0.0.1");
        return;
    case Transport::Tcp6:
        uri_ = listen_on(target, "[::1]");
        return;
    case Transport::Unix:
        uri_ = "unix:" + dir_.file("mig");
        target.qmp().execute("migrate-incoming", {{"uri", uri_}});
        return;
    case Transport::Fd: {
        int ends[2];
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        source_fd_ = UniqueFd(ends[0]);
        const UniqueFd target_fd(ends[1]);
        const int passed = target_fd.get();
        target.qmp().execute_with_fds("getfd", {{"fdname", "mig"}}, {&passed, 1});
        uri_ = "fd:mig";
        target.qmp().execute("migrate-incoming", {{"uri", uri_}});
        return;
    }
    case Transport::Exec: {
        const std::string fifo = dir_.file("fifo");
        ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
        target.qmp().execute("migrate-incoming", {{"uri", "exec:exec cat " + fifo}});
        uri_ = "exec:exec cat >" + fifo;
        return;
    }
    case Transport::File:
        uri_ = "file:" + dir_.file("stream") + ",offset=0x1000";
        return;
    }
}

void Path::start_source(Vmm& source)
{
    if (source_fd_) {
        const int passed = source_fd_.get();
        source.qmp().execute_with_fds("getfd", {{"fdname", "mig"}}, {&passed, 1});
        source_fd_.reset();
    }
    source.qmp().execute("migrate", {{"uri", uri_}});
}

void Path::load_file(Vmm& target)
{
    target.qmp().execute("migrate-incoming", {{"uri", uri_}});
}

void Path::start(Vmm& source, Vmm& target, const Json& parameters)
{
    prepare(source);
    prepare(target);
    if (!parameters.empty())
        source.qmp().execute("migrate-set-parameters", parameters);
    ASSERT_NO_FATAL_FAILURE(prepare_target(target));
    start_source(source);
}

void enable(Vmm& vmm, const std::vector<std::string>& capabilities)
{
    Json list = Json::array();
    for (const std::string& name : capabilities)
        list.push_back({{"capability", name}, {"state", true}});
    vmm.qmp().execute("migrate-set-capabilities", {{"capabilities", list}});
}

void prepare(Vmm& vmm)
{
    enable(vmm, {"events"});
    vmm.qmp().execute("migrate-set-parameters", {{"max-bandwidth", 0}});
}

void wait_migration(Vmm& vmm, std::string_view status)
{
    const Json event = vmm.qmp().wait_event(
        "MIGRATION", [&](const Json& data) { return data["status"] == status; });
    ASSERT_FALSE(event.is_null()) << "status " << status
                                  << " did not come: " << vmm.qmp().execute("query-migrate").dump()
                                  << vmm.story();
}

std::string wait_migration_end(Vmm& vmm)
{
    const Json event = vmm.qmp().wait_event("MIGRATION", [](const Json& data) {
        return data["status"] == "completed" || data["status"] == "failed" ||
               data["status"] == "cancelled";
    });
    return event.is_null() ? "none" : event["data"]["status"].get<std::string>();
}

void expect_end(Vmm& vmm, std::string_view status)
{
    const std::string end = wait_migration_end(vmm);
    ASSERT_NE(end, "none") << vmm.qmp().execute("query-migrate").dump() << vmm.story();
    EXPECT_EQ(end, status) << vmm.qmp().execute("query-migrate").value("error-desc", "") << "\n"
                           << vmm.story();
}

void move(Vmm& source, Vmm& target, Transport transport)
{
    Path path(transport);
    ASSERT_NO_FATAL_FAILURE(path.start(source, target));
    ASSERT_NO_FATAL_FAILURE(expect_end(source, "completed"));
    if (path.is_file())
        path.load_file(target);
    ASSERT_NO_FATAL_FAILURE(expect_end(target, "completed"));
}

std::string guest_image(std::string_view name)
{
    const char* directory = std::getenv("GODWIT_GUESTS");
    EXPECT_NE(directory, nullptr) << "GODWIT_GUESTS names the directory of the assembled guests";
    return fmt::format("{}/{}", directory ? directory : ".", name);
}

std::string patched_disk(const TempDir& dir, std::string_view name, std::size_t at,
                         const std::vector<std::uint32_t>& parameters)
{
    std::string image = read_file(guest_image(name));
    EXPECT_GE(image.size(), at + 4 * parameters.size()) << name;
    std::memcpy(image.data() + at, parameters.data(), 4 * parameters.size());
    image.resize(std::max<std::size_t>(image.size(), 1 << 20));
    return dir.write(name, image);
}

void wait_for_beats(const std::string& serial_file, std::string_view text, std::size_t times)
{
    const Deadline deadline;
    std::string said;
    while (!deadline.passed()) {
        said = read_file(serial_file);
        ASSERT_EQ(said.find('X'), std::string::npos) << "the guest found wrong memory: " << said;
        std::size_t found = 0;
        for (std::size_t at = 0; (at = said.find(text, at)) != std::string::npos; at += text.size())
            ++found;
        if (found >= times)
            return;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));  // a file gives no event
    }
    FAIL() << "the guest sent " << said.size() << " bytes, without " << times << " times '" << text
           << "': " << said.substr(0, 200);
}

void expect_synth_right(Vmm& vmm)
{
    const Json check = vmm.qmp().execute("x-synth-check");
    EXPECT_GT(check["pages-checked"].get<std::uint64_t>(), 0u);
    EXPECT_EQ(check["pages-wrong"], 0) << check.dump();
    EXPECT_EQ(check["reads-wrong"], 0) << check.dump();
}

}  // namespace godwit::qtest
