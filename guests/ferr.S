# ferr.S - x87 errors the PC's way: CR0.NE clear, so that FERR# becomes IRQ 13 and
# a write to port F0h makes the CPU ignore the error while it is looked at.
# Modes: real, and a machine that sees FERR#. Run: at 7C00. Status 27.
.code16
.include "lib.inc"

.equ PIC1, 0x20
.equ PIC2, 0xa0
.equ EOI, 0x20
.equ IRQ13_VECTOR, 0x75

.globl _start
_start:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $_start, %sp
	movw $irq13, IRQ13_VECTOR * 4
	movw %ax, IRQ13_VECTOR * 4 + 2
	movb $0xfb, %al			# the slave alone
	outb %al, $PIC1 + 1
	movb $0xdf, %al			# IRQ 13 alone
	outb %al, $PIC2 + 1
	movl %cr0, %eax
	andb $0xdf, %al			# NE clear
	movl %eax, %cr0
	sti

	movw $2, %cx
1:	fninit
	fldcw zero_divide
	fld1
	fldz
	fdivrp				# its error waits for the next
	movb $1, waiting
	fld1				# here it is served
	movb $0, waiting
	loop 1b

	cli
	xorw %bp, %bp
	cmpb $2, served
	jne failed
	PUTS text
	EXIT 13
failed:	PUTS wrong
	EXIT 1

# While IGNNE# is asserted, FLD does not wait; the flags are still there behind it.
irq13:	pushw %ax
	cmpb $1, waiting
	jne 2f
	outb %al, $0xf0
	fld1
	fnstsw %ax
	testb $0x84, %al		# ES and ZE
	jz 2f
	testb $0x80, %al
	jz 2f
	fnclex
	incb served
2:	movb $EOI, %al
	outb %al, $PIC2
	outb %al, $PIC1
	popw %ax
	iret

.include "puts16.inc"
zero_divide: .word 0x37b
served:	.byte 0
waiting: .byte 0
text:	.asciz "two errors by IRQ 13"
wrong:	.asciz "no error by IRQ 13"
