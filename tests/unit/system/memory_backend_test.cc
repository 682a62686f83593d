// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/memory_backend.h"

#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace godwit::system {
namespace {

using ::testing::HasSubstr;

class MemoryBackendTest : public ::testing::Test {
protected:
    MemoryBackendTest()
    {
        vm_ = Vm::create(log_, recorder_).value();
        // The Vm may know the types already.
        if (!vm_->types().find("memory-backend")) {
            EXPECT_TRUE(register_memory_backends(vm_->types()));
        }
        lock_.emplace(vm_->lock());
    }

    /// The object that -object TYPE,id=a,... makes, from words as they come from there.
    Result<MemoryBackend*> make(const char* type, const Json& words)
    {
        auto object = vm_->add_object(type, "a", words, DeviceManager::Words::Text);
        if (!object)
            return std::unexpected(object.error());
        return dynamic_cast<MemoryBackend*>(*object);
    }
    std::string refusal(const char* type, const Json& words)
    {
        const auto made = make(type, words);
        EXPECT_FALSE(made);
        EXPECT_FALSE(vm_->find_object("a"));
        return made ? std::string() : made.error().message();
    }

    Log log_;
    FlightRecorder recorder_;
    std::unique_ptr<Vm> vm_;
    std::optional<MachineGuard> lock_;
};

TEST_F(MemoryBackendTest, EachTypeMakesABlockOfItsId)
{
    auto ram = make("memory-backend-ram", {{"size", "1M"}});
    ASSERT_TRUE(ram) << ram.error().message();
    EXPECT_EQ((*ram)->block(), vm_->ram().find("a"));
    EXPECT_EQ((*ram)->block()->used_length(), 1u << 20);
    EXPECT_FALSE((*ram)->share());
    ASSERT_TRUE(vm_->remove_object("a"));
    EXPECT_EQ(vm_->ram().find("a"), nullptr) << "the block goes with the object";

    auto memfd = make("memory-backend-memfd", {{"size", "64K"}});
    ASSERT_TRUE(memfd);
    EXPECT_TRUE((*memfd)->share());
    EXPECT_GE((*memfd)->block()->fd(), 0);
    ASSERT_TRUE(vm_->remove_object("a"));

    const std::string path =
        std::filesystem::temp_directory_path() / ("gw-backend-" + std::to_string(::getpid()));
    auto file = make("memory-backend-file", {{"size", "64K"}, {"mem-path", path}, {"share", "on"}});
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_EQ(std::filesystem::file_size(path), 65536u);
    ASSERT_TRUE(vm_->remove_object("a"));

    auto rom =
        make("memory-backend-file", {{"size", "64K"}, {"mem-path", path}, {"readonly", "on"}});
    ASSERT_TRUE(rom) << rom.error().message();
    EXPECT_FALSE((*rom)->block()->writable());
    std::filesystem::remove(path);
}

TEST_F(MemoryBackendTest, SizesAreRoundedUpToPages)
{
    auto ram = make("memory-backend-ram", {{"size", "5000"}});
    ASSERT_TRUE(ram);
    EXPECT_EQ((*ram)->block()->used_length(), 8192u);
}

TEST_F(MemoryBackendTest, WhatDoesNotFitTogetherIsRefusedInQemusWords)
{
    EXPECT_EQ(refusal("memory-backend-ram", Json::object()), "Parameter 'size' is missing");
    EXPECT_EQ(refusal("memory-backend-ram", {{"size", "0"}}),
              "property 'size' of memory-backend-ram doesn't take value '0'");
    EXPECT_EQ(refusal("memory-backend-ram", {{"size", "1X"}}),
              "Parameter 'size' expects a size value");
    EXPECT_EQ(refusal("memory-backend-ram", {{"size", "1M"}, {"prealloc-threads", "0"}}),
              "property 'prealloc-threads' of memory-backend-ram doesn't take value '0'");
    EXPECT_EQ(refusal("memory-backend-ram", {{"size", "1M"}, {"host-nodes", "0"}}),
              "host-nodes must be empty for policy default, or you should explicitly specify a "
              "policy other than default");
    EXPECT_EQ(refusal("memory-backend-ram", {{"size", "1M"}, {"policy", "bind"}}),
              "host-nodes must be set for policy bind");
    EXPECT_EQ(refusal("memory-backend-ram",
                      {{"size", "1M"}, {"policy", "bind"}, {"host-nodes", "120-127"}}),
              "cannot bind memory to host NUMA nodes: Invalid argument");
    EXPECT_THAT(refusal("memory-backend-ram", {{"size", "1M"}, {"policy", "foo"}}),
                HasSubstr("Parameter 'policy' does not accept value 'foo'"));
    EXPECT_THAT(refusal("memory-backend-ram", {{"size", "99999T"}}), HasSubstr("'a'"));
    EXPECT_THAT(refusal("memory-backend-ram", {{"size", "18446744073709551615"}}),
                HasSubstr("'a'"));
    EXPECT_EQ(refusal("memory-backend-file", {{"size", "1M"}}), "Parameter 'mem-path' is missing");
    EXPECT_EQ(refusal("memory-backend-file", {{"size", "1M"}, {"mem-path", "x"}, {"rom", "on"}}),
              "property 'rom' = 'on' is not supported with 'readonly' = 'off'");
    EXPECT_EQ(refusal("memory-backend-file", {{"size", "1M"},
                                              {"mem-path", "x"},
                                              {"rom", "off"},
                                              {"readonly", "on"},
                                              {"share", "on"}}),
              "property 'rom' = 'off' is incompatible with 'readonly' = 'on' and 'share' = 'on'");
    EXPECT_THAT(refusal("memory-backend-file", {{"size", "1M"}, {"mem-path", "x"}, {"pmem", "on"}}),
                HasSubstr("libpmem"));
    EXPECT_EQ(
        refusal("memory-backend-memfd", {{"size", "2M"}, {"hugetlb", "on"}, {"hugetlbsize", "3M"}}),
        "Hugepage size must be a power of 2");
}

TEST_F(MemoryBackendTest, PropertiesAreFixedOnceTheMemoryExists)
{
    auto ram = make("memory-backend-ram", {{"size", "1M"}, {"policy", "default"}});
    ASSERT_TRUE(ram);
    EXPECT_EQ((*ram)->set_property("size", 4096u).error().message(),
              "cannot change property 'size' of memory-backend-ram");
    EXPECT_EQ((*ram)->get_property("policy").value(), "default");
    EXPECT_EQ((*ram)->get_property("host-nodes").value(), Json::array());
    EXPECT_EQ((*ram)->get_property("size").value(), 1u << 20);
}

TEST_F(MemoryBackendTest, NodesComeAsRangesAndLists)
{
    auto ram =
        make("memory-backend-ram", {{"size", "1M"}, {"policy", "bind"}, {"host-nodes", "0"}});
    if (!ram)
        GTEST_SKIP() << "this host does not bind memory: " << ram.error().message();
    EXPECT_EQ((*ram)->host_nodes(), std::vector<unsigned>{0});
    EXPECT_EQ((*ram)->policy(), NumaPolicy::Bind);
}

TEST_F(MemoryBackendTest, ABackEndInUseStays)
{
    auto ram = make("memory-backend-ram", {{"size", "1M"}});
    ASSERT_TRUE(ram);
    (*ram)->set_in_use(true);
    EXPECT_EQ(vm_->remove_object("a").error().code(), Errc::Busy);
}

}  // namespace
}  // namespace godwit::system
