# tick.S - the timer as a PC's firmware leaves it: IRQ 0 at vector 8, 18.2 times a
# second, counted at 0040:006C. Modes: real. Run: at 7C00. Status 23.
.code16
.include "lib.inc"

.equ TICKS, 0x46c

.globl _start
_start:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $_start, %sp
	sti
1:	hlt
	cmpb $3, TICKS
	jb 1b
	cli
	xorw %bp, %bp
	PUTS text
	EXIT 11

.include "puts16.inc"
text:	.asciz "three ticks"
