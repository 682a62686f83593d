// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every section of a q35 describes itself as QEMU 10.0.2 does: same names, types, sizes and order.
// qemu_q35.json holds what QEMU appended to its streams.
#include "hw/ide/ahci.h"
#include "hw/pci/lpc.h"
#include "hw/pci/q35.h"
#include "hw/timer/i8254.h"
#include "tests/unit/hw/support.h"

#include <fstream>
#include <set>
#include <sstream>

namespace godwit::hw {
namespace {

struct Reference {
    std::map<std::string, Json> sections;  // "disk:" in front of the controller that has a disk
    Reference()
    {
        std::ifstream file(GW_TEST_DATA "/qemu_q35.json");
        std::stringstream text;
        text << file.rdbuf();
        const Json all = parse_json(text.str()).value();
        for (Json section : all) {
            const std::string name = section["name"];
            const unsigned instance = section["instance_id"];
            section.erase("name");
            section.erase("instance_id");
            sections[instance == 0 ? name : name + "#" + std::to_string(instance)] = section;
        }
    }
};

void add_q35(test::House& house)
{
    auto& host = house.add<Q35Host>("q35-pcihost");
    auto& lpc = house.add<Lpc>("ICH9-LPC", Json{{"addr", "1f.0"}}, &host.bus());
    lpc.connect_gsi(std::make_shared<Gsi>(24));
    house.add<Ahci>("ich9-ahci", Json{{"addr", "1f.2"}}, &host.bus());
    for (const char* type : {"mc146818rtc", "isa-pit", "isa-pcspk", "isa-serial", "i8042", "port92",
                             "i8257", "vmmouse"})
        if (house.vm->types().find(type) != nullptr)
            house.add<system::Device>(type, Json::object(), &lpc.isa());
    for (const bool master : {true, false})
        house.add<system::Device>(
            "isa-i8259", Json{{"master", master}, {"iobase", master ? 0x20 : 0xa0}}, &lpc.isa());
    for (const char* type : {"ioapic", "fw_cfg_io", "hpet"})
        if (house.vm->types().find(type) != nullptr)
            house.add<system::Device>(type);
    if (house.vm->types().find("ICH9-SMB") != nullptr)
        house.add<system::Device>("ICH9-SMB", Json{{"addr", "1f.3"}}, &host.bus());
    house.vm->devices().reset_all(system::ResetKind::Cold);
}

TEST(Descriptions, AreThoseOfQemu)
{
    const Reference reference;
    ASSERT_GT(reference.sections.size(), 20u);
    test::House house;
    add_q35(house);
    std::set<std::string> seen;
    for (const auto& entry : house.vm->state_registry().entries()) {
        if (!entry->described)
            continue;
        const std::string key = entry->instance_id == 0
                                    ? entry->idstr
                                    : entry->idstr + "#" + std::to_string(entry->instance_id);
        const auto expected = reference.sections.find(key);
        if (expected == reference.sections.end())
            continue;
        seen.insert(key);
        std::string text;
        (void)house.save(entry->idstr, entry->instance_id, &text);
        Json want = expected->second;
        if (key == "fw_cfg")
            want["subsections"].erase(1);  // a machine with ACPI tables has one more
        EXPECT_EQ(text, [&] {
            // As QEMU writes it: a blank behind each colon and comma.
            std::string spaced;
            bool quoted = false;
            for (const char c : want.dump()) {
                spaced.push_back(c);
                quoted = c == '"' ? !quoted : quoted;
                if (!quoted && (c == ':' || c == ','))
                    spaced.push_back(' ');
            }
            return spaced;
        }()) << key;
    }
    for (const char* name :
         {"fw_cfg", "0000:00:00.0/mch", "PCIHost", "PCIBUS", "mc146818rtc", "0000:00:1f.0/ICH9LPC",
          "i8259", "i8259#1", "ioapic", "i8254", "pcspk", "serial", "ps2kbd", "ps2mouse", "pckbd",
          "port92", "0000:00:1f.2/ich9_ahci"})
        EXPECT_TRUE(seen.contains(name)) << name;
}

TEST(Descriptions, OfADiskIsThatOfQemu)
{
    const Reference reference;
    test::House house;
    add_q35(house);
    ASSERT_TRUE(BlockSet::of(*house.vm).add_drive("if=none,id=d0,format=null-co"));
    ASSERT_TRUE(house.vm->devices().add("ide-hd", "", Json{{"drive", "d0"}}, false));
    std::string text;
    const auto body = house.save("0000:00:1f.2/ich9_ahci", 0, &text);
    EXPECT_EQ(body.size(), 4680u);
    EXPECT_EQ(parse_json(text).value().dump(),
              reference.sections.at("disk:0000:00:1f.2/ich9_ahci").dump());
}

}  // namespace
}  // namespace godwit::hw
