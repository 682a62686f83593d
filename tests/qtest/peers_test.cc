// SPDX-License-Identifier: LGPL-2.1-or-later
//
// /migration/peers: whoever is at the other end says nothing, nonsense, or half of what it should,
// over each kind of address. It ends in one error that names the place, and the machine is usable.
#include "tests/qtest/libqtest/migration.h"
#include "util/units.h"

#include <array>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace godwit::qtest {
namespace {

const std::vector<std::string> kMachine = {"-machine", "none", "-m", "4M"};

enum class Way {
    Tcp4,
    Tcp6,
    Unix,
    Vsock,
    Passed,     // fd:NAME, by getfd
    Inherited,  // fd:NUMBER
    Exec,
    File,
    FileOffset,
    Fdset,
};

constexpr std::string_view kNames[] = {"Tcp4",      "Tcp6", "Unix", "Vsock",      "Passed",
                                       "Inherited", "Exec", "File", "FileOffset", "Fdset"};
constexpr std::uint64_t kOffset = 0x300;
constexpr unsigned kVsockPort = 59321;

bool is_file(Way way)
{
    return way == Way::File || way == Way::FileOffset || way == Way::Fdset;
}

std::string stream_of_a_good_move()
{
    const TempDir dir;
    Vmm source(kMachine);
    prepare(source);
    fill_pattern(source.qtest(), 0x4000, 256 << 10, 1);
    source.qmp().execute("migrate", {{"uri", "file:" + dir.file("stream")}});
    expect_end(source, "completed");
    return read_file(dir.file("stream"));
}

void send_all(int fd, std::string_view bytes)
{
    while (!bytes.empty()) {
        const ssize_t sent = ::write(fd, bytes.data(), bytes.size());
        if (sent <= 0)
            return;  // it has read enough
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

template <class Address>
UniqueFd connected(int family, const Address& address)
{
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0)
        << strerror(errno);
    return fd;
}

sockaddr_vm vsock_address(unsigned port)
{
    sockaddr_vm at{};
    at.svm_family = AF_VSOCK;
    at.svm_cid = VMADDR_CID_LOCAL;
    at.svm_port = port;
    return at;
}

std::string vsock_missing()
{
    const UniqueFd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd)
        return "no vsock sockets here";
    const sockaddr_vm local = vsock_address(VMADDR_PORT_ANY);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&local), sizeof local) < 0)
        return "no vsock loopback here";
    return "";
}

/// A destination, and our end of the way to it.
class Meeting {
public:
    explicit Meeting(Way way) : way_(way) {}

    /// For a file, `content` is in it before anybody reads it.
    void begin(std::string_view content)
    {
        std::vector<std::string> arguments = kMachine;
        arguments.insert(arguments.end(), {"-incoming", "defer"});
        Vmm::Options options;
        UniqueFd theirs;
        if (way_ == Way::Passed || way_ == Way::Inherited) {
            int ends[2];
            ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
            ours_ = UniqueFd(ends[0]);
            theirs = UniqueFd(ends[1]);
            if (way_ == Way::Inherited)
                options.keep_fds.push_back(theirs.get());
        }
        vmm_ = std::make_unique<Vmm>(arguments, options);
        prepare(*vmm_);
        const std::string uri = prepare_address(content, theirs.get());
        vmm_->qmp().execute("migrate-incoming", {{"uri", uri}, {"exit-on-error", false}});
        theirs.reset();
        connect();
        if (!is_file(way_))
            send_all(ours_.get(), content);
    }
    void hang_up() { ours_.reset(); }
    /// What the destination says until it closes.
    std::string heard()
    {
        std::string all;
        std::array<char, 64> piece{};
        for (ssize_t got = 0; (got = ::read(ours_.get(), piece.data(), piece.size())) > 0;)
            all.append(piece.data(), static_cast<std::size_t>(got));
        return all;
    }
    Vmm& vmm() { return *vmm_; }
    const TempDir& dir() const { return dir_; }

private:
    std::string prepare_address(std::string_view content, int theirs)
    {
        const std::string path = dir_.file("there");
        switch (way_) {
        case Way::Tcp4:
            return "tcp:127.0.0.1:0";
        case Way::Tcp6:
            return "tcp:[::1]:0";
        case Way::Unix:
            return "unix:" + path;
        case Way::Vsock:
            return fmt::format("vsock:{}:{}", VMADDR_CID_LOCAL, kVsockPort);
        case Way::Passed:
            vmm_->qmp().execute_with_fds("getfd", {{"fdname", "peer"}}, {&theirs, 1});
            return "fd:peer";
        case Way::Inherited:
            return fmt::format("fd:{}", theirs);
        case Way::Exec:
            EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
            return "exec:exec cat " + path;
        case Way::File:
            return "file:" + dir_.write("there", std::string(content));
        case Way::FileOffset:
            return "file:" + dir_.write("there", std::string(kOffset, '#') + std::string(content)) +
                   fmt::format(",offset={}", kOffset);
        case Way::Fdset: {
            const std::string file = dir_.write("there", std::string(content));
            const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
            const int passed = fd.get();
            vmm_->qmp().execute_with_fds("add-fd", {{"fdset-id", 3}}, {&passed, 1});
            return "file:/dev/fdset/3";
        }
        }
        return "";
    }
    std::uint16_t port()
    {
        const std::string text = vmm_->qmp().execute("query-migrate")["socket-address"][0]["port"];
        return htons(static_cast<std::uint16_t>(std::stoi(text)));
    }
    void connect()
    {
        if (way_ == Way::Tcp4) {
            sockaddr_in to{};
            to.sin_family = AF_INET;
            to.sin_port = port();
            to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            ours_ = connected(AF_INET, to);
        } else if (way_ == Way::Tcp6) {
            sockaddr_in6 to{};
            to.sin6_family = AF_INET6;
            to.sin6_port = port();
            to.sin6_addr = in6addr_loopback;
            ours_ = connected(AF_INET6, to);
        } else if (way_ == Way::Unix) {
            sockaddr_un to{};
            to.sun_family = AF_UNIX;
            dir_.file("there").copy(to.sun_path, sizeof to.sun_path - 1);
            ours_ = connected(AF_UNIX, to);
        } else if (way_ == Way::Vsock) {
            ours_ = connected(AF_VSOCK, vsock_address(kVsockPort));
        } else if (way_ == Way::Exec) {
            ours_ = UniqueFd(::open(dir_.file("there").c_str(), O_WRONLY | O_CLOEXEC));
        }
    }

    Way way_;
    TempDir dir_;
    UniqueFd ours_;
    std::unique_ptr<Vmm> vmm_;
};

#define GW_SKIP_WITHOUT_THE_WAY()                                                   \
    if (const std::string reason = GetParam() == Way::Vsock ? vsock_missing() : ""; \
        !reason.empty())                                                            \
    GTEST_SKIP() << reason

class Peer : public testing::TestWithParam<Way> {
protected:
    // Failed with this text in the reply and once on stderr, and as usable as in QEMU.
    static void expect_error(Vmm& vmm, std::string_view text)
    {
        ASSERT_NO_FATAL_FAILURE(expect_end(vmm, "failed"));
        const Json info = vmm.qmp().execute("query-migrate");
        const std::string desc = info.value("error-desc", "");
        EXPECT_NE(desc.find(text), std::string::npos) << desc;
        EXPECT_EQ(desc.find('\n'), std::string::npos);
        EXPECT_EQ(vmm.qmp().execute("query-status")["status"], "inmigrate");
        const std::string said = vmm.process().stderr_text();
        const std::size_t first = said.find(desc);
        EXPECT_NE(first, std::string::npos) << said;
        EXPECT_EQ(said.find(desc, first + 1), std::string::npos) << said;
        EXPECT_TRUE(vmm.qmp().execute("query-fdsets").empty() ||
                    !vmm.qmp().execute("remove-fd", {{"fdset-id", 3}}).is_null());
        EXPECT_TRUE(vmm.qmp().execute("query-fdsets").empty());
        EXPECT_EQ(vmm.quit(), (ExitStatus{.code = 0}));
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, Peer,
                         testing::Values(Way::Tcp4, Way::Tcp6, Way::Unix, Way::Vsock, Way::Passed,
                                         Way::Inherited, Way::Exec, Way::File, Way::FileOffset,
                                         Way::Fdset),
                         [](const auto& at) {
                             return std::string(kNames[static_cast<std::size_t>(at.param)]);
                         });

TEST_P(Peer, ThatSaysNothingIsWaitedForAndDoesNotHoldUpQuit)
{
    GW_SKIP_WITHOUT_THE_WAY();
    if (is_file(GetParam()))
        GTEST_SKIP() << "a file does not keep anybody waiting";
    Meeting meeting(GetParam());
    ASSERT_NO_FATAL_FAILURE(meeting.begin(""));
    EXPECT_EQ(meeting.vmm().qmp().execute("query-status")["status"], "inmigrate");
    EXPECT_FALSE(meeting.vmm().qmp().execute("query-migrate").contains("error-desc"));
    EXPECT_EQ(meeting.vmm().quit(), (ExitStatus{.code = 0}));
    if (GetParam() == Way::Unix) {
        EXPECT_NE(::access(meeting.dir().file("there").c_str(), F_OK), 0);
    }
}

// A source whose connection broke during its handover, and who finds another program here.
TEST_P(Peer, ThatAsksForAnotherGuestIsAnsweredAndTheDestinationWaitsOn)
{
    GW_SKIP_WITHOUT_THE_WAY();
    if (GetParam() != Way::Tcp4 && GetParam() != Way::Tcp6 && GetParam() != Way::Unix &&
        GetParam() != Way::Vsock)
        GTEST_SKIP() << "nobody comes twice";
    Meeting meeting(GetParam());
    ASSERT_NO_FATAL_FAILURE(meeting.begin("GWho" + std::string(16, 'x')));
    EXPECT_EQ(meeting.heard(), std::string("GWho\x02", 5));
    EXPECT_EQ(meeting.vmm().qmp().execute("query-status")["status"], "inmigrate");
    EXPECT_EQ(meeting.vmm().qmp().execute("query-migrate").value("status", ""), "setup");
    EXPECT_EQ(meeting.vmm().quit(), (ExitStatus{.code = 0}));
}

TEST_P(Peer, ThatGoesWithoutAWordIsToldAtByteZero)
{
    GW_SKIP_WITHOUT_THE_WAY();
    Meeting meeting(GetParam());
    ASSERT_NO_FATAL_FAILURE(meeting.begin(""));
    meeting.hang_up();
    expect_error(meeting.vmm(), "the stream ends at byte 0, 4 more expected");
}

TEST_P(Peer, ThatTalksNonsenseIsToldAtItsFirstWord)
{
    GW_SKIP_WITHOUT_THE_WAY();
    Meeting meeting(GetParam());
    ASSERT_NO_FATAL_FAILURE(meeting.begin("GET / HTTP/1.1\r\nHost: godwit\r\n\r\n"));
    expect_error(meeting.vmm(), "Not a migration stream");
}

TEST_P(Peer, ThatBreaksOffInTheMiddleIsToldWhere)
{
    GW_SKIP_WITHOUT_THE_WAY();
    static const std::string kWhole = stream_of_a_good_move();
    ASSERT_GT(kWhole.size(), std::size_t{256} << 10);
    const std::size_t half = kWhole.size() / 2;
    Meeting meeting(GetParam());
    ASSERT_NO_FATAL_FAILURE(meeting.begin(std::string_view(kWhole).substr(0, half)));
    meeting.hang_up();
    expect_error(meeting.vmm(),
                 fmt::format("section 'ram' instance 0: the stream ends at byte {}", half));
}

// --- The same for a source -----------------------------------------------------------------------

UniqueFd listening(const std::string& path)
{
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    path.copy(at.sun_path, sizeof at.sun_path - 1);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(fd.get(), 1), 0);
    return fd;
}

class SourcePeer : public testing::Test {
protected:
    SourcePeer() : source_(kMachine)
    {
        prepare(source_);
        fill_pattern(source_.qtest(), 0x4000, 256 << 10, 5);
    }
    void expect_failure(std::string_view text)
    {
        ASSERT_NO_FATAL_FAILURE(expect_end(source_, "failed"));
        const std::string desc = source_.qmp().execute("query-migrate").value("error-desc", "");
        EXPECT_NE(desc.find(text), std::string::npos) << desc;
        source_.wait_status("running");
        check_pattern(source_.qtest(), 0x4000, 256 << 10, 5);
    }
    TempDir dir_;
    Vmm source_;
};

TEST_F(SourcePeer, ThatHangsUpAtOnceIsToldWithThePlace)
{
    const UniqueFd listener = listening(dir_.file("there"));
    source_.qmp().execute("migrate", {{"uri", "unix:" + dir_.file("there")}});
    UniqueFd(::accept(listener.get(), nullptr, nullptr)).reset();
    expect_failure("byte");
}

TEST_F(SourcePeer, ThatAnswersNonsenseIsToldWhenItsAnswersMatter)
{
    enable(source_, {"return-path"});
    const UniqueFd listener = listening(dir_.file("there"));
    source_.qmp().execute("migrate", {{"uri", "unix:" + dir_.file("there")}});
    const UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
    send_all(peer.get(), "HTTP/1.1 400 Bad Request\r\n\r\n");
    expect_failure("return path");
}

// Its own words are not read, either: the source waits for room in the socket's queue.
TEST_F(SourcePeer, ThatAnswersNonsenseAndReadsNothingIsToldAllTheSame)
{
    enable(source_, {"return-path"});
    fill_pattern(source_.qtest(), kMiB, 2 * kMiB, 6);
    const UniqueFd listener = listening(dir_.file("there"));
    source_.qmp().execute("migrate", {{"uri", "unix:" + dir_.file("there")}});
    const UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
    const Deadline deadline;
    for (int queued = 0; queued < 128 * 1024 && !deadline.passed();)
        ASSERT_EQ(::ioctl(peer.get(), FIONREAD, &queued), 0);
    send_all(peer.get(), "HTTP/1.1 400 Bad Request\r\n\r\n");
    expect_failure("return path");
}

TEST_F(SourcePeer, AShortDescriptorPairFailsAsItsPeerDoes)
{
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    UniqueFd ours(ends[0]);
    const UniqueFd theirs(ends[1]);
    const int passed = theirs.get();
    source_.qmp().execute_with_fds("getfd", {{"fdname", "peer"}}, {&passed, 1});
    ours.reset();
    source_.qmp().execute("migrate", {{"uri", "fd:peer"}});
    expect_failure("writing at byte 0");
}

TEST_F(SourcePeer, ACommandThatFailsIsTold)
{
    source_.qmp().execute("migrate", {{"uri", "exec:cat >/dev/null; exit 3"}});
    expect_failure("3");
}

TEST_F(SourcePeer, AFullDiskIsToldAtItsByte)
{
    source_.qmp().execute("migrate", {{"uri", "file:/dev/full"}});
    expect_failure("No space left on device");
}

TEST_F(SourcePeer, AFifoThatNobodyReadsDoesNotHoldUpACancel)
{
    const std::string fifo = dir_.file("fifo");
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    const UniqueFd reader(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    source_.qmp().execute("migrate", {{"uri", "file:" + fifo}});
    ASSERT_NO_FATAL_FAILURE(wait_migration(source_, "active"));
    source_.qmp().execute("migrate_cancel");
    ASSERT_NO_FATAL_FAILURE(expect_end(source_, "cancelled"));
    source_.wait_status("running");
}

}  // namespace
}  // namespace godwit::qtest
