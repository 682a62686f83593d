# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Boots from disk and probes the ports and registers of a q35 machine, comparing what it reads with what must be there.
#
# Sends one letter for each probe that agrees, then " PASS\n"; at the first that does not, " FAIL X value\n" with the
# letter and what was read, in hexadecimal, and halts. The first sector loads the rest itself: by programmed I/O where an
# IDE port answers, else through the firmware's disk service.
        .include "common.inc"
        .set    SECTORS, 4
        .code16
        .globl  _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movb    %dl, drive
        movw    $0x1f7, %dx
        inb     %dx, %al
        cmpb    $0xff, %al
        je      by_firmware
        testb   %al, %al
        je      by_firmware
        call    read_by_pio
        jmp     loaded
by_firmware:
        sti
        movb    drive, %dl
        movb    $0x42, %ah
        movw    $packet, %si
        int     $0x13
        cli
loaded: enter_protected_mode stage2

        .code16
# Sectors 1.. to 0x7e00, LBA28 of the first drive.
read_by_pio:
        movw    $0x1f6, %dx
        movb    $0xe0, %al
        outb    %al, %dx
        movw    $0x1f2, %dx
        movb    $SECTORS, %al
        outb    %al, %dx
        incw    %dx
        movb    $1, %al
        outb    %al, %dx
        incw    %dx
        xorb    %al, %al
        outb    %al, %dx
        incw    %dx
        outb    %al, %dx
        movw    $0x1f7, %dx
        movb    $0x20, %al
        outb    %al, %dx
        movw    $0x7e00, %di
        movw    $SECTORS, %bx
1:      movw    $0x1f7, %dx
2:      inb     %dx, %al
        testb   $0x80, %al                      # busy
        jnz     2b
        testb   $0x08, %al                      # data
        jz      2b
        movw    $0x1f0, %dx
        movw    $256, %cx
        rep insw
        decw    %bx
        jnz     1b
        ret

packet: .byte   16, 0
        .word   SECTORS, 0x7e00, 0
        .quad   1
drive:  .byte   0
        flat_gdt
        boot_signature

        .code32
stage2: cmpl    $0x600dcafe, stage2_mark
        je      1f
        send    '!'
        hlt
1:      jmp     probes

# Each probe leaves what it read in %eax and what must be in %ebx, under the mask in %ecx, its letter in \letter.
        .macro  agree letter, value, mask=0xffffffff
        movl    $\value, %ebx
        movl    $\mask, %ecx
        movl    $\letter, %edi
        call    compare
        .endm
        .macro  read8 port
        movw    $\port, %dx
        xorl    %eax, %eax
        inb     %dx, %al
        .endm
        .macro  write8 port, value
        movw    $\port, %dx
        movb    $\value, %al
        outb    %al, %dx
        .endm
        .macro  write32 port, value
        movw    $\port, %dx
        movl    $\value, %eax
        outl    %eax, %dx
        .endm
        .macro  read32 port
        movw    $\port, %dx
        inl     %dx, %eax
        .endm

probes:
        # a: port 0x92 keeps what was written, bit 0 reads 0
        write8  0x92, 0x42
        read8   0x92
        agree   'a', 0x42, 0xff
        write8  0x92, 0x02
        # b: the UART's scratch register
        write8  0x3ff, 0x5a
        read8   0x3ff
        agree   'b', 0x5a
        write8  0x3ff, 0xa5
        read8   0x3ff
        agree   'b', 0xa5
        # c: nothing answers with ones
        read8   0x5f0
        agree   'c', 0xff
        read32  0x5f0
        agree   'c', 0xffffffff
        # d: fw_cfg's signature
        movw    $0x510, %dx
        xorl    %eax, %eax
        outw    %ax, %dx
        incw    %dx
        movl    $4, %esi
1:      shll    $8, %eax
        inb     %dx, %al
        decl    %esi
        jnz     1b
        agree   'd', 0x51454d55
        # e: the RTC has power, its memory keeps
        write8  0x70, 0x0d
        read8   0x71
        agree   'e', 0x80, 0x80
        write8  0x70, 0x6f
        write8  0x71, 0x3c
        write8  0x70, 0x6f
        read8   0x71
        agree   'e', 0x3c
        # f: the interrupt controller's mask
        write8  0x21, 0xb8
        read8   0x21
        agree   'f', 0xb8
        write8  0x21, 0xff
        # g: the timer counts
        write8  0x43, 0x34
        write8  0x40, 0x00
        write8  0x40, 0x00
        movl    $1000000, %esi
        call    pit_count
        movl    %eax, %ebp
1:      call    pit_count
        cmpl    %eax, %ebp
        jne     2f
        decl    %esi
        jnz     1b
2:      xorl    %ebp, %eax
        setnz   %al
        movzbl  %al, %eax
        agree   'g', 1
        # h: PCI, mechanism 1: host bridge and LPC bridge
        write32 0xcf8, 0x80000000
        read32  0xcfc
        agree   'h', 0x29c08086
        write32 0xcf8, 0x8000f800
        read32  0xcfc
        agree   'h', 0x29188086
        # i: PCI, memory-mapped, at 0xb0000000
        write32 0xcf8, 0x80000060
        write32 0xcfc, 0xb0000001
        movl    0xb0000000, %eax
        agree   'i', 0x29c08086
        movzwl  0xb00f8002, %eax
        agree   'i', 0x2918
        # j: the I/O APIC: its version, a redirection entry
        movl    $1, 0xfec00000
        movl    0xfec00010, %eax
        agree   'j', 0x00170000, 0x00ff0000
        movl    $0x20, 0xfec00000
        movl    $0x10055, 0xfec00010
        movl    $0x20, 0xfec00000
        movl    0xfec00010, %eax
        agree   'j', 0x10055
        # k: the local APIC's version: integrated
        movl    0xfee00030, %eax
        agree   'k', 0x10, 0xf0
        # l: memory at 1 MiB, every width; address line 20 is on
        movl    $0x04030201, 0x100000
        movl    $0x11111111, 0x0
        movb    $0xaa, 0x100001
        movw    $0xbbcc, 0x100002
        movl    0x100000, %eax
        agree   'l', 0xbbccaa01
        # m: the power-management timer runs
        movl    $1000000, %esi
        read32  0x608
        movl    %eax, %ebp
1:      read32  0x608
        cmpl    %eax, %ebp
        jne     2f
        decl    %esi
        jnz     1b
2:      xorl    %ebp, %eax
        setnz   %al
        movzbl  %al, %eax
        agree   'm', 1
        movl    $passed, %esi
        call    send_string
halt:   hlt
        jmp     halt

# Channel 0's count, latched.
pit_count:
        write8  0x43, 0x00
        read8   0x40
        movl    %eax, %ebx
        read8   0x40
        shll    $8, %eax
        orl     %ebx, %eax
        ret

# Sends the letter in %edi when %eax and %ebx agree under %ecx; says what is wrong and halts otherwise.
compare:
        movl    %eax, %ebp
        xorl    %ebx, %eax
        testl   %ecx, %eax
        jnz     1f
        movl    %edi, %eax
        movw    $COM1, %dx
        outb    %al, %dx
        ret
1:      movl    $failed, %esi
        call    send_string
        movl    %edi, %eax
        movw    $COM1, %dx
        outb    %al, %dx
        send    ' '
        movl    $8, %ecx
2:      roll    $4, %ebp
        movl    %ebp, %eax
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     3f
        addb    $39, %al
3:      outb    %al, %dx
        loop    2b
        send    '\n'
        jmp     halt

        define_send_string
passed: .asciz  " PASS\n"
failed: .asciz  " FAIL "
        .balign 4
stage2_mark:
        .long   0x600dcafe
        .org    512 * (1 + SECTORS)
