// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Everything with a type name, properties and a place in the tree that qom-list shows.
#pragma once

#include "util/json_fwd.h"
#include "util/registration.h"
#include "util/result.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::system {

class Object;
class TypeRegistry;
class Vm;

/// One typed property. `type` is QEMU's name of the type ("bool", "uint32", "size", "str",
/// "link<...>", an enum's name), shown by qom-list and device-list-properties.
struct Property {
    std::string name;
    std::string type;
    std::string description;
    std::function<Result<Json>(const Object&)> get;
    std::function<Result<void>(Object&, const Json&)> set;  ///< empty: read-only
    std::function<Json()> default_value;                    ///< empty: none to show
    bool settable_when_realized = false;
    /// Words an enum takes, for help.
    std::vector<std::string> values;
};

/// A type: what `-device`, `-object`, `-machine`, `-accel` and `qom-list-types` know of it.
struct TypeInfo {
    std::string name;
    std::string parent;  ///< "device", "object", "machine", "accel", "sys-bus-device", ...
    bool abstract_type = false;
    bool user_creatable = true;  ///< may be named by -device / -object
    bool hotpluggable = false;
    std::string
        bus;  ///< bus type a device of it plugs into: "PCI", "ISA", "virtio-bus", "" = system
    std::string description;
    std::vector<Property> properties;  ///< of this type alone; parents' are inherited
    std::function<std::unique_ptr<Object>()> create;  ///< empty for abstract types
};

/// All types of one Vm: rooms and plugins add theirs.
///
/// Threads  filled before use; plugins add with the machine lock.
/// Errors   add(): Exists, or NotFound for an unknown parent.
class TypeRegistry {
public:
    TypeRegistry();
    ~TypeRegistry();
    /// For good: plugins stay loaded.
    Result<void> add(TypeInfo info);
    const TypeInfo* find(std::string_view name) const noexcept;
    bool is_a(std::string_view name, std::string_view ancestor) const noexcept;
    /// Sorted by name.
    std::vector<const TypeInfo*> list(std::string_view implements = {},
                                      bool with_abstract = true) const;
    /// Own and inherited properties, parents' first.
    std::vector<const Property*> properties(std::string_view type) const;
    /// Makes one, with every property that has a default set to it.
    Result<std::unique_ptr<Object>> create(std::string_view type) const;
    /// Says that `object`, made by hand (a constructor with arguments), is of `type`.
    Result<void> adopt(Object& object, std::string_view type) const;
    /// Whether -object and object-add may make one.
    bool user_creatable_object(const TypeInfo& type) const noexcept;

    /// Where absolute paths start for objects that are not in the tree yet (links); set by the Vm.
    Object* root() const noexcept;
    void set_root(Object* root) noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// A node of the object tree. Children are owned by their parent.
///
/// Threads  with the machine lock.
class Object {
public:
    Object();
    virtual ~Object();
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;

    std::string_view type_name() const noexcept;
    const TypeInfo& type() const noexcept;
    const TypeRegistry& types() const noexcept;
    /// The name under the parent: "ram0", "device[3]".
    const std::string& name() const noexcept;
    Object* parent() const noexcept;
    /// "/machine/peripheral/disk0".
    std::string path() const;

    Result<void> add_child(std::string name, std::unique_ptr<Object> child);
    std::unique_ptr<Object> take_child(std::string_view name);
    Object* child(std::string_view name) const noexcept;
    std::vector<Object*> children() const;
    /// Absolute ("/machine/...") from the root, or a partial path that is unique below here.
    Object* resolve(std::string_view path) noexcept;

    /// Properties of the type plus those this instance added, plus child<...> entries.
    std::vector<const Property*> properties() const;
    Result<Json> get_property(std::string_view name) const;
    /// Errors as QEMU words them: "Property 'T.p' not found", type and range errors.
    Result<void> set_property(std::string_view name, const Json& value);
    /// The same from command-line text, converted by the property's type ("on", "16M", "0x10").
    Result<void> set_property_text(std::string_view name, std::string_view text);
    void add_property(Property property);
    const Property* find_property(std::string_view name) const noexcept;

    /// Why `property` may not be set now; nothing if it may. A realized device says no.
    virtual Result<void> check_settable(const Property&) const { return {}; }

private:
    friend class TypeRegistry;
    void set_type(const TypeRegistry& types, const TypeInfo& type) noexcept;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// What -object and object-add make.
///
/// Life     properties set, complete() once, then part of /objects until object-del.
class UserObject : public Object {
public:
    /// Checks the properties together and does the work. An error destroys the object.
    virtual Result<void> complete(Vm&) { return {}; }
    /// Somebody holds it: object-del then refuses.
    virtual bool in_use() const noexcept { return false; }
};

/// A name that -device, -object and their kin accept as id.
/// Errors   "Parameter 'id' expects an identifier", with a hint that says what one is.
Result<void> check_identifier(std::string_view id, std::string_view parameter = "id");

// Property makers (by pointer to a data member of the object's class) are in system/property.h.

}  // namespace godwit::system
