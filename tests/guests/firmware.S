# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A firmware image (-bios) that is a guest by itself: it writes memory, checks it, and says on COM1 that it lives.
#
# 64 KiB, at the top of 4 GiB and aliased below 1 MiB; runs on any machine that starts at the reset vector, microvm among
# them. 'A' is sent at the start. In turn n every page of [start, end) must hold what turn n - 1 wrote:
#     bytes 0..3          the turn
#     bytes 4092..4095    the turn XOR the page's address
# 'B' is sent after each turn; 'X' and the address in hexadecimal at the first page that is wrong, then it halts.
# Turn 0 expects nothing and writes all. Parameters, 32 bits each, little-endian, page aligned: start at byte 65496, end
# at byte 65500.
        .set    COM1, 0x3f8
        .code16
        .globl  _start
_start: cli
        movw    %cs, %ax
        movw    %ax, %ds
        inb     $0x92, %al
        orb     $2, %al
        andb    $0xfe, %al
        outb    %al, $0x92
        lgdtl   gdt_pointer - _start
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $begin
        .code32
begin:  movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x7c00, %esp
        movb    $'A', %al
        call    send_byte
        xorl    %ebx, %ebx                      # turn
turn:   movl    start, %edi
1:      cmpl    end, %edi
        jae     2f
        testl   %ebx, %ebx
        jz      3f
        leal    -1(%ebx), %eax
        cmpl    %eax, (%edi)
        jne     wrong
        xorl    %edi, %eax
        cmpl    %eax, 4092(%edi)
        jne     wrong
3:      movl    %ebx, (%edi)
        movl    %ebx, %eax
        xorl    %edi, %eax
        movl    %eax, 4092(%edi)
        addl    $4096, %edi
        jmp     1b
2:      movb    $'B', %al
        call    send_byte
        incl    %ebx
        jmp     turn

wrong:  movb    $'X', %al
        call    send_byte
        movl    $8, %ecx
1:      roll    $4, %edi
        movl    %edi, %eax
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     2f
        addb    $39, %al
2:      call    send_byte
        loop    1b
3:      hlt
        jmp     3b

send_byte:
        movw    $COM1, %dx
        outb    %al, %dx
        ret

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt

        .org    65496
start:  .long   0x100000
end:    .long   0x400000
        .org    65520
        .code16
reset:  ljmp    $0xf000, $0
        .org    65536
