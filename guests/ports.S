# ports.S - port and MMIO patterns: all sizes, repeated, page-crossing. Each item
# says OK or FAIL. Modes: real. Run: --flat ports.bin@7c00. Status 1 if all is well.
.code16
.include "lib.inc"
.equ SCRATCH, COM1 + 7		# a register of the UART that keeps what is written
.equ DEBUG, 0xe9		# reads give E9
.equ ABSENT, 0x2e0		# nobody is here
.equ BUF, 0x6000

.macro CHECK name
	movw $\name, %si
	call verdict
.endm

.globl _start
_start:
	cli
	cld
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw %ax, %es
	movw $0x7c00, %sp
	movw $0, %bp

	movw $SCRATCH, %dx		# byte out and in
	movb $0x5a, %al
	outb %al, %dx
	movb $0, %al
	inb %dx, %al
	cmpb $0x5a, %al
	CHECK t_byte

	movw $ABSENT, %dx		# absent: all ones, in every size
	xorl %eax, %eax
	inb %dx, %al
	cmpl $0xff, %eax
	CHECK t_absent8
	movw $ABSENT, %dx
	xorl %eax, %eax
	inw %dx, %ax
	cmpl $0xffff, %eax
	CHECK t_absent16
	movw $ABSENT, %dx
	inl %dx, %eax
	cmpl $0xffffffff, %eax
	CHECK t_absent32

	movw $SCRATCH, %dx		# repeated output: the last byte stays
	movw $bytes, %si
	movw $5, %cx
	rep outsb
	inb %dx, %al
	cmpb $0x55, %al
	CHECK t_outs

	movw $DEBUG, %dx		# repeated input
	movw $BUF, %di
	movw $4, %cx
	rep insb
	cmpl $0xe9e9e9e9, BUF
	CHECK t_ins

	movw $ABSENT, %dx		# repeated input across a page
	movl $0, 0x6ffe
	movl $0, 0x7002
	movw $0x6ffe, %di
	movw $2, %cx
	rep insl
	cmpl $0xffffffff, 0x6ffe
	jne 1f
	cmpl $0xffffffff, 0x7002
1:	CHECK t_ins_page

	movw $SCREEN, %ax		# the screen: every size, every alignment
	movw %ax, %es
	movb $'a', %es:3840
	movw $0x0762, %es:3842
	movl $0x07640763, %es:3844
	movb $'e', %es:3848
	movl $0x07660765, %es:3849	# unaligned
	cmpl $0x07640763, %es:3844
	CHECK t_mmio
	cmpl $0x07660765, %es:3849
	CHECK t_unaligned
	cmpw $0x6565, %es:3848
	CHECK t_part

	movw $4000, %di			# repeated store, then copy within the screen
	movw $10, %cx
	movw $0x0e2a, %ax
	rep stosw
	cmpl $0x0e2a0e2a, %es:4016
	CHECK t_stos
	pushw %ds
	pushw $SCREEN
	popw %ds
	movw $4000, %si
	movw $4020, %di
	movw $10, %cx
	rep movsw
	popw %ds
	cmpl $0x0e2a0e2a, %es:4036
	CHECK t_movs

	movl $0x44332211, %es:0x7fe	# across pages within the window
	movl $0x44332211, %es:0xffe
	cmpl $0x44332211, %es:0xffe
	CHECK t_mmio_page

	movw $0x9000, %ax		# half in RAM, half where nobody is
	movw %ax, %es
	movl $0x44332211, %es:0xfffc
	cmpl $0x44332211, %es:0xfffc
	CHECK t_ram_end

	movl $0, %es:0
	movw failed, %ax
	testw %ax, %ax
	jnz 2f
	EXIT 0
2:	EXIT 1

# Flags: equal is OK. SI: the item.
verdict:
	movw $t_ok, %di
	je 1f
	movw $t_fail, %di
	incw failed
1:	pushw %es
	pushw %di
	call puts16
	decw %bp
	popw %si
	call mark
	popw %es
	ret
# The verdict at column 40 of the same row.
mark:
	pushw $SCREEN
	popw %es
	movw %bp, %ax
	movw $ROW_BYTES, %cx
	mulw %cx
	addw $80, %ax
	movw %ax, %di
1:	lodsb
	testb %al, %al
	jz 2f
	movb $0x07, %ah
	stosw
	movw $COM1, %dx
	outb %al, %dx
	jmp 1b
2:	movw $COM1, %dx
	movb $'\n', %al
	outb %al, %dx
	incw %bp
	ret
.include "puts16.inc"
failed:	.word 0
bytes:	.byte 0x11, 0x22, 0x33, 0x44, 0x55
t_ok:	.asciz "OK"
t_fail:	.asciz "FAIL"
t_byte:	.asciz "port byte"
t_absent8: .asciz "absent port, byte"
t_absent16: .asciz "absent port, word"
t_absent32: .asciz "absent port, dword"
t_outs:	.asciz "rep outsb"
t_ins:	.asciz "rep insb"
t_ins_page: .asciz "rep insl across a page"
t_mmio:	.asciz "mmio byte, word, dword"
t_unaligned: .asciz "mmio dword, unaligned"
t_part:	.asciz "mmio word, part of both"
t_stos:	.asciz "rep stosw to mmio"
t_movs:	.asciz "rep movsw within mmio"
t_mmio_page: .asciz "mmio across a page"
t_ram_end: .asciz "last dword of base memory"
