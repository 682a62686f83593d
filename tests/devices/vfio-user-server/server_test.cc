// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/devices/vfio-user-server/server.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <string>
#include <unistd.h>

namespace godwit::vfio_user_server {
namespace {

namespace fs = std::filesystem;

/// A folder of its own, and the signals as they were: a server takes SIGTERM and SIGINT for itself.
class ServerSockets : public testing::Test {
protected:
    void SetUp() override
    {
        sigprocmask(SIG_SETMASK, nullptr, &signals_);
        std::string name = (fs::temp_directory_path() / "godwit-server-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override
    {
        fs::remove_all(folder_);
        sigprocmask(SIG_SETMASK, &signals_, nullptr);
    }
    std::string at(const char* name) const { return (folder_ / name).string(); }
    static Result<std::unique_ptr<Server>> serve(const std::string& path,
                                                 const std::string& control = "")
    {
        ServerOptions options;
        options.socket_path = path;
        options.control_path = control;
        return Server::create(std::move(options));
    }
    static std::string content(const std::string& path)
    {
        std::ifstream file(path);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    fs::path folder_;
    sigset_t signals_{};
};

TEST_F(ServerSockets, AFileThatIsNoSocketIsLeftAlone)
{
    for (const char* name : {"file", "other~"}) {
        std::ofstream(at(name)) << "precious";
        const auto refused = serve(at(name == std::string("file") ? "file" : "other"));
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().message(), at(name) + ": is not a socket");
        EXPECT_EQ(content(at(name)), "precious");
    }
    std::ofstream(at("control")) << "precious";
    EXPECT_FALSE(serve(at("socket"), at("control")));
    EXPECT_EQ(content(at("control")), "precious");
    EXPECT_FALSE(fs::exists(at("socket")));
}

TEST_F(ServerSockets, TheNameOfAServerThatIsGoneIsTakenAndOnlyOnesOwnIsRemoved)
{
    auto first = serve(at("socket"), at("control"));
    ASSERT_TRUE(first) << first.error().message();
    auto second = serve(at("socket"));
    ASSERT_TRUE(second) << second.error().message();
    first->reset();
    EXPECT_FALSE(fs::exists(at("control")));
    EXPECT_TRUE(fs::is_socket(at("socket"))) << "it is the second server's";
    second->reset();
    EXPECT_FALSE(fs::exists(at("socket")));
}

}  // namespace
}  // namespace godwit::vfio_user_server
