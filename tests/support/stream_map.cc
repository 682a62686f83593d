// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/stream_map.h"

#include "migration/stream/sections.h"
#include "util/json.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace godwit::test {
namespace {

using Kind = StreamMark::Kind;
using migration::stream::SectionType;

constexpr std::string_view kDescription = "{\"configuration\": {";

std::uint64_t size_in(const Json& object, const char* key, std::uint64_t otherwise)
{
    const auto found = object.find(key);
    return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>()
                                                                : otherwise;
}

class Walker {
public:
    explicit Walker(std::string_view stream) : stream_(stream) { find_devices(); }
    std::vector<StreamMark> walk()
    {
        number(4);
        number(4);
        while (element()) {
        }
        return std::move(marks_);
    }

private:
    bool has(std::size_t size) const { return stream_.size() - at_ >= size; }
    std::uint64_t value(std::size_t size) const
    {
        std::uint64_t out = 0;
        for (std::size_t i = 0; i < size && at_ + i < stream_.size(); ++i)
            out = out << 8 | static_cast<unsigned char>(stream_[at_ + i]);
        return out;
    }
    bool mark(Kind kind, std::size_t size)
    {
        if (!has(size))
            return false;
        marks_.push_back({kind, at_, size});
        at_ += size;
        return true;
    }
    bool number(std::size_t size) { return mark(Kind::Number, size); }
    bool skip(std::size_t size)
    {
        if (!has(size))
            return false;
        at_ += size;
        return true;
    }
    // A length of `width` bytes, and the text.
    bool name(std::size_t width, std::string* out = nullptr)
    {
        const std::uint64_t length = value(width);
        if (!number(width) || !has(length))
            return false;
        if (out != nullptr)
            *out = stream_.substr(at_, length);
        return mark(Kind::Name, length);
    }

    void find_devices()
    {
        const std::size_t at = stream_.rfind(kDescription);
        if (at == std::string_view::npos)
            return;
        // The handover may follow the text.
        const std::size_t end = stream_.rfind('}');
        const Json all = Json::parse(stream_.substr(at, end - at + 1), nullptr, false);
        if (!all.is_object() || !all.contains("devices") || !all["devices"].is_array())
            return;
        for (const Json& device : all["devices"])
            if (device.is_object() && device.contains("name") && device["name"].is_string())
                devices_[{device["name"].get<std::string>(), size_in(device, "instance_id", 0)}] =
                    device;
    }

    bool element();
    bool section(SectionType type);
    bool ram();
    bool fields(const Json& described, unsigned depth);
    bool field(const Json& described, unsigned depth);
    bool subsections(const Json& described, unsigned depth);

    std::string_view stream_;
    std::size_t at_ = 0;
    std::vector<StreamMark> marks_;
    std::map<std::pair<std::string, std::uint64_t>, Json> devices_;
    std::map<std::uint64_t, std::string> names_;
};

bool Walker::element()
{
    const std::size_t start = at_;
    const auto type = static_cast<SectionType>(value(1));
    if (!mark(Kind::Type, 1))
        return false;
    switch (type) {
    case SectionType::Configuration:
        return name(4);
    case SectionType::Subsection:
        return name(1) && number(4) && number(4);
    case SectionType::Command: {
        if (!number(2))
            return false;
        const std::uint64_t length = value(2);
        return number(2) && (length == 0 || number(length));
    }
    case SectionType::Description:
        return name(4);
    case SectionType::Eof:
        return true;
    case SectionType::Start:
    case SectionType::Full:
    case SectionType::Part:
    case SectionType::End:
        if (!section(type))
            return false;
        marks_.push_back({Kind::Element, start, at_ - start});
        return true;
    default:
        return false;
    }
}

bool Walker::section(SectionType type)
{
    const std::uint64_t id = value(4);
    if (!number(4))
        return false;
    if (type == SectionType::Start || type == SectionType::Full) {
        std::string idstr;
        if (!name(1, &idstr))
            return false;
        const std::uint64_t instance = value(4);
        if (!number(4) || !number(4))
            return false;
        names_[id] = idstr;
        const auto device = devices_.find({idstr, instance});
        if (idstr != "ram" && (device == devices_.end() || !fields(device->second, 0)))
            return false;
    }
    if (names_[id] == "ram" && !ram())
        return false;
    return mark(Kind::Type, 1) && number(4);
}

bool Walker::ram()
{
    for (;;) {
        const std::uint64_t word = value(8);
        if (!mark(Kind::RamWord, 8))
            return false;
        if ((word & 0x10) != 0)
            return true;
        if ((word & 0x200) != 0)
            continue;
        if ((word & 0x04) != 0) {
            for (std::uint64_t left = word & ~0xfffu; left != 0;) {
                if (!name(1))
                    return false;
                const std::uint64_t length = value(8);
                if (!number(8) || length > left)
                    return false;
                left -= length;
            }
            continue;
        }
        if ((word & 0x20) == 0 && !name(1))
            return false;
        if ((word & 0x08) != 0 && !skip(4096))
            return false;
        if ((word & 0x02) != 0 && !number(1))
            return false;
        if ((word & 0x40) != 0) {
            if (!number(1))
                return false;
            const std::uint64_t length = value(2);
            if (!number(2) || !mark(Kind::Value, length))
                return false;
        }
    }
}

bool Walker::field(const Json& described, unsigned depth)
{
    const std::uint64_t size = size_in(described, "size", 0);
    const std::uint64_t count = size_in(described, "array_len", 1);
    if (count > stream_.size())
        return false;
    const bool nested = described.contains("struct") && described["struct"].is_object();
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::size_t start = at_;
        if (!has(size))
            return false;
        if (nested && !fields(described["struct"], depth + 1))
            return false;
        at_ = start;
        if (!nested && size != 0 && (i < 4 || i + 1 == count))
            marks_.push_back({Kind::Value, at_, size});
        at_ += size;
    }
    return true;
}

bool Walker::subsections(const Json& described, unsigned depth)
{
    if (!described.contains("subsections") || !described["subsections"].is_array())
        return true;
    for (const Json& part : described["subsections"])
        if (!part.is_object() || !mark(Kind::Type, 1) || !name(1) || !number(4) ||
            !fields(part, depth + 1))
            return false;
    return true;
}

bool Walker::fields(const Json& described, unsigned depth)
{
    if (depth > 16)
        return false;
    if (described.contains("fields") && described["fields"].is_array())
        for (const Json& one : described["fields"])
            if (!one.is_object() || !field(one, depth))
                return false;
    return subsections(described, depth);
}

}  // namespace

std::vector<StreamMark> map_stream(std::string_view stream)
{
    return Walker(stream).walk();
}

void StreamMutator::change_number(std::string& stream, std::size_t at, std::size_t size)
{
    static constexpr std::array<std::uint64_t, 14> kInteresting = {
        0,     1,      2,      3,       0x7f,       0x80,       0xff,
        0x100, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0xffffffff, ~std::uint64_t{0}};
    const std::size_t width = std::min<std::size_t>(size, 8);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i)
        value = value << 8 | static_cast<unsigned char>(stream[at + i]);
    switch (below(5)) {
    case 0:
        value = kInteresting[below(kInteresting.size())];
        break;
    case 1:
        value += 1 + below(16);
        break;
    case 2:
        value -= 1 + below(16);
        break;
    case 3:
        value ^= std::uint64_t{1} << below(8 * width);
        break;
    default:
        value = static_cast<std::uint64_t>(random_()) << 32 | random_();
    }
    for (std::size_t i = width; i-- > 0; value >>= 8)
        stream[at + i] = static_cast<char>(value);
}

void StreamMutator::change(std::string& stream, const StreamMark& mark)
{
    if (mark.at + mark.size > stream.size() || mark.size == 0)
        return;
    switch (mark.kind) {
    case Kind::Element: {
        const std::string copy = stream.substr(mark.at, mark.size);
        if (below(2) == 0)
            stream.erase(mark.at, mark.size);
        else
            stream.insert(mark.at, copy);
        return;
    }
    case Kind::Type:
        stream[mark.at] = static_cast<char>(below(2) == 0 ? below(10) : below(256));
        return;
    case Kind::Name:
        switch (below(3)) {
        case 0:
            stream[mark.at + below(mark.size)] = static_cast<char>(below(256));
            return;
        case 1:
            stream.erase(mark.at, below(mark.size));
            return;
        default:
            stream.insert(mark.at + below(mark.size), 1 + below(300),
                          static_cast<char>(below(256)));
            return;
        }
    case Kind::RamWord:
        if (below(2) == 0)
            stream[mark.at + 7] =
                static_cast<char>(static_cast<unsigned char>(stream[mark.at + 7]) ^ 1u << below(8));
        else
            change_number(stream, mark.at, mark.size);
        return;
    case Kind::Number:
        change_number(stream, mark.at, mark.size);
        return;
    case Kind::Value:
        // A long one is a buffer: somewhere in it.
        change_number(stream, mark.size > 8 ? mark.at + below(mark.size - 7) : mark.at,
                      std::min<std::size_t>(mark.size, 8));
        return;
    }
}

std::string StreamMutator::damage(std::string stream, const std::vector<StreamMark>& marks)
{
    // From the end to the start, so that places before a change stay where they are.
    std::vector<std::size_t> chosen(1 + below(4));
    for (std::size_t& one : chosen)
        one = below(marks.size());
    std::ranges::sort(chosen,
                      [&](std::size_t a, std::size_t b) { return marks[a].at > marks[b].at; });
    if (!marks.empty())
        for (std::size_t one : chosen)
            change(stream, marks[one]);
    if (below(8) == 0)
        stream.resize(below(stream.size() + 1));
    return stream;
}

}  // namespace godwit::test
