# banner-07c0.S - the same in its first form: a boot sector that jumps to segment
# 07C0 and ends in a jump to itself. Modes: real. Run: as a boot sector.
.code16
.globl _start
_start:
	ljmp $0x07c0, $start
start:
	movw $0x07c0, %ax
	movw %ax, %ds
.include "banner.inc"
	jmp .
.include "message.inc"
	.org 510
	.byte 0x55, 0xaa
