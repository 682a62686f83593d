// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Devices behind the kernel, and the test kernel itself: what it refuses is what Linux refuses.
#include "tests/unit/vfio/support.h"
#include "util/event_fd.h"

#include <array>
#include <cerrno>
#include <sys/mman.h>

namespace godwit::hw::vfio::test {
namespace {

using enum MigrationState;

DeviceSpec with_states(bool p2p, bool precopy)
{
    DeviceSpec spec;
    spec.p2p = p2p;
    spec.precopy = precopy;
    spec.state_bytes = 3 * kChunk + 100;
    return spec;
}

MigrationState state_of(char letter)
{
    return static_cast<MigrationState>(std::string_view("ESRCLrPp").find(letter));
}

std::vector<std::byte> read_all(DeviceBackend& backend, std::size_t piece)
{
    std::vector<std::byte> all;
    std::vector<std::byte> buffer(piece);
    for (;;) {
        const DataRead got = must(backend.data_read(buffer));
        all.insert(all.end(), buffer.begin(),
                   buffer.begin() + static_cast<std::ptrdiff_t>(got.bytes));
        if (got.more != DataRead::More::Yes)
            return all;
    }
}

struct Walk {
    char from;
    char to;
    const char* path;  ///< states after `from`; "x": refused, "": already there
};

/// Whether the walk from a fresh device is the documented one. RESUMING is left only by reset.
void check_walk(bool p2p, bool precopy, const Walk& walk)
{
    OpenDevice open(with_states(p2p, precopy));
    const std::string what = std::string(1, walk.from) + " to " + walk.to;
    VFIO_OK(open.backend->set_migration_state(state_of(walk.from)));
    const std::size_t before = open.device.walked().size();
    const Result<void> moved = open.backend->set_migration_state(state_of(walk.to));
    std::string expected;
    if (std::string_view(walk.path) == "x") {
        EXPECT_FALSE(moved) << what;
        EXPECT_EQ(open.device.state(), state_of(walk.from)) << what;
        return;
    }
    ASSERT_TRUE(moved) << what << ": " << moved.error().message();
    char at = walk.from;
    for (const char* next = walk.path; *next != 0; at = *next++)
        expected += std::string(" ") + at + *next;
    std::string walked = open.device.walked().substr(before);
    if (before == 0 && !walked.empty())
        walked.insert(0, " ");
    EXPECT_EQ(walked, expected) << what;
    EXPECT_EQ(must(open.backend->migration_state()), state_of(walk.to)) << what;
}

TEST(TestKernelStates, WalkAsTheInterfaceDocumentsWithStopCopyAlone)
{
    for (const Walk& walk : std::to_array<Walk>({{'S', 'S', ""},
                                                 {'S', 'R', "R"},
                                                 {'S', 'C', "C"},
                                                 {'S', 'L', "L"},
                                                 {'R', 'S', "S"},
                                                 {'R', 'C', "SC"},
                                                 {'R', 'L', "SL"},
                                                 {'C', 'S', "S"},
                                                 {'C', 'R', "SR"},
                                                 {'C', 'L', "SL"},
                                                 {'R', 'P', "x"},
                                                 {'R', 'r', "x"}}))
        check_walk(false, false, walk);
}

TEST(TestKernelStates, WalkAsTheInterfaceDocumentsWithP2p)
{
    for (const Walk& walk : std::to_array<Walk>({{'S', 'R', "rR"},
                                                 {'R', 'S', "rS"},
                                                 {'R', 'C', "rSC"},
                                                 {'R', 'L', "rSL"},
                                                 {'C', 'R', "SrR"},
                                                 {'C', 'r', "Sr"},
                                                 {'r', 'C', "SC"},
                                                 {'r', 'L', "SL"}}))
        check_walk(true, false, walk);
}

TEST(TestKernelStates, WalkAsTheInterfaceDocumentsWithPreCopy)
{
    for (const Walk& walk : std::to_array<Walk>({{'S', 'P', "RP"},
                                                 {'R', 'P', "P"},
                                                 {'C', 'P', "x"},
                                                 {'P', 'S', "RS"},
                                                 {'P', 'R', "R"},
                                                 {'P', 'C', "C"},
                                                 {'P', 'L', "RSL"}}))
        check_walk(false, true, walk);
}

TEST(TestKernelStates, WalkAsTheInterfaceDocumentsWithEverything)
{
    for (const Walk& walk : std::to_array<Walk>({{'S', 'P', "rRP"},
                                                 {'S', 'p', "rp"},
                                                 {'R', 'p', "rp"},
                                                 {'C', 'P', "x"},
                                                 {'C', 'p', "x"},
                                                 {'r', 'P', "RP"},
                                                 {'P', 'S', "RrS"},
                                                 {'P', 'C', "pC"},
                                                 {'P', 'L', "RrSL"},
                                                 {'P', 'r', "Rr"},
                                                 {'p', 'S', "rS"},
                                                 {'p', 'R', "rR"},
                                                 {'p', 'C', "C"},
                                                 {'p', 'L', "rSL"}}))
        check_walk(true, true, walk);
}

TEST(TestKernelStates, NobodyMayAskForError)
{
    OpenDevice open(with_states(true, true));
    EXPECT_FALSE(open.backend->set_migration_state(Error));
    EXPECT_FALSE(open.backend->set_migration_state(static_cast<MigrationState>(8)));
}

TEST(KernelDevice, MovesItsStateInAnySegmentation)
{
    for (const std::size_t piece : {1000U, 4096U, 65536U}) {
        OpenDevice from(with_states(true, true));
        OpenDevice to(with_states(true, true));
        from.device.fill_internal(7);
        VFIO_OK(from.backend->set_migration_state(StopCopy));
        const std::vector<std::byte> data = read_all(*from.backend, piece);
        VFIO_OK(to.backend->set_migration_state(Resuming));
        for (std::size_t at = 0; at < data.size(); at += 777)
            VFIO_OK(to.backend->data_write(
                std::span(data).subspan(at, std::min<std::size_t>(777, data.size() - at))));
        VFIO_OK(to.backend->set_migration_state(Running));
        EXPECT_EQ(to.device.internal(), from.device.internal());
    }
}

TEST(KernelDevice, PreCopySaysLaterAndWhatBecameStale)
{
    OpenDevice open(with_states(true, true));
    VFIO_OK(open.backend->set_migration_state(PreCopy));
    EXPECT_GT(must(open.backend->precopy_info()).initial_bytes, 3 * kChunk);
    EXPECT_EQ(must(open.backend->precopy_info()).dirty_bytes, 0U);
    (void)read_all(*open.backend, 4096);
    EXPECT_EQ(must(open.backend->precopy_info()).initial_bytes, 0U);
    VFIO_OK(open.device.poke(kChunk + 5, bytes_of("new")));
    EXPECT_GT(must(open.backend->precopy_info()).dirty_bytes, 0U);
    VFIO_OK(open.backend->set_migration_state(StopCopy));
    EXPECT_FALSE(open.device.poke(0, bytes_of("x")));
    EXPECT_FALSE(open.backend->precopy_info());
    EXPECT_GE(must(open.backend->stop_copy_size()), kChunk);
    EXPECT_LT(read_all(*open.backend, 4096).size(), 2 * kChunk);
}

TEST(KernelDevice, AnEndOfFileInPreCopyIsNotTheEnd)
{
    OpenDevice open(with_states(false, true));
    open.device.faults.zero_in_precopy = true;
    VFIO_OK(open.backend->set_migration_state(PreCopy));
    std::array<std::byte, 65536> buffer;
    while (must(open.backend->data_read(buffer)).bytes != 0) {
    }
    EXPECT_EQ(must(open.backend->data_read(buffer)).more, DataRead::More::Later);
}

TEST(KernelDevice, IncompleteDataIsRefusedWhenResumingEnds)
{
    OpenDevice from(with_states(false, false));
    OpenDevice to(with_states(false, false));
    VFIO_OK(from.backend->set_migration_state(StopCopy));
    const std::vector<std::byte> data = read_all(*from.backend, 4096);
    VFIO_OK(to.backend->set_migration_state(Resuming));
    VFIO_OK(to.backend->data_write(std::span(data).first(data.size() - 1)));
    EXPECT_FALSE(to.backend->set_migration_state(Stop));
    VFIO_OK(to.backend->reset());
    EXPECT_EQ(to.device.state(), Running);
}

TEST(KernelDevice, AStreamEndsWithItsTransfer)
{
    OpenDevice open(with_states(true, true));
    std::array<std::byte, 64> buffer;
    EXPECT_FALSE(open.backend->data_read(buffer));
    VFIO_OK(open.backend->set_migration_state(PreCopy));
    VFIO_OK(open.backend->data_read(buffer));
    VFIO_OK(open.backend->set_migration_state(Running));
    EXPECT_FALSE(open.backend->data_read(buffer));
    VFIO_OK(open.backend->set_migration_state(PreCopy));
    VFIO_OK(open.backend->reset());
    EXPECT_FALSE(open.backend->data_read(buffer));
}

TEST(KernelDevice, ASecondStreamWithinATransferIsOutOfSync)
{
    OpenDevice open(with_states(true, true));
    VFIO_OK(open.backend->set_migration_state(PreCopy));
    open.device.faults.second_data_fd = true;
    EXPECT_EQ(message_of(open.backend->set_migration_state(PreCopyP2p)), "data_fd out of sync");
}

TEST(KernelDevice, FeaturesThatAreNotThereAreUnsupported)
{
    DeviceSpec spec;
    spec.dialect = Dialect::None;
    OpenDevice open(spec);
    const auto flags = open.backend->migration_flags();
    ASSERT_FALSE(flags);
    EXPECT_EQ(flags.error().code(), Errc::Unsupported);
    EXPECT_FALSE(must(open.backend->log_rules()).available);
    EXPECT_FALSE(must(open.backend->feature_probe(kFeatureMigration, kFeatureGet)));
    OpenDevice able(with_states(true, true));
    EXPECT_TRUE(must(able.backend->feature_probe(kFeatureMigration, kFeatureGet)));
    EXPECT_FALSE(must(able.backend->feature_probe(kFeatureMigration, kFeatureGet | kFeatureSet)));
}

TEST(KernelDevice, RegionsSayWhatMayBeMapped)
{
    DeviceSpec spec;
    spec.bars[0] = {.size = 0x10000, .areas = {{0x1000, 0x2000}, {0x8000, 0x1000}}};
    spec.bars[2] = {.size = 0x4000, .wide = true, .whole_mmap = true};
    spec.bars[5] = {.size = 0x20, .io = true};
    OpenDevice open(spec);
    EXPECT_EQ(must(open.backend->region_info(0)).mappable, spec.bars[0].areas);
    EXPECT_EQ(must(open.backend->region_info(2)).mappable, (std::vector<RegionArea>{{0, 0x4000}}));
    EXPECT_TRUE(must(open.backend->region_info(5)).mappable.empty());
    EXPECT_EQ(must(open.backend->region_info(4)).size, 0U);
    EXPECT_FALSE(open.backend->region_info(20));

    VFIO_OK(open.backend->region_write(0, 0x1008, bytes_of("abcd")));
    EXPECT_EQ(open.device.bar(0, 0x1008, 4), bytes_of("abcd"));
    EXPECT_FALSE(open.backend->region_write(0, 0xfffe, bytes_of("abcd")));
    const RegionWindow window = must(open.backend->region_window(0, {0x1000, 0x2000}));
    const Mapping mapped = must(Mapping::of_fd(window.fd.get(), window.size, window.offset,
                                               {.sharing = Mapping::Sharing::Shared}));
    EXPECT_EQ(static_cast<char>(mapped.data()[8]), 'a');
}

TEST(KernelDevice, ATypeOneMigrationRegionIsFoundByItsType)
{
    DeviceSpec spec;
    spec.dialect = Dialect::V1;
    spec.v1_mapped = true;
    OpenDevice open(spec);
    EXPECT_EQ(must(open.backend->device_info()).regions, 10U);
    const RegionInfo region = must(open.backend->region_info(kFirstSpecialRegion));
    EXPECT_EQ(region.type, (RegionType{kMigrationRegionType, kMigrationRegionSubtype}));
    EXPECT_EQ(region.mappable, (std::vector<RegionArea>{{4096, spec.v1_window}}));
    std::array<std::byte, 3> odd;
    EXPECT_FALSE(open.backend->region_read(kFirstSpecialRegion, v1::kPendingBytes, odd));
}

TEST(KernelDevice, InterruptsReachTheirEventfds)
{
    DeviceSpec spec;
    spec.bars[0] = {.size = 0x1000};
    spec.msix_vectors = 4;
    OpenDevice open(spec);
    const EventFd one = must(EventFd::create());
    const EventFd line = must(EventFd::create());
    const std::array<int, 3> fds{-1, one.poll_fd(), -1};
    VFIO_OK(open.backend->set_irqs({.index = kMsixIrq, .eventfds = fds}));
    EXPECT_FALSE(open.device.trigger(kMsixIrq, 0));
    EXPECT_TRUE(open.device.trigger(kMsixIrq, 1));
    EXPECT_TRUE(one.is_signalled());
    const std::array<int, 1> line_fd{line.poll_fd()};
    EXPECT_FALSE(open.backend->set_irqs({.index = kIntxIrq, .eventfds = line_fd}))
        << "INTx while MSI-X is on";
    VFIO_OK(open.backend->set_irqs({.index = kMsixIrq}));
    VFIO_OK(open.backend->set_irqs({.index = kIntxIrq, .eventfds = line_fd}));
    open.device.set_intx(true);
    EXPECT_TRUE(line.drain());
    EXPECT_TRUE(open.device.irq_masked(kIntxIrq));
    VFIO_OK(open.backend->set_irqs({.index = kIntxIrq, .count = 1, .action = IrqAction::Unmask}));
    EXPECT_TRUE(line.drain()) << "the line is still high";
    open.device.set_intx(false);
    const std::array<int, 5> many{-1, -1, -1, -1, -1};
    EXPECT_FALSE(open.backend->set_irqs({.index = kMsixIrq, .eventfds = many}));
}

TEST(KernelDevice, LogsOfDmaFollowTheHeadersRules)
{
    DeviceSpec spec;
    spec.logging = true;
    OpenDevice open(spec);
    EXPECT_TRUE(must(open.backend->log_rules()).available);
    const std::array<DmaRange, 1> range{{{0, 0x100000}}};
    const std::array<DmaRange, 2> overlap{{{0, 0x2000}, {0x1000, 0x2000}}};
    const std::array<DmaRange, 1> wraps{{{~std::uint64_t{0xfff}, 0x2000}}};
    const std::vector<DmaRange> many(257, DmaRange{0, 4096});
    const auto refusal = [&](std::span<const DmaRange> ranges) {
        const auto started = open.backend->log_start(4096, ranges);
        return started ? 0 : started.error().os_errno();
    };
    EXPECT_EQ(refusal({}), EINVAL);
    EXPECT_EQ(refusal(overlap), EINVAL);
    EXPECT_EQ(refusal(wraps), EOVERFLOW);
    EXPECT_EQ(refusal(many), E2BIG);
    EXPECT_FALSE(open.backend->log_stop());
    EXPECT_EQ(must(open.backend->log_start(4096, range)), 4096U);
    EXPECT_EQ(refusal(range), EINVAL) << "a second run";
    VFIO_OK(open.backend->log_stop());
}

}  // namespace
}  // namespace godwit::hw::vfio::test
