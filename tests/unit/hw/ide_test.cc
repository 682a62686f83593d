// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/ide/ahci.h"

#include "hw/pci/q35.h"
#include "qapi/block_commands.h"
#include "tests/unit/hw/support.h"

#include <cstring>
#include <fcntl.h>
#include <random>
#include <unistd.h>

namespace godwit::hw {
namespace {

// A file of `sectors` sectors; byte n of sector s is s + n.
struct Image {
    std::string path;
    explicit Image(unsigned sectors, unsigned extra = 0)
    {
        std::string name = ::testing::TempDir() + "godwit-disk-XXXXXX";
        const int fd = ::mkstemp(name.data());
        path = name;
        std::vector<std::uint8_t> bytes(sectors * 512 + extra);
        for (std::size_t n = 0; n < bytes.size(); ++n)
            bytes[n] = pattern(n);
        EXPECT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
        ::close(fd);
    }
    ~Image() { ::unlink(path.c_str()); }
    static std::uint8_t pattern(std::size_t n) { return static_cast<std::uint8_t>(n / 512 + n); }
};

struct IdeBoard : test::House {
    Q35Host* host = nullptr;
    Ahci* ahci = nullptr;
    int irq14 = 0;
    IdeBoard()
    {
        host = &add<Q35Host>("q35-pcihost");
        ahci = &add<Ahci>("ich9-ahci", Json{{"addr", "1f.2"}}, &host->bus());
        ahci->gpio_out("legacy-irq", 0).connect(system::IrqInput([this](int l) { irq14 = l; }));
    }
    BlockSet& blocks() { return BlockSet::of(*vm); }
    void add_disk(const Image& image, const std::string& more = {})
    {
        ASSERT_TRUE(blocks().add_drive("if=none,id=d0,format=raw,file=" + image.path + more));
        const auto disk = vm->devices().add("ide-hd", "hd0", Json{{"drive", "d0"}}, false);
        ASSERT_TRUE(disk) << disk.error().message();
        vm->devices().reset_all(system::ResetKind::Cold);
    }
    void lba(std::uint64_t at, unsigned count)
    {
        out(0x1f2, count);
        out(0x1f3, at & 0xff);
        out(0x1f4, at >> 8 & 0xff);
        out(0x1f5, at >> 16 & 0xff);
        out(0x1f6, 0xe0 | (at >> 24 & 0x0f));
    }
    std::vector<std::uint8_t> pull(unsigned bytes)
    {
        std::vector<std::uint8_t> data;
        for (unsigned n = 0; n < bytes; n += 2) {
            const auto word = in(0x1f0, 2);
            data.push_back(static_cast<std::uint8_t>(word));
            data.push_back(static_cast<std::uint8_t>(word >> 8));
        }
        return data;
    }
};

TEST(IdeDrive, ReadsSectorsByProgrammedIo)
{
    Image image(8);
    IdeBoard board;
    board.add_disk(image);
    board.lba(2, 3);
    board.out(0x1f7, 0x20);
    for (unsigned sector = 2; sector < 5; ++sector) {
        EXPECT_EQ(board.irq14, 1);
        EXPECT_EQ(board.in(0x1f7), 0x58u);
        EXPECT_EQ(board.irq14, 0);
        const auto data = board.pull(512);
        for (unsigned n = 0; n < 512; ++n)
            ASSERT_EQ(data[n], Image::pattern(sector * 512 + n));
    }
    EXPECT_EQ(board.in(0x1f7), 0x50u);
    EXPECT_EQ(board.irq14, 0);
}

TEST(IdeDrive, WritesReachTheFileAndMultipleMovesSeveralSectorsAtOnce)
{
    Image image(64);
    IdeBoard board;
    board.add_disk(image);
    board.out(0x1f2, 4);
    board.out(0x1f7, 0xc6);
    EXPECT_EQ(board.in(0x1f7), 0x50u);
    board.lba(10, 6);
    board.out(0x1f7, 0xc5);
    EXPECT_EQ(board.irq14, 0);
    for (unsigned n = 0; n < 6 * 256; ++n)
        board.out(0x1f0, 0x1000 + n, 2);
    EXPECT_EQ(board.in(0x1f7), 0x50u);
    board.out(0x1f7, 0xe7);
    EXPECT_EQ(board.in(0x1f7), 0x50u);
    std::vector<std::uint16_t> words(6 * 256);
    ASSERT_TRUE(board.blocks().find_drive("d0")->node->read(
        10 * 512, std::as_writable_bytes(std::span(words))));
    for (unsigned n = 0; n < words.size(); ++n)
        ASSERT_EQ(words[n], 0x1000 + n);
}

TEST(IdeDrive, TwentyEightAndFortyEightBitAddressesAgree)
{
    Image image(300);
    IdeBoard board;
    board.add_disk(image);
    for (const unsigned value : {0u, 1u})
        board.out(0x1f2, value);  // 0x0001 sectors: high byte first
    for (const unsigned value : {0u, 0x2bu})
        board.out(0x1f3, value);
    board.out(0x1f4, 0);
    board.out(0x1f4, 1);
    board.out(0x1f5, 0);
    board.out(0x1f5, 0);
    board.out(0x1f6, 0xe0);
    board.out(0x1f7, 0x24);
    EXPECT_EQ(board.pull(512)[1], Image::pattern(299 * 512 + 1));
    EXPECT_EQ(board.in(0x1f7), 0x50u);
}

TEST(IdeDrive, IdentifySaysWhoItIs)
{
    Image image(1);
    IdeBoard board;
    board.add_disk(image);
    board.out(0x1f7, 0xec);
    const auto data = board.pull(512);
    EXPECT_EQ(data[60 * 2], 1);
    EXPECT_EQ(data[100 * 2], 1);
    std::string model;
    for (unsigned n = 0; n < 12; ++n)
        model.push_back(static_cast<char>(data[27 * 2 + (n ^ 1)]));
    EXPECT_EQ(model, "QEMU HARDDIS");
    EXPECT_EQ(board.in(0x1f7), 0x50u);
}

TEST(IdeDrive, OutOfRangeAndUnknownCommandsAbort)
{
    Image image(4);
    IdeBoard board;
    board.add_disk(image);
    for (const auto& [lba, count, command] : {std::tuple{4u, 1u, 0x20u},
                                              {3u, 2u, 0x30u},
                                              {0xfffffffu, 0u, 0x20u},
                                              {0u, 1u, 0xc8u},
                                              {0u, 1u, 0xa1u},
                                              {0u, 1u, 0xffu}}) {
        board.lba(lba, count);
        board.out(0x1f7, command);
        EXPECT_EQ(board.in(0x1f7), 0x41u) << command;
        EXPECT_EQ(board.in(0x1f1) & 4, 4u);
    }
    board.out(0x1f6, 0xa0);  // CHS, sector 0 does not exist
    board.out(0x1f3, 0);
    board.out(0x1f7, 0x20);
    EXPECT_EQ(board.in(0x1f7), 0x41u);
}

TEST(IdeDrive, ReadOnlyImagesRefuseWrites)
{
    Image image(4);
    IdeBoard board;
    board.add_disk(image, ",readonly=on");
    board.lba(0, 1);
    board.out(0x1f7, 0x30);
    EXPECT_EQ(board.in(0x1f7), 0x41u);
    EXPECT_FALSE(board.blocks().find_drive("d0")->node->write(0, {}));
}

TEST(IdeDrive, NothingThereAnswersQuietly)
{
    IdeBoard board;
    EXPECT_EQ(board.in(0x1f7), 0x7fu);
    board.out(0x1f7, 0xec);
    EXPECT_EQ(board.in(0x1f0, 2), 0xffffu);
    Image image(1);
    board.add_disk(image);
    board.out(0x1f6, 0xb0);  // the second disk
    EXPECT_EQ(board.in(0x1f7), 0u);
    board.out(0x1f7, 0xec);
    EXPECT_EQ(board.in(0x1f7), 0u);
    board.out(0x3f6, 4);
    board.out(0x3f6, 0);
    EXPECT_EQ(board.in(0x1f7), 0x50u);
    EXPECT_EQ(board.in(0x1f1), 1u);
}

TEST(IdeDrive, AHalfReadSectorArrives)
{
    Image image(8);
    IdeBoard one;
    IdeBoard two;
    one.add_disk(image);
    two.add_disk(image);
    one.lba(3, 2);
    one.out(0x1f7, 0x20);
    (void)one.pull(100);
    const auto body = one.save("0000:00:1f.2/ich9_ahci");
    const auto loaded = two.load("0000:00:1f.2/ich9_ahci", 1, body);
    ASSERT_TRUE(loaded) << loaded.error().message();
    EXPECT_EQ(two.save("0000:00:1f.2/ich9_ahci"), body);
    EXPECT_EQ(two.pull(412)[0], Image::pattern(3 * 512 + 100));
    EXPECT_EQ(two.pull(512)[5], Image::pattern(4 * 512 + 5));
    EXPECT_EQ(two.in(0x1f7), 0x50u);
}

TEST(IdeDrive, ABadTransferStateIsRefused)
{
    Image image(8);
    IdeBoard board;
    board.add_disk(image);
    board.lba(3, 2);
    board.out(0x1f7, 0x20);
    auto body = board.save("0000:00:1f.2/ich9_ahci");
    std::mt19937 random(7);
    for (int n = 0; n < 300; ++n) {
        auto bad = body;
        for (int k = 0; k < 3; ++k)
            bad[276 + random() % (bad.size() - 276)] = static_cast<std::byte>(random());
        if (board.load("0000:00:1f.2/ich9_ahci", 1, bad)) {
            (void)board.pull(2048);
            for (int k = 0; k < 1024; ++k)
                board.out(0x1f0, 0, 2);
        }
    }
    for (std::size_t length = 0; length < body.size(); length += 97)
        EXPECT_FALSE(board.load("0000:00:1f.2/ich9_ahci", 1, std::span(body).first(length)));
}

TEST(Ahci, ReadsAndWritesBySlots)
{
    Image image(64);
    IdeBoard board;
    auto& ram = board.add_ram(1 << 20);
    board.add_disk(image);
    auto& bus = board.host->bus();
    bus.config_write(0xfa, 4, 6, 2);
    bus.config_write(0xfa, 0x24, 0xe0000000, 4);
    auto& memory = board.vm->memory();
    EXPECT_EQ(memory.load(0xe0000000, 4) & 0x1f, 5u);
    const std::uint64_t port = 0xe0000100 + 5 * 0x80;  // the last is filled first
    EXPECT_EQ(memory.load(port + 0x28, 4), 0x113u);
    EXPECT_EQ(memory.load(port - 0x80 + 0x28, 4), 0u);
    memory.store(0xe0000004, 2, 4);
    memory.store(port + 0x00, 0x10000, 4);
    memory.store(port + 0x08, 0x11000, 4);
    memory.store(port + 0x14, 0xffffffff, 4);
    memory.store(port + 0x18, 0x11, 4);
    EXPECT_EQ(memory.load(port + 0x24, 4), 0x101u);
    memory.store(port + 0x10, 0xffffffff, 4);
    const auto run = [&](std::uint8_t command, unsigned lba, unsigned count, unsigned bytes) {
        memory.store(0x10000, 5 | 2 << 16, 4);
        memory.store(0x10008, 0x12000, 8);
        const std::array<std::uint8_t, 20> fis{
            0x27, 0x80, command, 0, static_cast<std::uint8_t>(lba),  0, 0, 0x40,
            0,    0,    0,       0, static_cast<std::uint8_t>(count)};
        EXPECT_TRUE(memory.write(0x12000, std::as_bytes(std::span(fis))));
        memory.store(0x12080, 0x20000, 8);
        memory.store(0x1208c, 511, 4);
        memory.store(0x12090, 0x30000, 8);
        memory.store(0x1209c, bytes - 512 - 1, 4);
        memory.store(port + 0x38, 1, 4);
    };
    run(0x25, 5, 4, 2048);
    EXPECT_EQ(memory.load(port + 0x38, 4), 0u);
    EXPECT_EQ(memory.load(port + 0x20, 4), 0x50u);
    EXPECT_EQ(memory.load(0x10004, 4), 2048u);
    EXPECT_TRUE(board.ahci->irq_level());
    EXPECT_EQ(std::to_integer<unsigned>(ram.bytes()[0x20000 + 7]), Image::pattern(5 * 512 + 7));
    EXPECT_EQ(std::to_integer<unsigned>(ram.bytes()[0x30000 + 7]), Image::pattern(6 * 512 + 7));
    memory.store(port + 0x10, 0xffffffff, 4);
    EXPECT_FALSE(board.ahci->irq_level());
    memory.store(0x20000, 0xaabbccdd, 4);
    run(0x35, 20, 2, 1024);
    EXPECT_EQ(memory.load(port + 0x20, 4), 0x50u);
    std::array<std::byte, 4> written{};
    ASSERT_TRUE(board.blocks().find_drive("d0")->node->read(20 * 512, written));
    EXPECT_EQ(written[0], std::byte{0xdd});
    run(0x25, 62, 4, 2048);  // past the end
    EXPECT_EQ(memory.load(port + 0x20, 4), 0x0441u);
    EXPECT_EQ(memory.load(port + 0x10, 4) & 0x40000000, 0x40000000u);
    run(0xec, 0, 0, 1024);
    EXPECT_EQ(memory.load(0x20000 + 60 * 2, 2), 64u);
}

TEST(Ahci, AHostileCommandListDoesNoHarm)
{
    Image image(8);
    IdeBoard board;
    auto& ram = board.add_ram(1 << 20);
    board.add_disk(image);
    board.host->bus().config_write(0xfa, 4, 6, 2);
    board.host->bus().config_write(0xfa, 0x24, 0xe0000000, 4);
    auto& memory = board.vm->memory();
    std::mt19937 random(3);
    for (int n = 0; n < 2000; ++n) {
        for (unsigned k = 0; k < 64; ++k)
            ram.bytes()[random() % 0x4000] =
                static_cast<std::byte>(random() % 4 == 0 ? 0x27 : random());
        memory.store(0xe0000380 + (random() % 32) * 4, random() & (random() % 2 ? 0x3fff : ~0u), 4);
        memory.store(0xe0000380, 0, 4);
        memory.store(0xe0000398, 0x11, 4);
        memory.store(0xe00003b8, 1u << random() % 32, 4);
    }
}

TEST(BlockSet, DrivesHaveNamesAndOneUser)
{
    Image image(0, 100);
    IdeBoard board;
    auto& blocks = board.blocks();
    ASSERT_TRUE(blocks.add_drive("file=" + image.path + ",format=raw"));
    ASSERT_EQ(blocks.default_disks().size(), 1u);
    EXPECT_EQ(blocks.default_disks()[0]->id, "ide0-hd0");
    EXPECT_EQ(blocks.default_disks()[0]->node->size_bytes(), 512u);
    std::array<std::byte, 512> sector{};
    ASSERT_TRUE(blocks.default_disks()[0]->node->read(0, sector));
    EXPECT_EQ(sector[99], static_cast<std::byte>(Image::pattern(99)));
    EXPECT_EQ(sector[100], std::byte{0});
    ASSERT_TRUE(blocks.add_drive("if=none,id=d1,file=" + image.path));
    const auto twice = blocks.add_drive("if=none,id=d1,file=" + image.path);
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().message(), "Duplicate ID 'd1' for drive");
    const auto missing = blocks.add_drive("if=none,id=d2,file=/nonexistent/x");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().message(),
              "Could not open '/nonexistent/x': No such file or directory");
    EXPECT_EQ(blocks.add_drive("if=none,id=d3,format=qcow2,file=x").error().message(),
              "Unknown driver 'qcow2'");
    EXPECT_EQ(blocks.add_drive("if=none,id=d3,fiel=x").error().message(),
              "Invalid parameter 'fiel'");
    auto& devices = board.vm->devices();
    ASSERT_TRUE(devices.add("ide-hd", "a", Json{{"drive", "d1"}}, false));
    EXPECT_EQ(devices.add("ide-hd", "b", Json{{"drive", "d1"}}, false).error().message(),
              "Drive 'd1' is already in use by another device");
    EXPECT_EQ(devices.add("ide-hd", "b", Json{{"drive", "zz"}}, false).error().message(),
              "Property 'ide-hd.drive' can't find value 'zz'");
    EXPECT_EQ(boot_disk(*board.vm), blocks.find_drive("d1")->node);
}

TEST(BlockSet, NodesComeAndGoByName)
{
    Image image(4);
    IdeBoard board;
    auto& blocks = board.blocks();
    ASSERT_TRUE(
        blocks.add_blockdev("driver=file,node-name=f0,read-only=on,filename=" + image.path));
    ASSERT_TRUE(blocks.add_blockdev("driver=raw,node-name=r0,file=f0"));
    EXPECT_EQ(blocks.remove_node("f0").error().message(), "Block device f0 is in use");
    EXPECT_EQ(blocks.add_blockdev("driver=raw,node-name=r2,file=no").error().message(),
              "Cannot find device='no' nor node-name='no'");
    ASSERT_TRUE(
        blocks.add_blockdev("{\"driver\":\"raw\",\"node-name\":\"r1\",\"offset\":512,\"file\":"
                            "{\"driver\":\"file\",\"filename\":\"" +
                            image.path + "\"}}"));
    EXPECT_TRUE(blocks.find_node("r0")->read_only());
    EXPECT_EQ(blocks.find_node("r1")->size_bytes(), 3 * 512u);
    ASSERT_TRUE(blocks.add_blockdev("driver=null-co,node-name=n0,size=1M"));
    EXPECT_EQ(blocks.find_node("n0")->size_bytes(), 1u << 20);
    EXPECT_EQ(blocks.add_blockdev("driver=null-co,node-name=n0").error().message(),
              "Duplicate nodes with node-name='n0'");
    const auto commands = make_block_commands(*board.vm);
    EXPECT_EQ(commands->query_named_block_nodes({})->size(), 4u);
    ASSERT_TRUE(board.vm->devices().add("ide-hd", "a", Json{{"drive", "r0"}}, false));
    EXPECT_EQ(commands->query_block()->size(), 1u);
    EXPECT_EQ(commands->blockdev_del({.node_name = "r0"}).error().message(), "Node r0 is in use");
    ASSERT_TRUE(commands->blockdev_del({.node_name = "n0"}));
    EXPECT_EQ(commands->blockdev_del({.node_name = "n0"}).error().message(),
              "Failed to find node with node-name='n0'");
}

}  // namespace
}  // namespace godwit::hw
