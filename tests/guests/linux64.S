# SPDX-License-Identifier: LGPL-2.1-or-later
#
# An image in the form of a Linux kernel (boot protocol 2.12, 64-bit entry) that prints what the zero page says:
#
#     LINUX64
#     cmdline: TEXT
#     initrd: SIZE TEXT
#     e820: COUNT
#     PASS
#
# "FAIL X": S the setup header was not copied, L not in long mode, E no memory map.
# The real-mode part is empty: a loader that enters there (rather than at the 64-bit entry) finds a halt.
# Source: Linux, Documentation/arch/x86/boot.rst.
        .set    COM1, 0x3f8
        .set    SETUP_SECTORS, 1

        .code16
        .globl  _start
_start:                                         # real-mode part: never run by a direct boot
        hlt
        jmp     _start
        .org    0x1f1
        .byte   SETUP_SECTORS                   # setup_sects
        .word   1                               # root_flags
        .long   (image_end - protected_start + 15) / 16   # syssize
        .word   0                               # ram_size
        .word   0xffff                          # vid_mode
        .word   0                               # root_dev
        .word   0xaa55                          # boot_flag
        .byte   0xeb, header_end - 1f           # jump, and the end of this header
1:      .ascii  "HdrS"
        .word   0x020c                          # version
        .long   0                               # realmode_swtch
        .word   0x1000                          # start_sys_seg
        .word   0                               # kernel_version
        .byte   0                               # type_of_loader
        .byte   1                               # loadflags: loaded high
        .word   0                               # setup_move_size
        .long   0x100000                        # code32_start
        .long   0                               # ramdisk_image
        .long   0                               # ramdisk_size
        .long   0                               # bootsect_kludge
        .word   0                               # heap_end_ptr
        .byte   0, 0                            # ext_loader_ver, ext_loader_type
        .long   0                               # cmd_line_ptr
        .long   0x7fffffff                      # initrd_addr_max
        .long   0x1000                          # kernel_alignment
        .byte   0                               # relocatable_kernel
        .byte   12                              # min_alignment
        .word   3                               # xloadflags: 64-bit entry, may be above 4 GiB
        .long   255                             # cmdline_size
        .long   0                               # hardware_subarch
        .quad   0                               # hardware_subarch_data
        .long   0                               # payload_offset
        .long   0                               # payload_length
        .quad   0                               # setup_data
        .quad   0x100000                        # pref_address
        .long   0x10000                         # init_size
        .long   0                               # handover_offset
header_end:
        .org    512 * (1 + SETUP_SECTORS)

protected_start:                                # at 0x100000; 32-bit entry: not used
        .code32
        hlt
        jmp     protected_start
        .org    512 * (1 + SETUP_SECTORS) + 0x200

        .code64                                 # 64-bit entry, %rsi = zero page
        cli
        cld
        leaq    stack_end(%rip), %rsp
        movq    %rsi, %rbp
        leaq    hello(%rip), %rsi
        call    send_string
        movb    $'S', %bl
        cmpl    $0x53726448, 0x202(%rbp)
        jne     fail
        movb    $'L', %bl
        movl    $0xc0000080, %ecx
        rdmsr
        testl   $0x400, %eax
        jz      fail
        leaq    cmdline(%rip), %rsi
        call    send_string
        movl    0x228(%rbp), %esi
        testl   %esi, %esi
        jz      1f
        call    send_string
1:      call    send_newline
        leaq    initrd(%rip), %rsi
        call    send_string
        movl    0x21c(%rbp), %eax
        call    send_hex
        call    send_space
        movl    0x21c(%rbp), %ecx
        movl    0x218(%rbp), %esi
        call    send_counted
        call    send_newline
        leaq    e820(%rip), %rsi
        call    send_string
        movzbl  0x1e8(%rbp), %eax
        call    send_hex
        call    send_newline
        movb    $'E', %bl
        cmpb    $0, 0x1e8(%rbp)
        je      fail
        leaq    passed(%rip), %rsi
        call    send_string
halt:   hlt
        jmp     halt

fail:   leaq    failed(%rip), %rsi
        call    send_string
        movb    %bl, %al
        call    send_byte
        call    send_newline
        jmp     halt

send_byte:
        movw    $COM1, %dx
        outb    %al, %dx
        ret
send_newline:
        movb    $'\n', %al
        jmp     send_byte
send_space:
        movb    $' ', %al
        jmp     send_byte
send_string:
        lodsb
        testb   %al, %al
        jz      1f
        call    send_byte
        jmp     send_string
1:      ret
# Up to %ecx bytes at %rsi, at most 64, up to a zero.
send_counted:
        cmpl    $64, %ecx
        jbe     1f
        movl    $64, %ecx
1:      testl   %ecx, %ecx
        jz      2f
        lodsb
        testb   %al, %al
        jz      2f
        call    send_byte
        decl    %ecx
        jmp     1b
2:      ret
send_hex:
        movl    %eax, %r8d
        movl    $8, %r9d
1:      roll    $4, %r8d
        movl    %r8d, %eax
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     2f
        addb    $39, %al
2:      call    send_byte
        decl    %r9d
        jnz     1b
        ret

hello:  .asciz  "LINUX64\n"
cmdline: .asciz "cmdline: "
initrd: .asciz  "initrd: "
e820:   .asciz  "e820: "
passed: .asciz  "PASS\n"
failed: .asciz  "FAIL "
        .balign 16
        .space  512
stack_end:
image_end:
