// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/ide/ide_drive.h"

#include <algorithm>
#include <cstring>

namespace godwit::hw {
namespace {

// Status.
constexpr std::uint8_t kErr = 0x01;
constexpr std::uint8_t kDrq = 0x08;
constexpr std::uint8_t kSeekDone = 0x10;
constexpr std::uint8_t kReady = 0x40;
// Error.
constexpr std::uint8_t kMark = 0x01;
constexpr std::uint8_t kAborted = 0x04;
constexpr std::uint8_t kIdNotFound = 0x10;
constexpr std::uint8_t kUncorrectable = 0x40;

constexpr std::uint8_t kSelectLba = 0x40;
constexpr std::int32_t kMaxMultiple = 16;
constexpr std::size_t kSector = 512;

// What comes behind the buffer.
constexpr std::uint8_t kMoreToRead = 0;
constexpr std::uint8_t kWritten = 1;
constexpr std::uint8_t kStop = 2;

constexpr std::uint64_t kLimit28 = (std::uint64_t{1} << 28) - 1;
constexpr std::uint64_t kLimit48 = (std::uint64_t{1} << 48) - 1;

}  // namespace

IdeDrive::IdeDrive(IdeDriveState& state, BlockNode& node, const IdeSettings& settings,
                   std::function<void()> interrupt)
    : s_(state), node_(node), interrupt_(std::move(interrupt))
{
    make_identify(settings);
    s_.io_buffer.resize(IdeDriveState::kBufferBytes);
    reset();
}

// --- who we are --------------------------------------------------------------------------------

void IdeDrive::make_identify(const IdeSettings& settings)
{
    heads_ = settings.heads != 0 ? settings.heads : 16;
    sectors_ = settings.sectors != 0 ? settings.sectors : 63;
    const std::uint64_t guess = node_.sectors() / (heads_ * sectors_);
    cylinders_ = settings.cylinders != 0
                     ? settings.cylinders
                     : static_cast<std::uint32_t>(std::clamp<std::uint64_t>(guess, 2, 16383));
    const auto put = [this](unsigned word, std::uint64_t value) {
        identify_[word * 2] = static_cast<std::uint8_t>(value);
        identify_[word * 2 + 1] = static_cast<std::uint8_t>(value >> 8);
    };
    const auto text = [this](unsigned word, std::string_view words, unsigned length) {
        for (unsigned n = 0; n < length; ++n)  // two characters a word, the first on top
            identify_[word * 2 + (n ^ 1)] =
                n < words.size() ? static_cast<std::uint8_t>(words[n]) : std::uint8_t{' '};
    };
    const std::uint64_t chs = std::uint64_t{cylinders_} * heads_ * sectors_;
    const std::uint64_t lba28 = std::min(node_.sectors(), kLimit28);
    put(0, 0x0040);
    put(1, cylinders_);
    put(3, heads_);
    put(4, kSector * sectors_);
    put(5, kSector);
    put(6, sectors_);
    text(10, settings.serial, 20);
    put(20, 3);
    put(21, 512);
    put(22, 4);
    text(23, settings.version, 8);
    text(27, settings.model, 40);
    put(47, 0x8000 | kMaxMultiple);
    put(48, 1);  // 32-bit data transfers
    put(49, 1 << 11 | 1 << 9 | 1 << 8);
    put(51, 0x200);
    put(52, 0x200);
    put(53, 1 | 1 << 1 | 1 << 2);
    put(54, cylinders_);
    put(55, heads_);
    put(56, sectors_);
    put(57, chs);
    put(58, chs >> 16);
    put(59, 0x100 | kMaxMultiple);
    put(60, lba28);
    put(61, lba28 >> 16);
    put(64, 3);
    for (unsigned word = 65; word <= 68; ++word)
        put(word, 120);
    put(80, 0xf0);  // ATA-4 to ATA-7
    put(81, 0x16);
    put(82, 1 << 14);
    put(83, 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10);
    put(84, 1 << 14);
    put(85, 1 << 14);
    put(86, 1 << 13 | 1 << 12 | 1 << 10);
    put(87, 1 << 14);
    put(93, 1 | 1 << 14 | 0x2000);
    for (unsigned n = 0; n < 4; ++n)
        put(100 + n, node_.sectors() >> (16 * n));
}

void IdeDrive::reset()
{
    auto buffer = std::move(s_.io_buffer);
    s_ = IdeDriveState{};
    s_.io_buffer = std::move(buffer);
    s_.identify_set = 1;
    s_.identify_data = identify_;
    s_.mult_sectors = kMaxMultiple;
    s_.error = kMark;
    s_.nsector = 1;
    s_.sector = 1;
    s_.status = kReady | kSeekDone;
    s_.end_transfer = kStop;
}

// --- task file ---------------------------------------------------------------------------------

std::uint8_t IdeDrive::read(unsigned reg) const
{
    switch (reg) {
    case 1:
        return s_.error;
    case 2:
        return static_cast<std::uint8_t>(s_.nsector);
    case 3:
        return s_.sector;
    case 4:
        return s_.lcyl;
    case 5:
        return s_.hcyl;
    case 6:
        return s_.select;
    case 7:
        return s_.status;
    default:
        return 0xff;
    }
}

// What was written before the last write, as the HOB bit of device control shows it.
std::uint8_t IdeDrive::read_high(unsigned reg) const
{
    switch (reg) {
    case 1:
        return s_.hob_feature;
    case 2:
        return s_.hob_nsector;
    case 3:
        return s_.hob_sector;
    case 4:
        return s_.hob_lcyl;
    case 5:
        return s_.hob_hcyl;
    default:
        return read(reg);
    }
}

void IdeDrive::write(unsigned reg, std::uint8_t value)
{
    switch (reg) {
    case 1:
        s_.hob_feature = std::exchange(s_.feature, value);
        break;
    case 2:
        s_.hob_nsector = static_cast<std::uint8_t>(std::exchange(s_.nsector, value));
        break;
    case 3:
        s_.hob_sector = std::exchange(s_.sector, value);
        break;
    case 4:
        s_.hob_lcyl = std::exchange(s_.lcyl, value);
        break;
    case 5:
        s_.hob_hcyl = std::exchange(s_.hcyl, value);
        break;
    case 6:
        s_.select = value | 0xa0;
        break;
    default:
        break;
    }
}

std::uint64_t IdeDrive::address() const
{
    if ((s_.select & kSelectLba) == 0) {
        const std::uint64_t cylinder = std::uint64_t{s_.hcyl} << 8 | s_.lcyl;
        return (cylinder * heads_ + (s_.select & 0x0f)) * sectors_ + s_.sector - 1;
    }
    const std::uint64_t low =
        std::uint64_t{s_.hcyl} << 16 | std::uint64_t{s_.lcyl} << 8 | s_.sector;
    if (!is_wide())
        return std::uint64_t{s_.select & 0x0fu} << 24 | low;
    return std::uint64_t{s_.hob_hcyl} << 40 | std::uint64_t{s_.hob_lcyl} << 32 |
           std::uint64_t{s_.hob_sector} << 24 | low;
}

void IdeDrive::set_address(std::uint64_t lba)
{
    if ((s_.select & kSelectLba) == 0) {
        const std::uint64_t track = lba / sectors_;
        const std::uint64_t cylinder = track / heads_;
        s_.sector = static_cast<std::uint8_t>(lba % sectors_ + 1);
        s_.lcyl = static_cast<std::uint8_t>(cylinder);
        s_.hcyl = static_cast<std::uint8_t>(cylinder >> 8);
        s_.select = static_cast<std::uint8_t>((s_.select & 0xf0) | (track % heads_ & 0x0f));
        return;
    }
    s_.sector = static_cast<std::uint8_t>(lba);
    s_.lcyl = static_cast<std::uint8_t>(lba >> 8);
    s_.hcyl = static_cast<std::uint8_t>(lba >> 16);
    if (!is_wide()) {
        s_.select = static_cast<std::uint8_t>((s_.select & 0xf0) | (lba >> 24 & 0x0f));
        return;
    }
    s_.hob_sector = static_cast<std::uint8_t>(lba >> 24);
    s_.hob_lcyl = static_cast<std::uint8_t>(lba >> 32);
    s_.hob_hcyl = static_cast<std::uint8_t>(lba >> 40);
}

// --- ends of commands --------------------------------------------------------------------------

void IdeDrive::abort()
{
    s_.status = kReady | kErr;
    s_.error = kAborted;
    s_.buffer_offset = s_.buffer_length = 0;
    s_.end_transfer = kStop;
    interrupt_();
}

void IdeDrive::finish()
{
    s_.status = kReady | kSeekDone;
    s_.error = 0;
    interrupt_();
}

void IdeDrive::complete(bool good)
{
    if (good)
        finish();
    else
        abort();
}

void IdeDrive::start_transfer(std::int32_t bytes, std::uint8_t end)
{
    s_.buffer_offset = 0;
    s_.buffer_length = bytes;
    s_.end_transfer = end;
    s_.status = kReady | kSeekDone | kDrq;
}

// --- sectors -----------------------------------------------------------------------------------

// Sets the 48-bit mode and the number of sectors of the command; checks the range.
Result<IdeDrive::Extent> IdeDrive::extent(bool wide)
{
    s_.lba48 = wide ? 1 : 0;
    if (wide) {
        s_.nsector = (s_.nsector & 0xff) | std::uint32_t{s_.hob_nsector} << 8;
        if (s_.nsector == 0)
            s_.nsector = 65536;
    } else {
        s_.nsector &= 0xff;
        if (s_.nsector == 0)
            s_.nsector = 256;
    }
    const Extent all{.lba = address(), .sectors = s_.nsector};
    if (all.lba >= node_.sectors() || all.sectors > node_.sectors() - all.lba)
        return Error(Errc::InvalidArgument, "sectors past the end of the disk");
    return all;
}

void IdeDrive::begin_read(bool wide, unsigned chunk)
{
    if (!extent(wide)) {
        abort();
        s_.error |= kIdNotFound;
        return;
    }
    s_.req_nb_sectors = static_cast<std::int32_t>(chunk);
    next_read();
}

void IdeDrive::next_read()
{
    if (s_.nsector == 0) {
        s_.status = kReady | kSeekDone;
        s_.end_transfer = kStop;
        return;
    }
    const std::uint32_t count = std::min(s_.nsector, static_cast<std::uint32_t>(s_.req_nb_sectors));
    const std::uint64_t lba = address();
    const std::size_t bytes = count * kSector;
    const auto into = std::as_writable_bytes(std::span(s_.io_buffer)).first(bytes);
    if (!node_.read(lba * kSector, into)) {
        abort();
        s_.error |= kUncorrectable;
        return;
    }
    set_address(lba + count);
    s_.nsector -= count;
    start_transfer(static_cast<std::int32_t>(bytes), kMoreToRead);
    interrupt_();
}

void IdeDrive::begin_write(bool wide, unsigned chunk)
{
    if (node_.read_only() || !extent(wide)) {
        abort();
        return;
    }
    s_.req_nb_sectors = static_cast<std::int32_t>(chunk);
    next_write();
}

void IdeDrive::next_write()
{
    const std::uint32_t count = std::min(s_.nsector, static_cast<std::uint32_t>(s_.req_nb_sectors));
    start_transfer(static_cast<std::int32_t>(count * kSector), kWritten);
}

void IdeDrive::take_written()
{
    const auto bytes = static_cast<std::size_t>(s_.buffer_length);
    const auto count = static_cast<std::uint32_t>(bytes / kSector);
    const std::uint64_t lba = address();
    const auto from = std::as_bytes(std::span(s_.io_buffer)).first(bytes);
    // A loaded state may ask for more than there is: the image says no.
    if (count == 0 || count > s_.nsector || lba >= node_.sectors() ||
        !node_.write(lba * kSector, from)) {
        abort();
        return;
    }
    set_address(lba + count);
    s_.nsector -= count;
    if (s_.nsector == 0) {
        s_.status = kReady | kSeekDone;
        s_.end_transfer = kStop;
    } else {
        next_write();
    }
    interrupt_();
}

std::uint16_t IdeDrive::read_data()
{
    if ((s_.status & kDrq) == 0 || s_.end_transfer == kWritten ||
        s_.buffer_offset + 2 > s_.buffer_length)
        return 0;
    const auto at = static_cast<std::size_t>(s_.buffer_offset);
    const auto value = static_cast<std::uint16_t>(s_.io_buffer[at] | s_.io_buffer[at + 1] << 8);
    s_.buffer_offset += 2;
    if (s_.buffer_offset + 2 > s_.buffer_length) {
        s_.status &= static_cast<std::uint8_t>(~kDrq);
        if (s_.end_transfer == kMoreToRead)
            next_read();
    }
    return value;
}

void IdeDrive::write_data(std::uint16_t value)
{
    if ((s_.status & kDrq) == 0 || s_.end_transfer != kWritten ||
        s_.buffer_offset + 2 > s_.buffer_length)
        return;
    const auto at = static_cast<std::size_t>(s_.buffer_offset);
    s_.io_buffer[at] = static_cast<std::uint8_t>(value);
    s_.io_buffer[at + 1] = static_cast<std::uint8_t>(value >> 8);
    s_.buffer_offset += 2;
    if (s_.buffer_offset + 2 > s_.buffer_length) {
        s_.status &= static_cast<std::uint8_t>(~kDrq);
        take_written();
    }
}

// --- commands ----------------------------------------------------------------------------------

void IdeDrive::identify()
{
    std::ranges::copy(identify_, s_.io_buffer.begin());
    s_.io_buffer[59 * 2] = static_cast<std::uint8_t>(s_.mult_sectors);
    s_.io_buffer[59 * 2 + 1] = s_.mult_sectors != 0 ? 1 : 0;
    s_.error = 0;
    start_transfer(kSector, kStop);
    interrupt_();
}

void IdeDrive::native_max(bool wide)
{
    s_.lba48 = wide ? 1 : 0;
    s_.select |= kSelectLba;
    set_address(std::min(node_.sectors(), wide ? kLimit48 : kLimit28) - 1);
    finish();
}

void IdeDrive::set_features()
{
    switch (s_.feature) {
    case 0x02:  // write cache on
    case 0x82:  // and off
    case 0x03:  // transfer mode
    case 0x05:  // advanced power management
    case 0x42:
    case 0x55:  // read look-ahead off
    case 0x66:
    case 0x67:
    case 0x85:
    case 0xaa:
    case 0xc2:
    case 0xcc:
        finish();
        break;
    default:
        abort();
        break;
    }
}

// Commands that move no data. False: unknown.
bool IdeDrive::slow_commands(std::uint8_t value)
{
    switch (value) {
    case 0x40:
    case 0x41:
    case 0x42:  // verify
        if (extent(value == 0x42))
            finish();
        else
            abort();
        return true;
    case 0x90:  // diagnostic: passed, and who we are
        s_.nsector = 1;
        s_.sector = 1;
        s_.lcyl = s_.hcyl = 0;
        s_.select = 0xa0;
        s_.status = kReady | kSeekDone;
        s_.error = kMark;
        interrupt_();
        return true;
    case 0xc6:  // set multiple mode
        if (s_.nsector > kMaxMultiple || (s_.nsector & (s_.nsector - 1)) != 0) {
            abort();
        } else {
            s_.mult_sectors = static_cast<std::int32_t>(s_.nsector);
            finish();
        }
        return true;
    case 0xe7:
    case 0xea:  // flush
        complete(node_.flush().has_value());
        return true;
    case 0xe5:
    case 0x98:  // power mode: active
        s_.nsector = 0xff;
        finish();
        return true;
    case 0x27:
    case 0xf8:
        native_max(value == 0x27);
        return true;
    case 0xef:
        set_features();
        return true;
    case 0x91:  // initialise parameters
    case 0x70:  // seek
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0x94:
    case 0x95:
    case 0x96:
    case 0x97:
        finish();
        return true;
    default:
        return false;
    }
}

void IdeDrive::command(std::uint8_t value)
{
    if ((s_.status & kDrq) != 0 && value != 0x08)  // a transfer is given up
        s_.buffer_offset = s_.buffer_length = 0;
    s_.end_transfer = kStop;
    s_.error = 0;
    switch (value) {
    case 0xec:
        identify();
        return;
    case 0x20:
    case 0x21:
        begin_read(false, 1);
        return;
    case 0x24:
        begin_read(true, 1);
        return;
    case 0x30:
    case 0x31:
    case 0x3c:
        begin_write(false, 1);
        return;
    case 0x34:
        begin_write(true, 1);
        return;
    case 0xc4:
    case 0x29:
        if (s_.mult_sectors == 0)
            abort();
        else
            begin_read(value == 0x29, static_cast<unsigned>(s_.mult_sectors));
        return;
    case 0xc5:
    case 0x39:
        if (s_.mult_sectors == 0)
            abort();
        else
            begin_write(value == 0x39, static_cast<unsigned>(s_.mult_sectors));
        return;
    default:
        break;
    }
    if (value >= 0x10 && value <= 0x1f)  // recalibrate
        finish();
    else if (!slow_commands(value))
        abort();
}

Result<void> IdeDrive::check(const IdeDriveState& loaded) const
{
    if (loaded.buffer_offset > loaded.buffer_length)
        return Error(Errc::BadFormat, "ide: the data position is behind the end of the buffer");
    if (loaded.nsector > 65536)
        return Error(Errc::BadFormat, "ide: more sectors than a command can have");
    if (loaded.end_transfer == kMoreToRead && loaded.req_nb_sectors == 0 &&
        (loaded.status & kDrq) != 0)
        return Error(Errc::BadFormat, "ide: a transfer without sectors");
    return {};
}

}  // namespace godwit::hw
