# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A kernel for direct boot (PVH: ELF note 18, 32-bit entry) that prints what it was given on COM1:
#
#     PVH
#     cmdline: TEXT
#     module: SIZE TEXT                 the initrd, its first bytes up to a zero
#     memory: START SIZE TYPE           one line an entry, hexadecimal
#     PASS
#
# "FAIL X" names what does not hold: M the start-info mark, V its version, R no RAM at 1 MiB, O the module overlaps us.
# Source: Xen, "x86/HVM direct boot ABI".
        .set    COM1, 0x3f8
        .section .note, "a", @note
        .long   4, 4, 18
        .asciz  "Xen"
        .long   _start

        .text
        .code32
        .globl  _start
_start: cli
        cld
        movl    $stack_end, %esp
        movl    %ebx, %ebp                      # start info
        movb    $'M', %cl
        cmpl    $0x336ec578, (%ebp)
        jne     fail
        movb    $'V', %cl
        cmpl    $1, 4(%ebp)
        jb      fail
        movl    $hello, %esi
        call    send_string

        movl    $cmdline, %esi
        call    send_string
        movl    24(%ebp), %esi
        testl   %esi, %esi
        jz      1f
        call    send_string
1:      call    send_newline

        cmpl    $0, 12(%ebp)                    # modules
        je      no_module
        movl    16(%ebp), %ebx
        movl    $module, %esi
        call    send_string
        movl    8(%ebx), %eax
        call    send_hex
        call    send_space
        movl    (%ebx), %esi
        movb    $'O', %cl
        cmpl    $image_end, %esi
        jb      fail
        movl    8(%ebx), %ecx
        call    send_counted
        call    send_newline
no_module:

        movl    40(%ebp), %ebx                  # memory map, 24 bytes an entry
        movl    48(%ebp), %edi                  # how many
        xorl    %ebp, %ebp                      # RAM at 1 MiB seen
1:      testl   %edi, %edi
        jz      2f
        movl    $memory, %esi
        call    send_string
        movl    4(%ebx), %eax
        call    send_hex
        movl    (%ebx), %eax
        call    send_hex
        call    send_space
        movl    12(%ebx), %eax
        call    send_hex
        movl    8(%ebx), %eax
        call    send_hex
        call    send_space
        movl    16(%ebx), %eax
        call    send_hex
        call    send_newline
        cmpl    $1, 16(%ebx)
        jne     3f
        cmpl    $0, 4(%ebx)
        jne     3f
        cmpl    $0x100000, (%ebx)
        ja      3f
        movl    (%ebx), %eax
        addl    8(%ebx), %eax
        jc      4f
        cmpl    $0x100000, %eax
        jbe     3f
4:      incl    %ebp
3:      addl    $24, %ebx
        decl    %edi
        jmp     1b
2:      movb    $'R', %cl
        testl   %ebp, %ebp
        jz      fail
        movl    $passed, %esi
        call    send_string
halt:   hlt
        jmp     halt

fail:   movl    $failed, %esi
        call    send_string
        movb    %cl, %al
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
# Up to %ecx bytes at %esi, at most 64, up to a zero.
send_counted:
        cmpl    $64, %ecx
        jbe     1f
        movl    $64, %ecx
1:      jecxz   2f
        lodsb
        testb   %al, %al
        jz      2f
        call    send_byte
        decl    %ecx
        jmp     1b
2:      ret
# %eax as eight hexadecimal digits. Clobbers %ecx.
send_hex:
        pushl   %ebx
        movl    %eax, %ebx
        movl    $8, %ecx
1:      roll    $4, %ebx
        movl    %ebx, %eax
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     2f
        addb    $39, %al
2:      call    send_byte
        loop    1b
        popl    %ebx
        ret

        .section .rodata
hello:  .asciz  "PVH\n"
cmdline: .asciz "cmdline: "
module: .asciz  "module: "
memory: .asciz  "memory: "
passed: .asciz  "PASS\n"
failed: .asciz  "FAIL "
        .bss
        .space  1024
stack_end:
