// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/incoming_bench.h"

#include "io/memory_channel.h"
#include "migration/handshake.h"
#include "migration/incoming.h"
#include "migration/insight/timeline.h"
#include "migration/ram/ram_format.h"
#include "migration/service.h"
#include "migration/stream/registry.h"
#include "migration/stream/sections.h"
#include "migration/stream/vmstate.h"
#include "migration/stream/writer.h"
#include "system/guest_memory.h"
#include "system/main_loop.h"
#include "system/run_state.h"
#include "tests/support/test_house.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <mutex>
#include <vector>

namespace godwit::test {
namespace {

using namespace migration;
using stream::field;
using stream::vmstate;

[[noreturn]] void give_up(const std::string& why)
{
    std::fprintf(stderr, "%s\n", why.c_str());
    std::abort();
}

template <class T>
T must(Result<T> result)
{
    if (!result)
        give_up(result.error().message());
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

// --- A device with what real ones have, and more -------------------------------------------------

struct Item {
    std::uint32_t key = 0;
    std::uint8_t kind = 0;
};
constexpr auto kItem =
    vmstate<Item>("item", {}, field<&Item::key>("key"), field<&Item::kind>("kind").in_range(0, 9));

struct Odd {
    bool flag = true;
    std::int16_t number = -5;
    double ratio = 0.5;
    std::uint8_t used = 3;
    std::array<std::uint8_t, 16> fifo{1, 2, 3};
    std::uint32_t count = 4;
    std::vector<std::uint32_t> words{1, 2, 3, 4};
    std::uint32_t size = 5;
    std::vector<std::uint8_t> blob{1, 2, 3, 4, 5};
    std::array<Item, 3> items{{{1, 1}, {2, 2}, {3, 3}}};
    std::list<Item> queue{{7, 7}, {8, 8}};
    std::array<char, 12> name{"odd"};
    bool more = true;
    std::uint64_t extra = 9;
};
constexpr auto kOddExtra =
    vmstate<Odd>("odd/extra", {}, field<&Odd::extra>("extra").in_range(0, 1000));
constexpr auto kOdd = vmstate<Odd>(
    "odd", {.current = 3, .oldest = 1}, field<&Odd::flag>("flag"), field<&Odd::number>("number"),
    field<&Odd::ratio>("ratio").since(2), field<&Odd::used>("used").in_range(0, 16),
    field<&Odd::fifo>("fifo"), field<&Odd::count>("count").in_range(0, 64),
    field<&Odd::words>("words").template counted_by<&Odd::count>().at_most(64),
    field<&Odd::size>("size").in_range(0, 4096),
    stream::buffer<&Odd::blob>("blob").template counted_by<&Odd::size>().at_most(4096),
    stream::structure<&Odd::items>("items", kItem), stream::list<&Odd::queue>("queue", kItem),
    stream::buffer<&Odd::name>("name"), stream::subsection(kOddExtra));

constexpr std::byte kFill{0xa5};
constexpr std::uint64_t kSmall = 16 << 10;

class Waiter {
public:
    void tell(Status status)
    {
        {
            const std::lock_guard guard(mutex_);
            ended_ = !is_running(status);
        }
        changed_.notify_all();
    }
    void wait()
    {
        std::unique_lock guard(mutex_);
        changed_.wait(guard, [&] { return ended_; });
        ended_ = false;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool ended_ = false;
};

// A machine, and what is not part of it.
struct Machine {
    Machine()
    {
        must(house.build({"-machine", "q35", "-accel", "qtest", "-m", "1M", "-S"}));
        const system::MachineGuard guard(house.vm().lock());
        system::GuestMemory& ram = house.vm().ram();
        growing =
            must(ram.create({.id = "growing", .used_length = kSmall, .max_length = 4 * kSmall}));
        local = must(ram.create({.id = "local", .used_length = kSmall, .migratable = false}));
        std::ranges::fill(local->bytes(), kFill);
        device = must(house.vm().state_registry().add(kOdd, odd));
        odd_again = must(house.vm().state_registry().add(kOdd, second, {.instance_id = 3}));
    }
    TestHouse house;
    Odd odd;
    Odd second;
    system::RamBlock* growing = nullptr;
    system::RamBlock* local = nullptr;
    Registration device;
    Registration odd_again;
};

std::string text_of(std::vector<std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string ping(std::uint32_t value)
{
    stream::StreamWriter out;
    stream::write_command_be32(out, stream::Command::Ping, value);
    return text_of(out.take());
}

// A PART with pages as RamSource does not send them without being asked.
std::string rare_pages(std::uint32_t ram_id)
{
    using stream::SectionType;
    stream::StreamWriter out;
    stream::write_section_header(out, {SectionType::Part, ram_id, "ram", 0, kRamVersion});
    out.put_be64(0x1000 | kRamZero);
    out.put_str8("pc.ram");
    out.put_u8(0);
    out.put_be64(0x2000 | kRamPage | kRamContinue);
    out.put_zeros(system::kPageSize);
    out.put_be64(0x2000 | kRamXbzrle | kRamContinue);
    out.put_u8(kXbzrleEncoding);
    const std::array<std::byte, 6> difference{std::byte{4},   std::byte{3},   std::byte{'a'},
                                              std::byte{'b'}, std::byte{'c'}, std::byte{0}};
    out.put_be16(5);
    out.put_bytes(std::span(difference).first(5));
    out.put_be64(0 | kRamPage);
    out.put_str8("growing");
    out.put_zeros(system::kPageSize);
    out.put_be64(kRamMultifdFlush);
    out.put_be64(kRamEos);
    stream::write_section_footer(out, ram_id);
    return text_of(out.take());
}

std::string sent_by(Machine& machine)
{
    MigrationService& service = machine.house.service();
    Waiter waiter;
    const auto watch = service.on_status(Side::Source, [&](Status, Status s) { waiter.tell(s); });
    auto [left, right] = must(io::make_memory_channels(8 << 20));
    must(right->shutdown(io::Shutdown::Write));  // it will not answer
    {
        const system::MachineGuard guard(machine.house.vm().lock());
        must(service.migrate([c = std::move(left)](const io::Patience&) mutable
                                 -> Result<io::ChannelPtr> { return std::move(c); }));
    }
    waiter.wait();
    std::string all;
    std::vector<std::byte> buffer(1 << 16);
    while (const std::size_t got = must(right->read_some(buffer)))
        all.append(reinterpret_cast<const char*>(buffer.data()), got);
    return all;
}

}  // namespace

struct IncomingBench::Parts {
    Machine machine;
    SteadyClock clock;
    ListenerDirtySource dirty{machine.house.vm().memory(), machine.house.vm().ram(),
                              [](unsigned) {}};
    Timelines timelines{clock};
    stream::GlobalStateSection global_state;
    std::string stream;
};

IncomingBench::IncomingBench() : parts_(std::make_unique<Parts>())
{
    Machine other;
    std::memset(other.house.vm().ram().find("pc.ram")->host() + 0x8000, 0x42, 5000);
    std::string sent = sent_by(other);
    // Between the ram section's START and what follows; and the words between Godwits.
    const std::string_view question("GWp1");
    const std::size_t asked = sent.find(question) + question.size();
    const std::size_t name = sent.find(std::string("\x03ram", 4));
    if (asked == std::string::npos || name == std::string::npos)
        give_up("not the stream that was expected");
    const auto id = static_cast<unsigned char>(sent[name - 1]);
    // The footer of START: 0x7e and the id.
    const std::size_t footer =
        sent.find(std::string("\x7e\0\0\0", 4) + static_cast<char>(id), name);
    sent.insert(footer + 5, rare_pages(id));
    sent.insert(asked, ping(kGodwitStay));
    sent += ping(kGodwitGo);
    parts_->stream = std::move(sent);
}

IncomingBench::~IncomingBench() = default;

const std::string& IncomingBench::stream() const
{
    return parts_->stream;
}

IncomingBench::Outcome IncomingBench::load(std::string_view bytes, bool ignore_unknown_sections)
{
    Parts& p = *parts_;
    system::Vm& vm = p.machine.house.vm();
    system::RunStateMachine run_state;
    must(run_state.set(system::RunState::Inmigrate));
    run_state.set_autostart(false);
    Environment env{.lock = vm.lock(),
                    .run_state = run_state,
                    .memory = vm.ram(),
                    .registry = vm.state_registry(),
                    .dirty = p.dirty,
                    .clock = p.clock,
                    .log = {},
                    .machine_name = "pc-q35-10.0"};
    StatusTracker status(Side::Destination);
    must(status.apply(Event::Start));
    Waiter waiter;
    const auto watch = status.observe([&](Status, Status s) { waiter.tell(s); });
    auto [left, right] = must(io::make_memory_channels(bytes.size() + 4096));
    if (!bytes.empty())
        must(left->write_all(std::as_bytes(std::span(bytes))));
    must(left->shutdown(io::Shutdown::Write));
    auto incoming = must(Incoming::create(
        {.env = env,
         .status = status,
         .global_state = p.global_state,
         .timeline = p.timelines.begin(Side::Destination)},
        {.capabilities = {},
         .ignore_unknown_sections = ignore_unknown_sections,
         .exit_on_error = false},
        [c = std::move(right)](const io::Patience&) mutable -> Result<io::ChannelPtr> {
            return std::move(c);
        },
        [] {}));
    waiter.wait();
    Outcome outcome{.loaded = status.status() == Status::Completed,
                    .error = incoming->error().value_or("")};
    incoming.reset();
    return outcome;
}

std::optional<std::string> IncomingBench::damage() const
{
    const Machine& m = parts_->machine;
    for (const std::byte byte : m.local->bytes())
        if (byte != kFill)
            return "a block that is not part of the stream was written";
    const std::byte* const host = m.growing->host();
    for (std::uint64_t at = m.growing->used_length(); at < m.growing->max_length(); ++at)
        if (host[at] != std::byte{0})
            return "behind the used part of a block something was written";
    if (m.odd.words.size() > 64 || m.odd.blob.size() > 4096 || m.odd.used > 16)
        return "a field is out of its range";
    return std::nullopt;
}

}  // namespace godwit::test
