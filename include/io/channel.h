// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A stream of bytes to or from somewhere.
#pragma once

#include "io/cancel.h"
#include "util/result.h"
#include "util/unique_fd.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <sys/uio.h>
#include <vector>

namespace godwit::io {

enum class Direction { Read, Write };
enum class Shutdown { Read, Write, Both };

enum class Feature {
    Seekable,   ///< pread(), pwrite(), seek() work
    FdPassing,  ///< descriptors can travel with bytes
    Peek,       ///< peek() works
    Shutdown,   ///< shutdown() wakes the peer as well, and one direction can be closed alone
};

/// What to poll() for until a direction is ready. Not always POLLIN for reading: a TLS or memory
/// channel may wait for something else.
struct PollTarget {
    int fd = -1;
    short events = 0;
};

/// Bytes and what came with them.
struct Received {
    std::size_t bytes = 0;  ///< 0: the peer closed in good order
    std::vector<UniqueFd> fds;
};

/// Descriptors that one message can carry (Linux: SCM_MAX_FD).
inline constexpr std::size_t kMaxFdsPerMessage = 253;

/// A stream of bytes, in one direction or both.
///
/// Shape    derived classes move what the system takes at once (try_*), and never wait; this class
///          waits, counts and words the errors.
/// Units    bytes. Positions count from the start of the channel's life, each direction alone.
/// Threads  one reader and one writer at a time, which may be two threads; shutdown(), describe(),
///          positions and features from any thread at any time; the rest by the owner. Set the
///          patience before the threads start.
/// Errors   Closed: the stream ended between two messages (read_exact() of which not one byte
///          came), or we shut it down. Truncated: it ended inside. Cancelled and TimedOut as
///          patience() has it. Unsupported: this kind cannot. Io: the system said no. Messages
///          begin with describe(). After an error in the middle of a transfer the position is
///          where it stopped.
class Channel {
public:
    virtual ~Channel() = default;
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    // --- What waits, within patience() -------------------------------------------------------

    /// At least one byte, at most what fits; 0 is the end of the stream (or `to` is empty).
    Result<std::size_t> read_some(std::span<std::byte> to);
    Result<std::size_t> readv_some(std::span<const iovec> to);
    /// All of `to`, or an error.
    Result<void> read_exact(std::span<std::byte> to);
    Result<void> readv_exact(std::span<const iovec> to);
    /// All of `to`; or false if the stream ended before its first byte.
    Result<bool> read_exact_or_eof(std::span<std::byte> to);

    /// At least one byte.
    Result<std::size_t> write_some(std::span<const std::byte> from);
    Result<void> write_all(std::span<const std::byte> from);
    /// Any number of pieces, more than IOV_MAX too, without copying; empty ones are allowed.
    Result<void> writev_all(std::span<const iovec> from);

    /// The next bytes without taking them, at most `to.size()` and at least one; 0 at the end of
    /// the stream. Waits for `at_least` bytes where the kind of channel can tell.
    Result<std::size_t> peek(std::span<std::byte> to, std::size_t at_least = 1);

    /// All of `from` (at least one byte), with `fds` along the first of them; they are only
    /// borrowed.
    Result<void> write_with_fds(std::span<const std::byte> from, std::span<const int> fds);
    /// Some bytes and the descriptors that came with them, closed on exec.
    Result<Received> read_with_fds(std::span<std::byte> to);

    // --- What does not wait: for main loops ---------------------------------------------------

    /// As read_some(), but nothing if it would have to wait.
    Result<std::optional<std::size_t>> try_read(std::span<std::byte> to);
    Result<std::optional<std::size_t>> try_write(std::span<const std::byte> from);
    Result<std::optional<std::size_t>> try_readv(std::span<const iovec> to);
    Result<std::optional<std::size_t>> try_writev(std::span<const iovec> from);
    Result<std::optional<std::size_t>> try_peek(std::span<std::byte> to);
    Result<std::optional<Received>> try_read_with_fds(std::span<std::byte> to);
    /// The first bytes of `from` with `fds` along; nothing was sent if nothing is returned.
    Result<std::optional<std::size_t>> try_write_with_fds(std::span<const std::byte> from,
                                                          std::span<const int> fds);
    /// What to poll for; its descriptor is borrowed and may be -1 once closed.
    virtual PollTarget poll_target(Direction direction) const noexcept = 0;
    int poll_fd() const noexcept { return poll_target(Direction::Read).fd; }
    /// Waits until a direction is ready, within patience().
    Result<void> wait(Direction direction);

    // --- What lies between us and the peer ----------------------------------------------------

    /// Waits, within patience(), until less than `bytes` of what was written still lie in a queue
    /// on this side. Bytes under way do not count. At once where a kind has no such queue.
    Result<void> wait_until_sent(std::uint32_t bytes);
    /// Bytes written that are not known to have reached the peer's system; 0 where a kind cannot
    /// tell. Does not wait.
    virtual std::uint64_t bytes_underway() const noexcept { return 0; }
    /// Lets the peer know at once what has come, for a peer that sends its next bytes only then
    /// (Nagle's delay). Reader's thread; before it waits.
    virtual void acknowledge() noexcept {}

    // --- Places in a file ---------------------------------------------------------------------

    /// All of `to` from byte `offset`, without moving the channel's own place. From any thread.
    Result<void> pread_exact(std::span<std::byte> to, std::uint64_t offset);
    Result<void> pwrite_all(std::span<const std::byte> from, std::uint64_t offset);
    Result<void> preadv_exact(std::span<const iovec> to, std::uint64_t offset);
    Result<void> pwritev_all(std::span<const iovec> from, std::uint64_t offset);
    /// Where the next read or write happens, as a byte of the file.
    virtual Result<std::uint64_t> seek(std::uint64_t offset);
    virtual Result<std::uint64_t> tell() const;

    // --- The end ------------------------------------------------------------------------------

    /// Ends a direction: who waits in it, here or at the peer, wakes with Closed or end of stream.
    /// From any thread, any number of times.
    virtual Result<void> shutdown(Shutdown how) = 0;
    /// Ends both directions in good order and tells what only shows at the end: that a command
    /// failed, that a disk was full. Only by the owner, with nobody inside. The destructor closes
    /// too, but says nothing. Closing again does nothing.
    virtual Result<void> close() = 0;

    /// The peer has closed or shut down its writing side, or is gone: nothing comes beyond what is
    /// here already. False where a kind cannot tell. Does not wait.
    virtual bool peer_is_done() const noexcept { return false; }

    // --- Who it is ----------------------------------------------------------------------------

    /// "tcp 127.0.0.1:4444", for error messages and logs.
    virtual std::string describe() const = 0;
    virtual bool has(Feature feature) const noexcept = 0;
    /// The descriptor behind it, borrowed; -1 if there is none (memory) or more than one (TLS).
    virtual int fd() const noexcept { return -1; }

    void set_patience(Patience patience);
    const Patience& patience() const noexcept { return patience_; }

    std::uint64_t bytes_read() const noexcept { return read_.load(std::memory_order_relaxed); }
    std::uint64_t bytes_written() const noexcept
    {
        return written_.load(std::memory_order_relaxed);
    }

protected:
    Channel() = default;

    // One attempt that does not wait. Nothing returned: it would have to. The spans are not
    // empty, and hold at most IOV_MAX pieces and one byte at least. Errors without describe():
    // this class adds it.
    virtual Result<std::optional<std::size_t>> do_readv(std::span<const iovec> to) = 0;
    virtual Result<std::optional<std::size_t>> do_writev(std::span<const iovec> from) = 0;
    virtual Result<std::optional<std::size_t>> do_peek(std::span<std::byte> to);
    virtual Result<std::optional<Received>> do_read_with_fds(std::span<std::byte> to);
    virtual Result<std::optional<std::size_t>> do_write_with_fds(std::span<const std::byte> from,
                                                                 std::span<const int> fds);
    // May wait for the disk. 0 from do_preadv() is the end of the file.
    virtual Result<std::size_t> do_preadv(std::span<const iovec> to, std::uint64_t offset);
    virtual Result<std::size_t> do_pwritev(std::span<const iovec> from, std::uint64_t offset);
    // While it is not 0, the channel is ready for writing only with less than so many bytes in its
    // queue. False: it has none.
    virtual bool set_queue_limit(std::uint32_t) noexcept { return false; }
    // Readable once the direction was shut down on this side, for descriptors that the kernel
    // does not wake; -1: there is none.
    virtual int wake_fd(Direction) const noexcept { return -1; }

private:
    Error told(Error error) const;
    Error ended(std::uint64_t at, std::size_t got, std::size_t wanted) const;
    Result<bool> fill(std::span<const iovec> to);
    Result<void> drain(std::span<const iovec> from);

    Patience patience_;
    std::atomic<std::uint64_t> read_{0};
    std::atomic<std::uint64_t> written_{0};
};

using ChannelPtr = std::unique_ptr<Channel>;

/// The one-piece list for `bytes`; writing does not change what it points at.
inline iovec as_iovec(std::span<const std::byte> bytes) noexcept
{
    return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

/// Bytes in all pieces.
std::size_t iovec_bytes(std::span<const iovec> pieces) noexcept;

}  // namespace godwit::io
