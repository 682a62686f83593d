// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration/insight/facts.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace godwit::migration {
namespace {

// So many differences are told; a machine that is another altogether has no more to say.
constexpr std::size_t kMaxDifferences = 500;
constexpr std::size_t kMaxText = 200;

// Capabilities that only work if both sides have them.
constexpr auto kBothSides =
    std::to_array<const char*>({"multifd", "postcopy-ram", "postcopy-preempt", "switchover-ack",
                                "mapped-ram", "x-ignore-shared"});

std::string text_of(const Json& value)
{
    std::string text = value.is_string() ? value.get<std::string>() : dump_json(value);
    for (char& c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            c = '?';
    if (text.size() > kMaxText)
        text.resize(kMaxText);
    return text;
}

// A member, or null where `object` is no object or has none.
const Json& at(const Json& object, const std::string& name)
{
    static const Json none;
    if (!object.is_object())
        return none;
    const auto found = object.find(name);
    return found == object.end() ? none : *found;
}

std::optional<std::uint64_t> count(const Json& value)
{
    if (value.is_number_unsigned() || (value.is_number_integer() && value.get<std::int64_t>() >= 0))
        return value.get<std::uint64_t>();
    return std::nullopt;
}

class Comparison {
public:
    Comparison(const Json& source, const Json& destination) : s_(source), d_(destination) {}

    std::vector<Difference> take()
    {
        machines();
        cpus();
        ram();
        sections();
        devices();
        capabilities();
        limits();
        std::ranges::stable_sort(all_, std::greater<>(), &Difference::fatal);
        return std::move(all_);
    }

private:
    void add(DifferenceKind kind, std::string name, bool fatal, std::string desc,
             const Json& source, const Json& destination)
    {
        if (all_.size() >= kMaxDifferences)
            return;
        Difference one{
            .kind = kind, .name = text_of(name), .fatal = fatal, .desc = std::move(desc)};
        if (!source.is_null())
            one.source = text_of(source);
        if (!destination.is_null())
            one.destination = text_of(destination);
        all_.push_back(std::move(one));
    }

    void same(DifferenceKind kind, const std::string& name, bool fatal, std::string desc)
    {
        if (at(s_, name) != at(d_, name))
            add(kind, name, fatal, std::move(desc), at(s_, name), at(d_, name));
    }

    void machines()
    {
        same(DifferenceKind::Machine, "machine", true, "the machine types differ");
        const Json& validate = at(at(s_, "capabilities"), "validate-uuid");
        const bool strict = validate.is_boolean() && validate.get<bool>();
        same(DifferenceKind::Machine, "uuid", strict, "the UUIDs differ");
        same(DifferenceKind::Accelerator, "accelerator", false,
             "the CPUs are run by different accelerators");
    }

    void cpus()
    {
        const Json& s = at(s_, "cpu");
        const Json& d = at(d_, "cpu");
        if (at(s, "count") != at(d, "count"))
            add(DifferenceKind::Cpu, "count", true, "the numbers of CPUs differ", at(s, "count"),
                at(d, "count"));
        if (at(s, "type") != at(d, "type"))
            add(DifferenceKind::Cpu, "type", false, "the CPU models differ", at(s, "type"),
                at(d, "type"));
        each_of_both(at(s, "features"), at(d, "features"),
                     [&](const std::string& name, const Json& here, const Json& there) {
                         if (here == there)
                             return;
                         // What a guest has seen must stay.
                         const bool lost = here == "true" && there != "true";
                         add(DifferenceKind::Cpu, name, lost,
                             lost ? "the guest's CPUs have this feature, the destination's do not"
                                  : "a property of the CPUs differs",
                             here, there);
                     });
    }

    void ram()
    {
        each_of_both(at(s_, "ram"), at(d_, "ram"),
                     [&](const std::string& name, const Json& here, const Json& there) {
                         if (here.is_null())
                             return add(DifferenceKind::Ram, name, false,
                                        "a block of memory that only the destination has",
                                        at(here, "bytes"), at(there, "bytes"));
                         if (at(here, "bytes") != at(there, "bytes"))
                             return add(DifferenceKind::Ram, name, true,
                                        there.is_null()
                                            ? "the destination has no such block of memory"
                                            : "the sizes of a block of memory differ",
                                        at(here, "bytes"), at(there, "bytes"));
                         if (at(here, "page-size") != at(there, "page-size"))
                             add(DifferenceKind::Ram, name, false,
                                 "a block of memory has pages of another size",
                                 at(here, "page-size"), at(there, "page-size"));
                     });
    }

    void sections()
    {
        each_of_both(at(s_, "sections"), at(d_, "sections"),
                     [&](const std::string& name, const Json& here, const Json& there) {
                         if (there.is_null())
                             add(DifferenceKind::Section, name, true,
                                 "the destination has no device for this state", here, there);
                         else if (here.is_null())
                             add(DifferenceKind::Section, name, false,
                                 "a device's state that only the destination has", here, there);
                         else if (here != there)
                             add(DifferenceKind::Section, name,
                                 !here.is_number() || !there.is_number() || here > there,
                                 "the versions of a device's state differ", here, there);
                     });
    }

    void devices()
    {
        each_of_both(at(s_, "devices"), at(d_, "devices"),
                     [&](const std::string& path, const Json& here, const Json& there) {
                         const Json& type = at(here, "type");
                         const Json& other = at(there, "type");
                         if (type != other)
                             return add(DifferenceKind::Device, path, false,
                                        there.is_null()  ? "a device that only the source has"
                                        : here.is_null() ? "a device that only the destination has"
                                                         : "the types of a device differ",
                                        type, other);
                         each_of_both(at(here, "properties"), at(there, "properties"),
                                      [&](const std::string& name, const Json& a, const Json& b) {
                                          if (a != b)
                                              add(DifferenceKind::Device, path + "." + name, false,
                                                  "a property of a device differs", a, b);
                                      });
                     });
    }

    void capabilities()
    {
        const Json& s = at(s_, "capabilities");
        const Json& d = at(d_, "capabilities");
        for (const char* name : kBothSides)
            if (at(s, name) != at(d, name))
                add(DifferenceKind::Capability, name, true,
                    "a capability that both sides must have, or none", at(s, name), at(d, name));
        if (at(s, "multifd") == true)
            same(DifferenceKind::Capability, "multifd-channels", true,
                 "the numbers of connections differ");
    }

    void limits()
    {
        std::uint64_t touched = 0;
        for (const auto& [name, block] : at(s_, "ram").items())
            touched += count(at(block, "touched")).value_or(0);
        const Json& limits = at(d_, "limits");
        const Json& free = at(limits, "free-memory");
        if (count(free).value_or(touched) < touched)
            add(DifferenceKind::Limit, "free-memory", false,
                "the destination's host has less memory free than the guest uses", Json(touched),
                free);
        const Json& s = at(s_, "capabilities");
        if (at(s, "postcopy-ram") == true && at(limits, "userfaultfd") != "ok")
            add(DifferenceKind::Limit, "userfaultfd", true,
                "postcopy needs userfaultfd at the destination", Json(), at(limits, "userfaultfd"));
        const Json& locked = at(at(s_, "limits"), "locked-memory");
        constexpr std::uint64_t enough = 64 << 20;
        if (at(s, "zero-copy-send") == true && count(locked).value_or(enough) < enough)
            add(DifferenceKind::Limit, "locked-memory", false,
                "zero copy needs locked memory at the source", locked, Json());
        if (at(s_, "blockers").is_array())
            for (const Json& reason : at(s_, "blockers"))
                add(DifferenceKind::Blocker, "source", true, text_of(reason), Json(), Json());
        if (at(d_, "blockers").is_array())
            for (const Json& reason : at(d_, "blockers"))
                add(DifferenceKind::Blocker, "destination", false, text_of(reason), Json(), Json());
    }

    template <class F>
    static void each_of_both(const Json& source, const Json& destination, F&& body)
    {
        if (source.is_object())
            for (const auto& [name, value] : source.items())
                body(name, value, at(destination, name));
        if (destination.is_object())
            for (const auto& [name, value] : destination.items())
                if (at(source, name).is_null())
                    body(name, Json(), value);
    }

    const Json& s_;
    const Json& d_;
    std::vector<Difference> all_;
};

}  // namespace

std::vector<Difference> compare_facts(const Json& source, const Json& destination)
{
    return Comparison(source, destination).take();
}

}  // namespace godwit::migration
