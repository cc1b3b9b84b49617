# faults.S - three faults in real mode, each to a handler of our own that
# says its name: #DE by DIV, #UD by UD2, #GP by a word at offset FFFF.
# Modes: real. Run: --flat faults.bin@7c00. Ends by exit port 21 (status 43).
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
	movw $on_de, 0 * 4
	movw %ax, 0 * 4 + 2
	movw $on_ud, 6 * 4
	movw %ax, 6 * 4 + 2
	movw $on_gp, 13 * 4
	movw %ax, 13 * 4 + 2

	movw $1000, %ax
	movb $0, %bl
	divb %bl
back_de:
	ud2
back_ud:
	movw $0xffff, %bx
	movw (%bx), %ax
back_gp:
	PUTS bye
	EXIT 21

# A fault pushes the address of the instruction itself: it must be replaced.
on_de:
	PUTS text_de
	movw $back_de, %ax
	jmp resume
on_ud:
	PUTS text_ud
	movw $back_ud, %ax
	jmp resume
on_gp:
	PUTS text_gp
	movw $back_gp, %ax
resume:
	movw %sp, %bx
	movw %ax, %ss:(%bx)
	iretw
.include "puts16.inc"
text_de: .asciz "#DE: 1000 / 0"
text_ud: .asciz "#UD: UD2"
text_gp: .asciz "#GP: a word at DS:FFFF"
bye:	.asciz "three faults, three handlers"
