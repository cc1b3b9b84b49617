# reset.S - resets the machine through each door in turn and counts in CMOS RAM:
# port CF9h, port 92h, the keyboard controller. Fifty times bare, six times
# under a BIOS (which keeps a KiB of base memory). Modes: real. Run: as a disk
# of one sector and more, --firmware none or bios. Status 51.
.include "lib.inc"
.code16

.equ COUNTER, 0x60			# in CMOS RAM
.equ BASE_KIB, 0x413

.globl _start
_start:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	cli
	movb $COUNTER, %al
	outb %al, $0x70
	inb $0x71, %al
	movb %al, %bl
	movb $50, %cl
	cmpw $640, BASE_KIB
	je 1f
	movb $6, %cl
1:	cmpb %cl, %bl
	je done
	incb %al
	outb %al, $0x71
	movzbw %bl, %ax
	movb $3, %cl
	divb %cl
	cmpb $1, %ah
	jb reset_control
	je port_92
	movb $0xfe, %al			# pulse the reset line
	outb %al, $0x64
	jmp halt
reset_control:
	movw $0xcf9, %dx
	movb $2, %al
	outb %al, %dx
	movb $6, %al
	outb %al, %dx
	jmp halt
port_92:
	inb $0x92, %al
	andb $0xfe, %al
	outb %al, $0x92
	orb $1, %al
	outb %al, $0x92
halt:	hlt
	jmp halt

done:	movw $20, %bp			# below what a BIOS said
	PUTS text
	EXIT 25

.include "puts16.inc"
text:	.asciz "reset: as often as asked"
	.org 510
	.byte 0x55, 0xaa
	.fill 512, 1, 0
