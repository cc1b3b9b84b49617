# bios-call.S - what a boot sector without firmware may ask for: teletype output
# prints, anything else ends the run. Modes: real. Run: as a boot sector. Status 14.
.code16
.globl _start
_start:
	xorw %ax, %ax
	movw %ax, %ds
	cld
	movw $text, %si
1:	lodsb
	testb %al, %al
	jz 2f
	movb $0x0e, %ah
	int $0x10
	jmp 1b
2:	movw $0x0201, %ax
	int $0x13
	hlt
text:	.asciz "teletype\r\nworks"
	.org 510
	.byte 0x55, 0xaa
