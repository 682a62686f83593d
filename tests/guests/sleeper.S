# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Boot sector that suspends to RAM, and checks on waking that its memory was kept.
#
# First start: fills 1 MiB from 1 MiB on with a pattern, sends 'S', sleeps (PM1a control, type 1). When it runs again it
# compares: 'W' when all is as it was, 'X' and the address in hexadecimal otherwise; then it sleeps again. The pattern
# of turn n, kept in its first word, is n + address, so that every turn is told apart.
# Written for the PM block at 0x600. A wake-up without a waking vector starts the boot sector again.
        .include "common.inc"
        .set    PM1_STATUS, 0x600
        .set    PM1_CONTROL, 0x604
        .set    FIRST, 0x100000
        .set    LAST, 0x200000
        .set    MARK, 0x5eed0000
        .code16
        .globl  _start
_start: enter_protected_mode begin
        .code32
begin:  movl    FIRST, %ebx
        movl    %ebx, %eax
        andl    $0xffff0000, %eax
        cmpl    $MARK, %eax
        jne     first
        call    compare
        incl    %ebx
        jmp     sleep
first:  movl    $MARK, %ebx
sleep:  call    fill
        movw    $PM1_STATUS, %dx
        movw    $0x8000, %ax                    # clear the wake status
        outw    %ax, %dx
        send    'S'
        movw    $PM1_CONTROL, %dx
        inw     %dx, %ax
        andw    $0xc3ff, %ax
        orw     $0x2400, %ax                    # type 1, enable
        outw    %ax, %dx
        send    '!'                             # a vCPU that sleeps never gets here
        jmp     .

# Word at address a is %ebx + a, but the first, which is %ebx itself.
fill:   movl    $FIRST, %edi
        movl    %ebx, (%edi)
1:      addl    $4, %edi
        cmpl    $LAST, %edi
        jae     2f
        leal    (%ebx, %edi), %eax
        movl    %eax, (%edi)
        jmp     1b
2:      ret

compare:
        movl    $FIRST, %edi
1:      addl    $4, %edi
        cmpl    $LAST, %edi
        jae     2f
        leal    (%ebx, %edi), %eax
        cmpl    %eax, (%edi)
        je      1b
        send    'X'
        movl    $8, %ecx
3:      roll    $4, %edi
        movl    %edi, %eax
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     4f
        addb    $39, %al
4:      movw    $COM1, %dx
        outb    %al, %dx
        loop    3b
        ret
2:      send    'W'
        ret

        flat_gdt
        boot_signature
