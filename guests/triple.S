# triple.S - protected mode with an empty IDT: the first fault finds no handler,
# nor does the double fault. Modes: protected. Run: --flat triple.bin@7c00. Status 8.
.code16
.globl _start
_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl gdtr
	lidtl idtr
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	ljmpl $8, $protected
.code32
protected:
	ud2
gdt:	.quad 0
	.quad 0x00cf9b000000ffff
gdtr:	.word . - gdt - 1
	.long gdt
idtr:	.word 0
	.long 0
