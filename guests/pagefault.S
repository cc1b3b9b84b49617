# pagefault.S - 32-bit paging, and a page fault whose handler shows CR2 and the error
# code, then maps the page. Modes: real protected paging. Run: --flat pagefault.bin@7c00.
# Status 85.
.code16
.include "lib.inc"
.equ PD, 0x10000
.equ PT, 0x11000
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
	ljmpl $0x08, $protected
.code32
protected:
	movw $COM1 + 3, %dx		# 8 data bits
	movb $3, %al
	outb %al, %dx
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl $0x7c00, %esp
	movl $PD, %edi
	xorl %eax, %eax
	movl $0x400, %ecx
	rep stosl
	movl $PT + 3, PD
	movl $PT, %edi			# the first 4 MiB, each page where it is
	movl $3, %eax
1:	stosl
	addl $0x1000, %eax
	cmpl $PT + 0x1000, %edi
	jb 1b
	movl $0, PT + 0x300 * 4		# but not 300000
	movl $PD, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	movb $42, 0x300123		# faults; the handler maps 20000 there
	cmpb $42, 0x20123
	movb $42, %al
	je 2f
	movb $1, %al
2:	outb %al, $EXIT_PORT
	hlt
fault:
	pushal
	movl %cr2, %eax
	movl $0xb8000, %edi
	call hex
	movl 32(%esp), %eax		# the error code
	movl $0xb80a0, %edi
	call hex
	movl $0x20003, PT + 0x300 * 4
	invlpg 0x300000
	popal
	addl $4, %esp
	iretl
# EAX in hex at EDI and on COM1
hex:
	movl $8, %ecx
1:	roll $4, %eax
	pushl %eax
	andb $15, %al
	addb $'0', %al
	cmpb $'9', %al
	jbe 2f
	addb $7, %al
2:	stosb
	incl %edi
	movw $COM1, %dx
	outb %al, %dx
	popl %eax
	loop 1b
	movb $'\n', %al
	movw $COM1, %dx
	outb %al, %dx
	ret
	.balign 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdtr:	.word . - gdt - 1
	.long gdt
idt:	.fill 14, 8, 0
	.word fault, 0x08, 0x8e00, 0
idtr:	.word . - idt - 1
	.long idt
