// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Chardevs on descriptors: stdio, pipes, ptys and inherited ones.
#include "system/chardev_backends.h"
#include "system/main_loop.h"

#include <array>
#include <cstdlib>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

namespace godwit::system {

namespace {

/// Makes a descriptor non-blocking and puts it back as it was: others may share it.
class NonBlocking {
public:
    explicit NonBlocking(int fd) : fd_(fd), flags_(::fcntl(fd, F_GETFL))
    {
        if (flags_ >= 0)
            ::fcntl(fd_, F_SETFL, flags_ | O_NONBLOCK);
    }
    ~NonBlocking()
    {
        if (flags_ >= 0)
            ::fcntl(fd_, F_SETFL, flags_);
    }
    NonBlocking(const NonBlocking&) = delete;
    NonBlocking& operator=(const NonBlocking&) = delete;

private:
    int fd_;
    int flags_;
};

/// Keys reach us one by one while this lives; the terminal is then as before.
class RawTerminal {
public:
    RawTerminal(int fd, bool signals) : fd_(fd)
    {
        if (::tcgetattr(fd, &saved_) < 0)
            return;
        is_terminal_ = true;
        set(false, signals);
    }
    ~RawTerminal()
    {
        if (is_terminal_)
            ::tcsetattr(fd_, TCSANOW, &saved_);
    }
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;

    void set(bool echo, bool signals)
    {
        if (!is_terminal_)
            return;
        termios raw = saved_;
        if (!echo) {
            raw.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR |
                                                  IGNCR | ICRNL | IXON);
            raw.c_oflag |= OPOST;
            raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | IEXTEN);
            raw.c_cflag = (raw.c_cflag & ~static_cast<tcflag_t>(CSIZE | PARENB)) | CS8;
            raw.c_cc[VMIN] = 1;
            raw.c_cc[VTIME] = 0;
        }
        if (!signals)
            raw.c_lflag &= ~static_cast<tcflag_t>(ISIG);
        ::tcsetattr(fd_, TCSANOW, &raw);
    }

private:
    int fd_;
    bool is_terminal_ = false;
    termios saved_{};
};

class StdioChardev : public StreamChardev {
public:
    StdioChardev(MainLoop& loop, std::string label, bool signals)
        : StreamChardev(loop, std::move(label)), in_(STDIN_FILENO), out_(STDOUT_FILENO),
          terminal_(STDIN_FILENO, signals), signals_(signals)
    {
        open(STDIN_FILENO, STDOUT_FILENO, false);
    }
    std::string filename() const override { return "stdio"; }
    void set_echo(bool on) override { terminal_.set(on, signals_); }

private:
    NonBlocking in_;
    NonBlocking out_;
    RawTerminal terminal_;
    bool signals_;
};

/// Owns what it reads from and writes to.
class OwnedFdChardev : public StreamChardev {
public:
    OwnedFdChardev(MainLoop& loop, std::string label, std::string filename, UniqueFd in,
                   UniqueFd out)
        : StreamChardev(loop, std::move(label)), filename_(std::move(filename)), in_(std::move(in)),
          out_(std::move(out))
    {
        for (const int fd : {in_.get(), out_.get()}) {
            if (fd >= 0)
                ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
        }
        struct stat info{};
        const bool is_socket = in_ && ::fstat(in_.get(), &info) == 0 && S_ISSOCK(info.st_mode);
        open(in_.get(), out_ ? out_.get() : in_.get(), is_socket);
    }
    std::string filename() const override { return filename_; }

private:
    std::string filename_;
    UniqueFd in_;
    UniqueFd out_;  // none: in_ serves both ways
};

/// The master side of a pty. While nobody has the slave side open, what is written is dropped, and
/// a timer looks for somebody.
class PtyChardev : public StreamChardev {
public:
    PtyChardev(MainLoop& loop, std::string label, UniqueFd master, std::string slave,
               std::string link)
        : StreamChardev(loop, std::move(label)), master_(std::move(master)),
          slave_(std::move(slave)), link_(std::move(link))
    {
        limit_queue(kMaxQueue);
        look();
    }
    ~PtyChardev() override
    {
        if (!link_.empty())
            ::unlink(link_.c_str());
    }
    std::string filename() const override { return "pty:" + slave_; }

private:
    static constexpr std::size_t kMaxQueue = 1 << 20;
    static constexpr unsigned kLookMs = 200;

    void look()
    {
        pollfd fd{.fd = master_.get(), .events = POLLOUT, .revents = 0};
        if (::poll(&fd, 1, 0) >= 0 && !(fd.revents & POLLHUP))
            open(master_.get(), master_.get(), false);
        else
            timer_ = loop().after_ms(kLookMs, [this] { look(); });
    }
    void lost() override
    {
        close_stream();
        timer_ = loop().after_ms(kLookMs, [this] { look(); });
    }

    UniqueFd master_;
    std::string slave_;
    std::string link_;
    Registration timer_;
};

Result<UniqueFd> open_path(const std::string& path, int flags)
{
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK));
    if (!fd)
        return Error::from_errno("Could not open '" + path + "'");
    return fd;
}

}  // namespace

Result<std::unique_ptr<Chardev>> make_stdio_chardev(MainLoop& loop, std::string label, bool signals)
{
    return std::make_unique<StdioChardev>(loop, std::move(label), signals);
}

Result<std::unique_ptr<Chardev>> make_pipe_chardev(MainLoop& loop, std::string label,
                                                   const std::string& path)
{
    // Read and write, so that opening never waits for the other side and its going is no end.
    auto in = open_path(path + ".in", O_RDWR);
    auto out = open_path(path + ".out", O_RDWR);
    if (in && out) {
        return std::make_unique<OwnedFdChardev>(loop, std::move(label), "pipe", std::move(*in),
                                                std::move(*out));
    }
    UniqueFd both = GW_TRY(open_path(path, O_RDWR));
    return std::make_unique<OwnedFdChardev>(loop, std::move(label), "pipe", std::move(both),
                                            UniqueFd());
}

Result<std::unique_ptr<Chardev>> make_pty_chardev(MainLoop& loop, std::string label,
                                                  const std::string& link)
{
    UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!master)
        return Error::from_errno("Failed to create PTY");
    std::array<char, 128> name{};
    if (::grantpt(master.get()) < 0 || ::unlockpt(master.get()) < 0 ||
        ::ptsname_r(master.get(), name.data(), name.size()) != 0)
        return Error::from_errno("Failed to create PTY");
    {
        // Bytes pass as they are, whoever opens the slave side.
        const UniqueFd slave(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
        termios raw{};
        if (slave && ::tcgetattr(slave.get(), &raw) == 0) {
            ::cfmakeraw(&raw);
            ::tcsetattr(slave.get(), TCSAFLUSH, &raw);
        }
    }
    ::fcntl(master.get(), F_SETFL, ::fcntl(master.get(), F_GETFL) | O_NONBLOCK);
    if (!link.empty() && ::symlink(name.data(), link.c_str()) < 0)
        return Error::from_errno("Failed to create PTY symlink");
    return std::make_unique<PtyChardev>(loop, std::move(label), std::move(master), name.data(),
                                        link);
}

Result<std::unique_ptr<Chardev>> make_fd_chardev(MainLoop& loop, std::string label, UniqueFd fd)
{
    ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
    return std::make_unique<OwnedFdChardev>(loop, std::move(label), "fd", std::move(fd),
                                            UniqueFd());
}

Result<std::unique_ptr<Chardev>> make_file_chardev(MainLoop& loop, std::string label,
                                                   const std::string& path, bool append,
                                                   const std::string& input)
{
    class FileChardev : public StreamChardev {
    public:
        FileChardev(MainLoop& main_loop, std::string name, UniqueFd in, UniqueFd out)
            : StreamChardev(main_loop, std::move(name)), in_(std::move(in)), out_(std::move(out))
        {
            open(in_.get(), out_.get(), false);
        }
        std::string filename() const override { return "file"; }

    private:
        UniqueFd in_;
        UniqueFd out_;
    };
    const int how = O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC);
    UniqueFd out(::open(path.c_str(), how, 0666));
    if (!out)
        return Error::from_errno("Could not open '" + path + "'");
    UniqueFd in;
    if (!input.empty())
        in = GW_TRY(open_path(input, O_RDONLY));
    return std::make_unique<FileChardev>(loop, std::move(label), std::move(in), std::move(out));
}

}  // namespace godwit::system
