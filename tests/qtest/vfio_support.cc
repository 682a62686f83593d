// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/vfio_support.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace godwit::qtest {
namespace {

UniqueFd connect_to(const std::string& path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), std::min(path.size(), sizeof address.sun_path - 1));
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
        fd.reset();
    return fd;
}

}  // namespace

std::string vfio_user_server()
{
    if (const char* set = std::getenv("VFIO_USER_SERVER"))
        return set;
    const auto beside = std::filesystem::path(binary()).parent_path() / "tests" / "devices" /
                        "vfio-user-server" / "vfio-user-server";
    return std::filesystem::exists(beside) ? beside.string() : std::string();
}

DeviceServer::DeviceServer(std::vector<std::string> options) : socket_(dir_.file("dev"))
{
    std::vector<std::string> argv{vfio_user_server(), "--control", dir_.file("ctl")};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.push_back(socket_);
    process_ = std::make_unique<Process>(
        Process::Options{.argv = argv, .stderr_file = dir_.file("stderr")});
    // Its device socket comes last: once that is there, both are.
    const Deadline deadline;
    while (!deadline.passed() && !process_->poll() && ::access(socket_.c_str(), F_OK) != 0)
        ::usleep(1000);
    control_ = Stream(connect_to(dir_.file("ctl")));
    if (!control_.open())
        ADD_FAILURE() << "no device server: " << process_->stderr_text();
}

Json DeviceServer::ask(std::string_view command, Json arguments)
{
    if (arguments.contains("command"))
        arguments["on-command"] = arguments["command"];
    arguments["command"] = command;
    const std::string request = dump_json(arguments);
    if (!control_.send(request + "\n")) {
        ADD_FAILURE() << "the device server is gone: " << process_->stderr_text();
        return Json::object();
    }
    const auto line = control_.line();
    const auto answer = line ? parse_json(*line) : Result<Json>(Json::object());
    if (!answer || !answer->contains("return")) {
        ADD_FAILURE() << request << " was answered by " << (line ? *line : "nothing") << "; "
                      << process_->stderr_text();
        return Json::object();
    }
    return (*answer)["return"];
}

void DeviceServer::start(std::uint64_t ring, std::uint32_t slots, std::uint32_t rate)
{
    ask("start", {{"ring", ring}, {"slots", slots}, {"rate", rate}});
}

Json DeviceServer::wait_for(std::string_view counter, std::uint64_t at_least)
{
    return ask("wait", {{"for", counter}, {"at-least", at_least}});
}

Json DeviceServer::wait_state(std::string_view state)
{
    return ask("wait", {{"state", state}});
}

std::vector<std::string> vfio_machine(const std::vector<DeviceServer*>& devices,
                                      std::string_view ram, std::string_view properties)
{
    std::vector<std::string> arguments{
        "-machine", "q35,memory-backend=ram0",
        "-m",       std::string(ram),
        "-object",  fmt::format("memory-backend-memfd,id=ram0,size={},share=on", ram)};
    unsigned slot = 4;
    for (const DeviceServer* device : devices) {
        const unsigned n = slot++;
        arguments.insert(arguments.end(),
                         {"-device", fmt::format("vfio-user-pci,socket={},id=dev{},addr={:x}{}{}",
                                                 device->socket(), n - 4, n,
                                                 properties.empty() ? "" : ",", properties)});
    }
    return arguments;
}

void expect_ring_right(QtestClient& qtest, DeviceServer& device, std::uint64_t ring,
                       std::uint32_t slots)
{
    constexpr std::uint64_t kRecord = 64;
    const std::uint64_t next = device.next();
    const std::vector<std::byte> bytes = qtest.read(ring, slots * kRecord);
    for (std::uint32_t slot = 0; slot < slots && slot < next; ++slot) {
        std::uint64_t number = 0;
        std::memcpy(&number, bytes.data() + slot * kRecord + 8, sizeof number);
        const std::uint64_t newest = next - 1 - (next - 1 - slot) % slots;
        ASSERT_EQ(number, newest) << "slot " << slot << " of " << slots << ", next " << next;
    }
    const Json report = device.ask("check-ring");
    EXPECT_TRUE(report["right"]) << report;
}

}  // namespace godwit::qtest
