// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/object.h"

#include "util/json.h"

#include <algorithm>
#include <cassert>

namespace godwit::system {

struct Object::Impl {
    /// The property that stands for the child in qom-list, and the child.
    struct Child {
        Property entry;
        std::unique_ptr<Object> object;
    };

    const TypeInfo* type = nullptr;
    const TypeRegistry* types = nullptr;
    std::string name;
    Object* parent = nullptr;
    std::vector<std::unique_ptr<Child>> children;  // in order of adding
    std::vector<std::unique_ptr<Property>> own;    // what this instance added

    auto find(std::string_view child)
    {
        return std::ranges::find_if(children,
                                    [&](const auto& one) { return one->object->name() == child; });
    }
};

Object::Object() : impl_(std::make_unique<Impl>()) {}

Object::~Object()
{
    // Latest first: what came later may lean on what was there.
    while (!impl_->children.empty())
        impl_->children.pop_back();
}

std::string_view Object::type_name() const noexcept
{
    return impl_->type ? std::string_view(impl_->type->name) : "object";
}

const TypeInfo& Object::type() const noexcept
{
    static const TypeInfo untyped{.name = "object"};
    return impl_->type ? *impl_->type : untyped;
}

const TypeRegistry& Object::types() const noexcept
{
    static const TypeRegistry none;
    return impl_->types ? *impl_->types : none;
}

const std::string& Object::name() const noexcept
{
    return impl_->name;
}

Object* Object::parent() const noexcept
{
    return impl_->parent;
}

std::string Object::path() const
{
    if (!impl_->parent)
        return "/";
    const std::string above = impl_->parent->path();
    return (above == "/" ? above : above + "/") + impl_->name;
}

Result<void> Object::add_child(std::string name, std::unique_ptr<Object> child)
{
    assert(child && !child->impl_->parent);
    if (find_property(name)) {
        return Error(Errc::Exists, "attempt to add duplicate property '" + name +
                                       "' to object (type '" + std::string(type_name()) + "')");
    }
    Object* object = child.get();
    object->impl_->parent = this;
    object->impl_->name = name;
    auto entry = std::make_unique<Impl::Child>();
    entry->entry = {.name = std::move(name),
                    .type = "child<" + std::string(object->type_name()) + ">",
                    .get = [object](const Object&) -> Result<Json> { return object->path(); }};
    entry->object = std::move(child);
    impl_->children.push_back(std::move(entry));
    return {};
}

std::unique_ptr<Object> Object::take_child(std::string_view name)
{
    const auto it = impl_->find(name);
    if (it == impl_->children.end())
        return nullptr;
    std::unique_ptr<Object> child = std::move((*it)->object);
    impl_->children.erase(it);
    child->impl_->parent = nullptr;
    return child;
}

Object* Object::child(std::string_view name) const noexcept
{
    const auto it = impl_->find(name);
    return it == impl_->children.end() ? nullptr : (*it)->object.get();
}

std::vector<Object*> Object::children() const
{
    std::vector<Object*> list;
    list.reserve(impl_->children.size());
    for (const auto& one : impl_->children)
        list.push_back(one->object.get());
    return list;
}

namespace {

/// The object behind one step of a path: a child, or what a link points to.
Object* step(Object& from, std::string_view name)
{
    if (Object* child = from.child(name))
        return child;
    const Property* property = from.find_property(name);
    if (!property || !property->type.starts_with("link<") || !property->get)
        return nullptr;
    const auto target = property->get(from);
    if (!target || !target->is_string() || target->get_ref<const std::string&>().empty())
        return nullptr;
    return from.resolve(target->get_ref<const std::string&>());
}

Object* walk(Object& from, std::string_view path)
{
    Object* at = &from;
    while (at && !path.empty()) {
        const std::size_t end = std::min(path.find('/'), path.size());
        if (end > 0)
            at = step(*at, path.substr(0, end));
        path.remove_prefix(std::min(end + 1, path.size()));
    }
    return at;
}

/// Every place below `from` that `path` leads to; stops at two.
void search(Object& from, std::string_view path, std::vector<Object*>& found)
{
    Object* const hit = walk(from, path);
    if (hit && std::ranges::find(found, hit) == found.end())
        found.push_back(hit);
    for (Object* child : from.children()) {
        if (found.size() > 1)
            return;
        search(*child, path, found);
    }
}

}  // namespace

Object* Object::resolve(std::string_view path) noexcept
{
    if (path.starts_with('/')) {
        Object* root = this;
        while (root->impl_->parent)
            root = root->impl_->parent;
        return walk(*root, path);
    }
    if (path.empty())
        return nullptr;
    std::vector<Object*> found;
    search(*this, path, found);
    return found.size() == 1 ? found.front() : nullptr;
}

std::vector<const Property*> Object::properties() const
{
    std::vector<const Property*> list = types().properties(type_name());
    for (const auto& one : impl_->own)
        list.push_back(one.get());
    for (const auto& one : impl_->children)
        list.push_back(&one->entry);
    return list;
}

const Property* Object::find_property(std::string_view name) const noexcept
{
    for (const TypeInfo* type = impl_->type; type;
         type = type->parent.empty() ? nullptr : types().find(type->parent)) {
        for (const Property& property : type->properties) {
            if (property.name == name)
                return &property;
        }
    }
    for (const auto& one : impl_->own) {
        if (one->name == name)
            return one.get();
    }
    const auto it = impl_->find(name);
    return it == impl_->children.end() ? nullptr : &(*it)->entry;
}

namespace {

Error property_error(const Object& object, std::string_view name, std::string_view problem)
{
    return Error(Errc::InvalidArgument, "Property '" + std::string(object.type_name()) + "." +
                                            std::string(name) + "' " + std::string(problem));
}

}  // namespace

Result<Json> Object::get_property(std::string_view name) const
{
    const Property* property = find_property(name);
    if (!property)
        return property_error(*this, name, "not found").with_code(Errc::NotFound);
    if (!property->get)
        return property_error(*this, name, "is not readable");
    return property->get(*this);
}

Result<void> Object::set_property(std::string_view name, const Json& value)
{
    const Property* property = find_property(name);
    if (!property)
        return property_error(*this, name, "not found").with_code(Errc::NotFound);
    if (!property->set)
        return property_error(*this, name, "is not writable");
    GW_TRY(check_settable(*property));
    return property->set(*this, value);
}

void Object::add_property(Property property)
{
    impl_->own.push_back(std::make_unique<Property>(std::move(property)));
}

void Object::set_type(const TypeRegistry& types, const TypeInfo& type) noexcept
{
    impl_->types = &types;
    impl_->type = &type;
}

}  // namespace godwit::system
