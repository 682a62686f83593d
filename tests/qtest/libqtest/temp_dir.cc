// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/qtest/libqtest/temp_dir.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>

namespace godwit::qtest {

namespace {

std::string base()
{
    const char* set = std::getenv("TMPDIR");
    return set != nullptr && *set != 0 ? set : "/tmp";
}

}  // namespace

TempDir::TempDir() : path_(base() + "/gw-qtest-XXXXXX")
{
    if (!::mkdtemp(path_.data()))
        ADD_FAILURE() << "mkdtemp " << path_ << " failed";
}

TempDir::~TempDir()
{
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::file(std::string_view name) const
{
    return path_ + "/" + std::string(name);
}

std::string TempDir::write(std::string_view name, std::string_view content) const
{
    const std::string where = file(name);
    std::ofstream out(where, std::ios::binary);
    out << content;
    if (!out)
        ADD_FAILURE() << "cannot write " << where;
    return where;
}

std::string read_file(const std::string& path)
{
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace godwit::qtest
