# modes.S - real mode, protected mode, long mode, with page tables of its own; a
# line at each step. Modes: real protected paging long. Run: --flat modes.bin@7c00.
# Status 129.
.code16
.include "lib.inc"
.equ PML4, 0x10000
.equ PDPT, 0x11000
.equ PD, 0x12000
.globl _start
_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	movw $0, %bp
	PUTS text_real
	lgdtl gdtr
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	ljmpl $0x08, $protected
.include "puts16.inc"

.code32
protected:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl $0x7c00, %esp
	movl $text_protected, %esi
	movl $0xb80a0, %edi
	call puts32

	movl $PML4, %edi		# one 2 MiB page
	xorl %eax, %eax
	movl $0x3000 / 4, %ecx
	rep stosl
	movl $PDPT + 3, PML4
	movl $PD + 3, PDPT
	movl $0x83, PD
	movl $PML4, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orb $0x20, %al			# PAE
	movl %eax, %cr4
	movl $0xc0000080, %ecx		# EFER.LME
	rdmsr
	orb $1, %ah
	wrmsr
	movl %cr0, %eax
	orl $0x80000000, %eax
	movl %eax, %cr0
	ljmpl $0x18, $long_mode
puts32:
1:	lodsb
	testb %al, %al
	jz 2f
	stosb
	incl %edi
	movw $COM1, %dx
	outb %al, %dx
	jmp 1b
2:	movb $'\n', %al
	movw $COM1, %dx
	outb %al, %dx
	ret

.code64
long_mode:
	movl $text_long, %esi
	movl $0xb8140, %edi
1:	lodsb
	testb %al, %al
	jz 2f
	stosb
	incq %rdi
	movw $COM1, %dx
	outb %al, %dx
	jmp 1b
2:	movabsq $0x123456789abcdef0, %r15
	movq %r15, %rax
	shrq $60, %rax			# 1: only 64-bit registers can do that
	shlq $6, %rax
	outb %al, $EXIT_PORT
	hlt
text_real: .asciz "real mode"
text_protected: .asciz "protected mode"
text_long: .asciz "long mode"
	.balign 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	# 08: 32-bit code
	.quad 0x00cf93000000ffff	# 10: data
	.quad 0x00af9b000000ffff	# 18: 64-bit code
gdtr:	.word . - gdt - 1
	.long gdt
