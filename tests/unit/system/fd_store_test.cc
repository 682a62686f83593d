// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/fd_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace godwit::system {
namespace {

UniqueFd temporary_file()
{
    return UniqueFd(::memfd_create("fd-store-test", MFD_CLOEXEC));
}

TEST(FdStore, ASetWithoutIdTakesTheLowestFreeOne)
{
    FdStore store;
    EXPECT_EQ(store.add(temporary_file(), {}, {})->set_id, 0);
    EXPECT_EQ(store.add(temporary_file(), 2, {})->set_id, 2);
    EXPECT_EQ(store.add(temporary_file(), {}, "mine")->set_id, 1);
    const auto sets = store.list();
    ASSERT_EQ(sets.size(), 3u);
    EXPECT_EQ(sets[1].members[0].opaque, "mine");
}

TEST(FdStore, OpeningAPathOfASetDuplicatesTheMemberWithThatAccess)
{
    FdStore store;
    UniqueFd file = temporary_file();
    ASSERT_EQ(::write(file.get(), "abc", 3), 3);
    const std::string link = "/proc/self/fd/" + std::to_string(file.get());
    UniqueFd reader(::open(link.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(store.add(std::move(file), 5, {}));
    ASSERT_TRUE(store.add(std::move(reader), 5, {}));

    auto opened = store.open("/dev/fdset/5", O_RDONLY | O_CREAT);
    ASSERT_TRUE(opened) << opened.error().message();
    char text[4] = {};
    EXPECT_EQ(::read(opened->fd.get(), text, 4), 3);
    EXPECT_EQ(::fcntl(opened->fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
    EXPECT_EQ(::fcntl(opened->fd.get(), F_GETFD), FD_CLOEXEC);
    EXPECT_FALSE(store.open("/dev/fdset/5", O_WRONLY));
    EXPECT_EQ(store.open("/dev/fdset/6", O_RDONLY).error().code(), Errc::NotFound);
}

TEST(FdStore, ASetLivesAsLongAsItsDuplicates)
{
    FdStore store;
    ASSERT_TRUE(store.add(temporary_file(), 1, {}));
    auto opened = store.open("/dev/fdset/1", O_RDWR);
    ASSERT_TRUE(opened);
    ASSERT_TRUE(store.remove(1, {}));
    ASSERT_EQ(store.list().size(), 1u);
    EXPECT_TRUE(store.list()[0].members.empty());
    opened->in_set.reset();
    EXPECT_TRUE(store.list().empty());
}

TEST(FdStore, RemovingWhatIsNotThereNamesIt)
{
    FdStore store;
    EXPECT_EQ(store.remove(1, {}).error().message(),
              "File descriptor named 'fdset-id:1' not found");
    const auto added = store.add(temporary_file(), 1, {});
    EXPECT_EQ(store.remove(1, added->fd + 1).error().message(),
              "File descriptor named 'fdset-id:1, fd:" + std::to_string(added->fd + 1) +
                  "' not found");
    EXPECT_TRUE(store.remove(1, added->fd));
    EXPECT_TRUE(store.list().empty());
}

TEST(FdStore, OrdinaryPathsAreOpenedAsUsual)
{
    FdStore store;
    EXPECT_TRUE(store.open("/dev/null", O_RDWR));
    EXPECT_EQ(store.open("/nonexistent/x", O_RDWR).error().message(),
              "Could not open '/nonexistent/x': No such file or directory");
    EXPECT_FALSE(store.open("/dev/fdset/x", O_RDWR));
    EXPECT_EQ(fdset_of_path("/dev/fdset/12"), 12);
    EXPECT_EQ(fdset_of_path("/dev/fdset/-1"), std::nullopt);
    EXPECT_EQ(fdset_of_path("/dev/fd/1"), std::nullopt);
}

}  // namespace
}  // namespace godwit::system
