# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Boot sector that writes memory and says on COM1 that it lives.
#
# Every page of [start, end) is stamped once, then the pages of [hot_start, hot_end) again and again, in order:
#     bytes 0..3 and 4092..4095   how often the page was written
#     bytes 8..11                 its address
# 'A' is sent at the start, 'B' after each turn over the hot pages. So, at any instant: both counters of a page are
# equal, but for the one page being written, and over the hot pages they fall by at most one, once. The guest checks
# each page before it writes it again: 'X' says that a counter or the stamp was wrong, and ends it.
# Parameters, 32 bits each, little-endian, page aligned: start at byte 494, end 498, hot_start 502, hot_end 506.
        .include "common.inc"
        .code16
        .globl  _start
_start: enter_protected_mode begin
        .code32
begin:  send    'A'
        movl    start, %edi
1:      cmpl    end, %edi
        jae     turn
        movl    %edi, 8(%edi)
        movl    (%edi), %eax                    # a reset may have come between the two counters
        incl    %eax
        movl    %eax, (%edi)
        movl    %eax, 4092(%edi)
        addl    $4096, %edi
        jmp     1b
turn:   movl    hot_start, %edi
2:      cmpl    hot_end, %edi
        jae     3f
        cmpl    %edi, 8(%edi)
        jne     wrong
        call    count
        jmp     2b
3:      send    'B'
        jmp     turn

# Counts the page at %edi and goes on to the next.
count:  movl    (%edi), %eax
        cmpl    4092(%edi), %eax
        jne     wrong
        incl    (%edi)
        incl    4092(%edi)
        addl    $4096, %edi
        ret
wrong:  send    'X'
1:      hlt
        jmp     1b

        flat_gdt
        .org    494
start:          .long   0x100000
end:            .long   0x6400000
hot_start:      .long   0x100000
hot_end:        .long   0x6400000
        boot_signature
