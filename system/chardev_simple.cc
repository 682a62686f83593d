// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Chardevs without anybody outside: null and ringbuf.
#include "system/chardev_backends.h"

#include <bit>

namespace godwit::system {

namespace {

class NullChardev : public Chardev {
public:
    explicit NullChardev(std::string label) : Chardev(std::move(label)) {}
    std::string filename() const override { return "null"; }
    using Chardev::write;
    bool write(std::span<const std::byte>) override { return true; }
    std::size_t write_some(std::span<const std::byte> data) override { return data.size(); }
    bool connected() const noexcept override { return false; }
    void accept_input() override {}
};

/// The last `size` bytes, for ringbuf-read.
class RingbufChardev : public Chardev {
public:
    RingbufChardev(std::string label, std::size_t size) : Chardev(std::move(label)), size_(size) {}
    std::string filename() const override { return "ringbuf"; }
    using Chardev::write;
    bool write(std::span<const std::byte> data) override
    {
        kept_.append(reinterpret_cast<const char*>(data.data()), data.size());
        if (kept_.size() > size_)
            kept_.erase(0, kept_.size() - size_);
        return true;
    }
    std::size_t write_some(std::span<const std::byte> data) override
    {
        write(data);
        return data.size();
    }
    bool connected() const noexcept override { return true; }
    void accept_input() override {}
    std::optional<std::string> ring_read(std::size_t size) override
    {
        std::string taken = kept_.substr(0, size);
        kept_.erase(0, taken.size());
        return taken;
    }
    bool ring_write(std::span<const std::byte> data) override { return write(data); }

private:
    std::size_t size_;
    std::string kept_;
};

}  // namespace

std::unique_ptr<Chardev> make_null_chardev(std::string label)
{
    return std::make_unique<NullChardev>(std::move(label));
}

Result<std::unique_ptr<Chardev>> make_ringbuf_chardev(std::string label, std::uint64_t size)
{
    constexpr std::uint64_t kMaxSize = 1 << 30;
    if (!std::has_single_bit(size))
        return Error(Errc::InvalidArgument, "size of ringbuf chardev must be power of two");
    if (size > kMaxSize)
        return Error(Errc::InvalidArgument, "size of ringbuf chardev must be at most 1G");
    return std::make_unique<RingbufChardev>(std::move(label), size);
}

}  // namespace godwit::system
