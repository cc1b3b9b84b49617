# loop16.S - a boot sector that counts, to compare the speed of monitors.
#
# N rounds of five 16-bit instructions, two of which use memory; then it ends the monitor it runs in
# by one of three ways: the exit port F4h (tinamou, QEMU), port 8900h (Bochs), a final halt.
	.code16
	.globl _start
_start:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov $0x0500, %si
	mov $0x0600, %di
	mov $N, %ecx
	jecxz 2f
1:	add (%si), %ax
	mov %ax, (%di)
	inc %bx
	dec %ecx
	jnz 1b
2:	mov $0, %al
	out %al, $0xf4
	mov $word, %si
	mov $0x8900, %dx
	mov $8, %cx
	rep outsb
	hlt
word:	.ascii "Shutdown"
	.org 510
	.word 0xaa55
