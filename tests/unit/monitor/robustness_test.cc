// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Ten thousand damaged texts for each parser that the outside can reach: nothing crashes, nothing
// hangs, errors are one line.
#include "tests/support/mutator.h"
#include "tests/support/test_house.h"
#include "util/excerpt.h"
#include "util/json.h"
#include "util/unique_fd.h"

#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <optional>
#include <poll.h>
#include <sys/socket.h>

namespace godwit::test {
namespace {

constexpr int kRounds = 10'000;

/// Whether `message` repeats, in quotes, something of what was said.
bool quotes_some_of(const std::string& message, const std::vector<std::string>& said)
{
    for (const char quote : {'\'', '"'}) {
        std::size_t open = message.find(quote);
        while (open != message.npos) {
            const std::size_t close = message.find(quote, open + 1);
            if (close == message.npos)
                break;
            const std::string quoted = message.substr(open + 1, close - open - 1);
            const auto repeats = [&](const std::string& word) {
                return excerpt(word, word.size()).find(quoted) != std::string::npos;
            };
            if (!quoted.empty() && std::ranges::any_of(said, repeats))
                return true;
            open = close;
        }
    }
    return false;
}

bool is_one_line(const std::string& message)
{
    return !message.empty() && std::ranges::none_of(message, [](char c) {
        return static_cast<unsigned char>(c) < 0x20;
    });
}

/// Our end of a chardev; the house's loop turns while we wait.
class Wire {
public:
    Wire(TestHouse& house, int fd) : house_(house), fd_(fd) {}

    void send(std::string_view text)
    {
        while (!text.empty()) {
            const ssize_t n =
                ::send(fd_.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0)
                text.remove_prefix(static_cast<std::size_t>(n));
            house_.vm().loop().run_once(false);
        }
    }

    /// The next line without CR LF; nothing after ten seconds.
    std::optional<std::string> line()
    {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (std::chrono::steady_clock::now() < end) {
            if (const auto at = input_.find('\n'); at != std::string::npos) {
                std::string out = input_.substr(0, at);
                input_.erase(0, at + 1);
                if (out.ends_with('\r'))
                    out.pop_back();
                return out;
            }
            house_.vm().loop().run_once(false);
            char buffer[65536];
            const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
            if (n > 0)
                input_.append(buffer, static_cast<std::size_t>(n));
        }
        return std::nullopt;
    }

private:
    TestHouse& house_;
    UniqueFd fd_;
    std::string input_;
};

const std::vector<std::string> kMessages = {
    R"({"execute":"query-status"})",
    R"({"execute":"query-version","id":{"a":[1,2,null]}})",
    R"({"execute":"qom-get","arguments":{"path":"/machine","property":"type"}})",
    R"({"execute":"qom-set","arguments":{"path":"/machine","property":"type","value":1}})",
    R"({"execute":"qom-list","arguments":{"path":"/"}})",
    R"({"execute":"qom-list-types","arguments":{"implements":"device","abstract":true}})",
    R"({"execute":"device-list-properties","arguments":{"typename":"isa-serial"}})",
    R"({"execute":"device_add","arguments":{"driver":"isa-serial","id":"s0"}})",
    R"({"execute":"object-add","arguments":{"qom-type":"memory-backend-ram","id":"m0","size":4096}})",
    R"({"execute":"object-del","arguments":{"id":"m0"}})",
    R"({"execute":"getfd","arguments":{"fdname":"fd0"}})",
    R"({"execute":"remove-fd","arguments":{"fdset-id":1,"fd":2}})",
    R"({"execute":"human-monitor-command","arguments":{"command-line":"xp /4xw 0x1000"}})",
    R"({"execute":"human-monitor-command","arguments":{"command-line":"info qom-tree /machine"}})",
    R"({"execute":"human-monitor-command","arguments":{"command-line":"p (1+2)*$rip"}})",
    R"({"execute":"migrate-set-parameters","arguments":{"max-bandwidth":1000,"downtime-limit":5}})",
    R"({"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"events","state":true}]}})",
    R"({"execute":"query-migrate"})",
    R"({"execute":"chardev-add","arguments":{"id":"c1","backend":{"type":"null","data":{}}}})",
    R"({"execute":"stop"}{"execute":"cont"})",
};

/// A member or a value in quotes, or the command. Clients know the two other texts.
bool names_a_part(const std::string& desc)
{
    return std::ranges::count(desc, '\'') >= 2 || std::ranges::count(desc, '"') >= 2 ||
           desc.starts_with("The command ") || desc == "QMP input must be a JSON object" ||
           desc == "No file descriptor supplied via SCM_RIGHTS";
}

TEST(Robustness, DamagedQmpMessagesAreAnsweredAndTheStreamFindsItsWayBack)
{
    TestHouse house;
    ASSERT_TRUE(house.build({"-machine", "none", "-accel", "qtest", "-S"}));
    const auto [device, fd] = chardev_pair();
    Wire wire(house, fd);
    {
        const system::MachineGuard guard(house.vm().lock());
        ASSERT_TRUE(house.monitors().add_qmp(device, false));
    }
    wire.line();
    wire.send(R"({"execute":"qmp_capabilities"})");
    wire.line();
    Mutator mutator(1);
    for (int round = 0; round < kRounds; ++round) {
        const std::string text = mutator.damage(kMessages[mutator.below(kMessages.size())]);
        wire.send(text);
        // A byte that nothing may contain ends whatever had begun; a line end ends the skipping.
        wire.send("\xff\n{\"execute\":\"query-name\",\"id\":\"sync\"}");
        while (true) {
            const auto answer = wire.line();
            ASSERT_TRUE(answer) << "round " << round << ": " << text;
            const auto message = parse_json(*answer);
            ASSERT_TRUE(message) << *answer;
            if (message->contains("id") && (*message)["id"] == "sync")
                break;
            if (message->contains("error")) {
                const std::string desc = (*message)["error"]["desc"];
                EXPECT_TRUE(is_one_line(desc)) << desc;
                // What is no JSON has no members; all else names one, or its command.
                EXPECT_TRUE(desc.starts_with("JSON ") || names_a_part(desc))
                    << text << ": " << desc;
            }
        }
    }
}

const std::vector<std::string> kLines = {
    "endianness",
    "inb 0x3f8",
    "outb 0x3f8 65",
    "inl 0xcf8",
    "outl 0xcf8 0x80000000",
    "readb 0x1000",
    "readq 0xfec00000",
    "writeq 0x1000 0x1122334455667788",
    "read 0x1000 16",
    "write 0x1000 4 0x01020304",
    "b64read 0x1000 32",
    "b64write 0x1000 4 AQIDBA==",
    "memset 0x1000 0x1000 0xff",
    "irq_intercept_in /machine/unattached/device[0]",
    "set_irq_in /machine/unattached/device[0] unnamed-gpio-in 3 1",
    "clock_step 1000",
    "clock_set 5000000",
    "module_load hw- nothing",
};

/// The command, or in quotes what it does not know; where clients know QEMU's words, those.
bool names_its_command(const std::string& answer, const std::string& line)
{
    if (!answer.starts_with("FAIL") && !answer.starts_with("ERR "))
        return true;
    const std::string_view rest = std::string_view(answer).substr(answer.find(' ') + 1);
    const bool number = rest.find_first_not_of("0123456789") == rest.npos;  // of a clock
    if (answer == "FAIL" || answer == "ERR invalid argument size" || number)
        return true;
    const std::string command(rest.substr(0, rest.find(':')));
    return line.find(command) != line.npos || answer.find('\'') != answer.npos;
}

TEST(Robustness, DamagedQtestLinesGetOneLineEach)
{
    TestHouse house;
    ASSERT_TRUE(house.build({"-machine", "q35", "-accel", "qtest", "-m", "16", "-S"}));
    const auto [device, fd] = chardev_pair();
    Wire wire(house, fd);
    {
        const system::MachineGuard guard(house.vm().lock());
        ASSERT_TRUE(house.monitors().set_qtest_log("none"));
        ASSERT_TRUE(house.monitors().add_qtest(device));
    }
    Mutator mutator(2);
    for (int round = 0; round < kRounds; ++round) {
        std::string text = mutator.damage(kLines[mutator.below(kLines.size())]);
        const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
        wire.send(text + "\n");
        for (std::size_t i = 0; i < lines;) {
            const auto answer = wire.line();
            ASSERT_TRUE(answer) << "round " << round << ": " << text;
            i += answer->starts_with("IRQ ") ? 0 : 1;
            EXPECT_TRUE(answer->starts_with("OK") || answer->starts_with("FAIL") ||
                        answer->starts_with("ERR ") || answer->starts_with("IRQ "))
                << text << ": " << *answer;
            EXPECT_TRUE(names_its_command(*answer, text)) << text << ": " << *answer;
        }
    }
}

const std::vector<std::vector<std::string>> kCommandLines = {
    {"-machine", "none,accel=qtest", "-name", "guest=a,debug-threads=on", "-S"},
    {"-machine", "none", "-accel", "qtest", "-m", "16M,slots=2,maxmem=1G"},
    {"-machine", "none", "-accel", "qtest", "-uuid", "12345678-9abc-def0-1122-334455667788"},
    {"-machine", "none", "-accel", "qtest", "-smp", "2,sockets=1,maxcpus=4"},
    {"-machine", "none", "-accel", "qtest", "-object", "memory-backend-ram,id=m0,size=4M,share=on"},
    {"-machine", "none", "-accel", "qtest", "-object",
     R"({"qom-type":"memory-backend-ram","id":"m0","size":4096})"},
    {"-machine", "none", "-accel", "qtest", "-chardev", "null,id=c0", "-mon",
     "chardev=c0,mode=control,pretty=on"},
    {"-machine", "none", "-accel", "qtest", "-chardev", "ringbuf,id=r0,size=64", "-qmp",
     "chardev:r0"},
    {"-machine", "none", "-accel", "qtest", "-global", "isa-serial.iobase=0x2f8"},
    {"-machine", "none", "-accel", "qtest", "-rtc", "base=utc,clock=host,driftfix=slew"},
    {"-machine", "q35", "-accel", "qtest", "-m", "16", "-device", "isa-serial,id=s0"},
    {"-machine", "none", "-accel", "qtest", "-nodefaults", "-no-reboot", "-display", "none"},
    {"-machine", "none", "-accel", "qtest", "-incoming", "defer"},
};

/// "-option", or a value in quotes.
bool names_an_option(const std::string& message, const std::vector<std::string>& words)
{
    const auto stands = [&](const std::string& word) {
        return word.size() > 1 && message.find(excerpt(word, word.size())) != std::string::npos;
    };
    const auto refused = [&](const std::string& word) {
        return message == (word.empty() ? "''" : excerpt(word, word.size())) + ": invalid option";
    };
    return std::ranges::any_of(words, stands) || std::ranges::any_of(words, refused) ||
           quotes_some_of(message, words);
}

TEST(Robustness, DamagedCommandLinesEndInAnErrorOfOneLineOrAMachine)
{
    Mutator mutator(3);
    for (int round = 0; round < kRounds; ++round) {
        std::vector<std::string> words = kCommandLines[mutator.below(kCommandLines.size())];
        std::string& word = words[mutator.below(words.size())];
        word = mutator.damage(word);
        std::erase(word, '\0');
        std::string all;
        for (const std::string& each : words)
            all += each + " ";
        SCOPED_TRACE(all);
        TestHouse house;
        if (const auto built = house.build(words); !built) {
            const std::string& message = built.error().message();
            EXPECT_TRUE(is_one_line(message)) << message;
            EXPECT_TRUE(names_an_option(message, words)) << message;
        }
    }
}

}  // namespace
}  // namespace godwit::test
