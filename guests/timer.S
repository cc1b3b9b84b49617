# timer.S - the PIC moved to vectors 20h and up, the PIT at 100 Hz, 20 ticks
# waited for by HLT. Modes: real. Run: --flat timer.bin@7c00. Status 41.
.code16
.include "lib.inc"
.equ PIC, 0x20
.equ PIT, 0x40
.equ DIVISOR, 11932
.globl _start
_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	movw $0, %bp
	movw $tick, 0x20 * 4
	movw %ax, 0x20 * 4 + 2
	PUTS text_start

	movb $0x11, %al
	outb %al, $PIC
	movb $0x20, %al
	outb %al, $PIC + 1
	movb $0x04, %al
	outb %al, $PIC + 1
	movb $0x01, %al
	outb %al, $PIC + 1
	movb $0xfe, %al			# only IRQ 0
	outb %al, $PIC + 1
	movb $0x34, %al			# counter 0, both bytes, mode 2
	outb %al, $PIT + 3
	movb $DIVISOR & 0xff, %al
	outb %al, $PIT
	movb $DIVISOR >> 8, %al
	outb %al, $PIT

	sti
wait:	hlt
	cmpw $20, ticks
	jb wait
	cli
	PUTS text_end
	EXIT 20
tick:
	pushw %ax
	incw ticks
	movb $0x20, %al			# end of interrupt
	outb %al, $PIC
	popw %ax
	iretw
.include "puts16.inc"
text_start: .asciz "waiting for 20 ticks at 100 Hz"
text_end: .asciz "20 ticks"
ticks:	.word 0
