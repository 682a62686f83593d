// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/fw_cfg.h"

#include "tests/unit/hw/support.h"

#include <random>

namespace godwit::hw {
namespace {

FwCfg::Bytes bytes_of(std::string_view text)
{
    const auto span = std::as_bytes(std::span(text));
    return {span.begin(), span.end()};
}

struct FwCfgBoard : test::House {
    FwCfg& fw = add<FwCfg>("fw_cfg_io");
    system::RamBlock& ram = add_ram(1 << 20);

    std::string pull(unsigned key, unsigned length)
    {
        out(0x510, key, 2);
        std::string text;
        while (text.size() < length)
            text.push_back(static_cast<char>(in(0x511)));
        return text;
    }
    void big(std::uint64_t at, std::uint64_t value, unsigned size)
    {
        for (unsigned n = 0; n < size; ++n)
            ram.bytes()[at + n] = static_cast<std::byte>(value >> (8 * (size - 1 - n)));
    }
    std::uint32_t control()
    {
        return std::byteswap(static_cast<std::uint32_t>(vm->memory().load(0x1000, 4)));
    }
    // Runs a transfer by the descriptor at 0x1000 and returns what came back in `control`.
    std::uint32_t dma(std::uint32_t control_word, std::uint32_t length, std::uint64_t address)
    {
        big(0x1000, control_word, 4);
        big(0x1004, length, 4);
        big(0x1008, address, 8);
        out(0x514, 0, 4);
        out(0x518, std::byteswap(std::uint32_t{0x1000}), 4);
        return control();
    }
    std::string text(std::uint64_t at, std::size_t length)
    {
        const auto piece = ram.bytes().subspan(at, length);
        return {reinterpret_cast<const char*>(piece.data()), length};
    }
};

TEST(FwCfg, SaysWhatItIs)
{
    FwCfgBoard board;
    EXPECT_EQ(board.pull(0, 6), std::string("QEMU\0\0", 6));
    EXPECT_EQ(board.pull(1, 4), std::string("\3\0\0\0", 4));
    EXPECT_EQ(board.in(0x514, 4), 0x554d4551u);  // "QEMU CFG", as bytes
    EXPECT_EQ(board.in(0x518, 4), 0x47464320u);
}

TEST(FwCfg, FilesStandInOrderOfTheirNames)
{
    FwCfgBoard board;
    ASSERT_TRUE(board.fw.add_file("etc/zebra", bytes_of("stripes")));
    ASSERT_TRUE(board.fw.add_file("bootorder", bytes_of("disk")));
    EXPECT_EQ(board.fw.file_key("bootorder"), 0x20);
    EXPECT_EQ(board.fw.file_key("etc/zebra"), 0x21);
    const std::string directory = board.pull(0x19, 4 + 2 * 64);
    EXPECT_EQ(directory.substr(0, 12), std::string("\0\0\0\2\0\0\0\4\0\x20\0\0", 12));
    EXPECT_STREQ(directory.c_str() + 12, "bootorder");
    EXPECT_STREQ(directory.c_str() + 76, "etc/zebra");
    EXPECT_EQ(board.pull(0x21, 7), "stripes");
    ASSERT_TRUE(board.fw.set_file("etc/zebra", bytes_of("x")));
    EXPECT_EQ(board.pull(0x21, 2), std::string("x\0", 2));
    EXPECT_EQ(board.fw.add_file("bootorder", bytes_of("")).error().code(), Errc::Exists);
    EXPECT_FALSE(board.fw.add_file(std::string(56, 'n'), bytes_of("")));
    EXPECT_FALSE(board.fw.add_file("", bytes_of("")));
    for (unsigned n = 2; n < 32; ++n)
        ASSERT_TRUE(board.fw.add_file("f" + std::to_string(n), bytes_of("")));
    EXPECT_EQ(board.fw.add_file("one-more", bytes_of("")).error().code(), Errc::OutOfMemory);
}

TEST(FwCfg, DmaReadsSkipsAndFillsWithZeros)
{
    FwCfgBoard board;
    ASSERT_TRUE(board.fw.add_file("f", bytes_of("0123456789")));
    board.big(0x2000, ~std::uint64_t{0}, 8);
    board.big(0x2008, ~std::uint64_t{0}, 8);
    EXPECT_EQ(board.dma(0x20 << 16 | 8 | 4, 2, 0), 0u);  // select, skip two
    EXPECT_EQ(board.dma(2, 4, 0x2000), 0u);
    EXPECT_EQ(board.text(0x2000, 5), "2345\xff");
    EXPECT_EQ(board.dma(2, 8, 0x2000), 0u);  // four are left
    EXPECT_EQ(board.text(0x2000, 9), std::string("6789\0\0\0\0\xff", 9));
    EXPECT_EQ(board.dma(0x3f << 16 | 8 | 2, 4, 0x2000), 0u);  // no such item: zeros
    EXPECT_EQ(board.text(0x2000, 4), std::string(4, '\0'));
}

TEST(FwCfg, DmaWritesOnlyWhatIsWritable)
{
    FwCfgBoard board;
    std::uint32_t told = 0;
    ASSERT_TRUE(board.fw.add_file(
        "w", FwCfg::Item{.data = bytes_of("....."),
                         .writable = true,
                         .on_write = [&](std::uint32_t offset, std::uint32_t length) {
                             told = offset << 8 | length;
                         }}));
    ASSERT_TRUE(board.fw.add_file("r", bytes_of(".....")));
    std::ranges::copy(bytes_of("abcde"), board.ram.bytes().begin() + 0x2000);
    const unsigned w = board.fw.file_key("w");
    const unsigned r = board.fw.file_key("r");
    EXPECT_EQ(board.dma(w << 16 | 8 | 4, 1, 0), 0u);
    EXPECT_EQ(board.dma(0x10, 3, 0x2000), 0u);
    EXPECT_EQ(told, 0x103u);
    EXPECT_EQ(board.pull(w, 5), ".abc.");
    EXPECT_EQ(board.dma(w << 16 | 8 | 0x10, 6, 0x2000), 1u);
    EXPECT_EQ(board.dma(r << 16 | 8 | 0x10, 5, 0x2000), 1u);
    EXPECT_EQ(board.pull(r, 5), ".....");
}

TEST(FwCfg, BadTransfersGetTheErrorBit)
{
    FwCfgBoard board;
    ASSERT_TRUE(board.fw.add_file("f", bytes_of("0123456789")));
    EXPECT_EQ(board.dma(0x20 << 16 | 8 | 2, 10, 0xfffffff8), 1u);
    EXPECT_EQ(board.dma(0x20 << 16 | 8 | 2, 10, ~std::uint64_t{0} - 3), 1u);
    EXPECT_EQ(board.dma(0x20 << 16 | 8 | 2, 0xffffffff, 0x2000), 1u);
    board.out(0x514, 0xffffffff, 4);  // a descriptor that is nowhere
    board.out(0x518, 0xffffffff, 4);
    EXPECT_EQ(board.pull(0x20, 3), "012");
}

TEST(FwCfg, SelectionRunsTheHook)
{
    FwCfgBoard board;
    int asked = 0;
    board.fw.on_select(FwCfgKey::RamSize, [&] { board.fw.set_u64(FwCfgKey::RamSize, ++asked); });
    board.fw.set_u64(FwCfgKey::RamSize, 0);
    EXPECT_EQ(board.pull(3, 2), std::string("\1\0", 2));
    EXPECT_EQ(board.pull(3, 2), std::string("\2\0", 2));
}

TEST(FwCfg, ThePlaceInAnItemArrives)
{
    FwCfgBoard one;
    FwCfgBoard two;
    for (FwCfgBoard* board : {&one, &two})
        ASSERT_TRUE(board->fw.add_file("f", bytes_of("0123456789")));
    (void)one.pull(0x20, 4);
    const auto body = one.save("fw_cfg");
    EXPECT_EQ(body.size(), 30u);
    ASSERT_TRUE(two.load("fw_cfg", 2, body));
    EXPECT_EQ(two.in(0x511), '4');
    two.fw.set_acpi_sizes(0x20000, 0x1000, 0x15);
    EXPECT_EQ(two.save("fw_cfg").size(), 74u);
    test::expect_no_crash_when_cut(two, "fw_cfg", 2, body, 6);
}

TEST(FwCfg, ARandomGuestDoesNoHarm)
{
    FwCfgBoard board;
    ASSERT_TRUE(
        board.fw.add_file("f", FwCfg::Item{.data = bytes_of("0123456789"), .writable = true}));
    std::mt19937 random(2);
    for (int n = 0; n < 5000; ++n) {
        board.out(static_cast<std::uint16_t>(0x510 + random() % 12), random(), 1u << random() % 3);
        (void)board.in(static_cast<std::uint16_t>(0x510 + random() % 12), 1u << random() % 3);
        (void)board.dma(random() & 0x3f001f, random() >> random() % 32, random() & 0x1fffff);
    }
}

}  // namespace
}  // namespace godwit::hw
