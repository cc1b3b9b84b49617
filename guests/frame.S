# frame.S - a 64-bit kernel with a picture: a boot loader hands it a linear
# frame buffer by Multiboot 2, it goes to long mode and colours every pixel by
# where it is. Run: from a disk with a boot loader, BIOS or UEFI. Status 43;
# 3: no Multiboot 2, 5: no frame buffer of 32 bits.
.equ COM1, 0x3f8
.equ EXIT_PORT, 0xf4

.equ MAGIC, 0xe85250d6
.equ LOADED, 0x36d76289
.equ TAG_FRAMEBUFFER, 8
.equ PRESENT_WRITABLE, 3
.equ LARGE, 0x80
.equ CR0_PG, 1 << 31
.equ CR4_PAE, 1 << 5
.equ EFER, 0xc0000080
.equ EFER_LME, 1 << 8

.macro EXIT value
	movb $\value, %al
	outb %al, $EXIT_PORT
1:	hlt
	jmp 1b
.endm

.section .text
.code32
.balign 8
header:	.long MAGIC, 0, header_end - header, -(MAGIC + header_end - header)
	.word 5, 0			# a frame buffer: width, height, depth
	.long 20, 1024, 768, 32
	.balign 8
	.word 0, 0
	.long 8
header_end:

.globl _start
_start:
	movl $stack, %esp
	cmpl $LOADED, %eax
	jne no_loader
	leal 8(%ebx), %esi
1:	movl (%esi), %eax
	cmpl $TAG_FRAMEBUFFER, %eax
	je 2f
	testl %eax, %eax
	jz no_frame
	movl 4(%esi), %eax
	addl $7, %eax
	andl $~7, %eax
	addl %eax, %esi
	jmp 1b
2:	cmpb $32, 28(%esi)
	jne no_frame
	movl %esi, %ebp

# The first 4 GiB, mapped to themselves.
	movl $directories + PRESENT_WRITABLE, %eax
	movl $pointers, %edi
3:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	cmpl $pointers + 4 * 8, %edi
	jne 3b
	movl $LARGE + PRESENT_WRITABLE, %eax
	movl $directories, %edi
4:	movl %eax, (%edi)
	addl $8, %edi
	addl $2 << 20, %eax
	jnc 4b
	movl $pointers + PRESENT_WRITABLE, table

	movl %cr4, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $table, %eax
	movl %eax, %cr3
	movl $EFER, %ecx
	rdmsr
	orl $EFER_LME, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_PG, %eax
	movl %eax, %cr0
	lgdtl gdtr
	ljmp $8, $long

no_loader: EXIT 1
no_frame: EXIT 2

.code64
long:	movl %ebp, %esi
	movq 8(%rsi), %rdi		# address
	movl 16(%rsi), %r8d		# bytes a line
	movl 20(%rsi), %r9d		# width
	movl 24(%rsi), %r10d		# height
	xorl %edx, %edx
line:	movq %rdi, %rbx
	xorl %ecx, %ecx
pixel:	movl %ecx, %eax			# red: x, green: y, blue: both
	shll $16, %eax
	andl $0xff0000, %eax
	movb %dl, %ah
	movb %cl, %al
	xorb %dl, %al
	movl %eax, (%rbx)
	addq $4, %rbx
	incl %ecx
	cmpl %r9d, %ecx
	jb pixel
	addq %r8, %rdi
	incl %edx
	cmpl %r10d, %edx
	jb line
	movl $text, %esi
	movw $COM1, %dx
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	EXIT 21

text:	.asciz "frame: drawn\n"
	.balign 8
gdt:	.quad 0
	.quad 0x00af9b000000ffff	# 64-bit code
gdtr:	.word . - gdt - 1
	.long gdt

.bss
.balign 4096
table:	.skip 4096
pointers: .skip 4096
directories: .skip 4 * 4096
	.skip 1024
stack:
