# protected.S - real mode, 16-bit and 32-bit protected mode, and back to real mode;
# a line at each step. Modes: real protected. Run: --flat protected.bin@7c00. Status 67.
.code16
.include "lib.inc"
.globl _start
_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	movw $0, %bp
	PUTS text_real
	lgdtl gdtr
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	ljmpw $0x18, $protected16
protected16:
	movw $0x20, %ax			# a 16-bit data segment, based at the screen
	movw %ax, %es
	movl $0x07360731, %es:ROW_BYTES
	ljmpl $0x08, $protected32

.code32
protected32:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl $0x00007c00, %esp
	pushl $0x12345678
	popl %eax
	cmpl $0x12345678, %eax
	jne .
	movl $0x07320733, 0xb8000 + 2 * ROW_BYTES
	ljmpl $0x18, $leave

.code16
leave:
	movw $0x28, %ax			# limits that real mode has
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl %cr0, %eax
	andb $0xfe, %al
	movl %eax, %cr0
	ljmpw $0, $real_again
real_again:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	movw $3, %bp
	PUTS text_back
	EXIT 33
.include "puts16.inc"
text_real: .asciz "real mode"
text_back: .asciz "real mode again"
	.balign 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	# 08: 32-bit code
	.quad 0x00cf93000000ffff	# 10: flat data
	.quad 0x00009b000000ffff	# 18: 16-bit code
	.quad 0x0000930b8000ffff	# 20: 16-bit data at B8000
	.quad 0x000093000000ffff	# 28: 16-bit data
gdtr:	.word . - gdt - 1
	.long gdt
