// SPDX-License-Identifier: LGPL-2.1-or-later
#include "system/secret.h"
#include "system/vm.h"
#include "util/flight_recorder.h"
#include "util/json.h"
#include "util/log.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

namespace godwit::system {
namespace {

struct Secrets : ::testing::Test {
    Log log;
    FlightRecorder recorder{0};
    std::unique_ptr<Vm> vm = Vm::create(log, recorder).value();

    Secrets() { EXPECT_TRUE(vm->types().add(Secret::type_info())); }

    std::string error_of(const Json& properties)
    {
        const auto made = vm->add_object("secret", "s", properties);
        return made ? "" : made.error().message();
    }
    std::string value_of(const Json& properties)
    {
        EXPECT_EQ(error_of(properties), "");
        const std::string value = secret_value(*vm, "s").value();
        EXPECT_TRUE(vm->remove_object("s"));
        return value;
    }
};

TEST_F(Secrets, ComeAsTextOrBase64OrFromAFile)
{
    EXPECT_EQ(value_of({{"data", "letmein"}}), "letmein");
    EXPECT_EQ(value_of({{"data", "bGV0bWVpbg=="}, {"format", "base64"}}), "letmein");
    std::string path = (std::filesystem::temp_directory_path() / "gw-secret-XXXXXX").string();
    ::close(::mkstemp(path.data()));
    std::ofstream(path) << "from a file\n";
    EXPECT_EQ(value_of({{"file", path}}), "from a file\n");
    std::filesystem::remove(path);
}

TEST_F(Secrets, ComplainInQemusWords)
{
    EXPECT_EQ(error_of(Json::object()), "Either 'file' or 'data' must be provided");
    EXPECT_EQ(error_of({{"data", "x"}, {"file", "y"}}), "'file' and 'data' are mutually exclusive");
    EXPECT_EQ(error_of({{"data", "x"}, {"format", "hex"}}),
              "Parameter 'format' does not accept value 'hex'");
    EXPECT_EQ(error_of({{"data", "%%"}, {"format", "base64"}}),
              "Base64 data contains invalid characters");
    EXPECT_EQ(error_of({{"file", "/nonexistent/x"}}),
              "Unable to read /nonexistent/x: No such file or directory");
    EXPECT_EQ(secret_value(*vm, "nobody").error().message(), "No secret with id 'nobody'");
}

}  // namespace
}  // namespace godwit::system
