// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hw/block.h"
#include "hw/register.h"
#include "system/command_line.h"
#include "system/vm.h"

#include <fmt/format.h>

namespace godwit::hw {

namespace {

/// A file name as the value of a list: commas doubled.
std::string quoted(const std::string& text)
{
    std::string result;
    for (const char c : text) {
        result += c;
        if (c == ',')
            result += c;
    }
    return result;
}

}  // namespace

void add_options(system::Vm& vm, system::CommandLine& line)
{
    line.add({.name = "drive",
              .parameters = "[file=FILE][,if=TYPE][,id=ID][,format=raw][,readonly=on|off][,...]",
              .help = "an image, and unless if=none a disk of the board with it",
              .stage = system::Stage::Block,
              .handle = [&vm](const std::string& text) -> Result<void> {
                  GW_TRY(BlockSet::of(vm).add_drive(text));
                  return {};
              },
              .keys = "file:string if:string id:string index:number format:string "
                      "readonly:boolean node-name:string"});
    line.add(
        {.name = "blockdev",
         .parameters = "driver=DRIVER,node-name=NAME[,...]",
         .help = "an image by node name, in keys or JSON",
         .stage = system::Stage::Block,
         .handle = [&vm](const std::string& text) { return BlockSet::of(vm).add_blockdev(text); }});
    constexpr std::string_view kNames[] = {"hda", "hdb", "hdc", "hdd"};
    for (unsigned index = 0; index < std::size(kNames); ++index)
        line.add({.name = kNames[index],
                  .parameters = "FILE",
                  .help = "a raw image as disk of the board",
                  .stage = system::Stage::Block,
                  .handle = [&vm, index](const std::string& file) -> Result<void> {
                      GW_TRY(BlockSet::of(vm).add_drive(
                          fmt::format("file={},index={},format=raw", quoted(file), index)));
                      return {};
                  }});
}

}  // namespace godwit::hw
