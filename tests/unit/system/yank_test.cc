// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/yank.h"

#include <array>
#include <gtest/gtest.h>
#include <memory>

namespace godwit::system {
namespace {

using Type = YankInstance::Type;

TEST(YankRegistry, BreaksAllOfAnInstanceAndNothingElse)
{
    YankRegistry yanks;
    int first = 0;
    int second = 0;
    int other = 0;
    const auto a = yanks.add({Type::Chardev, "c"}, [&] { ++first; });
    const auto b = yanks.add({Type::Chardev, "c"}, [&] { ++second; });
    const auto c = yanks.add({Type::Chardev, "d"}, [&] { ++other; });
    ASSERT_TRUE(yanks.yank(std::array{YankInstance{Type::Chardev, "c"}}));
    EXPECT_EQ(first, 1);
    EXPECT_EQ(second, 1);
    EXPECT_EQ(other, 0);
}

TEST(YankRegistry, DoesNothingWhenOneOfThemIsUnknown)
{
    YankRegistry yanks;
    int broken = 0;
    const auto a = yanks.add({}, [&] { ++broken; });
    const auto done = yanks.yank(std::array{YankInstance{}, YankInstance{Type::Chardev, "nobody"}});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code(), Errc::DeviceNotFound);
    EXPECT_EQ(done.error().message(), "Instance not found");
    EXPECT_EQ(broken, 0);
}

TEST(YankRegistry, ListsEachInstanceOnceWhileItLives)
{
    YankRegistry yanks;
    const auto kept = yanks.add({});
    {
        const auto a = yanks.add({Type::Chardev, "c"});
        const auto b = yanks.add({Type::Chardev, "c"}, [] {});
        EXPECT_EQ(yanks.list(), (std::vector<YankInstance>{YankInstance{}, {Type::Chardev, "c"}}));
    }
    EXPECT_EQ(yanks.list(), std::vector<YankInstance>{YankInstance{}});
    EXPECT_TRUE(yanks.yank(std::array{YankInstance{}})) << "an instance with nothing to break";
}

TEST(YankRegistry, MayGoBeforeWhatIsRegistered)
{
    auto yanks = std::make_unique<YankRegistry>();
    auto kept = yanks->add({});
    yanks.reset();
    kept.reset();
}

}  // namespace
}  // namespace godwit::system
