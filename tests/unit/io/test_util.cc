// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/unit/io/test_util.h"

#include <cstdlib>
#include <filesystem>

namespace godwit::io::test {

std::vector<std::byte> pattern(std::size_t size, unsigned seed)
{
    std::vector<std::byte> bytes(size);
    std::uint32_t state = seed * 2654435761u + 1;
    for (std::byte& byte : bytes) {
        state = state * 1664525u + 1013904223u;
        byte = static_cast<std::byte>(state >> 24);
    }
    return bytes;
}

std::string read_text(Channel& channel, std::size_t size)
{
    std::vector<std::byte> bytes(size);
    must(channel.read_exact(bytes));
    return text_of(bytes);
}

TempDir::TempDir()
{
    std::string name = std::filesystem::temp_directory_path() / "godwit-io-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr)
        throw std::runtime_error("mkdtemp");
    path_ = name;
}

TempDir::~TempDir()
{
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

}  // namespace godwit::io::test
