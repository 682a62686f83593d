// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Is a page all zeros?
#pragma once

#include <cstddef>
#include <cstdint>

namespace godwit::migration {

/// Whether `bytes` (a multiple of 64, at least 128) starting at `data` (64-byte aligned) are all
/// zero.
///
/// Cost     a page with content is mostly told apart by three words; only zero pages are read to
/// the end. Threads  the guest may write meanwhile: the answer is then true of some mix, and its
/// dirty mark sends the
///          page again.
bool is_zero(const std::byte* data, std::size_t bytes) noexcept;

}  // namespace godwit::migration
