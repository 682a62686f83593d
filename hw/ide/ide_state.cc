// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How a disk migrates.
#include "hw/ide/ide_drive.h"

namespace godwit::hw {
namespace {

using namespace migration::stream;
using S = IdeDriveState;

constexpr std::uint8_t kDrq = 0x08;

// The buffer has one size in the stream, whatever is in it.
constexpr auto kPio =
    vmstate<S>("ide_drive/pio_state",
               {.needed = [](const S& s) { return (s.status & kDrq) != 0 || s.end_transfer == 3; },
                .pre_save =
                    [](S& s) {
                        s.io_buffer.resize(S::kBufferBytes);
                        return ok();
                    },
                .pre_load =
                    [](S& s) {
                        s.io_buffer.resize(S::kBufferBytes);
                        return ok();
                    }},
               field<&S::req_nb_sectors>("req_nb_sectors").in_range(0, 256),
               buffer<&S::io_buffer>("io_buffer")
                   .counted([](const S&) { return S::kBufferBytes; })
                   .at_most(S::kBufferBytes),
               field<&S::buffer_offset>("cur_io_buffer_offset").in_range(0, S::kBufferBytes),
               field<&S::buffer_length>("cur_io_buffer_len").in_range(0, S::kBufferBytes),
               field<&S::end_transfer>("end_transfer_fn_idx").in_range(0, 2),
               field<&S::elementary_transfer_size>("elementary_transfer_size"),
               field<&S::packet_transfer_size>("packet_transfer_size"));

}  // namespace

constexpr VMStateDef<S, 21> kIdeDriveState = vmstate<S>(
    "ide_drive",
    {.current = 3,
     .oldest = 0,
     .pre_load =
         [](S& s) {
             s.req_nb_sectors = s.buffer_offset = s.buffer_length = 0;
             s.end_transfer = 2;
             return ok();
         }},
    field<&S::mult_sectors>("mult_sectors").in_range(0, 16),
    field<&S::identify_set>("identify_set").in_range(0, 1),
    buffer<&S::identify_data>("identify_data").when([](const S& s) { return s.identify_set != 0; }),
    field<&S::feature>("feature"), field<&S::error>("error"), field<&S::nsector>("nsector"),
    field<&S::sector>("sector"), field<&S::lcyl>("lcyl"), field<&S::hcyl>("hcyl"),
    field<&S::hob_feature>("hob_feature"), field<&S::hob_sector>("hob_sector"),
    field<&S::hob_nsector>("hob_nsector"), field<&S::hob_lcyl>("hob_lcyl"),
    field<&S::hob_hcyl>("hob_hcyl"), field<&S::select>("select"), field<&S::status>("status"),
    field<&S::lba48>("lba48"), field<&S::sense_key>("sense_key"), field<&S::asc>("asc"),
    field<&S::cdrom_changed>("cdrom_changed").since(3), subsection(kPio));
static_assert(kIdeDriveState.well_formed());

}  // namespace godwit::hw
