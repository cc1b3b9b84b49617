# kernel.S - a kernel that says over COM1 what it was handed, then ends by the test exit port.
#
# PROTOCOL is 1 or 2 for Multiboot, 3 for PVH. Prints the command line, and of
# each module the arguments and the contents, a line each.

.equ COM1, 0x3f8
.equ EXIT_PORT, 0xf4

.text
.if PROTOCOL == 1
.align 4
	.long 0x1badb002, 3, -(0x1badb002 + 3)
.elseif PROTOCOL == 2
.align 8
header:
	.long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + header_end - header)
	.word 1, 0	# it needs memory sizes and the map
	.long 16, 4, 6
	.word 0, 0
	.long 8
header_end:
.endif

.globl _start
_start:
	movl $stack, %esp
	movl %ebx, %ebp
	movl %eax, %ecx
	movw $COM1 + 3, %dx	# eight bits
	movb $3, %al
	outb %al, %dx
.if PROTOCOL == 1
	cmpl $0x2badb002, %ecx
	jne wrong
	movl 16(%ebp), %esi
	call line
	movl 20(%ebp), %ebx
	movl 24(%ebp), %edi
1:	decl %ebx
	js done
	movl 8(%edi), %esi
	call line
	movl (%edi), %esi
	movl 4(%edi), %ecx
	subl %esi, %ecx
	call bytes
	addl $16, %edi
	jmp 1b
.elseif PROTOCOL == 2
	cmpl $0x36d76289, %ecx
	jne wrong
	leal 8(%ebp), %edi
1:	movl (%edi), %eax
	testl %eax, %eax
	jz done
	cmpl $1, %eax
	jne 2f
	leal 8(%edi), %esi
	call line
2:	cmpl $3, (%edi)
	jne 3f
	leal 16(%edi), %esi
	call line
	movl 8(%edi), %esi
	movl 12(%edi), %ecx
	subl %esi, %ecx
	call bytes
3:	movl 4(%edi), %eax
	addl $7, %eax
	andl $~7, %eax
	addl %eax, %edi
	jmp 1b
.else
	cmpl $0x336ec578, (%ebp)
	jne wrong
	movl 24(%ebp), %esi
	call line
	movl 12(%ebp), %ebx
	movl 16(%ebp), %edi
1:	decl %ebx
	js done
	movl 16(%edi), %esi
	call line
	movl (%edi), %esi
	movl 8(%edi), %ecx
	call bytes
	addl $32, %edi
	jmp 1b
.endif

done:
	movb $0x10, %al
	outb %al, $EXIT_PORT
1:	hlt
	jmp 1b

wrong:
	movb $0x11, %al
	outb %al, $EXIT_PORT
1:	hlt
	jmp 1b

# The text at %esi and a newline.
line:
	movw $COM1, %dx
1:	lodsb
	testb %al, %al
	jz newline
	outb %al, %dx
	jmp 1b

# %ecx bytes at %esi and a newline.
bytes:
	movw $COM1, %dx
	rep outsb
newline:
	movb $'\n', %al
	outb %al, %dx
	ret

.if PROTOCOL == 3
.section .note.xen, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long _start
.endif

.bss
.space 1024
stack:
