# banner.S - the boot sector it all began with, made for address 0: 4 KiB of RAM
# are enough, each store to the screen leaves the guest, and HLT ends it.
# Modes: real. Run: --flat banner.bin@0 --memory 4K
.code16
.globl _start
_start:
	movw $0x0000, %ax
	movw %ax, %ds
.include "banner.inc"
	hlt
.include "message.inc"
	.org 510
	.byte 0x55, 0xaa
