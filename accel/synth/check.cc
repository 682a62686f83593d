// SPDX-License-Identifier: LGPL-2.1-or-later
#include "accel/synth/check.h"

#include "accel/synth/page_content.h"
#include "util/unique_fd.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace godwit::accel::synth {
namespace {

/// Older states of a page that are tried to explain what was found.
constexpr std::uint64_t kStaleTried = 64;

/// Whether a page of ours has memory behind it, from /proc/self/pagemap; "yes" when that is not to
/// be had. Source: Linux, Documentation/admin-guide/mm/pagemap.rst.
class Populated {
public:
    Populated() : fd_(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {}

    bool test(const std::byte* page)
    {
        if (!fd_)
            return true;
        const std::uint64_t number = reinterpret_cast<std::uintptr_t>(page) / kPageBytes;
        if (number < first_ || number >= first_ + count_) {
            const ssize_t got = ::pread(fd_.get(), entries_.data(), sizeof entries_,
                                        static_cast<off_t>(number * 8));
            first_ = number;
            count_ = got > 0 ? static_cast<std::uint64_t>(got) / 8 : 0;
            if (count_ == 0)
                return true;
        }
        return (entries_[number - first_] >> 62) != 0;  // present or swapped out
    }

private:
    UniqueFd fd_;
    std::array<std::uint64_t, 512> entries_{};
    std::uint64_t first_ = 0;
    std::uint64_t count_ = 0;
};

std::uint64_t base_of(const VcpuWorkload& work, std::uint64_t page, std::uint64_t generation)
{
    return page_base(work.seed(), page, generation);
}

std::uint64_t lag(const std::byte* memory, const VcpuWorkload& work, std::uint64_t page,
                  std::uint64_t generation)
{
    for (std::uint64_t behind = 1; behind <= std::min(generation, kStaleTried); ++behind) {
        const std::uint64_t older = generation - behind;
        const bool same = older == 0 ? !first_nonzero_word(memory)
                                     : !first_wrong_word(memory, base_of(work, page, older));
        if (same)
            return behind;
    }
    return 0;
}

}  // namespace

void CheckResult::add(const CheckResult& other)
{
    pages += other.pages;
    never_written += other.never_written;
    wrong += other.wrong;
    first.insert(first.end(), other.first.begin(), other.first.end());
}

CheckResult check_pages(const std::byte* block, const VcpuWorkload& work, unsigned vcpu,
                        std::uint64_t accesses)
{
    CheckResult result;
    Populated populated;
    for (std::uint64_t page = work.first_page(); page < work.first_page() + work.pages(); ++page) {
        const std::byte* memory = block + page * kPageBytes;
        const std::uint64_t generation = work.generation(page, accesses);
        ++result.pages;
        std::optional<std::size_t> word;
        if (generation == 0) {
            ++result.never_written;
            if (populated.test(memory))
                word = first_nonzero_word(memory);
        } else {
            word = first_wrong_word(memory, base_of(work, page, generation));
        }
        if (!word)
            continue;
        if (++result.wrong > kMaxReported)
            continue;
        WrongPage wrong{
            .offset = page * kPageBytes + *word * 8, .vcpu = vcpu, .generation = generation};
        if (generation != 0)
            wrong.expected = page_word(base_of(work, page, generation), *word);
        std::memcpy(&wrong.found, memory + *word * 8, 8);
        wrong.stale_by = lag(memory, work, page, generation);
        result.first.push_back(wrong);
    }
    return result;
}

}  // namespace godwit::accel::synth
