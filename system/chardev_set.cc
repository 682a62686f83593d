// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/chardev_backends.h"
#include "system/chardev_options.h"
#include "system/main_loop.h"
#include "system/object.h"

#include <algorithm>

namespace godwit::system {

struct ChardevSet::Impl {
    /// One of the two.
    struct Entry {
        std::unique_ptr<Chardev> plain;
        std::unique_ptr<MuxChardev> mux;

        const std::string& label() const { return plain ? plain->label() : mux->label(); }
        Chardev* get() const { return plain ? plain.get() : mux->free_port(); }
        bool busy() const { return plain ? plain->attached() : mux->busy(); }
    };

    MainLoop& loop;
    Notice notice;
    YankRegistry* yanks;
    std::vector<Entry> entries;  // in order of creation
    std::function<Result<void>(Chardev&)> make_monitor;
    std::function<void()> quit;
    bool stdio_taken = false;

    Impl(MainLoop& main_loop, Notice say, YankRegistry* registry)
        : loop(main_loop), notice(std::move(say)), yanks(registry)
    {}

    auto find(std::string_view label)
    {
        return std::ranges::find_if(entries, [&](const Entry& e) { return e.label() == label; });
    }
    Result<Chardev*> create(const std::string& label, const OptionList& options);
};

Result<Chardev*> ChardevSet::Impl::create(const std::string& label, const OptionList& options)
{
    if (find(label) != entries.end())
        return Error(Errc::Exists, "Chardev with id '" + label + "' already exists");
    const bool is_stdio = options.get_string("backend") == "stdio";
    if (is_stdio && stdio_taken)
        return Error(Errc::Busy, "cannot use stdio by multiple character devices");
    const bool mux = GW_TRY(options.get_bool("mux", false));
    auto chardev = GW_TRY(make_chardev({loop, notice, yanks}, label, options));
    stdio_taken |= is_stdio;
    Entry entry;
    if (mux)
        entry.mux = make_mux(std::move(chardev), [this] {
            if (quit)
                quit();
        });
    else
        entry.plain = std::move(chardev);
    entries.push_back(std::move(entry));
    return entries.back().get();
}

ChardevSet::ChardevSet(MainLoop& loop, Notice notice, YankRegistry* yanks)
    : impl_(std::make_unique<Impl>(loop, std::move(notice), yanks))
{
    if (!impl_->notice)
        impl_->notice = [](std::string_view) {};
}

ChardevSet::~ChardevSet() = default;

Result<Chardev*> ChardevSet::add(std::string_view chardev_option)
{
    const OptionList options = GW_TRY(OptionList::parse(chardev_option, "backend"));
    const std::string* id = options.find("id");
    if (!id)
        return Error(Errc::InvalidArgument, "chardev: no id specified");
    GW_TRY(check_identifier(*id));
    if (!options.has("backend"))
        return Error(Errc::InvalidArgument, "chardev: \"" + *id + "\" missing backend");
    if (impl_->find(*id) != impl_->entries.end())
        return Error(Errc::Exists, "Duplicate ID '" + *id + "' for chardev");
    return impl_->create(*id, options);
}

Result<Chardev*> ChardevSet::create(const std::string& label, const OptionList& options)
{
    return impl_->create(label, options);
}

Result<Chardev*> ChardevSet::add_short(std::string_view text, std::string label)
{
    if (text == "none")
        return nullptr;
    if (text.starts_with("chardev:")) {
        const std::string id(text.substr(text.find(':') + 1));
        Chardev* chardev = find(id);
        if (!chardev)
            return Error(Errc::NotFound, "chardev \"" + id + "\" not found");
        return chardev;
    }
    const bool with_monitor = text.starts_with("mon:");
    if (with_monitor)
        text.remove_prefix(4);
    OptionList options = GW_TRY(parse_short_chardev(text));
    if (with_monitor) {
        options.set("mux", "on");
        if (options.get_string("backend") == "stdio")
            options.set("signal", "off");
    }
    Chardev* chardev = GW_TRY(impl_->create(label, options));
    if (!with_monitor || !impl_->make_monitor)
        return chardev;
    // The monitor takes the first place; who asked gets the next, and the keyboard when it
    // attaches.
    GW_TRY(impl_->make_monitor(*chardev));
    return find(label);
}

Result<void> ChardevSet::remove(std::string_view label)
{
    const auto it = impl_->find(label);
    if (it == impl_->entries.end())
        return Error(Errc::NotFound, "Chardev '" + std::string(label) + "' not found");
    if (it->busy())
        return Error(Errc::Busy, "Chardev '" + std::string(label) + "' is busy");
    impl_->entries.erase(it);
    return {};
}

Chardev* ChardevSet::find(std::string_view label) const noexcept
{
    const auto it = impl_->find(label);
    return it == impl_->entries.end() ? nullptr : it->get();
}

std::vector<Chardev*> ChardevSet::list() const
{
    std::vector<Chardev*> list;
    for (const auto& entry : impl_->entries) {
        if (entry.mux)
            list.push_back(&entry.mux->base());
        list.push_back(entry.plain ? entry.plain.get() : entry.mux->first_port());
    }
    return list;
}

void ChardevSet::set_monitor_maker(std::function<Result<void>(Chardev&)> maker)
{
    impl_->make_monitor = std::move(maker);
}

void ChardevSet::set_quit_handler(std::function<void()> quit)
{
    impl_->quit = std::move(quit);
}

void ChardevSet::flush(unsigned ms)
{
    for (const auto& entry : impl_->entries) {
        Chardev& chardev = entry.plain ? *entry.plain : entry.mux->base();
        chardev.flush(ms);
    }
}

}  // namespace godwit::system
