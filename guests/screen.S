# screen.S - sets a video mode by INT 10h, fills video memory with a pattern,
# changes registers, and stands still. tests/guests/test_screen.py patches the
# words at MODE and compares the picture with QEMU's.
# Modes: real. Run: as a disk, --firmware bios. Status 1.
.include "lib.inc"
.code16

.equ DEBUGCON, 0xe9
.equ VBE_MODE, 0x4000

.globl _start
_start:
	jmp 1f
	.org 4
mode:	.word 3				# VBE if bit 14 is set
segment: .word 0xb800
kind:	.word 0				# 0: text; 1: bytes; 2: four planes
count:	.word 0				# registers that follow: port, index and value
regs:	.fill 16, 4, 0
	.org 96				# firmware may write before
1:	ljmp $0, $2f
2:	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	cld
	movw mode, %ax
	testw $VBE_MODE, %ax
	jz 3f
	movw %ax, %bx
	movw $0x4f02, %ax
3:	int $0x10
	movw segment, %es
	xorw %di, %di
	movw kind, %ax
	testw %ax, %ax
	jz text
	cmpw $1, %ax
	je bytes

planes:
	movw $0x0102, %ax		# map mask, one plane after the other
4:	movw $0x3c4, %dx
	outw %ax, %dx
	pushw %ax
	movb %ah, %bl
	call fill
	popw %ax
	addb %ah, %ah
	cmpb $16, %ah
	jb 4b
	jmp registers

bytes:	movb $1, %bl
	call fill
	jmp registers

text:	movw %di, %ax			# every character, in 128 colours
	shrw $1, %ax
	movb %al, %ah
	shlb $3, %ah
	xorb %al, %ah
	andb $0x7f, %ah
	stosw
	cmpw $4000, %di
	jb text
	movw $0x3d4, %dx		# what blinks differs in time
	movw $0x200a, %ax
	outw %ax, %dx

registers:
	movw $regs, %si
	movw count, %cx
5:	jcxz done
	lodsw
	movw %ax, %dx
	cmpw $0x3c0, %ax
	je attribute
	lodsw
	outw %ax, %dx
	decw %cx
	jmp 5b
attribute:
	movw $0x3da, %dx
	inb %dx, %al
	movw $0x3c0, %dx
	lodsw
	outb %al, %dx
	movb %ah, %al
	outb %al, %dx
	movb $0x20, %al			# the palette is the screen's again
	outb %al, %dx
	decw %cx
	jmp 5b

done:	movb $0x21, %al
	outb %al, $DEBUGCON
	EXIT 0

# 64 KiB at ES:0 of a pattern that %bl changes.
fill:	xorw %di, %di
6:	movw %di, %ax
	mulb %bl
	addw %di, %ax
	addb %ah, %al
	stosb
	testw %di, %di
	jnz 6b
	ret

	.org 510
	.word 0xaa55
