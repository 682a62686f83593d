// SPDX-License-Identifier: LGPL-2.1-or-later
#include "monitor/qtest_commands.h"

#include "system/vm.h"
#include "util/hex.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <optional>

namespace godwit::monitor {

namespace {

/// Bytes that one request may read, write or fill.
constexpr std::uint64_t kMaxTransfer = 64 << 20;
constexpr std::uint64_t kMaxFill = std::uint64_t{16} << 30;
constexpr std::uint64_t kMaxIoFill = 64 << 10;
constexpr std::string_view kDefaultList = "unnamed-gpio-in";

/// It could not be done: "FAIL ...".
Error failed(std::string text)
{
    return Error(Errc::BadState, std::move(text));
}

/// The request makes no sense: "ERR ...".
Error senseless(std::string text)
{
    return Error(Errc::InvalidArgument, std::move(text));
}

int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// "0x0102" into bytes, lowest address first. A lone digit at the end is the high half of a byte;
/// what is missing stays zero, what is more is left out.
Result<void> hex_into(std::string_view text, std::span<std::byte> out)
{
    if (!text.starts_with("0x") || text.size() == 2)
        return senseless("invalid argument size");
    text.remove_prefix(2);
    for (std::size_t i = 0; i < text.size(); ++i) {
        const int digit = hex_digit(text[i]);
        if (digit < 0)
            return senseless("write: the data is not hexadecimal");
        if (i / 2 < out.size())
            out[i / 2] |= static_cast<std::byte>(i % 2 ? digit : digit << 4);
    }
    return {};
}

}  // namespace

/// One access by name: "inb", "writeq".
struct QtestCommands::Access {
    std::string_view name;
    bool port;
    bool is_write;
    unsigned size;
};

QtestCommands::QtestCommands(system::Vm& vm, Send send, LoadModule load_module)
    : vm_(vm), send_(std::move(send)), load_module_(std::move(load_module))
{}

std::string QtestCommands::run(std::string_view line)
{
    const QtestWords words(line);
    Result<std::string> answer = dispatch(words);
    if (answer)
        return std::move(*answer) + "\n";
    const Error& error = answer.error();
    const bool nonsense = error.code() == Errc::InvalidArgument;
    std::string text = nonsense ? "ERR" : "FAIL";
    if (!error.message().empty())
        text += " " + error.message();
    std::ranges::replace(text, '\n', ' ');
    return text + "\n";
}

Result<std::string> QtestCommands::dispatch(const QtestWords& words)
{
    static constexpr auto kAccesses = std::to_array<Access>({
        {"inb", true, false, 1},
        {"inw", true, false, 2},
        {"inl", true, false, 4},
        {"outb", true, true, 1},
        {"outw", true, true, 2},
        {"outl", true, true, 4},
        {"readb", false, false, 1},
        {"readw", false, false, 2},
        {"readl", false, false, 4},
        {"readq", false, false, 8},
        {"writeb", false, true, 1},
        {"writew", false, true, 2},
        {"writel", false, true, 4},
        {"writeq", false, true, 8},
    });
    struct Named {
        std::string_view name;
        Handler handler;
        bool client_clock = false;  // known only where the client drives the clock
    };
    static constexpr auto kNamed = std::to_array<Named>({
        {"endianness", &QtestCommands::endianness},
        {"read", &QtestCommands::read},
        {"b64read", &QtestCommands::b64read},
        {"write", &QtestCommands::write},
        {"b64write", &QtestCommands::b64write},
        {"memset", &QtestCommands::memset},
        {"irq_intercept_in", &QtestCommands::irq_intercept_in},
        {"irq_intercept_out", &QtestCommands::irq_intercept_out},
        {"set_irq_in", &QtestCommands::set_irq_in},
        {"clock_step", &QtestCommands::clock_step, true},
        {"clock_set", &QtestCommands::clock_set, true},
        {"module_load", &QtestCommands::module_load},
    });
    const std::string_view name = words.command();
    for (const Access& access : kAccesses)
        if (access.name == name)
            return port_or_memory(access, words);
    for (const Named& named : kNamed)
        if (named.name == name && (!named.client_clock || client_drives_clock()))
            return (this->*named.handler)(words);
    return failed(fmt::format("Unknown command '{}'", name));
}

Result<std::string> QtestCommands::port_or_memory(const Access& access, const QtestWords& words)
{
    std::uint64_t address = GW_TRY(words.number(0));
    system::AddressSpace& space = access.port ? vm_.io() : vm_.memory();
    if (access.port)
        address &= 0xffff;
    if (access.is_write) {
        space.store(address, GW_TRY(words.number(1)), access.size);
        return "OK";
    }
    std::uint64_t value = space.load(address, access.size);
    if (access.port)
        return fmt::format("OK 0x{:04x}", value);
    if (value != 0 && !space.find(address))
        value = 0;  // QEMU reads nothing as zeros here
    return fmt::format("OK 0x{:016x}", value);
}

Result<std::string> QtestCommands::endianness(const QtestWords&)
{
    return "OK little";
}

/// Reads what there is at [address, ...); holes are zeros.
void QtestCommands::read_sections(std::uint64_t address, std::span<std::byte> into)
{
    if (const std::byte* ram = vm_.memory().ram_pointer(address, into.size())) {
        std::memcpy(into.data(), ram, into.size());
        return;
    }
    if (vm_.memory().read(address, into))
        return;
    std::ranges::fill(into, std::byte{0});
    const std::uint64_t end = address + std::min<std::uint64_t>(into.size(), ~address);
    const auto view = vm_.memory().view();
    for (const system::MemorySection& section : *view) {
        const std::uint64_t from = std::max(address, section.start);
        const std::uint64_t to = std::min(end, section.start + section.size);
        if (from < to)
            (void)vm_.memory().read(from, into.subspan(from - address, to - from));
    }
}

Result<std::vector<std::byte>> QtestCommands::guest_bytes(const QtestWords& words)
{
    const std::uint64_t address = GW_TRY(words.number(0));
    const std::uint64_t length = GW_TRY(words.number(1));
    if (length == 0 || length > kMaxTransfer)
        return senseless("invalid argument size");
    std::vector<std::byte> bytes(length);
    read_sections(address, bytes);
    return bytes;
}

Result<std::string> QtestCommands::read(const QtestWords& words)
{
    const std::vector<std::byte> bytes = GW_TRY(guest_bytes(words));
    return "OK 0x" + to_hex(bytes);
}

Result<std::string> QtestCommands::b64read(const QtestWords& words)
{
    const std::vector<std::byte> bytes = GW_TRY(guest_bytes(words));
    return "OK " + to_base64(bytes);
}

Result<std::string> QtestCommands::write(const QtestWords& words)
{
    const std::uint64_t address = GW_TRY(words.number(0));
    const std::uint64_t length = GW_TRY(words.number(1));
    const std::string_view data = GW_TRY(words.word(2));
    if (length > kMaxTransfer)
        return senseless("invalid argument size");
    std::vector<std::byte> bytes(length);
    GW_TRY(hex_into(data, bytes));
    (void)vm_.memory().write(address, bytes);
    return "OK";
}

Result<std::string> QtestCommands::b64write(const QtestWords& words)
{
    const std::uint64_t address = GW_TRY(words.number(0));
    const std::uint64_t length = GW_TRY(words.number(1));
    auto bytes = from_base64(GW_TRY(words.word(2)));
    if (!bytes || bytes->empty())
        return senseless("invalid argument size");
    bytes->resize(std::min<std::uint64_t>(bytes->size(), length));
    (void)vm_.memory().write(address, *bytes);
    return "OK";
}

/// Fills section by section: a hole costs nothing, however long it is.
Result<std::string> QtestCommands::memset(const QtestWords& words)
{
    const std::uint64_t address = GW_TRY(words.number(0));
    const std::uint64_t length = GW_TRY(words.number(1));
    const auto value = static_cast<std::uint8_t>(GW_TRY(words.number(2)));
    if (length > kMaxFill)
        return senseless("invalid argument size");
    const std::uint64_t end = address + std::min(length, ~address);
    const auto view = vm_.memory().view();
    for (const system::MemorySection& section : *view) {
        const std::uint64_t from = std::max(address, section.start);
        std::uint64_t to = std::min(end, section.start + section.size);
        if (section.kind == system::RegionKind::Io)
            to = std::min(to, from + kMaxIoFill);
        if (from < to)
            (void)vm_.memory().fill(from, to - from, value);
    }
    return "OK";
}

Result<system::Device*> QtestCommands::device(const QtestWords& words) const
{
    const std::string_view path = GW_TRY(words.word(0));
    auto* found = dynamic_cast<system::Device*>(vm_.root().resolve(path));
    if (!found)
        return failed(fmt::format("Unknown device '{}'", path));
    return found;
}

/// True if `device` is to be intercepted now, false if it is already.
Result<bool> QtestCommands::begin_intercept(system::Device& device)
{
    if (intercepted_ == &device)
        return false;
    if (intercepted_)
        return failed("IRQ intercept already enabled");
    intercepted_ = &device;
    return true;
}

std::function<void(int level)> QtestCommands::listener(unsigned n)
{
    return [self = self_, n](int level) {
        if (*self)
            (*self)->irq_changed(n, level);
    };
}

void QtestCommands::irq_changed(unsigned n, int level)
{
    int& known = levels_[n];
    if (known == level)
        return;
    known = level;
    send_(fmt::format("IRQ {} {}\n", level ? "raise" : "lower", n));
}

Result<std::string> QtestCommands::irq_intercept_in(const QtestWords& words)
{
    system::Device* target = GW_TRY(device(words));
    if (!GW_TRY(begin_intercept(*target)))
        return "OK";
    for (const auto& list : target->gpio_lists()) {
        if (!list->name.empty())
            continue;
        for (unsigned n = 0; n < list->inputs.size(); ++n)
            list->inputs[n].intercept(listener(n));
    }
    return "OK";
}

Result<std::string> QtestCommands::irq_intercept_out(const QtestWords& words)
{
    system::Device* target = GW_TRY(device(words));
    const std::string_view wanted = words.count() > 1 ? GW_TRY(words.word(1)) : "";
    if (!GW_TRY(begin_intercept(*target)))
        return "OK";
    for (const auto& list : target->gpio_lists()) {
        if (list->name != wanted)
            continue;
        for (unsigned n = 0; n < list->outputs.size(); ++n)
            list->outputs[n]->intercept(listener(n), false);
    }
    return "OK";
}

Result<std::string> QtestCommands::set_irq_in(const QtestWords& words)
{
    system::Device* target = GW_TRY(device(words));
    const std::string_view name = GW_TRY(words.word(1));
    const std::uint64_t number = GW_TRY(words.number(2));
    const std::int64_t level = GW_TRY(words.signed_number(3));
    for (const auto& list : target->gpio_lists()) {
        const bool same = list->name == name || (list->name.empty() && name == kDefaultList);
        if (same && number < list->inputs.size()) {
            list->inputs[number].set(static_cast<int>(level));
            return "OK";
        }
    }
    return failed(fmt::format("Unknown interrupt '{}' {}", name, number));
}

bool QtestCommands::client_drives_clock() const
{
    return vm_.clocks().client_driven();
}

Result<std::string> QtestCommands::clock_step(const QtestWords& words)
{
    std::optional<std::int64_t> step;
    if (words.count() > 0)
        step = GW_TRY(words.signed_number(0));
    if (step && *step < 0)
        return senseless("clock_step: time does not go back");
    system::Clocks& clocks = vm_.clocks();
    const std::int64_t before = clocks.now_ns(system::ClockType::Virtual);
    if (step)
        step = std::min(*step, system::kNeverNs - before);
    const std::int64_t now = clocks.step(step);
    return fmt::format("{} {}", now > before || step == 0 ? "OK" : "FAIL", now);
}

Result<std::string> QtestCommands::clock_set(const QtestWords& words)
{
    const std::int64_t wanted = GW_TRY(words.signed_number(0));
    if (wanted < 0)
        return senseless("clock_set: the time is negative");
    const std::int64_t now = vm_.clocks().set(wanted);
    return fmt::format("{} {}", now == wanted ? "OK" : "FAIL", now);
}

Result<std::string> QtestCommands::module_load(const QtestWords& words)
{
    const std::string_view prefix = GW_TRY(words.word(0));
    const std::string_view name = GW_TRY(words.word(1));
    if (!load_module_ || !load_module_(prefix, name))
        return failed("");
    return "OK";
}

}  // namespace godwit::monitor
