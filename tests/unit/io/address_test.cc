// SPDX-License-Identifier: LGPL-2.1-or-later
#include "io/address.h"

#include <gtest/gtest.h>
#include <random>
#include <string>

namespace godwit::io {
namespace {

template <class T>
T parsed(std::string_view uri)
{
    auto address = parse_uri(uri);
    EXPECT_TRUE(address) << uri << ": " << (address ? "" : address.error().message());
    return address ? std::get<T>(*address) : T{};
}

std::string refusal(std::string_view uri)
{
    const auto address = parse_uri(uri);
    return address ? "accepted" : address.error().message();
}

TEST(Address, InetHostsAndPortsAreTakenApart)
{
    EXPECT_EQ(parsed<InetAddress>("tcp:10.0.0.1:4444"),
              (InetAddress{.host = "10.0.0.1", .port = "4444"}));
    EXPECT_EQ(parsed<InetAddress>("tcp:[fe80::1%eth0]:1"),
              (InetAddress{.host = "fe80::1%eth0", .port = "1"}));
    EXPECT_EQ(parsed<InetAddress>("tcp::0"), (InetAddress{.host = "", .port = "0"}));
    EXPECT_EQ(parsed<InetAddress>("tcp:host:ssh"), (InetAddress{.host = "host", .port = "ssh"}));
}

TEST(Address, InetOptionsAreUnderstood)
{
    EXPECT_EQ(parsed<InetAddress>("tcp:h:1,to=9,ipv4=on,ipv6=off,numeric,keep-alive=on,mptcp=off"),
              (InetAddress{.host = "h",
                           .port = "1",
                           .to = 9,
                           .ipv4 = true,
                           .ipv6 = false,
                           .numeric = true,
                           .keep_alive = true,
                           .mptcp = false}));
}

TEST(Address, TheTextsOfErrorsAreQemus)
{
    EXPECT_EQ(refusal("tcp:host"), "error parsing address 'host'");
    EXPECT_EQ(refusal("tcp:"), "error parsing address ''");
    EXPECT_EQ(refusal("tcp:127.0.0.1:"), "error parsing address '127.0.0.1:'");
    EXPECT_EQ(refusal("tcp::"), "error parsing port in address ':'");
    EXPECT_EQ(refusal("tcp:[::1:0"), "error parsing IPv6 address '[::1:0'");
    EXPECT_EQ(refusal("tcp:[::1]0"), "error parsing IPv6 address '[::1]0'");
    EXPECT_EQ(refusal("tcp:h:1,ipv4=x"), "error parsing 'ipv4' flag '=x'");
    EXPECT_EQ(refusal("tcp:h:1,to=x"), "error parsing to= argument");
    EXPECT_EQ(refusal("tcp:h:1,to=65536"), "error parsing to= argument");
    EXPECT_EQ(refusal("unix:"), "invalid Unix socket address");
    EXPECT_EQ(refusal("vsock:1"), "error parsing address '1'");
    EXPECT_EQ(refusal("vsock:a:1"), "Failed to parse cid 'a'");
    EXPECT_EQ(refusal("vsock:1:2x"), "Failed to parse port '2x'");
    EXPECT_EQ(refusal("fd:"), "invalid file descriptor address");
    EXPECT_EQ(refusal("foo:bar"), "unknown migration protocol: foo:bar");
    EXPECT_EQ(refusal(""), "unknown migration protocol: ");
    EXPECT_EQ(refusal("file:/x,offset=zz"), "file URI has bad offset zz: Invalid argument");
}

TEST(Address, AnUnknownOptionIsNamed)
{
    EXPECT_EQ(refusal("tcp:h:1,foo=1"), "Invalid parameter 'foo'");
}

TEST(Address, AMigrationPathKeepsItsCommas)
{
    EXPECT_EQ(parsed<UnixAddress>("unix:/tmp/a,server=on").path, "/tmp/a,server=on");
}

TEST(Address, FilesHaveAnOffsetInAnyUnit)
{
    EXPECT_EQ(parsed<FileAddress>("file:/tmp/x"), (FileAddress{.path = "/tmp/x"}));
    EXPECT_EQ(parsed<FileAddress>("file:/tmp/a,b,offset=0x1000"),
              (FileAddress{.path = "/tmp/a,b", .offset = 4096}));
    EXPECT_EQ(parsed<FileAddress>("file:/tmp/x,offset=1M").offset, 1u << 20);
}

TEST(Address, ACommandIsRunByTheShell)
{
    EXPECT_EQ(parsed<ExecAddress>("exec:cat > x").args,
              (std::vector<std::string>{"/bin/sh", "-c", "cat > x"}));
}

TEST(Address, WhatIsPrintedIsParsedAgain)
{
    for (const char* uri :
         {"tcp:h:1", "tcp:[::1]:4444", "tcp:h:1,to=9,ipv4=on,ipv6=off,keep-alive=on,numeric=on",
          "unix:/a/b", "vsock:3:1234", "fd:mig", "file:/x", "file:/x,offset=4096", "exec:a | b"}) {
        const auto address = parse_uri(uri);
        ASSERT_TRUE(address) << uri;
        EXPECT_EQ(to_string(*address), uri);
    }
}

TEST(Address, WithoutASchemeASocketIsHostAndPort)
{
    const auto address = parse_socket_address("localhost:22");
    ASSERT_TRUE(address);
    EXPECT_EQ(std::get<InetAddress>(*address).host, "localhost");
}

TEST(Endpoint, ServersAndClientsAreTold)
{
    const auto server = parse_endpoint("unix:/tmp/a,,b,server=on,wait=off");
    ASSERT_TRUE(server);
    EXPECT_EQ(std::get<UnixAddress>(server->address).path, "/tmp/a,b");
    EXPECT_TRUE(server->server);
    EXPECT_FALSE(server->wait);
    const auto client = parse_endpoint("tcp:h:1,reconnect=2,ipv4=on");
    ASSERT_TRUE(client);
    EXPECT_FALSE(client->server);
    EXPECT_EQ(client->reconnect_ms, 2000u);
    EXPECT_EQ(std::get<InetAddress>(client->address).ipv4, true);
}

TEST(Endpoint, TheOldBareWordsAreUnderstood)
{
    const auto endpoint = parse_endpoint("tcp:h:1,server,nowait,nodelay,telnet");
    ASSERT_TRUE(endpoint);
    EXPECT_TRUE(endpoint->server);
    EXPECT_FALSE(endpoint->wait);
    EXPECT_TRUE(endpoint->nodelay);
    EXPECT_TRUE(endpoint->telnet);
}

TEST(Endpoint, ErrorsNameTheOption)
{
    const auto message = [](std::string_view text) {
        const auto endpoint = parse_endpoint(text);
        return endpoint ? "accepted" : endpoint.error().message();
    };
    EXPECT_EQ(message("tcp:h:1,server=x"), "Parameter 'server' expects 'on' or 'off'");
    EXPECT_EQ(message("unix:/x,wait=maybe"), "Parameter 'wait' expects 'on' or 'off'");
    EXPECT_EQ(message("tcp:h:1,foo=1"), "Invalid parameter 'foo'");
    EXPECT_EQ(message("tcp:h:1,reconnect=abc"), "Parameter 'reconnect' expects a number");
    EXPECT_EQ(message("tcp:h:1,server=on,reconnect=3"),
              "'reconnect' option is incompatible with socket in server listen mode");
    EXPECT_EQ(message("foo,bar"), "'foo' is not a socket address");
    EXPECT_EQ(message("unix:"), "invalid Unix socket address");
}

// Whatever comes in, it is an address or one line of error.
TEST(Address, TenThousandMutantsNeitherCrashNorSpreadOverLines)
{
    const std::vector<std::string> seeds{"tcp:[::1]:4444,to=9,ipv4=on",
                                         "unix:/tmp/x,abstract=on",
                                         "vsock:3:1234",
                                         "file:/x,offset=1M",
                                         "fd:mig",
                                         "exec:cat"};
    std::mt19937 random(7);
    for (int i = 0; i < 10000; ++i) {
        std::string text = seeds[random() % seeds.size()];
        for (unsigned n = random() % 4 + 1; n > 0; --n) {
            const std::size_t at = random() % (text.size() + 1);
            if (random() % 2 == 0 && at < text.size())
                text.erase(at, 1 + random() % 3);
            else
                text.insert(at, 1, ":,=[]on 0-%\0x"[random() % 13]);
        }
        for (const auto& message : {refusal(text), [&] {
                                        const auto endpoint = parse_endpoint(text);
                                        return endpoint ? std::string()
                                                        : endpoint.error().message();
                                    }()})
            EXPECT_EQ(message.find('\n'), std::string::npos) << text;
    }
}

}  // namespace
}  // namespace godwit::io
